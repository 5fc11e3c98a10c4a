/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Takes off what another node has put around a packet of a service for a container here (lib/lbgeneve.h), and follows by way of whom it came. */
#pragma once

#include <stdbool.h>

#include "lib/ip.h"
#include "lib/lbbalancer.h"
#include "lib/lbgeneve.h"
#include "lib/nodes.h"
#include "lib/scratch.h"
#include "lib/tunnel6.h"

struct lbnode_option {
	__be32 about;
	__be32 words[5];
};

/* Of the outer IP header: where the option begins. */
#define LBNODE_OPTION_AT(outer) (ETH_HLEN + (outer) + (__u32)__builtin_offsetof(struct lbgeneve, about))

/* Of the option's last word, before the headers are off: who wants the answers. `inner`: where the inner frame begins. */
static __always_inline void lbnode_read_balancer(struct __sk_buff *skb, struct scratch *scratch, __u32 last, __u32 inner)
{
	scratch->balancer.kind = 0;
	scratch->returns = 0;
	if (!LBGENEVE_RETURNS(last))
		return;
	if (LBGENEVE_PASSED(last))
		bpf_skb_load_bytes(skb, inner + ETH_ALEN, &scratch->balancer.kind, LBBALANCER_BYTES);
	else
		scratch->balancer = lbbalancer_of(&scratch->sender.address);
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

	if (!scratch || !skb)
		return 0;
	scratch->returns = scratch->passed ? lbbalancer_number(&scratch->balancer) : scratch->sender.node;
	return 0;
}

/* Whether our programs read the outer packet, and the two words of its tunnel's header. */
static __always_inline bool lbnode_is_plain(const struct __sk_buff *skb, bool outer4, __be32 *kind, __be32 *key)
{
	if (outer4) {
		const struct tunnel_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL_BYTES);

		if (!headers || !tunnel_is_plain(skb, headers))
			return false;
		*kind = headers->kind;
		*key = headers->key;
	} else {
		const struct tunnel6_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL6_BYTES);

		if (!headers || !tunnel6_is_plain(skb, headers))
			return false;
		*kind = headers->kind;
		*key = headers->key;
	}
	return true;
}

/*
 * From scratch->sender, another node for sure: whole, UDP to the tunnel's port. What is said of it is in scratch->backend, `passed` and
 * `balancer`. False: it is as it was, and not that.
 */
static __always_inline bool lbnode_take(struct __sk_buff *skb, struct scratch *scratch, bool outer4)
{
	const __u32 option_at = LBNODE_OPTION_AT(outer4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	const __u32 bytes = outer4 ? TUNNEL_BYTES : TUNNEL6_BYTES;
	struct hw_backend *backend = &scratch->backend;
	struct lbnode_option option = { 0 };
	__u32 size, last;
	__be32 kind, key;
	__be16 inner;

	if (!lbnode_is_plain(skb, outer4, &kind, &key) || key != LBGENEVE_KEY)
		return false;
	if (kind == LBGENEVE_KIND4) {
		size = LBGENEVE_OPTION4;
		if (bpf_skb_load_bytes(skb, option_at, &option, LBGENEVE_OPTION4) < 0 || option.about != LBGENEVE_ABOUT4)
			return false;
		backend->addr = ip_from4(option.words[0]);
		last = option.words[1];
		inner = bpf_htons(ETH_P_IP);
	} else if (kind == LBGENEVE_KIND6) {
		size = LBGENEVE_OPTION6;
		if (bpf_skb_load_bytes(skb, option_at, &option, LBGENEVE_OPTION6) < 0 || option.about != LBGENEVE_ABOUT6)
			return false;
		__builtin_memcpy(&backend->addr, option.words, 16);
		last = option.words[4];
		inner = bpf_htons(ETH_P_IPV6);
	} else {
		return false;
	}
	backend->port = LBGENEVE_PORT(last);
	scratch->passed = LBGENEVE_PASSED(last);
	lbnode_read_balancer(skb, scratch, last, option_at + size);
	return tunnel_strip(skb, bytes + size, outer4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), inner);
}
