/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tunnel's headers where nodes reach one another over IPv6, for what services need: other packets are the kernel's device's.
 *
 *   Ethernet 14 │ IPv6 40 │ UDP 8, checksum 0 │ tunnel 8 │ Ethernet 14 │ inner packet
 *
 * Without a checksum (RFC 6935, 6936): of fragments, errors, SCTP and segments that are not cut yet nobody knows the sum, what is inside has one of
 * its own, and who else reads it checks addresses and lengths.
 */
#pragma once

#include "lib/nodes.h"
#include "lib/scratch.h"
#include "lib/tunnel.h"

#define TUNNEL6_BYTES (40 + 8 + 8 + ETH_HLEN)

struct tunnel6_headers {
	struct ipv6hdr ip;
	struct udphdr udp;
	__be32 kind;
	__be32 key;
	struct ethhdr inner;
};

_Static_assert(sizeof(struct tunnel6_headers) >= TUNNEL6_BYTES && __builtin_offsetof(struct tunnel6_headers, inner) + ETH_HLEN == TUNNEL6_BYTES,
	       "the headers lie as on the wire");
_Static_assert(sizeof(struct tunnel6_headers) <= sizeof(((struct scratch *)0)->headers), "the headers fit the scratch");

/* Bytes of the tunnel that ends at the address, without options. */
static __always_inline __u32 tunnel6_bytes(const struct hw_ip *end)
{
	return ip_is4(end) ? TUNNEL_BYTES : TUNNEL6_BYTES;
}

/* As tunnel_is_plain(): no extension headers either. */
static __always_inline bool tunnel6_is_plain(const struct __sk_buff *skb, const struct tunnel6_headers *headers)
{
	const __be16 size = bpf_htons(skb->len - ETH_HLEN - sizeof(headers->ip));

	if (headers->ip.nexthdr != IPPROTO_UDP || (headers->ip.flow_lbl[0] >> 4 & TUNNEL_ECN_MASK) == TUNNEL_ECN_EXPERIENCED)
		return false;
	return headers->ip.payload_len == size && headers->udp.len == size && !headers->udp.check;
}

/* As tunnel_take(), of a packet that is UDP over IPv6 to the tunnel's port. */
static __always_inline bool tunnel6_take(struct __sk_buff *skb, __u32 *key)
{
	const struct tunnel6_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL6_BYTES);

	if (!headers || !tunnel6_is_plain(skb, headers) || headers->kind != hw_config.tunnel_header || headers->key & bpf_htonl(0xff))
		return false;
	*key = bpf_ntohl(headers->key) >> 8;
	return tunnel_strip(skb, TUNNEL6_BYTES, bpf_htons(ETH_P_IPV6), headers->inner.h_proto);
}

/* The way to the other end of scratch->hop, by an uplink and in its name. < 0: there is none. */
static __always_inline int tunnel6_route(struct __sk_buff *skb, struct scratch *scratch, struct hw_ip *source)
{
	struct bpf_fib_lookup fib = {
		.family = WIRE_AF_INET6,
		.l4_protocol = IPPROTO_UDP,
		.tot_len = scratch->packet.size + TUNNEL6_BYTES,
		.ifindex = hw_config.host_ifindex,
	};
	const struct hw_uplink *uplink;
	long result;

	__builtin_memcpy(fib.ipv6_dst, &scratch->hop.tunnel, 16);
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1;
	uplink = uplinks_find(fib.ifindex);
	if (!uplink)
		return -1;
	*source = *uplinks_source6(uplink);
	if (ip_is_zero(source))
		return -1;
	route_take(&fib, &scratch->hop);
	return 0;
}

/*
 * As tunnel_send(), of scratch->packet by scratch->hop. Congestion is marked inside alone (RFC 6040, compatibility mode), because nobody would carry
 * a mark inwards.
 */
static __always_inline int tunnel6_send(struct __sk_buff *skb, struct scratch *scratch)
{
	struct tunnel6_headers *headers = (void *)scratch->headers;
	__u32 size = skb->len - ETH_HLEN + TUNNEL6_BYTES - sizeof(headers->ip), hash = bpf_get_hash_recalc(skb);
	struct hw_ip source;

	if (size > 0xffff || tunnel6_route(skb, scratch, &source) < 0 || bpf_skb_load_bytes(skb, 0, &headers->inner, ETH_HLEN) < 0)
		return HW_PASS;
	*(__u32 *)&headers->ip = bpf_htonl(6U << 28);
	headers->ip.payload_len = bpf_htons(size);
	headers->ip.nexthdr = IPPROTO_UDP;
	headers->ip.hop_limit = TUNNEL_TTL;
	__builtin_memcpy(&headers->ip.saddr, &source, 16);
	__builtin_memcpy(&headers->ip.daddr, &scratch->hop.tunnel, 16);
	headers->udp.source = tunnel_port(hash);
	headers->udp.dest = hw_config.tunnel_port;
	headers->udp.len = bpf_htons(size);
	headers->udp.check = 0;
	headers->kind = hw_config.tunnel_header;
	headers->key = bpf_htonl(scratch->hop.tunnel_key << 8);
	if (bpf_skb_adjust_room(skb, TUNNEL6_BYTES, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
					BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO) < 0)
		return HW_PASS;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, headers, TUNNEL6_BYTES, BPF_F_RECOMPUTE_CSUM) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect_neigh(scratch->hop.ifindex, &scratch->hop.neighbour, sizeof(scratch->hop.neighbour), 0);
}
