/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One record in the ring for each dropped packet, so that people can be told which and why.
 *
 * Of each device so many in a second: one container that sends what is dropped neither silences the others nor
 * keeps the agent busy. What is not told is still counted, by its reason and as EVENT_LOST.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/config.h"
#include "lib/packet.h"

#define EVENTS_A_SECOND 256

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} hw_events SEC(".maps");

struct events_budget {
	__u32 second;
	__u32 told;
};

/* Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct events_budget);
} events_budgets SEC(".maps");

/* Two CPUs may count as one now and then: it is a bound, not a measure. */
static __always_inline bool events_may_tell(__u32 ifindex)
{
	__u32 second = (__u32)bpf_jiffies64() / hw_config.hz;
	struct events_budget *budget = bpf_map_lookup_elem(&events_budgets, &ifindex);

	if (!budget || budget->second != second) {
		struct events_budget fresh = { .second = second, .told = 1 };

		bpf_map_update_elem(&events_budgets, &ifindex, &fresh, BPF_ANY);
		return true;
	}
	if (budget->told >= EVENTS_A_SECOND)
		return false;
	budget->told++;
	return true;
}

/* False when the device has told enough, or the ring is full. */
static __always_inline bool events_drop(const struct __sk_buff *skb, const struct packet *p, __u32 network, __u8 direction,
					__u8 reason)
{
	struct hw_event *event;

	if (!events_may_tell(skb->ifindex))
		return false;
	event = bpf_ringbuf_reserve(&hw_events, sizeof(*event), 0);
	if (!event)
		return false;
	event->time = bpf_ktime_get_ns();
	event->ifindex = skb->ifindex;
	event->network = network;
	event->saddr = p->flow.saddr;
	event->daddr = p->flow.daddr;
	event->sport = p->flow.sport;
	event->dport = p->flow.dport;
	event->proto = p->flow.proto;
	event->reason = reason;
	event->direction = direction;
	event->pad = 0;
	event->length = skb->len;
	event->pad2 = 0;
	bpf_ringbuf_submit(event, 0);
	return true;
}
