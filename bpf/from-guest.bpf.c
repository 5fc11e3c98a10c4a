// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What a guest sends: host end of a veth that somebody else made, ingress.
 *
 *   frame ▸ endpoint by device ▸ MAC ▸ ARP, neighbour discovery, group membership in its own name ▸ on, unjudged
 *         ▸ its own address ▸ no group ▸ fragments ▸ conntrack, known or opened, and policy ▸ on, as it is
 */
#include "lib/exit.h"
#include "lib/guest.h"
#include "lib/guestlink.h"

/* It complains of what it was sent, never of what others were. */
static __always_inline bool is_own_complaint(const struct packet *p)
{
	return p->kind != PACKET_ICMP_ERROR || ip_equal(&p->flow.saddr, &p->source);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	const struct hw_endpoint *peer;
	int error, verdict;

	if (!eth_is_from(skb, ep->mac))
		return -HW_DROP_INVALID_SOURCE_MAC;
	if (ethertype == bpf_htons(ETH_P_ARP))
		return guestlink_arp(skb, ep);
	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	if (p->kind == PACKET_ND)
		return guestlink_nd(skb, p, ep);
	if (guestlink_is_membership(p) && guestlink_may_report(p, ep))
		return GUEST_UNTOUCHED;
	if (!guest_has(ep, p->family, &p->source))
		return -HW_DROP_INVALID_SOURCE_IP;
	if (ip_is_multicast(&p->flow.daddr) || guestlink_is_broadcast(skb))
		return -HW_DROP_MULTICAST;
	/* The containers that we carry for are reached by nobody's bridge (R44). */
	peer = endpoints_by_address(&p->flow.daddr);
	if (peer && !(peer->flags & HW_NETWORK_GUEST))
		return -HW_DROP_DIRECT_ACCESS;
	verdict = guest_judge(skb, scratch, JUDGE_SENDER);
	return verdict == HW_PASS && !is_own_complaint(p) ? -HW_DROP_ICMP_WITHOUT_FLOW : verdict;
}

SEC("tc")
int from_guest(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	struct scratch *scratch = scratch_take();
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = ep ? judge(skb, scratch, ep) : -HW_DROP_UNKNOWN_ENDPOINT;
	if (verdict == GUEST_UNTOUCHED)
		return exit_untouched();
	if (verdict < 0 && ep && !scratch->judgement.revision)
		scratch->judgement.source_identity = ep->identity;
	return exit_with(skb, &scratch->packet, &scratch->judgement, 0, HW_DIRECTION_FROM_CONTAINER, false, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
