/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a program knows of its packet after reading it once: plain integers, no pointers. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/reasons.h"
#include "abi/types.h"

/* A verdict beside TC_ACT_*: not ours, or done; the next program and the kernel may have it. */
#define HW_PASS 0x100

enum packet_kind {
	PACKET_FLOW = 0,       /* has ports, or an echo request's id */
	PACKET_ANSWER = 1,     /* an echo reply: belongs to a flow but opens none */
	PACKET_ICMP_ERROR = 2, /* speaks of another packet, which it carries */
	PACKET_ND = 3,	       /* neighbour discovery, and router messages */
	PACKET_OTHER = 4,      /* a protocol that we do not carry */
};

enum packet_fragment {
	PACKET_WHOLE = 0,
	PACKET_FIRST = 1,
	PACKET_LATER = 2,
};

struct packet {
	struct hw_ct6_key flow; /* for conntrack; of an ICMP error: the flow that it speaks of, in the error's direction */
	struct hw_ip source;	/* of an ICMP error: who sent it */
	__u32 fragment_id;
	__u16 l4;    /* offset of the transport header; of a later fragment: of its payload */
	__u16 inner; /* ICMP errors: offset of the transport header in the carried packet */
	__u16 size;  /* bytes of the IP packet; of a GSO packet: of its largest segment */
	__u8 family; /* 4 or 6; 0: no IP packet, or not yet read */
	__u8 kind;
	__u8 fragment;
	__u8 ttl;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 dont_fragment;
	__u8 source_routed;
	__u8 icmp_code;
	__u8 pad[3];
} __attribute__((aligned(8))); /* blanked in long words */

_Static_assert(sizeof(struct packet) == 80, "struct packet lies on a stack of 512 bytes");

#define PACKET_L4_MAX 255

/* In assembly, because the compiler likes to keep &skb->data instead of skb, and the verifier refuses to read by that. */
static __always_inline void *packet_start(const struct __sk_buff *skb)
{
	void *start;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(start) : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data)));
	return start;
}

static __always_inline void *packet_end(const struct __sk_buff *skb)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(end) : "r"(skb), "i"(__builtin_offsetof(struct __sk_buff, data_end)));
	return end;
}

/* `size` bytes at offset `at`, or NULL: beyond the linear part. */
static __always_inline void *packet_at(const struct __sk_buff *skb, __u32 at, __u32 size)
{
	void *data = packet_start(skb), *end = packet_end(skb);

	if (at > PACKET_L4_MAX)
		return NULL;
	data += at;
	return data + size > end ? NULL : data;
}

/* Makes the headers linear: the first `size` bytes, or as many as there are. */
static __always_inline void packet_pull(struct __sk_buff *skb, __u32 size)
{
	__u32 linear = (long)packet_end(skb) - (long)packet_start(skb);

	if (linear < size && linear < skb->len)
		bpf_skb_pull_data(skb, skb->len < size ? skb->len : size);
}
