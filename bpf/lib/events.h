/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One record in the ring for each dropped packet, and for each flow that is opened or judged again, so that people
 * can be told who talks to whom, and what is stopped by what.
 *
 * Of each device so many of both in a second: one container that sends what is dropped, or opens flow after flow, neither
 * silences the others nor keeps the agent busy. What is not told is still counted, by its reason and as EVENT_LOST.
 *
 * To wake the agent is an interrupt, which in a virtual machine costs more than the packet. A device does so once in
 * HW_EVENT_SILENCE milliseconds, and for every EVENTS_UNANNOUNCED records: who was woken looks again after more than that silence.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/config.h"
#include "lib/judgement.h"
#include "lib/packet.h"

#define EVENTS_DROPS_A_SECOND 256
#define EVENTS_FLOWS_A_SECOND 512
#define EVENTS_UNANNOUNCED    64 /* a small part of the ring */
#define EVENTS_SILENCE	      (HW_EVENT_SILENCE * 1000000ULL)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} hw_events SEC(".maps");

struct events_budget {
	__u64 woken; /* ns since boot */
	__u32 second;
	__u32 drops;
	__u32 flows;
	__u32 pad;
};

/* Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct events_budget);
} events_budgets SEC(".maps");

/* The device's, with this record counted; NULL: it has told enough. Two CPUs may count as one now and then: it is a bound, not a measure. */
static __always_inline struct events_budget *events_take(__u32 ifindex, bool dropped)
{
	__u32 second = (__u32)bpf_jiffies64() / hw_config.hz;
	struct events_budget *budget = bpf_map_lookup_elem(&events_budgets, &ifindex);

	if (!budget) {
		struct events_budget fresh = { .second = second };

		bpf_map_update_elem(&events_budgets, &ifindex, &fresh, BPF_ANY);
		budget = bpf_map_lookup_elem(&events_budgets, &ifindex);
		if (!budget)
			return NULL;
	}
	if (budget->second != second) {
		budget->second = second;
		budget->drops = 0;
		budget->flows = 0;
	}
	if (dropped ? budget->drops >= EVENTS_DROPS_A_SECOND : budget->flows >= EVENTS_FLOWS_A_SECOND)
		return NULL;
	if (dropped)
		budget->drops++;
	else
		budget->flows++;
	return budget;
}

/* How the record that is told `now` is submitted. */
static __always_inline __u64 events_wake(struct events_budget *budget, __u64 now)
{
	if (now - budget->woken < EVENTS_SILENCE && (budget->drops + budget->flows) % EVENTS_UNANNOUNCED)
		return BPF_RB_NO_WAKEUP;
	budget->woken = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* As the packet was seen: an ICMP error is told as its own, not as the flow that it speaks of. */
static __always_inline void events_ends(struct hw_event *event, const struct packet *p)
{
	bool error = p->kind == PACKET_ICMP_ERROR;

	event->saddr = error ? p->source : p->flow.saddr;
	event->daddr = p->flow.daddr;
	event->sport = error ? 0 : p->flow.sport;
	event->dport = error ? 0 : p->flow.dport;
	event->proto = !error ? p->flow.proto : p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	event->tcp_flags = p->tcp_flags;
	event->icmp_type = p->icmp_type;
	event->icmp_code = p->icmp_code;
	event->family = p->family;
}

static __always_inline void events_judgement(struct hw_event *event, const struct judgement *judgement)
{
	event->rule = judgement ? judgement->rule : 0;
	event->revision = judgement ? judgement->revision : 0;
	event->end = judgement ? judgement->end : 0;
	event->source_identity = judgement ? judgement->source_identity : 0;
	event->destination_identity = judgement ? judgement->destination_identity : 0;
	if (judgement && judgement->published) {
		event->backend = judgement->backend;
		event->backend_port = judgement->backend_port;
	} else {
		__builtin_memset(&event->backend, 0, sizeof(event->backend));
		event->backend_port = 0;
	}
}

/* `reason` 0: the packet passes. False when the device has told enough, or the ring is full. */
static __always_inline bool events_tell(const struct __sk_buff *skb, const struct packet *p, const struct judgement *judgement,
					__u32 network, __u8 direction, __u8 reason)
{
	/* Of what came through the tunnel the device is the tunnel's, whoever took the headers off. */
	__u32 ifindex = direction == HW_DIRECTION_FROM_OVERLAY ? hw_config.tunnel_ifindex : skb->ifindex;
	struct events_budget *budget = events_take(ifindex, reason != 0);
	struct hw_event *event;
	__u64 now;

	if (!budget)
		return false;
	event = bpf_ringbuf_reserve(&hw_events, sizeof(*event), 0);
	if (!event)
		return false;
	now = bpf_ktime_get_ns();
	event->time = now;
	event->ifindex = ifindex;
	event->network = network;
	event->reason = reason;
	event->direction = direction;
	event->verdict = reason || !judgement ? HW_EVENT_DROPPED : judgement->verdict;
	event->length = skb->len;
	events_ends(event, p);
	events_judgement(event, judgement);
	event->pad = 0;
	event->pad2 = 0;
	bpf_ringbuf_submit(event, events_wake(budget, now));
	return true;
}
