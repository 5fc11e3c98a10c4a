/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICMP errors: they belong to the flow of the packet that they carry (R48).
 *
 *   outer  (router ▸ A)   inner  (A:p ▸ B:q)   flow asked for: (B:q ▸ A:p), the direction in which the error travels
 *
 * The carried packet lies at l4 + 8. What its sender sees must be what its sender sent, so that the addresses,
 * ports and checksums inside change as those outside do, and the outer checksum covers it all.
 */
#pragma once

#include <linux/in.h>

#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/pure/checksum.h"

#define ICMP_HEADER 8

/* Reads the carried packet: flow and `inner`. False: not enough of it, or it was not sent by the error's receiver. */
static __always_inline bool icmp_read_carried(struct __sk_buff *skb, struct packet *p)
{
	__u32 at = p->l4 + ICMP_HEADER;
	struct hw_ip saddr, daddr;
	__be16 ports[4];
	__u8 proto;

	if (p->family == 4) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0 || ip.version != 4 || ip.ihl < 5 ||
		    (ip.frag_off & bpf_htons(0x1fff)))
			return false;
		saddr = ip_from4(ip.saddr);
		daddr = ip_from4(ip.daddr);
		proto = ip.protocol;
		at += ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) < 0 || ip.version != 6)
			return false;
		__builtin_memcpy(&saddr, &ip.saddr, 16);
		__builtin_memcpy(&daddr, &ip.daddr, 16);
		proto = ip.nexthdr;
		at += sizeof(ip);
	}
	if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)) < 0 || !ip_equal(&saddr, &p->flow.daddr))
		return false;
	p->inner = at;
	p->flow.saddr = daddr;
	p->flow.proto = proto;
	p->flow.sport = ports[1];
	p->flow.dport = ports[0];
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6) {
		__u8 type = *(__u8 *)ports;
		bool request = type == (p->family == 4 ? WIRE_ICMP_ECHO : WIRE_ICMP6_ECHO);

		if (!request && type != (p->family == 4 ? WIRE_ICMP_ECHO_REPLY : WIRE_ICMP6_ECHO_REPLY))
			return false;
		p->flow.sport = request ? 0 : ports[2];
		p->flow.dport = request ? ports[2] : 0;
		return true;
	}
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == WIRE_PROTO_SCTP;
}

/* Replaces a 16-bit word of the carried packet and adds the change to the outer checksum's. */
static __always_inline int icmp_store16(struct __sk_buff *skb, __u32 at, __u16 old, __u16 new, __u64 *outer)
{
	*outer = checksum_replace16(*outer, old, new);
	return bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

/* The carried packet's transport checksum, if the error carries that much of it and it has one. */
static __always_inline int icmp_rewrite_checksum(struct __sk_buff *skb, const struct packet *p, __u64 addresses, __u64 ports,
						 __u64 *outer)
{
	__u8 proto = p->flow.proto;
	__u32 at = p->inner + (proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2);
	__u64 difference = proto == IPPROTO_ICMP ? ports : addresses + ports;
	__u16 old, new;

	if (proto == WIRE_PROTO_SCTP || bpf_skb_load_bytes(skb, at, &old, sizeof(old)) < 0)
		return 0;
	if (proto == IPPROTO_UDP && !old)
		return 0;
	new = checksum_apply(old, difference);
	if (proto == IPPROTO_UDP && !new)
		new = 0xffff;
	return icmp_store16(skb, at, old, new, outer);
}

/* Turns the carried packet into what its sender sent: from `to` reversed. < 0: failed. */
static __always_inline int icmp_rewrite_carried(struct __sk_buff *skb, const struct packet *p, const struct hw_ct6_key *to)
{
	__u32 header = p->l4 + ICMP_HEADER;
	__u64 addresses = 0, ports = 0, outer = 0;
	bool echo = p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6;
	int i, error = 0;

#pragma unroll
	for (i = 0; i < 4; i++) {
		addresses = checksum_replace32(addresses, p->flow.saddr.words[i], to->saddr.words[i]);
		addresses = checksum_replace32(addresses, p->flow.daddr.words[i], to->daddr.words[i]);
	}
	ports = checksum_replace16(ports, p->flow.sport, to->sport);
	ports = checksum_replace16(ports, p->flow.dport, to->dport);
	error |= icmp_rewrite_checksum(skb, p, addresses, ports, &outer);

	if (p->family == 4) {
		__u16 check;

		error |= bpf_skb_load_bytes(skb, header + 10, &check, sizeof(check));
		error |= icmp_store16(skb, header + 10, check, checksum_apply(check, addresses), &outer);
		error |= bpf_skb_store_bytes(skb, header + 12, &to->daddr.words[3], 4, 0);
		error |= bpf_skb_store_bytes(skb, header + 16, &to->saddr.words[3], 4, 0);
	} else {
		error |= bpf_skb_store_bytes(skb, header + 8, &to->daddr, 16, 0);
		error |= bpf_skb_store_bytes(skb, header + 24, &to->saddr, 16, 0);
	}
	outer += addresses;
	if (echo) {
		__u16 old = p->flow.sport | p->flow.dport, new = to->sport | to->dport;

		error |= icmp_store16(skb, p->inner + 4, old, new, &outer);
	} else {
		error |= icmp_store16(skb, p->inner, p->flow.dport, to->dport, &outer);
		error |= icmp_store16(skb, p->inner + 2, p->flow.sport, to->sport, &outer);
	}
	error |= bpf_l4_csum_replace(skb, p->l4 + 2, 0, checksum_fold32(outer), 0);
	return error;
}
