// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the host's own stack sends to a container: host end of its veth, egress.
 *
 *   frame ▸ endpoint by device ▸ parse ▸ from a host address, to the endpoint's
 *         ▸ conntrack, known or opened, and policy ▸ rewrite ▸ MACs ▸ on into the veth
 *
 * Packets of other containers and of the world enter by redirect_peer; those that our programs can only hand on as copies
 * (lib/group.h, lib/held.h) come by here with the mark, and have been judged.
 */
#include "lib/ctopen.h"
#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/exit.h"
#include "lib/handover.h"
#include "lib/hostaddrs.h"
#include "lib/judge.h"
#include "lib/nat.h"
#include "lib/parse.h"
#include "lib/scratch.h"

static __always_inline int check_ends(const struct packet *p, const struct hw_endpoint *ep)
{
	if (ip_is_multicast(&p->flow.daddr))
		return -HW_DROP_MULTICAST;
	if (!ip_equal(&p->flow.daddr, p->family == 4 ? &ep->ipv4 : &ep->ipv6))
		return -HW_DROP_NO_SUCH_ADDRESS;
	/* R44: the host forwards nothing to containers but what its own programs handed to them. */
	if (!hostaddrs_find(&p->source))
		return -HW_DROP_DIRECT_ACCESS;
	return p->kind == PACKET_OTHER || p->kind == PACKET_ND ? -HW_DROP_UNKNOWN_PROTOCOL : 0;
}

/* The flow that the packet belongs to, opened if need be and allowed. */
static __always_inline int track(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	const struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	int error;

	if (ct_find(skb, p, 0, route))
		return judge_known(skb, scratch, JUDGE_RECEIVER);
	if (p->kind != PACKET_FLOW)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	ct_prepare(p, route, ep->network);
	route->answer_flags = HW_CT_TO_HOST;
	error = judge_flow(skb, JUDGE_RECEIVER);
	return error ? error : ctopen(skb);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	int error;

	if (handover_take(skb))
		return HW_PASS;
	if (ethertype == bpf_htons(ETH_P_IPV6) && (!hw_config.ipv6 || !(ep->flags & HW_NETWORK_IPV6)))
		return -HW_DROP_IPV6_OFF;
	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (!error)
		error = check_ends(p, ep);
	if (error)
		return error;
	if (p->size > ep->mtu)
		return -HW_DROP_MTU_EXCEEDED;
	/*
	 * The host's own complaints carry the packet as the container sent it, and may be of one that opened no
	 * flow. Later fragments need no ports: a datagram whose first fragment was refused is never whole.
	 */
	if (p->kind == PACKET_ICMP_ERROR) {
		error = judge_icmp_error(skb, JUDGE_RECEIVER);
	} else if (p->fragment != PACKET_LATER) {
		error = track(skb, scratch, ep);
		if (!error && scratch->route.flags & HW_CT_NAT)
			error = nat_apply(skb, p, &scratch->route.to);
	}
	if (error)
		return error;
	error = eth_address(skb, ep->mac);
	return error ? error : HW_PASS;
}

SEC("tc")
int to_container(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	struct scratch *scratch = scratch_take();
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = ep ? judge(skb, scratch, ep) : -HW_DROP_UNKNOWN_ENDPOINT;
	if (verdict < 0 && ep && !scratch->judgement.revision)
		scratch->judgement.destination_identity = ep->identity;
	return exit_with(skb, &scratch->packet, &scratch->judgement, ep ? ep->network : 0, HW_DIRECTION_TO_CONTAINER, false,
			 verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
