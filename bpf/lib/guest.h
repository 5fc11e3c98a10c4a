/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Guests: containers whose veth somebody else made, and whose packets somebody else carries. They are judged and let pass
 * as they are; of a flow between two guests both programs see the same two entries.
 *
 *   ARP, neighbour discovery, group membership ▸ lib/guestlink.h
 *   later fragments                            ▸ as their first, and none without it
 *   known flow │ first packet                  ▸ policy ▸ pass
 */
#pragma once

#include "lib/ctopen.h"
#include "lib/fragments.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/parse.h"
#include "lib/scratch.h"

/* Not ours to count or to tell of. */
#define GUEST_UNTOUCHED 0x101

static __always_inline bool guest_has(const struct hw_endpoint *ep, __u8 family, const struct hw_ip *addr)
{
	return !ip_is_zero(addr) && ip_equal(addr, family == 4 ? &ep->ipv4 : &ep->ipv6);
}

/* ICMP that is neither echo nor error belongs to no flow: each message is judged by its type and code. */
static __always_inline bool guest_is_message(const struct packet *p)
{
	return p->kind == PACKET_OTHER && (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6);
}

static __always_inline int guest_open(struct __sk_buff *skb, struct scratch *scratch, __u32 own)
{
	const struct packet *p = &scratch->packet;
	int error;

	if (p->kind == PACKET_ICMP_ERROR || p->kind == PACKET_ANSWER)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	/* Of a message, which opened no flow: it was judged by its first fragment. */
	if (p->fragment == PACKET_LATER && (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6))
		return 0;
	ct_prepare(p, &scratch->route, 0);
	scratch->route.port = CT_PORT_KEEP;
	error = judge_flow(skb, own);
	return error || guest_is_message(p) ? error : ctopen(skb);
}

/* HW_PASS, or a negated drop reason. */
static __always_inline int guest_judge(struct __sk_buff *skb, struct scratch *scratch, __u32 own)
{
	struct packet *p = &scratch->packet;
	int error;

	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (ct_find(skb, p, 0, &scratch->route))
		error = judge_known(skb, scratch, own);
	else
		error = guest_open(skb, scratch, own);
	if (error)
		return error;
	fragments_carried(p);
	return HW_PASS;
}
