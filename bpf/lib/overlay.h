/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tunnel between nodes, VXLAN or Geneve: its headers are ours to write (lib/tunnel.h), or those of one device of the kernel's that
 * takes outer addresses and key from each packet's metadata. With native routing there is no device, and only answers of services go by it.
 *
 *   outer: this node ▸ the other node, UDP to hw_config.tunnel_port, key (24 bits):
 *
 *     0…255      enum hw_tunnel_key          256…2^24-1  the sending container's identity;
 *                                                        among static peers its network's key
 */
#pragma once

#include "lib/ip.h"
#include "lib/networks.h"
#include "lib/nodes.h"
#include "lib/packet.h"
#include "lib/route.h"
#include "lib/scratch.h"
#include "lib/tunnel6.h"

/* The node that has the address as a container's, as its own, or, of a static peer, in its slice; NULL: none. */
static __always_inline const struct hw_node *overlay_node(const struct hw_ip *addr)
{
	const struct hw_remote *remote = nodes_remote(addr);
	const struct hw_node *node;
	const __u32 *slice;
	__u32 number;

	if (remote)
		return nodes_find(remote->node);
	number = nodes_by_address(addr);
	if (number)
		return nodes_find(number);
	slice = nodes_slice(addr);
	node = slice && *slice ? nodes_find(*slice) : NULL;
	return node && node->flags & HW_NODE_STATIC ? node : NULL;
}

/* Whether the address is of a static peer's slice: that of a container of whom no more is known. */
static __always_inline bool overlay_is_stranger(const struct hw_ip *addr)
{
	const __u32 *slice = nodes_slice(addr);
	const struct hw_node *node = slice && *slice ? nodes_find(*slice) : NULL;

	return node && node->flags & HW_NODE_STATIC;
}

/* ROUTE_*, or a negated drop reason. `ep` NULL: the node's own stack sends. */
static __always_inline int overlay_find(const struct packet *p, const struct hw_endpoint *ep, const struct hw_ip *daddr,
					struct route_hop *hop)
{
	const struct hw_node *node = overlay_node(daddr);
	const struct hw_network *network;

	if (!node)
		return -HW_DROP_NO_SUCH_NODE;
	if (p->size > node->mtu) {
		hop->mtu = node->mtu;
		return ROUTE_REFUSED;
	}
	hop->tunnel = node->address;
	hop->tunnel_key = ep ? ep->identity : HW_TUNNEL_HOST;
	if (ep && node->flags & HW_NODE_STATIC) {
		network = networks_find(ep->network);
		hop->tunnel_key = network ? network->key : 0;
	}
	return ROUTE_FOUND;
}

/* To the node by way of which a service's client is answered; otherwise the same. Found or not, `hop` says what fits. */
static __always_inline int overlay_find_balancer(const struct packet *p, const struct hw_node *node, struct route_hop *hop)
{
	hop->mtu = node->mtu - (hw_config.native ? tunnel6_bytes(&node->address) : 0);
	if (p->size > hop->mtu)
		return ROUTE_REFUSED;
	hop->tunnel = node->address;
	hop->tunnel_key = HW_TUNNEL_RETURN;
	return ROUTE_FOUND;
}

/* By the device, which takes outer addresses and key from beside the packet. */
static __always_inline int overlay_by_device(struct __sk_buff *skb, const struct route_hop *hop)
{
	struct bpf_tunnel_key key = { .tunnel_id = hop->tunnel_key, .tunnel_ttl = TUNNEL_TTL };
	/* The inner packet has a checksum of its own; IPv6 wants one outside as well (RFC 6935 is not everybody's). */
	__u64 flags = BPF_F_ZERO_CSUM_TX;
	const struct hw_ip *source;

	if (ip_is4(&hop->tunnel)) {
		key.remote_ipv4 = bpf_ntohl(hop->tunnel.words[3]);
		source = uplinks_node4();
		if (source)
			key.local_ipv4 = bpf_ntohl(source->words[3]);
	} else {
		__builtin_memcpy(key.remote_ipv6, &hop->tunnel, 16);
		source = uplinks_node6();
		if (source)
			__builtin_memcpy(key.local_ipv6, source, 16);
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect(hw_config.tunnel_ifindex, 0);
}

/* What our programs do not send themselves. */
static __always_inline int overlay_otherwise(struct __sk_buff *skb, const struct route_hop *hop)
{
	return hw_config.tunnel_ifindex ? overlay_by_device(skb, hop) : -HW_DROP_NO_ROUTE;
}

/* By scratch->hop. A verdict, or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int overlay_send(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int verdict = HW_PASS;

	if (!scratch)
		return -HW_DROP_REWRITE_FAILED;
	if (hw_config.tunnel_header && ip_is4(&scratch->hop.tunnel))
		verdict = tunnel_send(skb, &scratch->packet, &scratch->hop, &scratch->outer_id);
	return verdict == HW_PASS ? overlay_otherwise(skb, &scratch->hop) : verdict;
}

/* The same, to a node of IPv6 by way of which a service's client is answered. Not static, so that the verifier walks it once. */
__noinline int overlay_send6(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int verdict = HW_PASS;

	if (!scratch || !skb)
		return -HW_DROP_REWRITE_FAILED;
	if (hw_config.tunnel_header)
		verdict = tunnel6_send(skb, scratch);
	return verdict == HW_PASS ? overlay_otherwise(skb, &scratch->hop) : verdict;
}
