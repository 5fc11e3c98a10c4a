/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose clients may ask a service. Asked only of services that say so. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/ip.h"
#include "lib/lbservices.h"

#define LBSOURCES_NEAR 3

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct hw_lb_sources);
} hw_lb_sources SEC(".maps");

/* 1: `a` is the less, by at most `borrow`, which is 0 or 1. In arithmetic: the verifier would walk each branch of each step of each line. */
static __always_inline __u64 lbsources_less(__u64 a, __u64 b, __u64 borrow)
{
	return ((~a & b) | ((~a | b) & (a - b - borrow))) >> 63;
}

/* The place in a line of the last start that is no more than the address. Starts are looked at side by side, so that none waits for another. */
static __always_inline __u32 lbsources_place4(const struct hw_lb_sources *line, __u64 address)
{
	const __u32 *starts = (const void *)line;
	__u32 at = 4 * (3 - ((address - starts[4]) >> 63) - ((address - starts[8]) >> 63) - ((address - starts[12]) >> 63)) & 12;

	return at + 3 - ((address - starts[at + 1]) >> 63) - ((address - starts[at + 2]) >> 63) - ((address - starts[at + 3]) >> 63);
}

static __always_inline __u32 lbsources_place6(const struct hw_lb_sources *line, __u64 high, __u64 low)
{
	const __u64 *starts = line->words;

	return 3 - lbsources_less(high, starts[2], lbsources_less(low, starts[3], 0)) - lbsources_less(high, starts[4], lbsources_less(low, starts[5], 0)) -
	       lbsources_less(high, starts[6], lbsources_less(low, starts[7], 0));
}

/* Whether the client may, of a service whose lines are no deeper than `deepest`, a constant. Of IPv4 `low` is the address. */
static __always_inline bool lbsources_walk(union lbservices_asks asks, int family, __u64 high, __u64 low, __u32 deepest)
{
	__u32 line = 0, at, i;

	for (i = 1; i <= deepest; i++) {
		__u32 key = asks.sources + line;
		const struct hw_lb_sources *found = bpf_map_lookup_elem(&hw_lb_sources, &key);

		if (!found)
			return false;
		at = family == 4 ? lbsources_place4(found, low) : lbsources_place6(found, high, low);
		if (i == asks.depth)
			return ~at & 1;
		line = line * (family == 4 ? HW_LB_SOURCES4 : HW_LB_SOURCES6) + 1 + at;
	}
	return false;
}

/* Global, so that the verifier walks it once. */
__noinline int lbsources_far(__u64 word, __u32 family, __u64 high, __u64 low)
{
	union lbservices_asks asks = { .word = word };

	return family == 4 ? lbsources_walk(asks, 4, high, low, HW_LB_SOURCES_DEEPEST) : lbsources_walk(asks, 6, high, low, HW_LB_SOURCES_DEEPEST);
}

/* Without a call, which costs as much as a line, if there are no more than LBSOURCES_NEAR of them. */
static __always_inline bool lbsources_near(union lbservices_asks asks, int family, __u64 high, __u64 low)
{
	if (__builtin_expect(asks.depth <= LBSOURCES_NEAR, 1))
		return lbsources_walk(asks, family, high, low, LBSOURCES_NEAR);
	return lbsources_far(asks.word, family, high, low);
}

static __always_inline __u64 lbsources_high(const struct hw_ip *client)
{
	return (__u64)bpf_ntohl(client->words[0]) << 32 | bpf_ntohl(client->words[1]);
}

static __always_inline __u64 lbsources_low(const struct hw_ip *client)
{
	return (__u64)bpf_ntohl(client->words[2]) << 32 | bpf_ntohl(client->words[3]);
}

/* `asks`: of a service that asks. */
static __always_inline bool lbsources_may(union lbservices_asks asks, const struct hw_ip *client)
{
	if (ip_is4(client))
		return lbsources_far(asks.word, 4, 0, bpf_ntohl(client->words[3]));
	return lbsources_far(asks.word, 6, lbsources_high(client), lbsources_low(client));
}
