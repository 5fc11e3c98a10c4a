/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What guests need on their own wire and no policy speaks of: told apart here by exact shape, so that nothing else passes for it.
 *
 *   ARP                          ▸ in the guest's own name, or a probe (0.0.0.0)              (R38)
 *   neighbour discovery          ▸ questions, and answers for its own addresses               (R39)
 *   group membership, IGMP, MLD  ▸ whole, and for the next machine only
 */
#pragma once

#include "lib/arp.h"
#include "lib/guest.h"

/* <linux/in.h> has no number for RFC 2710's and RFC 3810's messages. */
#define GUESTLINK_MLD_QUERY  130
#define GUESTLINK_MLD_DONE   132
#define GUESTLINK_MLD_REPORT 143

/* GUEST_UNTOUCHED, or a negated drop reason. */
static __always_inline int guestlink_arp(struct __sk_buff *skb, const struct hw_endpoint *ep)
{
	struct neighbours_arp *arp = packet_at(skb, 0, sizeof(*arp));
	struct hw_ip sender_ip;
	__be32 sender;

	if (!arp)
		return -HW_DROP_MALFORMED;
	__builtin_memcpy(&sender, arp->sender, 4);
	if (!neighbours_is_arp(arp) || !eth_equal(arp->sender_mac, ep->mac) ||
	    (arp->operation != bpf_htons(WIRE_ARP_REQUEST) && arp->operation != bpf_htons(WIRE_ARP_REPLY)))
		return -HW_DROP_INVALID_ARP;
	sender_ip = ip_from4(sender);
	if (!sender)
		return arp->operation == bpf_htons(WIRE_ARP_REQUEST) ? GUEST_UNTOUCHED : -HW_DROP_INVALID_ARP;
	return guest_has(ep, 4, &sender_ip) ? GUEST_UNTOUCHED : -HW_DROP_INVALID_ARP;
}

static __always_inline bool guestlink_is_own(const struct hw_endpoint *ep, const struct hw_ip *addr)
{
	return guest_has(ep, 6, addr) || ip_is_link_local6(addr);
}

/* GUEST_UNTOUCHED, or a negated drop reason. */
static __always_inline int guestlink_nd(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep)
{
	bool nameless = ip_is_zero(&p->flow.saddr);
	struct hw_ip target;

	if (p->icmp_type == WIRE_ND_RA)
		return -HW_DROP_ROUTER_ADVERTISEMENT;
	if (p->icmp_type == WIRE_ND_REDIRECT || p->ttl != 255 || p->icmp_code || p->source_routed)
		return -HW_DROP_INVALID_ND;
	if (!guestlink_is_own(ep, &p->flow.saddr) && !(nameless && p->icmp_type != WIRE_ND_NA))
		return -HW_DROP_INVALID_SOURCE_IP;
	if (p->icmp_type == WIRE_ND_NA &&
	    (bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target)) < 0 || !guestlink_is_own(ep, &target)))
		return -HW_DROP_INVALID_ND;
	return GUEST_UNTOUCHED;
}

/* Reports and questions about groups: no router carries them on, and they are never fragments (RFC 3376, RFC 3810). */
static __always_inline bool guestlink_is_membership(const struct packet *p)
{
	if (p->ttl != 1 || p->source_routed || p->fragment != PACKET_WHOLE || !ip_is_multicast(&p->flow.daddr))
		return false;
	if (p->family == 4)
		return p->flow.proto == IPPROTO_IGMP && p->flow.daddr.words[3] != 0xffffffff;
	return p->flow.proto == IPPROTO_ICMPV6 && p->kind == PACKET_OTHER &&
	       ((p->icmp_type >= GUESTLINK_MLD_QUERY && p->icmp_type <= GUESTLINK_MLD_DONE) ||
		p->icmp_type == GUESTLINK_MLD_REPORT);
}

/* From an address of its own, or while it has none yet. */
static __always_inline bool guestlink_may_report(const struct packet *p, const struct hw_endpoint *ep)
{
	const struct hw_ip *addr = &p->flow.saddr;

	if (p->family == 4)
		return !addr->words[3] || guest_has(ep, 4, addr);
	return ip_is_zero(addr) || ip_is_link_local6(addr);
}

/* To everyone on the wire, whatever address is inside: the broadcast address of a subnet that we do not know. */
static __always_inline bool guestlink_is_broadcast(const struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_at(skb, 0, sizeof(*eth));

	return eth && eth->h_dest[0] & 1;
}
