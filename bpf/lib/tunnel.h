/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tunnel's headers, put on and taken off by our programs: on the wire the same as the kernel's device makes and reads, without
 * the way through the host's stack.
 *
 *   Ethernet 14 │ IPv4 20 │ UDP 8 │ tunnel 8 │ Ethernet 14 │ inner packet
 *
 *   VXLAN   08 00 00 00 │ key, 24 bits │ 00        Geneve without options   00 00 65 58 │ key, 24 bits │ 00
 *
 * The device has what is not exactly so: IPv6 outside (but for services, lib/tunnel6.h), a UDP checksum, fragments, options, congestion on the way
 * (RFC 6040), a way that is too narrow or by no uplink, and what an older kernel refuses.
 */
#pragma once

#include <stdbool.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/pure/checksum.h"
#include "lib/route.h"
#include "lib/uplinks.h"
#include "lib/wire.h"

#define TUNNEL_TTL 64
#define TUNNEL_BYTES (20 + 8 + 8 + ETH_HLEN)

/* Dynamic ports (RFC 7348). */
#define TUNNEL_PORTS_FIRST 49152
#define TUNNEL_PORTS_MASK  16383

/* Explicit congestion notification, of either family's traffic class. */
#define TUNNEL_ECN_MASK	       3
#define TUNNEL_ECN_CAPABLE     2
#define TUNNEL_ECN_EXPERIENCED 3

/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6, Linux 6.3. */
#define TUNNEL_BECOMES_IPV4 (1ULL << 7)
#define TUNNEL_BECOMES_IPV6 (1ULL << 8)

struct tunnel_headers {
	union {
		struct iphdr ip;
		__u32 words[5];
	};
	struct udphdr udp;
	__be32 kind; /* hw_config.tunnel_header */
	__be32 key;
	struct ethhdr inner;
};

_Static_assert(__builtin_offsetof(struct tunnel_headers, inner) + ETH_HLEN == TUNNEL_BYTES, "the headers lie as on the wire");

/* Of the IPv4 header; over one with its checksum it is 0. */
static __always_inline __u16 tunnel_checksum(const struct tunnel_headers *headers)
{
	__u64 sum = 0;
	int i;

#pragma unroll
	for (i = 0; i < 5; i++)
		sum += headers->words[i];
	return (__u16)~checksum_fold16(sum);
}

/* What the outer header says of congestion, as the kernel's device has it. */
static __always_inline __u8 tunnel_ecn(const struct __sk_buff *skb, __u8 family)
{
	const __u8 *bytes = packet_at(skb, ETH_HLEN, 2);
	__u8 ecn;

	if (!bytes)
		return 0;
	ecn = (family == 4 ? bytes[1] : bytes[1] >> 4) & TUNNEL_ECN_MASK;
	return ecn == TUNNEL_ECN_EXPERIENCED ? TUNNEL_ECN_CAPABLE : ecn;
}

/* By which receivers tell flows apart. */
static __always_inline __be16 tunnel_port(__u32 hash)
{
	return bpf_htons(TUNNEL_PORTS_FIRST + ((hash ^ hash >> 16) & TUNNEL_PORTS_MASK));
}

/* The way to the tunnel's other end, by an uplink and in its name. < 0: there is none. */
static __always_inline int tunnel_route(struct __sk_buff *skb, const struct packet *p, struct route_hop *hop, struct iphdr *ip)
{
	struct bpf_fib_lookup fib = {
		.family = WIRE_AF_INET,
		.l4_protocol = IPPROTO_UDP,
		.tot_len = p->size + TUNNEL_BYTES,
		.ifindex = hw_config.host_ifindex,
	};
	struct hw_ip any = { 0 };
	const struct route_memory *memory = route_recall(&any, &hop->tunnel, IPPROTO_UDP, p->size, hop);
	const struct hw_uplink *uplink;
	const struct hw_ip *source;
	long result;

	ip->daddr = hop->tunnel.words[3];
	if (memory) {
		ip->saddr = memory->source;
		return 0;
	}
	fib.ipv4_dst = hop->tunnel.words[3];
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1;
	uplink = uplinks_find(fib.ifindex);
	if (!uplink)
		return -1;
	source = uplinks_source4(uplink);
	if (!ip_is4(source))
		return -1;
	route_take(&fib, hop);
	ip->saddr = source->words[3];
	route_remember(&any, &hop->tunnel, IPPROTO_UDP, p->size, hop, ip->saddr);
	return 0;
}

/*
 * Sends the packet to the other end, an IPv4 address. TC_ACT_REDIRECT, or a negated drop reason; HW_PASS: it is as it was, and the device's to send.
 * `id` of the next outer packet: receivers merge what is numbered in turn.
 */
static __always_inline int tunnel_send(struct __sk_buff *skb, const struct packet *p, struct route_hop *hop, __u16 *id)
{
	__u32 size = skb->len - ETH_HLEN + TUNNEL_BYTES, hash = bpf_get_hash_recalc(skb), segments = skb->gso_segs;
	struct tunnel_headers headers = { 0 };

	if (size > 0xffff || tunnel_route(skb, p, hop, &headers.ip) < 0 ||
	    bpf_skb_load_bytes(skb, 0, &headers.inner, ETH_HLEN) < 0)
		return HW_PASS;
	headers.ip.version = 4;
	headers.ip.ihl = 5;
	headers.ip.tos = tunnel_ecn(skb, p->family);
	headers.ip.tot_len = bpf_htons(size);
	headers.ip.id = bpf_htons(*id);
	headers.ip.ttl = TUNNEL_TTL;
	headers.ip.protocol = IPPROTO_UDP;
	headers.ip.check = tunnel_checksum(&headers);
	headers.udp.source = tunnel_port(hash);
	headers.udp.dest = hw_config.tunnel_port;
	headers.udp.len = bpf_htons(size - sizeof(headers.ip));
	headers.kind = hw_config.tunnel_header;
	headers.key = bpf_htonl(hop->tunnel_key << 8);
	if (bpf_skb_adjust_room(skb, TUNNEL_BYTES, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
					BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return HW_PASS;
	*id += segments ? segments : 1;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &headers, TUNNEL_BYTES, BPF_F_RECOMPUTE_CSUM) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect_neigh(hop->ifindex, &hop->neighbour, sizeof(hop->neighbour), 0);
}

/* An outer packet that our programs read: without options, congestion met on the way or a UDP checksum, and as long as it says. */
static __always_inline bool tunnel_is_plain(const struct __sk_buff *skb, const struct tunnel_headers *headers)
{
	if (headers->ip.ihl != 5 || (headers->ip.tos & TUNNEL_ECN_MASK) == TUNNEL_ECN_EXPERIENCED || tunnel_checksum(headers))
		return false;
	return headers->ip.tot_len == bpf_htons(skb->len - ETH_HLEN) &&
	       headers->udp.len == bpf_htons(skb->len - ETH_HLEN - sizeof(headers->ip)) && !headers->udp.check;
}

/*
 * As tunnel_strip(), where the kernel knows no flag that says so: it becomes the other family first, for which the kernel puts as many bytes in
 * front as its header is longer, or takes them.
 */
static __always_inline bool tunnel_strip_to(struct __sk_buff *skb, __u32 size, __be16 inner)
{
	const int longer = sizeof(struct ipv6hdr) - sizeof(struct iphdr);

	/* What the kernel takes off first does not come back, if the rest is then too short to be taken off. */
	if (skb->len < ETH_HLEN + size + sizeof(struct iphdr) || bpf_skb_change_proto(skb, inner, 0) < 0)
		return false;
	if (!bpf_skb_adjust_room(skb, -(int)size - (inner == bpf_htons(ETH_P_IPV6) ? longer : -longer), BPF_ADJ_ROOM_MAC,
				 BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return true;
	bpf_skb_change_proto(skb, inner == bpf_htons(ETH_P_IPV6) ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6), 0);
	return false;
}

/* Takes `size` bytes off a packet of `outer`, behind which there is one of `inner`; ethertypes. False: it is as it was. */
static __always_inline bool tunnel_strip(struct __sk_buff *skb, __u32 size, __be16 outer, __be16 inner)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	struct ethhdr *eth;

	if (inner != bpf_htons(ETH_P_IP) && (inner != bpf_htons(ETH_P_IPV6) || !hw_config.ipv6))
		return false;
	if (inner != outer)
		flags |= inner == bpf_htons(ETH_P_IPV6) ? TUNNEL_BECOMES_IPV6 : TUNNEL_BECOMES_IPV4;
	if (bpf_skb_adjust_room(skb, -(int)size, BPF_ADJ_ROOM_MAC, flags) < 0 && (inner == outer || !tunnel_strip_to(skb, size, inner)))
		return false;
	/* What a device has verified are as many checksums as it says, and the outermost is gone. */
	bpf_csum_level(skb, BPF_CSUM_LEVEL_DEC);
	eth = packet_at(skb, 0, sizeof(*eth));
	if (eth)
		eth->h_proto = inner;
	return true;
}

/*
 * Takes the headers off a packet that has them for sure: whole, UDP over IPv4 to the tunnel's port. What is left is the inner packet
 * behind the outer frame's MACs. False: it is as it was, and the device's to read.
 */
static __always_inline bool tunnel_take(struct __sk_buff *skb, __u32 *key)
{
	const struct tunnel_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL_BYTES);

	if (!headers || !tunnel_is_plain(skb, headers) || headers->kind != hw_config.tunnel_header || headers->key & bpf_htonl(0xff))
		return false;
	*key = bpf_ntohl(headers->key) >> 8;
	return tunnel_strip(skb, TUNNEL_BYTES, bpf_htons(ETH_P_IP), headers->inner.h_proto);
}
