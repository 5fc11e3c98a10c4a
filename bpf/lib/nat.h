/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Rewrites a packet from the flow that it was to the flow that it becomes, checksums with it.
 *
 * The transport checksum goes through the kernel's helper, which knows whether it is complete or still to be
 * finished by a device; what is in the headers is written directly.
 */
#pragma once

#include <linux/in.h>

#include "lib/icmp.h"
#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/pure/checksum.h"

static __always_inline __u64 nat_addresses(const struct hw_ct6_key *from, const struct hw_ct6_key *to)
{
	__u64 difference = 0;
	int i;

#pragma unroll
	for (i = 0; i < 4; i++) {
		difference = checksum_replace32(difference, from->saddr.words[i], to->saddr.words[i]);
		difference = checksum_replace32(difference, from->daddr.words[i], to->daddr.words[i]);
	}
	return difference;
}

/* Addresses in the IP header. 0, or a negated drop reason. */
static __always_inline int nat_header(struct __sk_buff *skb, const struct packet *p, const struct hw_ip *saddr,
				      const struct hw_ip *daddr, __u64 difference)
{
	if (p->family == 4) {
		struct iphdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return -HW_DROP_REWRITE_FAILED;
		ip->saddr = saddr->words[3];
		ip->daddr = daddr->words[3];
		ip->check = checksum_apply(ip->check, difference);
	} else {
		struct ipv6hdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return -HW_DROP_REWRITE_FAILED;
		__builtin_memcpy(&ip->saddr, saddr, 16);
		__builtin_memcpy(&ip->daddr, daddr, 16);
	}
	return 0;
}

/* The transport checksum. `addresses` changed in the pseudo header, `ports` in what the sum covers. */
static __always_inline int nat_checksum(struct __sk_buff *skb, const struct packet *p, __u64 addresses, __u64 ports, bool moved)
{
	__u32 sum = checksum_fold32(addresses);
	__u64 flags = 0;
	__u32 at;

	switch (p->flow.proto) {
	case IPPROTO_TCP:
		at = p->l4 + 16;
		break;
	case IPPROTO_UDP:
		at = p->l4 + 6;
		flags = BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMPV6:
		at = p->l4 + 2;
		break;
	case IPPROTO_ICMP:
		/* has no pseudo header */
		return bpf_l4_csum_replace(skb, p->l4 + 2, 0, checksum_fold32(ports), 0);
	default:
		/* SCTP: its CRC covers no address, and its ports we leave alone. */
		return moved ? -EINVAL : 0;
	}
	if (bpf_l4_csum_replace(skb, at, 0, sum, flags | BPF_F_PSEUDO_HDR))
		return -EINVAL;
	/*
	 * With IPv6 the addresses and the checksum cancel out in the sum that a device has taken of the whole
	 * packet, but the helper moves it as for IPv4, where the header's own checksum makes up for it.
	 */
	if (p->family == 6)
		bpf_csum_update(skb, sum);
	return moved ? bpf_l4_csum_replace(skb, at, 0, checksum_fold32(ports), flags) : 0;
}

static __always_inline int nat_ports(struct __sk_buff *skb, const struct packet *p, const struct hw_ct6_key *to)
{
	__be16 *at;

	if (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6) {
		at = packet_at(skb, p->l4 + 4, 2);
		if (!at)
			return -HW_DROP_REWRITE_FAILED;
		*at = p->kind == PACKET_ANSWER ? to->dport : to->sport;
		return 0;
	}
	at = packet_at(skb, p->l4, 4);
	if (!at)
		return -HW_DROP_REWRITE_FAILED;
	at[0] = to->sport;
	at[1] = to->dport;
	return 0;
}

static __always_inline int nat_flow(struct __sk_buff *skb, const struct packet *p, const struct hw_ct6_key *to)
{
	bool moved = p->flow.sport != to->sport || p->flow.dport != to->dport;
	__u64 addresses = nat_addresses(&p->flow, to), ports = 0;

	if (p->fragment != PACKET_LATER) {
		ports = checksum_replace16(ports, p->flow.sport, to->sport);
		ports = checksum_replace16(ports, p->flow.dport, to->dport);
		if (nat_checksum(skb, p, addresses, ports, moved) < 0 || (moved && nat_ports(skb, p, to) < 0))
			return -HW_DROP_REWRITE_FAILED;
	}
	return nat_header(skb, p, &to->saddr, &to->daddr, addresses);
}

/* An ICMP error: its own addresses, and the packet that it carries. `hidden`: whoever sent it, it comes from the flow's far end. */
static __noinline int nat_icmp_error(struct __sk_buff *skb, const struct packet *p, const struct hw_ct6_key *to, bool hidden)
{
	struct hw_ct6_key outer = { .saddr = p->source, .daddr = p->flow.daddr };
	struct hw_ct6_key changed = { .saddr = p->source, .daddr = to->daddr };
	__u64 addresses;
	__u32 sum;

	/* From the far end itself, not a router on the way. */
	if (hidden || ip_equal(&p->source, &p->flow.saddr))
		changed.saddr = to->saddr;
	addresses = nat_addresses(&outer, &changed);
	sum = checksum_fold32(addresses);
	if (icmp_rewrite_carried(skb, p, to) < 0)
		return -HW_DROP_REWRITE_FAILED;
	if (p->family == 6) {
		if (bpf_l4_csum_replace(skb, p->l4 + 2, 0, sum, BPF_F_PSEUDO_HDR))
			return -HW_DROP_REWRITE_FAILED;
		bpf_csum_update(skb, sum);
	}
	return nat_header(skb, p, &changed.saddr, &changed.daddr, addresses);
}

/* 0, or a negated drop reason. */
static __always_inline int nat_apply(struct __sk_buff *skb, const struct packet *p, const struct hw_ct6_key *to)
{
	return p->kind == PACKET_ICMP_ERROR ? nat_icmp_error(skb, p, to, false) : nat_flow(skb, p, to);
}
