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

/* What the FIB last said of a way. Good for one jiffy, in which the kernel itself would still be sending by it. */
struct route_memory {
	struct hw_ip saddr;
	struct hw_ip daddr;
	struct bpf_redir_neigh neighbour;
	__u32 ifindex;
	__u32 when;    /* jiffies */
	__be32 source; /* IPv4 address of the uplink; 0: none */
	__u16 size;    /* of the largest packet that was found to fit */
	__u8 proto;
	__u8 pad;
};

/* Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct route_memory);
} route_memories SEC(".maps");

static __always_inline struct route_memory *route_place(const struct hw_ip *saddr, const struct hw_ip *daddr)
{
	__u32 key = ((saddr->words[3] ^ daddr->words[3]) * 0x9e3779b1U) >> 26;

	return bpf_map_lookup_elem(&route_memories, &key);
}

/* What was found in this jiffy; NULL: it is to be looked up. */
static __always_inline const struct route_memory *route_known(const struct hw_ip *saddr, const struct hw_ip *daddr, __u8 proto, __u16 size)
{
	const struct route_memory *memory = route_place(saddr, daddr);

	if (!memory || memory->when != (__u32)bpf_jiffies64() || memory->size < size || memory->proto != proto ||
	    !ip_equal(&memory->daddr, daddr) || !ip_equal(&memory->saddr, saddr))
		return NULL;
	return memory;
}

/* The same, with the way in `hop`. */
static __always_inline const struct route_memory *route_recall(const struct hw_ip *saddr, const struct hw_ip *daddr, __u8 proto, __u16 size,
							       struct route_hop *hop)
{
	const struct route_memory *memory = route_known(saddr, daddr, proto, size);

	if (!memory)
		return NULL;
	hop->neighbour = memory->neighbour;
	hop->ifindex = memory->ifindex;
	return memory;
}

static __always_inline void route_remember(const struct hw_ip *saddr, const struct hw_ip *daddr, __u8 proto, __u16 size,
					   const struct route_hop *hop, __be32 source)
{
	struct route_memory *memory = route_place(saddr, daddr);

	if (!memory)
		return;
	memory->saddr = *saddr;
	memory->daddr = *daddr;
	memory->neighbour = hop->neighbour;
	memory->ifindex = hop->ifindex;
	memory->source = source;
	memory->size = size;
	memory->proto = proto;
	memory->when = (__u32)bpf_jiffies64();
}

static __always_inline void route_take(const struct bpf_fib_lookup *found, struct route_hop *hop)
{
	hop->ifindex = found->ifindex;
	hop->neighbour.nh_family = found->family;
	__builtin_memcpy(hop->neighbour.ipv6_nh, found->ipv6_dst, 16);
}

/* What is asked of the FIB, as for a packet of the host's own. `size`: of it, 0 if any. */
static __always_inline void route_ask(struct bpf_fib_lookup *fib, const struct packet *p, const struct hw_ip *saddr, const struct hw_ip *daddr,
				      __u16 size)
{
	fib->family = p->family == 4 ? WIRE_AF_INET : WIRE_AF_INET6;
	fib->l4_protocol = p->flow.proto;
	fib->tot_len = size;
	fib->ifindex = hw_config.host_ifindex;
	if (p->family == 4) {
		fib->ipv4_src = saddr->words[3];
		fib->ipv4_dst = daddr->words[3];
	} else {
		__builtin_memcpy(fib->ipv6_src, saddr, 16);
		__builtin_memcpy(fib->ipv6_dst, daddr, 16);
	}
}

/* ROUTE_*, or a negated drop reason. `saddr` matters to policy routing only. */
static __always_inline int route_find(struct __sk_buff *skb, const struct packet *p, const struct hw_ip *saddr,
				      const struct hw_ip *daddr, struct route_hop *hop, const struct hw_uplink **uplink)
{
	struct bpf_fib_lookup fib = { 0 };
	long result;

	route_ask(&fib, p, saddr, daddr, p->size);
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
	route_take(&fib, hop);
	route_remember(saddr, daddr, p->flow.proto, p->size, hop, 0);
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
