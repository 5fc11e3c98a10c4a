/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The way to the world: the kernel's FIB says the next hop, and only an uplink may be it.
 *
 *   longer than the way allows, or hop limit used up ▸ ROUTE_REFUSED, with the size that fits or 0
 *   otherwise                                        ▸ one hop less, redirect_neigh
 *
 * hwhost stands as input device, because the lookup asks whether that one forwards.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/pure/checksum.h"
#include "lib/uplinks.h"
#include "lib/wire.h"

#define ROUTE_FOUND   0
#define ROUTE_REFUSED 1

/* What every IPv6 way carries (RFC 8200), and sensible enough for IPv4. */
#define ROUTE_SMALLEST 1280

struct route_hop {
	struct bpf_redir_neigh neighbour;
	__u32 ifindex;
	__u32 mtu; /* of a refusal; 0: the hop limit was used up */
	__u32 tunnel_key;    /* lib/overlay.h */
	struct hw_ip tunnel; /* where it ends */
};

/* ROUTE_*, or a negated drop reason. `saddr` matters to policy routing only. */
static __always_inline int route_find(struct __sk_buff *skb, const struct packet *p, const struct hw_ip *saddr,
				      const struct hw_ip *daddr, struct route_hop *hop, const struct hw_uplink **uplink)
{
	struct bpf_fib_lookup fib = { 0 };
	long result;

	fib.family = p->family == 4 ? WIRE_AF_INET : WIRE_AF_INET6;
	fib.l4_protocol = p->flow.proto;
	fib.tot_len = p->size;
	fib.ifindex = hw_config.host_ifindex;
	if (p->family == 4) {
		fib.ipv4_src = saddr->words[3];
		fib.ipv4_dst = daddr->words[3];
	} else {
		__builtin_memcpy(fib.ipv6_src, saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, daddr, 16);
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		/* Linux before 5.13 does not say what fits: the field is still the question, tot_len. */
		hop->mtu = fib.tot_len < p->size ? fib.tot_len : ROUTE_SMALLEST;
		return ROUTE_REFUSED;
	}
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -HW_DROP_NO_ROUTE;
	*uplink = uplinks_find(fib.ifindex);
	if (!*uplink)
		return -HW_DROP_NOT_AN_UPLINK;
	if (p->ttl <= 1) {
		hop->mtu = 0;
		return ROUTE_REFUSED;
	}
	hop->ifindex = fib.ifindex;
	hop->neighbour.nh_family = fib.family;
	__builtin_memcpy(hop->neighbour.ipv6_nh, fib.ipv6_dst, 16);
	return ROUTE_FOUND;
}

static __always_inline int route_send(struct __sk_buff *skb, const struct packet *p, struct route_hop *hop)
{
	if (p->family == 4) {
		struct iphdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));
		__u64 difference;

		if (!ip)
			return -HW_DROP_REWRITE_FAILED;
		difference = checksum_replace16(0, bpf_htons((__u16)ip->ttl << 8), bpf_htons((__u16)(ip->ttl - 1) << 8));
		ip->ttl--;
		ip->check = checksum_apply(ip->check, difference);
	} else {
		struct ipv6hdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return -HW_DROP_REWRITE_FAILED;
		ip->hop_limit--;
	}
	return bpf_redirect_neigh(hop->ifindex, &hop->neighbour, sizeof(hop->neighbour), 0);
}
