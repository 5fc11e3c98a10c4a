/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Guests: containers whose veth somebody else made, and whose packets somebody else carries. They are judged and let pass
 * as they are; of a flow between two guests both programs see the same two entries.
 *
 *   not IP, neighbour discovery, groups ▸ untouched
 *   later fragments                     ▸ pass: their first was judged
 *   known flow │ first packet           ▸ policy ▸ pass
 */
#pragma once

#include "lib/ctopen.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/parse.h"
#include "lib/scratch.h"

/* Not ours to count or to tell of. */
#define GUEST_UNTOUCHED 0x101

/* 0: an IP packet of one sender to one receiver. GUEST_UNTOUCHED, or a negated drop reason. */
static __always_inline int guest_parse(struct __sk_buff *skb, struct packet *p)
{
	__be16 ethertype = parse_ethertype(skb);
	int error;

	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return GUEST_UNTOUCHED;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	return p->kind == PACKET_ND || ip_is_multicast(&p->flow.daddr) ? GUEST_UNTOUCHED : 0;
}

/* ICMP that is neither echo nor error belongs to no flow: each message is judged by its type and code. */
static __always_inline bool guest_is_message(const struct packet *p)
{
	return p->kind == PACKET_OTHER && (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6);
}

/* HW_PASS, or a negated drop reason. */
static __always_inline int guest_judge(struct __sk_buff *skb, struct scratch *scratch, __u32 own)
{
	struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	int error;

	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	if (p->fragment == PACKET_LATER)
		return HW_PASS;
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (ct_find(skb, p, 0, route)) {
		error = judge_known(skb, scratch, own);
		return error ? error : HW_PASS;
	}
	if (p->kind == PACKET_ICMP_ERROR || p->kind == PACKET_ANSWER)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	ct_prepare(p, route, 0);
	route->port = CT_PORT_KEEP;
	error = judge_flow(skb, own);
	if (!error && !guest_is_message(p))
		error = ctopen(skb);
	return error ? error : HW_PASS;
}
