/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tells a container in place, in its gateway's name, why a packet of its goes no further; of a service's port, in the service's.
 *
 *   hop limit used up          ▸ time exceeded        (RFC 792 type 11, RFC 4443 type 3)
 *   longer than the way allows ▸ fragmentation needed (3/4), packet too big (2), with the size that fits
 *   nobody has the port        ▸ port unreachable     (3/3, 1/4)
 *
 *   Ethernet 14 │ IPv4 20 or IPv6 40 │ ICMP 8 │ the packet's first 128 bytes, or only its headers
 *
 * Nobody here fragments: a packet that might be is refused as if it might not, so that its sender learns the
 * size and does it itself. The host's stack is not asked, because it would do so only with forwarding on.
 */
#pragma once

#include "lib/eth.h"
#include "lib/networks.h"
#include "lib/parse.h"
#include "lib/pure/checksum.h"
#include "lib/route.h"

#define COMPLAIN_LONG	128
#define COMPLAIN_SHORT4 (20 + 8)
#define COMPLAIN_SHORT6 (40 + 8)

/* What is wrong: the size that fits, or */
#define COMPLAIN_HOPS 0
#define COMPLAIN_PORT 0x10000

struct complain_icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu;
	__u8 quote[COMPLAIN_LONG];
};

struct complain4 {
	struct iphdr ip;
	struct complain_icmp icmp;
};

struct complain6 {
	struct ipv6hdr ip;
	struct complain_icmp icmp;
};

/* Trims the frame to the complaint and turns it round. */
static __always_inline int complain_send(struct __sk_buff *skb, const struct hw_endpoint *ep, void *complaint, __u32 size)
{
	if (bpf_skb_change_tail(skb, ETH_HLEN + size, 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, complaint, size, BPF_F_INVALIDATE_HASH) < 0 || eth_address(skb, ep->mac) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect_peer(skb->ifindex, 0);
}

static __noinline int complain_ipv4(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep,
				    const struct hw_ip *from, __u32 wrong)
{
	struct complain4 complaint = { 0 };
	__u32 quote = p->size >= COMPLAIN_LONG ? COMPLAIN_LONG : COMPLAIN_SHORT4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, complaint.icmp.quote, quote) < 0)
		return -HW_DROP_MALFORMED;
	complaint.ip.version = 4;
	complaint.ip.ihl = 5;
	complaint.ip.tot_len = bpf_htons(sizeof(struct iphdr) + 8 + quote);
	complaint.ip.ttl = 64;
	complaint.ip.protocol = IPPROTO_ICMP;
	complaint.ip.saddr = from->words[3];
	complaint.ip.daddr = p->source.words[3];
	complaint.ip.check = ~checksum_fold16((__u32)bpf_csum_diff(0, 0, (__be32 *)&complaint.ip, sizeof(struct iphdr), 0));
	complaint.icmp.type = wrong == COMPLAIN_HOPS ? WIRE_ICMP_TIME_EXCEEDED : WIRE_ICMP_UNREACHABLE;
	complaint.icmp.code = wrong == COMPLAIN_HOPS ? 0 : wrong == COMPLAIN_PORT ? 3 : 4;
	complaint.icmp.mtu = bpf_htonl(wrong & 0xffff);
	complaint.icmp.checksum = ~checksum_fold16((__u32)bpf_csum_diff(0, 0, (__be32 *)&complaint.icmp, 8 + quote, 0));
	return complain_send(skb, ep, &complaint, sizeof(struct iphdr) + 8 + quote);
}

static __noinline int complain_ipv6(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep,
				    const struct hw_ip *from, __u32 wrong)
{
	struct complain6 complaint = { 0 };
	__u32 quote = p->size >= COMPLAIN_LONG ? COMPLAIN_LONG : COMPLAIN_SHORT6;
	__u64 sum;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, complaint.icmp.quote, quote) < 0)
		return -HW_DROP_MALFORMED;
	complaint.ip.version = 6;
	complaint.ip.payload_len = bpf_htons(8 + quote);
	complaint.ip.nexthdr = IPPROTO_ICMPV6;
	complaint.ip.hop_limit = 64;
	__builtin_memcpy(&complaint.ip.saddr, from, 16);
	__builtin_memcpy(&complaint.ip.daddr, &p->source, 16);
	complaint.icmp.type = wrong == COMPLAIN_HOPS ? WIRE_ICMP6_TIME_EXCEEDED : wrong == COMPLAIN_PORT ? WIRE_ICMP6_UNREACHABLE : WIRE_ICMP6_TOO_BIG;
	complaint.icmp.code = wrong == COMPLAIN_PORT ? 4 : 0;
	complaint.icmp.mtu = bpf_htonl(wrong & 0xffff);
	/* Both addresses and the message lie side by side; the rest of the pseudo header is added. */
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)&complaint.ip.saddr, 32 + 8 + quote, 0);
	sum += (__u64)bpf_htonl(8 + quote) + bpf_htonl(IPPROTO_ICMPV6);
	complaint.icmp.checksum = ~checksum_fold16(sum);
	return complain_send(skb, ep, &complaint, sizeof(struct ipv6hdr) + 8 + quote);
}

/* `mtu` 0: the hop limit. A verdict, or a negated drop reason where no complaint may be made. */
static __always_inline int complain(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep, __u32 mtu)
{
	const struct hw_network *network = networks_find(ep->network);
	const struct hw_ip *gateway;

	if (!network || p->kind == PACKET_ICMP_ERROR || p->fragment == PACKET_LATER)
		return mtu ? -HW_DROP_MTU_EXCEEDED : -HW_DROP_NO_ROUTE;
	gateway = p->family == 4 ? &network->gateway4 : &network->gateway6;
	if (ip_is_zero(gateway))
		return mtu ? -HW_DROP_MTU_EXCEEDED : -HW_DROP_NO_ROUTE;
	return p->family == 4 ? complain_ipv4(skb, p, ep, gateway, mtu) : complain_ipv6(skb, p, ep, gateway, mtu);
}
