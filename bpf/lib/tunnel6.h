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
