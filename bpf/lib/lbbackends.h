/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Backends by number, and what was sent to each. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/lbpacket.h"

#define LBBACKENDS 65536

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBBACKENDS);
	__type(key, __u32);
	__type(value, struct hw_lb_backend);
} hw_lb_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBBACKENDS);
	__type(key, __u32);
	__type(value, struct hw_lb_place);
} hw_lb_places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LBBACKENDS / HW_LB_COUNTERS);
	__type(key, __u32);
	__type(value, struct hw_lb_counters);
} hw_lb_counters SEC(".maps");

/* NULL: there is none of that number, or it gets nothing any more. */
static __always_inline struct hw_lb_backend *lbbackends_find(__u32 number)
{
	struct hw_lb_backend *backend = bpf_map_lookup_elem(&hw_lb_backends, &number);

	return number && backend && !(backend->flags & HW_LB_BACKEND_DOWN) ? backend : NULL;
}

/* Of a backend that was found. NULL: only the verifier thinks so. */
static __always_inline const struct hw_lb_place *lbbackends_place(__u32 number)
{
	return bpf_map_lookup_elem(&hw_lb_places, &number);
}

/* Of the backend's block. */
static __always_inline struct hw_lb_counters *lbbackends_counters(__u32 number)
{
	__u32 block = number / HW_LB_COUNTERS;

	return bpf_map_lookup_elem(&hw_lb_counters, &block);
}

/* `kind`: enum lbpacket_kind; LBPACKET_GOES_ON where conntrack counts flows. */
static __always_inline void lbbackends_count(__u32 number, __u32 bytes, __u32 kind)
{
	struct hw_lb_counters *counters = lbbackends_counters(number);
	struct hw_lb_sent *sent;
	struct hw_lb_seen *seen;

	if (!counters)
		return;
	sent = &counters->sent[number % HW_LB_COUNTERS];
	sent->packets++;
	sent->bytes += bytes;
	if (kind == LBPACKET_GOES_ON)
		return;
	seen = &counters->seen[number % HW_LB_COUNTERS];
	if (kind == LBPACKET_BEGINS)
		seen->begun++;
	else if (kind == LBPACKET_ENDS)
		seen->ended++;
}

/* A flow that conntrack is about to open. */
static __always_inline void lbbackends_begin(__u32 number)
{
	struct hw_lb_counters *counters = lbbackends_counters(number);

	if (counters)
		counters->seen[number % HW_LB_COUNTERS].begun++;
}
