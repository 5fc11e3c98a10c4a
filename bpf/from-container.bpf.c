// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What a container sends: host end of its veth, ingress.
 *
 *   frame ▸ endpoint by device ▸ MAC ▸ ARP answered
 *         ▸ parse ▸ source address ▸ ND answered ▸ names of other nodes answered ▸ fragments
 *         ▸ conntrack ─ known, and judged by the policy in force ─┐
 *              └ first packet: service │ published │ walls │ policy │ route ▸ rewrite ▸ container │ host │ node │ world
 *         ▸ to a group ▸ policy ▸ copies to the containers of its network
 */
#include "lib/arp.h"
#include "lib/complain.h"
#include "lib/ctopen.h"
#include "lib/deliver.h"
#include "lib/endpoints.h"
#include "lib/exit.h"
#include "lib/fragments.h"
#include "lib/group.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/lbclient.h"
#include "lib/mss.h"
#include "lib/names.h"
#include "lib/nd.h"
#include "lib/nodes.h"
#include "lib/open.h"
#include "lib/parse.h"
#include "lib/refuse.h"
#include "lib/scratch.h"

#define PROTO_IPIP 4
#define PROTO_SIT  41
#define PROTO_GRE  47

/*
 * As which of its places a container speaks. On several networks it has one default route: what it answers to who came
 * to it on another one leaves by the wrong device. NULL: as nobody that it is.
 */
static __always_inline const struct hw_endpoint *sender_of(const struct packet *p, const struct hw_endpoint *ep)
{
	if (ip_equal(&p->source, p->family == 4 ? &ep->ipv4 : &ep->ipv6))
		return ep;
	return endpoints_beside(ep, &p->source);
}

static __always_inline int check_kind(const struct packet *p)
{
	__u8 proto = p->flow.proto;

	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	if (p->kind != PACKET_OTHER)
		return 0;
	return proto == PROTO_IPIP || proto == PROTO_SIT || proto == PROTO_GRE ? -HW_DROP_ENCAP_PROHIBITED
									       : -HW_DROP_UNKNOWN_PROTOCOL;
}

/* A first packet, as open_from_container says. */
static __always_inline int open_flow(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	int found = LBCLIENT_NOT;

	if (hw_config.services && scratch->packet.kind == PACKET_FLOW)
		found = lbclient_find(skb, ep->network);
	if (found < 0)
		return found;
	return open_from_container(skb, scratch, ep, found == LBCLIENT_FOUND ? &scratch->backend : NULL);
}

/* `from`: as which it speaks; flows that it begins are those of its place behind this device, `ep`. */
static __always_inline int carry(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep, const struct hw_endpoint *from)
{
	struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	int error;

	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	/* It may complain of what it was sent, never of what others were. */
	if (p->kind == PACKET_ICMP_ERROR && !ip_equal(&p->flow.saddr, &p->source))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (!ct_find(skb, p, 0, route)) {
		if (from != ep)
			return -HW_DROP_INVALID_SOURCE_IP;
		if (networks_is_broadcast(ep->network, &p->flow.daddr))
			return group_send(skb);
		error = open_flow(skb, scratch, ep);
		if (error == -HW_DROP_SERVICE_PORT || error == -HW_DROP_SERVICE_EMPTY)
			return refuse(skb, p, ep, -error);
		if (!error)
			error = ctopen(skb);
	} else {
		error = judge_known(skb, scratch, JUDGE_SENDER);
		if (!error)
			error = deliver_find_way(skb, scratch, from);
		if (!error && hw_config.services && mss_is_offered(p, route))
			error = mss_lower(skb);
	}
	if (error == ROUTE_REFUSED) {
		scratch->judgement.verdict = 0; /* goes no further: nothing to tell of */
		return complain(skb, p, ep, scratch->hop.mtu);
	}
	if (error)
		return error;
	fragments_carried(p);
	return deliver(skb, scratch);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	const struct hw_endpoint *from;
	int error;

	if (!eth_is_from(skb, ep->mac))
		return -HW_DROP_INVALID_SOURCE_MAC;
	if (ethertype == bpf_htons(ETH_P_ARP))
		return arp_answer(skb, ep);
	if (ethertype == bpf_htons(ETH_P_IPV6) && (!hw_config.ipv6 || !(ep->flags & HW_NETWORK_IPV6)))
		return -HW_DROP_IPV6_OFF;
	if (ethertype != bpf_htons(ETH_P_IP) && ethertype != bpf_htons(ETH_P_IPV6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	if (p->kind == PACKET_ND)
		return nd_answer(skb, p, ep);
	if (ip_is_multicast(&p->flow.daddr))
		return group_send(skb);
	from = sender_of(p, ep);
	if (!from)
		return -HW_DROP_INVALID_SOURCE_IP;
	error = check_kind(p);
	if (!error && from == ep && names_is_question(skb, p)) {
		error = names_answer(skb);
		if (error != NAMES_UNKNOWN)
			return error;
		error = 0;
	}
	return error ? error : carry(skb, scratch, ep, from);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	struct scratch *scratch = scratch_take();
	bool answered;
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = ep ? judge(skb, scratch, ep) : -HW_DROP_UNKNOWN_ENDPOINT;
	answered = verdict > 0 && verdict & REFUSE_ANSWERED;
	if (answered)
		verdict = -(verdict & 0xff);
	if (verdict < 0 && ep && !scratch->judgement.revision)
		scratch->judgement.source_identity = ep->identity;
	verdict = exit_with(skb, &scratch->packet, &scratch->judgement, ep ? ep->network : 0, HW_DIRECTION_FROM_CONTAINER, false, verdict);
	return answered ? TC_ACT_REDIRECT : verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
