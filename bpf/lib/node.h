/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What other nodes send through the tunnel, whoever took its headers off: the kernel's device (from_overlay) or netdev.
 *
 *   outer source is a node's ▸ parse ▸ inner source is that node's own, and the key is its identity
 *                            ▸ fragments ▸ conntrack ─ known, and judged by the policy in force ─┐
 *                                             └ first packet: walls │ policy ▸ opened            ▸ container │ host (answers only)
 *
 * Who is refused for what he claims is told by his outer address, with the address that he claimed as destination.
 */
#pragma once

#include "lib/ctopen.h"
#include "lib/deliver.h"
#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/fragments.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/overlay.h"
#include "lib/parse.h"
#include "lib/scratch.h"

#define NODE_FIRST_IDENTITY 256

/* Who is no container that we know and no node: of a static peer's slice, or nobody. Not inline, for the stack. */
static __noinline int node_claims_slice(const struct packet *p, const struct sender *sender)
{
	const __u32 *slice = nodes_slice(&p->source);
	const struct hw_node *node = nodes_find(sender->node);

	if (!slice || *slice != sender->node || !node || !(node->flags & HW_NODE_STATIC))
		return -HW_DROP_PEER_ADDRESS;
	return sender->key >= NODE_FIRST_IDENTITY ? 0 : -HW_DROP_PEER_IDENTITY;
}

/* R43: a node speaks for its own containers and for itself. */
static __always_inline int node_claims(const struct packet *p, const struct sender *sender)
{
	const struct hw_remote *remote = nodes_remote(&p->source);

	if (remote) {
		if (remote->node != sender->node)
			return -HW_DROP_PEER_ADDRESS;
		return remote->identity == sender->key ? 0 : -HW_DROP_PEER_IDENTITY;
	}
	if (nodes_by_address(&p->source) == sender->node)
		return sender->key == HW_TUNNEL_HOST ? 0 : -HW_DROP_PEER_IDENTITY;
	return node_claims_slice(p, sender);
}

/* Walls of internal networks, seen from the container here. */
static __always_inline int node_walls(const struct packet *p, const struct sender *sender, const struct hw_endpoint *ep, bool same)
{
	const struct hw_remote *remote = nodes_remote(&p->flow.saddr);
	bool behind = ep->flags & HW_NETWORK_INTERNAL || (sender->key >= NODE_FIRST_IDENTITY && sender->key & HW_TUNNEL_INTERNAL);

	if (remote)
		return ep->flags & HW_NETWORK_INTERNAL && remote->network != ep->network ? -HW_DROP_INTERNAL_NETWORK : 0;
	return behind && !same ? -HW_DROP_INTERNAL_NETWORK : 0;
}

/* A first packet: 0 to be opened by the route, or a negated drop reason. */
static __always_inline int node_open(struct __sk_buff *skb, struct scratch *scratch, const struct sender *sender)
{
	const struct packet *p = &scratch->packet;
	const struct hw_endpoint *ep = endpoints_by_address(&p->flow.daddr);
	struct ct_route *route = &scratch->route;
	const struct hw_network *network;
	bool same;
	int error;

	if (p->kind != PACKET_FLOW)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (!ep || ep->flags & HW_NETWORK_GUEST)
		return -HW_DROP_NO_SUCH_ADDRESS;
	/* Two containers with one address: ours is nobody's else. */
	if (endpoints_by_address(&p->flow.saddr))
		return -HW_DROP_PEER_ADDRESS;
	network = networks_find(ep->network);
	same = network && network->key == sender->key;
	error = node_walls(p, sender, ep, same);
	if (error)
		return error;
	ct_prepare(p, route, ep->network);
	route->flags = HW_CT_FROM_NODE | (same ? HW_CT_SAME_NETWORK : 0);
	route->answer_flags = HW_CT_TO_NODE | (same ? HW_CT_SAME_NETWORK : 0);
	return judge_flow(skb, JUDGE_NEITHER);
}

/* What is known, opened or refused of a packet whose sender may say what it says. */
static __always_inline int node_carry(struct __sk_buff *skb, struct scratch *scratch, const struct sender *sender)
{
	struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	__u8 host[ETH_ALEN];
	int error;

	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (!ct_find(skb, p, HW_CT_FROM_NODE, route)) {
		error = node_open(skb, scratch, sender);
		if (!error)
			error = ctopen(skb);
	} else {
		error = judge_known(skb, scratch, JUDGE_NEITHER);
	}
	if (error)
		return error;
	scratch->network = route->network;
	fragments_carried(p);
	if (route->flags & HW_CT_TO_HOST) {
		eth_host_mac(host);
		error = eth_address(skb, host);
		if (error)
			return error;
	}
	return deliver(skb, scratch);
}

static __always_inline int node_judge(struct __sk_buff *skb, struct scratch *scratch, const struct sender *sender)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	int error;

	if (ethertype != bpf_htons(ETH_P_IP) && (ethertype != bpf_htons(ETH_P_IPV6) || !hw_config.ipv6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	if (ip_is_multicast(&p->flow.daddr))
		return -HW_DROP_MULTICAST;
	if (p->kind == PACKET_ND)
		return -HW_DROP_INVALID_ND;
	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	error = node_claims(p, sender);
	if (error)
		return error;
	if (p->kind == PACKET_OTHER)
		return -HW_DROP_UNKNOWN_PROTOCOL;
	return node_carry(skb, scratch, sender);
}

/* As what came over the wire: from the sender, about the address that he claims. */
static __always_inline void node_tell_sender(struct packet *p, const struct sender *sender)
{
	struct hw_ip claimed = p->source;

	__builtin_memset(&p->flow, 0, sizeof(p->flow));
	p->flow.saddr = sender->address;
	p->flow.daddr = claimed;
	p->flow.proto = IPPROTO_UDP;
	p->flow.dport = hw_config.tunnel_port;
	p->family = ip_is4(&sender->address) ? 4 : 6;
	p->kind = PACKET_FLOW;
	p->tcp_flags = 0;
}

/*
 * The packet of scratch->sender. A verdict, or a negated drop reason. Not static,
 * so that the verifier walks it once.
 */
__noinline int node_receive(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int verdict;

	if (!scratch)
		return -HW_DROP_UNKNOWN_PEER;
	verdict = scratch->sender.node ? node_judge(skb, scratch, &scratch->sender) : -HW_DROP_UNKNOWN_PEER;
	if (verdict == -HW_DROP_UNKNOWN_PEER || verdict == -HW_DROP_PEER_ADDRESS || verdict == -HW_DROP_PEER_IDENTITY)
		node_tell_sender(&scratch->packet, &scratch->sender);
	return verdict;
}
