// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What a guest is sent: host end of a veth that somebody else made, egress.
 *
 *   frame ▸ endpoint by device ▸ ARP, neighbour discovery, group membership ▸ on, unjudged
 *         ▸ to its own address ▸ fragments ▸ conntrack, known or opened, and policy ▸ on, as it is
 *
 * What comes here for others is what its bridge sends to every port: it ends here, and is counted, but nobody is told of it.
 */
#include "lib/exit.h"
#include "lib/guest.h"
#include "lib/guestlink.h"

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	const struct hw_endpoint *peer;
	int error;

	if (ethertype == bpf_htons(ETH_P_ARP))
		return GUEST_UNTOUCHED;
	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	if (p->kind == PACKET_ND || guestlink_is_membership(p))
		return GUEST_UNTOUCHED;
	if (ip_is_multicast(&p->flow.daddr))
		return -HW_DROP_MULTICAST;
	if (!guest_has(ep, p->family, &p->flow.daddr))
		return -HW_DROP_NO_SUCH_ADDRESS;
	/* The containers that we carry for send to no guest: somebody has borrowed the address. */
	peer = endpoints_by_address(&p->source);
	if (peer && !(peer->flags & HW_NETWORK_GUEST))
		return -HW_DROP_MARTIAN;
	return guest_judge(skb, scratch, JUDGE_RECEIVER);
}

/* Sent to every port of its bridge, and so here as well. */
static __always_inline bool is_chatter(const struct packet *p, const struct hw_endpoint *ep)
{
	return ep && !guest_has(ep, p->family, &p->flow.daddr);
}

SEC("tc")
int to_guest(struct __sk_buff *skb)
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
		scratch->judgement.destination_identity = ep->identity;
	return exit_with(skb, &scratch->packet, &scratch->judgement, 0, HW_DIRECTION_TO_CONTAINER, is_chatter(&scratch->packet, ep),
			 verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
