/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One record in the ring for each dropped packet, so that people can be told which and why. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} hw_events SEC(".maps");

/* False when the ring is full. */
static __always_inline bool events_drop(const struct __sk_buff *skb, const struct packet *p, __u32 network, __u8 direction,
					__u8 reason)
{
	struct hw_event *event = bpf_ringbuf_reserve(&hw_events, sizeof(*event), 0);

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
