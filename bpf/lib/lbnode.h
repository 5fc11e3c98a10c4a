/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Takes off what another node has put around a packet of a service for a container here (lib/lbgeneve.h), and follows by way of whom it came. */
#pragma once

#include <stdbool.h>

#include "lib/ip.h"
#include "lib/lbgeneve.h"
#include "lib/nodes.h"
#include "lib/scratch.h"
#include "lib/tunnel.h"

struct lbnode_option {
	__be32 about;
	__be32 words[5];
};

#define LBNODE_OPTION_AT (ETH_HLEN + sizeof(struct iphdr) + __builtin_offsetof(struct lbgeneve, about))

/* Of the option's last word, before the headers are off: who wants the answers. */
static __always_inline void lbnode_read_balancer(struct __sk_buff *skb, struct scratch *scratch, __u32 last, __u32 size)
{
	scratch->balancer = 0;
	scratch->returns = 0;
	if (!LBGENEVE_RETURNS(last))
		return;
	if (LBGENEVE_PASSED(last))
		bpf_skb_load_bytes(skb, LBNODE_OPTION_AT + size + LBGENEVE_BALANCER, &scratch->balancer, sizeof(scratch->balancer));
	else
		scratch->balancer = scratch->sender.address.words[3];
}

/* Whether the packet's known flow is one to the very container that is said. No node turns what other flows are answered by, nor what a container's own are. */
static __always_inline bool lbnode_is_to_backend(const struct scratch *scratch)
{
	const struct ct_route *route = &scratch->route;

	return !(route->flags & HW_CT_REPLY) && route->to.dport == scratch->backend.port && ip_equal(&route->to.daddr, &scratch->backend.addr);
}

/* Both entries of the flow of scratch->packet say from now on by way of which node it is answered. Not static, so that the verifier walks it once. */
__noinline int lbnode_turn(struct __sk_buff *skb, __u32 node)
{
	struct scratch *scratch = scratch_same();
	struct hw_ct6_key partner;
	struct ct_state *state;

	if (!scratch || !skb || (node && !lbnode_is_to_backend(scratch)))
		return 0;
	partner = tuple_reverse(&scratch->route.to);
	state = ct_lookup(&scratch->packet.flow, scratch->packet.family, NULL);
	if (state)
		state->node = node;
	state = ct_lookup(&partner, scratch->packet.family, NULL);
	if (state)
		state->node = node;
	return 0;
}

/* A client of a known flow has come by another way: answers take that one. Who tells of an error need not have come by it. */
static __always_inline void lbnode_follow(struct __sk_buff *skb, const struct scratch *scratch, __u32 node)
{
	if (__builtin_expect(scratch->route.node != node, 0) && scratch->packet.kind != PACKET_ICMP_ERROR)
		lbnode_turn(skb, node);
}

/* The number of scratch->balancer. Not static, so that the verifier walks it once. */
__noinline int lbnode_find_balancer(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	struct hw_ip address;

	if (!scratch || !skb)
		return 0;
	address = ip_from4(scratch->balancer);
	scratch->returns = nodes_by_address(&address);
	return 0;
}

/*
 * From scratch->sender, another node for sure: whole, UDP over IPv4 to the tunnel's port. What is said of it is in scratch->backend, `passed` and
 * `balancer`. False: it is as it was, and not that.
 */
static __always_inline bool lbnode_take(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct tunnel_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL_BYTES);
	struct hw_backend *backend = &scratch->backend;
	struct lbnode_option option = { 0 };
	__u32 size, last;
	__be16 inner;

	if (!headers || !tunnel_is_plain(skb, headers) || headers->key != LBGENEVE_KEY)
		return false;
	if (headers->kind == LBGENEVE_KIND4) {
		size = LBGENEVE_OPTION4;
		if (bpf_skb_load_bytes(skb, LBNODE_OPTION_AT, &option, LBGENEVE_OPTION4) < 0 || option.about != LBGENEVE_ABOUT4)
			return false;
		backend->addr = ip_from4(option.words[0]);
		last = option.words[1];
		inner = bpf_htons(ETH_P_IP);
	} else if (headers->kind == LBGENEVE_KIND6) {
		size = LBGENEVE_OPTION6;
		if (bpf_skb_load_bytes(skb, LBNODE_OPTION_AT, &option, LBGENEVE_OPTION6) < 0 || option.about != LBGENEVE_ABOUT6)
			return false;
		__builtin_memcpy(&backend->addr, option.words, 16);
		last = option.words[4];
		inner = bpf_htons(ETH_P_IPV6);
	} else {
		return false;
	}
	backend->port = LBGENEVE_PORT(last);
	scratch->passed = LBGENEVE_PASSED(last);
	lbnode_read_balancer(skb, scratch, last, size);
	return tunnel_strip(skb, TUNNEL_BYTES + size, inner);
}
