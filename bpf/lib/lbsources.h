/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose clients may ask a service, and with whom a client stays. Asked only of services that say so. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/config.h"
#include "lib/pure/clock.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_lb_source);
	__type(value, __u32);
} hw_lb_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct hw_lb_client);
	__type(value, struct hw_lb_stay);
} hw_lb_clients SEC(".maps");

static __always_inline bool lbsources_may(__u32 service, const struct hw_ip *client)
{
	struct hw_lb_source key = { .length = 160, .service = service, .addr = *client };
	const __u32 *verdict = bpf_map_lookup_elem(&hw_lb_sources, &key);

	return verdict && *verdict == HW_LB_SOURCE_ALLOW;
}

/* The backend that the client has; 0: none any more. */
static __always_inline __u32 lbsources_stay(__u32 service, const struct hw_ip *client, __u32 seconds)
{
	struct hw_lb_client key = { .addr = *client, .service = service };
	struct hw_lb_stay *stay = bpf_map_lookup_elem(&hw_lb_clients, &key);
	__u32 now = (__u32)bpf_jiffies64();

	if (!stay || clock_expired(stay->expires, now))
		return 0;
	stay->expires = now + seconds * hw_config.hz;
	return stay->backend;
}

static __always_inline void lbsources_settle(__u32 service, const struct hw_ip *client, __u32 seconds, __u32 backend)
{
	struct hw_lb_client key = { .addr = *client, .service = service };
	struct hw_lb_stay stay = { .backend = backend, .expires = (__u32)bpf_jiffies64() + seconds * hw_config.hz };

	bpf_map_update_elem(&hw_lb_clients, &key, &stay, BPF_ANY);
}
