/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Wraps a packet for its backend. What is inside stays as the client sent it.
 *
 *   IPIP     Ethernet 14 │ IPv4 20 or IPv6 40 │ packet                        protocol 4 or 41: what is inside
 *   GENEVE   Ethernet 14 │ IPv4 20 │ UDP 8 │ Geneve 8 │ option 12 or 24 │ Ethernet 14 │ packet
 *
 *   the option   ff 48 │ 81 │ words 2 or 5 │ address of the container 4 or 16 │ its port 2 │ 0 0
 *                class   type: whoever does not know it drops the packet (RFC 8926)
 *
 * No header is trusted to be constant but in size, and no checksum covers more than the outer header.
 */
#pragma once

#include <stdbool.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbpacket.h"
#include "lib/pure/checksum.h"
#include "lib/xdp.h"

#define LBWRAP_TTL 64

static __always_inline void lbwrap_ethernet(struct ethhdr *eth, const struct hw_lb_backend *backend, __be16 proto)
{
	__builtin_memcpy(eth->h_dest, backend->destination_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, backend->source_mac, ETH_ALEN);
	eth->h_proto = proto;
}

/* Not to be cut up: what is too long was refused, and then its number matters to nobody (RFC 6864). */
static __always_inline void lbwrap_ipv4(struct iphdr *ip, const struct hw_lb_backend *backend, __u8 tos, __u16 size, __u8 proto)
{
	__u64 sum;

	*(checksum_u16 *)ip = bpf_htons(0x4500 | tos);
	ip->tot_len = bpf_htons(size);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	*(checksum_u16 *)&ip->ttl = bpf_htons(LBWRAP_TTL << 8 | proto);
	ip->saddr = hw_config.lb_ipv4;
	ip->daddr = backend->outer.words[3];
	sum = (__u64)ip->saddr + ip->daddr + bpf_htons(0x4500 | tos) + bpf_htons(size) + bpf_htons(0x4000) + bpf_htons(LBWRAP_TTL << 8 | proto);
	ip->check = ~checksum_fold16(sum);
}

static __always_inline void lbwrap_ipv6(struct ipv6hdr *ip, const struct hw_lb_backend *backend, __u8 tos, __u16 payload, __u8 proto)
{
	int i;

	*(checksum_u32 *)ip = bpf_htonl(6U << 28 | (__u32)tos << 20);
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = proto;
	ip->hop_limit = LBWRAP_TTL;
#pragma unroll
	for (i = 0; i < 4; i++) {
		ip->saddr.in6_u.u6_addr32[i] = hw_config.lb_ipv6.words[i];
		ip->daddr.in6_u.u6_addr32[i] = backend->outer.words[i];
	}
}

/* Bytes before the packet's own headers. */
static __always_inline __u32 lbwrap_ipip_bytes(const struct hw_lb_backend *backend)
{
	return ip_is4(&backend->outer) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline bool lbwrap_ipip(struct xdp_md *ctx, const struct hw_lb_backend *backend, const struct lbpacket *p, int family)
{
	__u8 inner = family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	struct ethhdr *eth;

	if (ip_is4(&backend->outer)) {
		if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr)))
			return false;
		eth = xdp_at(ctx, 0, ETH_HLEN + sizeof(struct iphdr));
		if (!eth)
			return false;
		lbwrap_ethernet(eth, backend, bpf_htons(ETH_P_IP));
		lbwrap_ipv4((void *)(eth + 1), backend, p->tos, p->size + sizeof(struct iphdr), inner);
		return true;
	}
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct ipv6hdr)))
		return false;
	eth = xdp_at(ctx, 0, ETH_HLEN + sizeof(struct ipv6hdr));
	if (!eth)
		return false;
	lbwrap_ethernet(eth, backend, bpf_htons(ETH_P_IPV6));
	lbwrap_ipv6((void *)(eth + 1), backend, p->tos, p->size, inner);
	return true;
}
