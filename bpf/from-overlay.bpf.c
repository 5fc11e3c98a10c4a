// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What other nodes send through the tunnel: the overlay's device, ingress.
 *
 *   tunnel key ▸ outer source is a node's ▸ parse ▸ inner source is that node's own, and the key is its identity
 *              ▸ fragments ▸ conntrack ─ known, and judged by the policy in force ─┐
 *                               └ first packet: walls │ policy ▸ opened            ▸ container │ host (answers only)
 *
 * Who is refused for what he claims is told by his outer address, with the address that he claimed as destination.
 */
#include "lib/ctopen.h"
#include "lib/deliver.h"
#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/exit.h"
#include "lib/fragments.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/overlay.h"
#include "lib/parse.h"
#include "lib/scratch.h"

#define PACKET_TO_US	0 /* <linux/if_packet.h>: PACKET_HOST */
#define FIRST_IDENTITY 256

struct sender {
	struct hw_ip address; /* outer */
	__u32 node;
	__u32 key;
};

/* 0, or a negated drop reason: no tunnel packet at all, or nobody's whom we know. */
static __always_inline int read_sender(struct __sk_buff *skb, struct sender *sender)
{
	struct bpf_tunnel_key key = { 0 };

	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		sender->address = ip_from4(bpf_htonl(key.remote_ipv4));
	else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(&sender->address, key.remote_ipv6, 16);
	else
		return -HW_DROP_MALFORMED;
	sender->key = key.tunnel_id;
	sender->node = nodes_by_address(&sender->address);
	return sender->node ? 0 : -HW_DROP_UNKNOWN_PEER;
}

/* R43: a node speaks for its own containers and for itself. */
static __always_inline int check_claim(const struct packet *p, const struct sender *sender)
{
	const struct hw_remote *remote = nodes_remote(&p->source);
	const struct hw_node *node;
	const __u32 *slice;

	if (remote) {
		if (remote->node != sender->node)
			return -HW_DROP_PEER_ADDRESS;
		return remote->identity == sender->key ? 0 : -HW_DROP_PEER_IDENTITY;
	}
	if (nodes_by_address(&p->source) == sender->node)
		return sender->key == HW_TUNNEL_HOST ? 0 : -HW_DROP_PEER_IDENTITY;
	slice = nodes_slice(&p->source);
	node = nodes_find(sender->node);
	if (!slice || *slice != sender->node || !node || !(node->flags & HW_NODE_STATIC))
		return -HW_DROP_PEER_ADDRESS;
	return sender->key >= FIRST_IDENTITY ? 0 : -HW_DROP_PEER_IDENTITY;
}

/* Walls of internal networks, seen from the container here. */
static __always_inline int check_walls(const struct packet *p, const struct sender *sender, const struct hw_endpoint *ep, bool same)
{
	const struct hw_remote *remote = nodes_remote(&p->flow.saddr);
	bool behind = ep->flags & HW_NETWORK_INTERNAL || (sender->key >= FIRST_IDENTITY && sender->key & HW_TUNNEL_INTERNAL);

	if (remote)
		return ep->flags & HW_NETWORK_INTERNAL && remote->network != ep->network ? -HW_DROP_INTERNAL_NETWORK : 0;
	return behind && !same ? -HW_DROP_INTERNAL_NETWORK : 0;
}

/* A first packet: 0 to be opened by the route, or a negated drop reason. */
static __always_inline int open_from_node(struct __sk_buff *skb, struct scratch *scratch, const struct sender *sender)
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
	error = check_walls(p, sender, ep, same);
	if (error)
		return error;
	ct_prepare(p, route, ep->network);
	route->flags = HW_CT_FROM_NODE | (same ? HW_CT_SAME_NETWORK : 0);
	route->answer_flags = HW_CT_TO_NODE | (same ? HW_CT_SAME_NETWORK : 0);
	return judge_flow(skb, JUDGE_NEITHER);
}

/* What is known, opened or refused of a packet whose sender may say what it says. */
static __always_inline int carry(struct __sk_buff *skb, struct scratch *scratch, const struct sender *sender, __u32 *network)
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
		error = open_from_node(skb, scratch, sender);
		if (!error)
			error = ctopen(skb);
	} else {
		error = judge_known(skb, scratch, JUDGE_NEITHER);
	}
	if (error)
		return error;
	*network = route->network;
	fragments_carried(p);
	if (route->flags & HW_CT_TO_HOST) {
		eth_host_mac(host);
		error = eth_address(skb, host);
		if (error)
			return error;
	}
	return deliver(skb, scratch);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, struct sender *sender, __u32 *network)
{
	struct packet *p = &scratch->packet;
	int error = read_sender(skb, sender);
	__be16 ethertype;

	if (error)
		return error;
	ethertype = parse_ethertype(skb);
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
	error = check_claim(p, sender);
	if (error)
		return error;
	if (p->kind == PACKET_OTHER)
		return -HW_DROP_UNKNOWN_PROTOCOL;
	/* The inner frame is to the other node's MAC. */
	bpf_skb_change_type(skb, PACKET_TO_US);
	return carry(skb, scratch, sender, network);
}

/* As what came over the wire: from the sender, about the address that he claims. */
static __always_inline void tell_sender(struct packet *p, const struct sender *sender)
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

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_take();
	struct sender sender = { 0 };
	__u32 network = 0;
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = judge(skb, scratch, &sender, &network);
	if (verdict == -HW_DROP_UNKNOWN_PEER || verdict == -HW_DROP_PEER_ADDRESS || verdict == -HW_DROP_PEER_IDENTITY)
		tell_sender(&scratch->packet, &sender);
	return exit_with(skb, &scratch->packet, &scratch->judgement, network, HW_DIRECTION_FROM_OVERLAY, false, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
