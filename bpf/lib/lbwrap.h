/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Wraps a packet for its backend. What is inside stays as the client sent it.
 *
 *   IPIP     Ethernet 14 │ IPv4 20 or IPv6 40 │ packet                        protocol 4 or 41: what is inside
 *   GENEVE   Ethernet 14 │ IPv4 20 or IPv6 40 │ UDP 8 │ Geneve 8 │ option 12 or 24 (lib/lbgeneve.h) │ Ethernet 14 │ packet
 *
 * The node that has the container translates: it knows the flow, and the service's address is in the packet. UDP has no checksum outside,
 * over IPv6 either (lib/tunnel6.h).
 */
#pragma once

#include <stdbool.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbfrom.h"
#include "lib/lbgeneve.h"
#include "lib/lbpacket.h"
#include "lib/pure/checksum.h"
#include "lib/xdp.h"

#define LBWRAP_TTL 64

/*
 * Of the traffic class what goes outside in Geneve: no congestion marks (RFC 6040, compatibility mode), because the node that takes the headers off
 * carries none inwards, and leaves packets that were marked on the way to the host.
 */
#define LBWRAP_GENEVE_TOS 0xfc

/* Dynamic ports (RFC 8926, 3.3). */
#define LBWRAP_PORTS_FIRST 49152
#define LBWRAP_PORTS_MASK  16383

_Static_assert(__builtin_offsetof(struct hw_lb_backend, destination_mac) % 4 == 0 &&
		       __builtin_offsetof(struct hw_lb_backend, source_mac) == __builtin_offsetof(struct hw_lb_backend, destination_mac) + ETH_ALEN,
	       "both addresses are three words");

/* In words: a compiler that is not told of any alignment would copy byte by byte. */
static __always_inline void lbwrap_ethernet(struct ethhdr *eth, const struct hw_lb_backend *backend, __be16 proto)
{
	const checksum_u32 *macs = (const void *)backend->destination_mac;
	checksum_u32 *words = (void *)eth;

	words[0] = macs[0];
	words[1] = macs[1];
	words[2] = macs[2];
	*(checksum_u16 *)(words + 3) = proto;
}

/* Not to be cut up: what is too long was refused, and then its number matters to nobody (RFC 6864). */
static __always_inline void lbwrap_ipv4(struct iphdr *ip, __be32 from, __be32 to, __u8 tos, __u16 size, __u8 proto)
{
	/* In halves, of which 32 bits hold the sum. Where it goes is last known, and added last. */
	__u32 sum = (from & 0xffff) + (from >> 16) + bpf_htons(0x4500 | tos) + bpf_htons(size) + bpf_htons(0x4000) + bpf_htons(LBWRAP_TTL << 8 | proto);

	barrier_var(sum);
	sum += (to & 0xffff) + (to >> 16);
	sum = (sum >> 16) + (sum & 0xffff);
	*(checksum_u16 *)ip = bpf_htons(0x4500 | tos);
	ip->tot_len = bpf_htons(size);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	*(checksum_u16 *)&ip->ttl = bpf_htons(LBWRAP_TTL << 8 | proto);
	ip->saddr = from;
	ip->daddr = to;
	ip->check = ~(__u16)(sum + (sum >> 16));
}

static __always_inline void lbwrap_ipv6(struct ipv6hdr *ip, const volatile struct hw_ip *from, const struct hw_ip *to, __u8 tos, __u16 payload, __u8 proto)
{
	int i;

	*(checksum_u32 *)ip = bpf_htonl(6U << 28 | (__u32)tos << 20);
	ip->payload_len = bpf_htons(payload);
	ip->nexthdr = proto;
	ip->hop_limit = LBWRAP_TTL;
#pragma unroll
	for (i = 0; i < 4; i++) {
		ip->saddr.in6_u.u6_addr32[i] = from->words[i];
		ip->daddr.in6_u.u6_addr32[i] = to->words[i];
	}
}

/* `place` may be NULL where outer packets are IPv4. */
static __always_inline void lbwrap_outer(struct ethhdr *eth, const struct hw_lb_backend *backend, const struct hw_lb_place *place, __u8 mode, __u8 tos,
					 __u16 payload, __u8 proto, bool outer4)
{
	if (outer4) {
		lbwrap_ethernet(eth, backend, bpf_htons(ETH_P_IP));
		lbwrap_ipv4((void *)(eth + 1), lbfrom4(mode), backend->outer4, tos, payload + sizeof(struct iphdr), proto);
	} else {
		lbwrap_ethernet(eth, backend, bpf_htons(ETH_P_IPV6));
		lbwrap_ipv6((void *)(eth + 1), lbfrom6(mode), &place->outer, tos, payload, proto);
	}
}

static __always_inline bool lbwrap_ipip(struct xdp_md *ctx, const struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, int family,
					bool outer4)
{
	const struct hw_lb_place *place = outer4 ? NULL : lbbackends_place(number);
	const int size = outer4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	struct ethhdr *eth;

	if ((!outer4 && !place) || bpf_xdp_adjust_head(ctx, -size))
		return false;
	eth = xdp_at(ctx, 0, ETH_HLEN + size);
	if (!eth)
		return false;
	lbwrap_outer(eth, backend, place, HW_LB_IPIP, p->tos, p->size, family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6, outer4);
	return true;
}

static __always_inline void lbwrap_option(struct lbgeneve *geneve, const struct hw_lb_backend *backend, const struct hw_ip *container, int family,
					  __u32 passed)
{
	int words = family == 4 ? 1 : 4, i;

	geneve->kind = family == 4 ? LBGENEVE_KIND4 : LBGENEVE_KIND6;
	geneve->key = LBGENEVE_KEY;
	geneve->about = family == 4 ? LBGENEVE_ABOUT4 : LBGENEVE_ABOUT6;
#pragma unroll
	for (i = 0; i < words; i++)
		geneve->option[i] = container->words[4 - words + i];
	geneve->option[words] = LBGENEVE_LAST(backend->port, passed, (backend->flags & HW_LB_BACKEND_RETURNS) / HW_LB_BACKEND_RETURNS);
}

/* `container`: where the backend listens. */
static __always_inline void lbwrap_geneve_head(struct lbgeneve *geneve, const struct hw_lb_backend *backend, const struct hw_ip *container, __u64 hash,
					       int family, __u16 payload, __u32 passed)
{
	lbwrap_option(geneve, backend, container, family, passed);
	geneve->udp.source = bpf_htons(LBWRAP_PORTS_FIRST + ((hash >> 8) & LBWRAP_PORTS_MASK));
	geneve->udp.dest = hw_config.tunnel_port;
	geneve->udp.len = bpf_htons(payload);
	geneve->udp.check = 0;
}

static __always_inline bool lbwrap_geneve(struct xdp_md *ctx, const struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, int family,
					  bool outer4)
{
	const int size = outer4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr), headers = sizeof(struct lbgeneve) + (family == 4 ? 8 : 20);
	/* A short frame's padding stays behind the packet, and is the inner frame's: the outer packet is as long as it says. */
	__u16 payload = headers + xdp_length(ctx);
	const struct hw_lb_place *place = lbbackends_place(number);
	struct lbgeneve *geneve;
	struct ethhdr *eth;

	if (!place || bpf_xdp_adjust_head(ctx, -(ETH_HLEN + size + headers)))
		return false;
	/* The packet's own Ethernet header stays where it is and is the inner one. */
	eth = xdp_at(ctx, 0, ETH_HLEN + size + headers);
	if (!eth)
		return false;
	geneve = (void *)(eth + 1) + size;
	lbwrap_outer(eth, backend, place, HW_LB_GENEVE, p->tos & LBWRAP_GENEVE_TOS, payload, IPPROTO_UDP, outer4);
	lbwrap_geneve_head(geneve, backend, &place->address, p->hash, family, payload, 0);
	return true;
}

/* Bytes that are put before the packet. */
static __always_inline __u32 lbwrap_bytes(__u8 mode, int family, bool outer4)
{
	__u32 outer = outer4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return mode == HW_LB_IPIP ? outer : outer + sizeof(struct lbgeneve) + (family == 4 ? 8 : 20) + ETH_HLEN;
}

/* `mode` and `outer4`: the backend's. False: it cannot be. */
static __always_inline bool lbwrap(struct xdp_md *ctx, const struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, __u8 mode, int family,
				   bool outer4)
{
	return mode == HW_LB_IPIP ? lbwrap_ipip(ctx, backend, number, p, family, outer4) : lbwrap_geneve(ctx, backend, number, p, family, outer4);
}
