/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports of fragmented datagrams: the first fragment tells them, later ones take them from here.
 *
 * A later fragment that overtakes its first has no flow. Only from the wire does that happen to honest ones (lib/held.h).
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/config.h"
#include "lib/packet.h"
#include "lib/pure/clock.h"

#define FRAGMENTS_SECONDS 30

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct hw_fragment_key);
	__type(value, struct hw_fragment);
} hw_fragments SEC(".maps");

static __always_inline struct hw_fragment_key fragments_key(const struct packet *p)
{
	struct hw_fragment_key key = {
		.saddr = p->flow.saddr,
		.daddr = p->flow.daddr,
		.id = p->fragment_id,
		.proto = p->flow.proto,
	};

	return key;
}

static __always_inline void fragments_learn(const struct packet *p)
{
	struct hw_fragment_key key = fragments_key(p);
	struct hw_fragment value = {
		.sport = p->flow.sport,
		.dport = p->flow.dport,
		.expires = (__u32)bpf_jiffies64() + FRAGMENTS_SECONDS * hw_config.hz,
	};

	bpf_map_update_elem(&hw_fragments, &key, &value, BPF_ANY);
}

/* Fills in the ports of a later fragment; false when its first has not been seen. */
static __always_inline bool fragments_recall(struct packet *p)
{
	struct hw_fragment_key key = fragments_key(p);
	const struct hw_fragment *first = bpf_map_lookup_elem(&hw_fragments, &key);

	if (!first || clock_expired(first->expires, (__u32)bpf_jiffies64()))
		return false;
	p->flow.sport = first->sport;
	p->flow.dport = first->dport;
	return true;
}

/* False: a later fragment whose first was not carried. */
static __always_inline bool fragments_follow(struct packet *p)
{
	return p->fragment != PACKET_LATER || fragments_recall(p);
}

/* Once a first fragment's flow is known. One that is refused teaches nothing, so that nobody can put words in others' mouths. */
static __always_inline void fragments_carried(const struct packet *p)
{
	if (p->fragment == PACKET_FIRST)
		fragments_learn(p);
}

/* A first fragment of the host's own: its later ones are known as such, but never at the expense of one that was carried. */
static __always_inline void fragments_passed(const struct packet *p)
{
	struct hw_fragment_key key = fragments_key(p);
	const struct hw_fragment *first;

	if (p->fragment != PACKET_FIRST)
		return;
	first = bpf_map_lookup_elem(&hw_fragments, &key);
	if (!first || clock_expired(first->expires, (__u32)bpf_jiffies64()))
		fragments_learn(p);
}
