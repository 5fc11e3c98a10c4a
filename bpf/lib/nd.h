/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers a container's neighbour solicitations in place, and stops all other neighbour discovery (R39).
 *
 *   solicitation for its gateway or another container of its network ▸ advertisement with the host's MAC
 *   for itself, from :: (duplicate detection)                         ▸ silence
 *   router messages, redirects, advertisements                        ▸ dropped
 *
 * An answer (86 bytes):  Ethernet 14 │ IPv6 40 │ 136 0 sum │ flags S,O │ target 16 │ option 2 1 MAC
 */
#pragma once

#include "lib/arp.h"
#include "lib/parse.h"

struct nd_advert {
	__be32 version;
	__be16 length;
	__u8 next;
	__u8 hop_limit;
	struct hw_ip saddr;
	struct hw_ip daddr;
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct hw_ip target;
	__u8 option;
	__u8 option_length;
	__u8 mac[ETH_ALEN];
};

_Static_assert(sizeof(struct nd_advert) == 72, "an advertisement with one option");

#define ND_PAYLOAD (sizeof(struct nd_advert) - 40)

/* Sum of the advertisement and its pseudo header, by 32-bit words. */
static __always_inline __u16 nd_checksum(const struct nd_advert *na)
{
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)&na->saddr, sizeof(*na) - 8, 0);

	return ~checksum_fold16((__u32)sum + (__u64)bpf_htonl(ND_PAYLOAD) + bpf_htonl(IPPROTO_ICMPV6));
}

/* Not inline, for the stack. */
static __noinline int nd_advertise(struct __sk_buff *skb, const struct hw_endpoint *ep, const struct hw_ip *asker,
				   const struct hw_ip *target)
{
	struct nd_advert na = { 0 };

	na.version = bpf_htonl(6U << 28);
	na.length = bpf_htons(ND_PAYLOAD);
	na.next = IPPROTO_ICMPV6;
	na.hop_limit = 255;
	na.saddr = *target;
	na.daddr = *asker;
	na.type = WIRE_ND_NA;
	na.flags = bpf_htonl(0x60000000); /* solicited, override */
	na.target = *target;
	na.option = 2; /* target link-layer address, in units of 8 bytes: */
	na.option_length = 1;
	eth_host_mac(na.mac);
	na.checksum = nd_checksum(&na);
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
