/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers a container's neighbour solicitations in place, and stops all other neighbour discovery (R39).
 *
 *   solicitation for its gateway or another container of its network ▸ advertisement with the host's MAC
 *   for itself, from :: (duplicate detection)                         ▸ silence
 *   router messages, redirects, advertisements                        ▸ dropped
 */
#pragma once

#include "lib/arp.h"
#include "lib/parse.h"

/* Not inline, for the stack. */
static __noinline int nd_advertise(struct __sk_buff *skb, const struct hw_endpoint *ep, const struct hw_ip *asker,
				   const struct hw_ip *target)
{
	struct neighbours_advert na = { 0 };

	neighbours_advert(&na, asker, target, NEIGHBOURS_SOLICITED | NEIGHBOURS_OVERRIDE);
	eth_host_mac(na.mac);
	na.checksum = neighbours_checksum(&na);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(na), 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &na, sizeof(na), BPF_F_INVALIDATE_HASH) < 0 || eth_address(skb, ep->mac) < 0)
		return -HW_DROP_REWRITE_FAILED;
	bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
	return bpf_redirect_peer(skb->ifindex, 0);
}

static __always_inline int nd_answer(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep)
{
	struct hw_ip target;
	__u8 code;

	if (p->icmp_type == WIRE_ND_RA)
		return -HW_DROP_ROUTER_ADVERTISEMENT;
	/* Every host asks for a router now and then: nothing is wrong with it, and nobody answers. */
	if (p->icmp_type == WIRE_ND_RS)
		return -HW_DROP_MULTICAST;
	if (p->icmp_type != WIRE_ND_NS || p->ttl != 255 || p->l4 != ETH_HLEN + sizeof(struct ipv6hdr) ||
	    bpf_skb_load_bytes(skb, p->l4 + 1, &code, 1) < 0 || code ||
	    bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target)) < 0 || ip_is_multicast(&target))
		return -HW_DROP_INVALID_ND;
	if (ip_is_zero(&p->flow.saddr))
		return -HW_DROP_MULTICAST;
	if (!ip_equal(&p->flow.saddr, &ep->ipv6) && !ip_is_link_local6(&p->flow.saddr))
		return -HW_DROP_INVALID_SOURCE_IP;
	if (!arp_stands_for(ep, &target))
		return -HW_DROP_NO_SUCH_ADDRESS;
	return nd_advertise(skb, ep, &p->flow.saddr, &target);
}
