/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Flows to backends that know nothing of services, at an uplink's XDP: both ways by way of this node.
 *
 *   client:c ▸ service:s    becomes    this node:p ▸ backend:b        lbsnat_send
 *   backend:b ▸ this node:p            service:s ▸ client:c           lbsnat_answer
 *
 * One hop less, as by any router. An ICMP error is of the flow whose packet it carries: that one becomes what its sender sent, and the error
 * comes from the flow's far end whoever sent it, because the other side has no way to routers that it may not know of. A fragment has its
 * ports from its first.
 */
#pragma once

#include <linux/errno.h>

#include "lib/lbbackends.h"
#include "lib/lbhop.h"
#include "lib/lbother.h"
#include "lib/lbpool.h"

/* The way to a client. Of this object alone, which nobody else reads (no hw_ name). */
struct lbsnat_hop {
	struct hw_ip client;
	__u32 ifindex; /* 0: not known */
	__u32 found;   /* low 32 bits of jiffies: good for HW_LB_HOP_JIFFIES, as backends' are */
	__u8 destination_mac[6];
	__u8 source_mac[6];
	__u32 mtu;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct lbsnat_hop);
} lbsnat_hops SEC(".maps");

/* What is known of one packet, kept off the stack, as in lib/scratch.h. */
struct lbsnat {
	struct lbpacket p;
	struct hw_ct6_key to;	 /* what the flow becomes */
	struct packet q;	 /* of an answer */
	struct hw_ip from;	 /* of an answer's flow: the backend */
	struct lbpool_flow flow; /* of what is sent */
	__u32 backend;		 /* its number */
	__be16 ports[2];	 /* of an answer's flow: the backend's, and this node's */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lbsnat);
} lbsnat_map SEC(".maps");

static __always_inline struct lbsnat *lbsnat_same(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&lbsnat_map, &key);
}

static __always_inline struct hw_ip lbsnat_own(int family)
{
	struct hw_ip own = { 0 };
	int i;

	if (family == 4)
		return ip_from4(hw_config.lb_ipv4);
#pragma unroll
	for (i = 0; i < 4; i++)
		own.words[i] = hw_config.lb_ipv6.words[i];
	return own;
}

/* NULL: netdev finds neighbours, and says why there is no way. Not inline, for the stack. */
static __noinline struct lbsnat_hop *lbsnat_way(struct xdp_md *ctx, const struct hw_ct6_key *to, int family)
{
	__u32 key = ((to->daddr.words[3] ^ to->daddr.words[2]) * 0x9e3779b1U) >> 22, now = (__u32)bpf_jiffies64();
	struct lbsnat_hop *hop = bpf_map_lookup_elem(&lbsnat_hops, &key);
	struct bpf_fib_lookup fib = { .ifindex = hw_config.host_ifindex };

	if (!hop)
		return NULL;
	if (hop->ifindex && now - hop->found < HW_LB_HOP_JIFFIES && ip_equal(&hop->client, &to->daddr))
		return hop;
	if (family == 4) {
		fib.family = WIRE_AF_INET;
		fib.ipv4_dst = to->daddr.words[3];
		fib.ipv4_src = to->saddr.words[3];
	} else {
		fib.family = WIRE_AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, &to->daddr, 16);
		__builtin_memcpy(fib.ipv6_src, &to->saddr, 16);
	}
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS || !uplinks_find(fib.ifindex))
		return NULL;
	__builtin_memcpy(hop->destination_mac, fib.dmac, ETH_ALEN);
	__builtin_memcpy(hop->source_mac, fib.smac, ETH_ALEN);
	hop->client = to->daddr;
	hop->mtu = fib.mtu_result;
	hop->found = now;
	hop->ifindex = fib.ifindex;
	return hop;
}

/* An address in a header, of 4 or 16 bytes, becomes another; added to the change of what a checksum covers. */
static __always_inline __u64 lbsnat_replace(__u64 difference, checksum_u32 *at, const struct hw_ip *to, int family)
{
	int i;

	if (family == 4) {
		difference = checksum_replace32(difference, *at, to->words[3]);
		*at = to->words[3];
		return difference;
	}
#pragma unroll
	for (i = 0; i < 4; i++) {
		difference = checksum_replace32(difference, at[i], to->words[i]);
		at[i] = to->words[i];
	}
	return difference;
}

/* Ports and checksum of TCP or UDP at a constant place. False: the frame ends before them. */
static __always_inline bool lbsnat_ports(struct xdp_md *ctx, __u32 at, __u8 proto, const struct hw_ct6_key *to, __u64 addresses)
{
	__u16 *check = xdp_at(ctx, at + (proto == IPPROTO_TCP ? 16 : 6), sizeof(*check));
	__be16 *ports = xdp_at(ctx, at, 4);

	if (!ports || !check)
		return false;
	if (proto == IPPROTO_TCP || *check) {
		*check = checksum_apply(*check, checksum_replace16(checksum_replace16(addresses, ports[0], to->sport), ports[1], to->dport));
		if (proto == IPPROTO_UDP && !*check)
			*check = 0xffff;
	}
	ports[0] = to->sport;
	ports[1] = to->dport;
	return true;
}

/* The IP header, with one hop less; `difference` is that of its addresses. False: the frame ends before its end. */
static __always_inline bool lbsnat_header(struct xdp_md *ctx, const struct hw_ct6_key *to, int family, __u64 *difference)
{
	struct iphdr *ip4 = xdp_at(ctx, ETH_HLEN, sizeof(*ip4));
	struct ipv6hdr *ip6 = xdp_at(ctx, ETH_HLEN, sizeof(*ip6));

	if (family == 4) {
		if (!ip4)
			return false;
		*difference = lbsnat_replace(lbsnat_replace(0, (checksum_u32 *)&ip4->saddr, &to->saddr, 4), (checksum_u32 *)&ip4->daddr, &to->daddr, 4);
		ip4->check = checksum_apply(ip4->check, checksum_replace16(*difference, bpf_htons((__u16)ip4->ttl << 8), bpf_htons((__u16)(ip4->ttl - 1) << 8)));
		ip4->ttl--;
		return true;
	}
	if (!ip6)
		return false;
	*difference = lbsnat_replace(lbsnat_replace(0, (checksum_u32 *)&ip6->saddr, &to->saddr, 6), (checksum_u32 *)&ip6->daddr, &to->daddr, 6);
	ip6->hop_limit--;
	return true;
}

static __always_inline int lbsnat_store16(struct xdp_md *ctx, __u32 at, __u16 old, __u16 new, __u64 *outer)
{
	*outer = checksum_replace16(*outer, old, new);
	return bpf_xdp_store_bytes(ctx, at, &new, sizeof(new));
}

/* The same of an address somewhere in the frame. */
static __always_inline int lbsnat_store(struct xdp_md *ctx, __u32 at, const struct hw_ip *to, int family, __u64 *difference)
{
	const __u32 size = family == 4 ? 4 : 16;
	struct hw_ip address;

	if (bpf_xdp_load_bytes(ctx, at, &address, size))
		return -EINVAL;
	*difference = lbsnat_replace(*difference, (checksum_u32 *)&address, to, family);
	return bpf_xdp_store_bytes(ctx, at, &address, size);
}

/* The packet that an error carries becomes the one that its sender sent: `to` reversed. `outer`: the change of what the error's checksum covers. */
static __always_inline int lbsnat_carried(struct xdp_md *ctx, const struct lbpacket *p, const struct hw_ct6_key *to, int family, __u64 *outer)
{
	__u32 at = p->l4 + sizeof(struct wire_icmp), first = at + (family == 4 ? 12 : 8), check = p->inner + (p->proto == IPPROTO_TCP ? 16 : 6);
	__u64 difference = 0;
	__be16 ports[2];
	__u16 old, new;
	int error;

	error = lbsnat_store(ctx, first, &to->daddr, family, &difference);
	error |= lbsnat_store(ctx, first + (family == 4 ? 4 : 16), &to->saddr, family, &difference);
	*outer += difference;
	if (family == 4) {
		error |= bpf_xdp_load_bytes(ctx, at + 10, &old, sizeof(old));
		error |= lbsnat_store16(ctx, at + 10, old, checksum_apply(old, difference), outer);
	}
	error |= bpf_xdp_load_bytes(ctx, p->inner, ports, sizeof(ports));
	difference = checksum_replace16(checksum_replace16(difference, ports[0], to->dport), ports[1], to->sport);
	error |= lbsnat_store16(ctx, p->inner, ports[0], to->dport, outer);
	error |= lbsnat_store16(ctx, p->inner + 2, ports[1], to->sport, outer);
	/* Routers carry eight bytes at least, and of TCP its checksum lies behind them. */
	if (check + 2 > (__u32)p->size + ETH_HLEN || bpf_xdp_load_bytes(ctx, check, &old, sizeof(old)) || (p->proto == IPPROTO_UDP && !old))
		return error;
	new = checksum_apply(old, difference);
	return error | lbsnat_store16(ctx, check, old, p->proto == IPPROTO_UDP && !new ? 0xffff : new, outer);
}

/* 0, or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int lbsnat_error(struct xdp_md *ctx, int family)
{
	struct lbsnat *s = lbsnat_same();
	__u64 difference = 0, outer = 0;
	const struct hw_ct6_key *to;
	const struct lbpacket *p;
	__u16 check;

	if (!s)
		return -HW_DROP_REWRITE_FAILED;
	p = &s->p;
	to = &s->to;
	if (lbsnat_carried(ctx, p, to, family, &outer) || !lbsnat_header(ctx, to, family, &difference))
		return -HW_DROP_REWRITE_FAILED;
	if (family == 6)
		outer += difference;
	if (bpf_xdp_load_bytes(ctx, p->l4 + 2, &check, sizeof(check)))
		return -HW_DROP_REWRITE_FAILED;
	check = checksum_apply(check, outer);
	return bpf_xdp_store_bytes(ctx, p->l4 + 2, &check, sizeof(check)) ? -HW_DROP_REWRITE_FAILED : 0;
}

/* Where the transport header of nearly every packet lies. */
static __always_inline __u32 lbsnat_plain(int family)
{
	return ETH_HLEN + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* 0, or a negated drop reason. */
static __always_inline int lbsnat_rewrite(struct xdp_md *ctx, const struct lbsnat *s, int family)
{
	const struct lbpacket *p = &s->p;
	const struct hw_ct6_key *to = &s->to;
	const __u32 plain = lbsnat_plain(family);
	__u64 addresses;
	bool done = true;

	if (p->kind == LBPACKET_ERROR)
		return lbsnat_error(ctx, family);
	if (!lbsnat_header(ctx, to, family, &addresses))
		return -HW_DROP_REWRITE_FAILED;
	if (p->fragment != PACKET_LATER)
		done = p->l4 == plain ? lbsnat_ports(ctx, plain, p->proto, to, addresses) : lbsnat_ports(ctx, plain + 8, p->proto, to, addresses);
	return done ? 0 : -HW_DROP_REWRITE_FAILED;
}

/* 0, or what becomes of it instead: who cannot go further is told, if he is to be told at all. */
static __always_inline int lbsnat_fits(struct xdp_md *ctx, const struct lbpacket *p, __u32 mtu, int family)
{
	const __u8 *ttl = xdp_at(ctx, ETH_HLEN + (family == 4 ? 8 : 7), 1);
	bool tell = p->kind != LBPACKET_ERROR && p->fragment != PACKET_LATER;

	if (!ttl)
		return -HW_DROP_MALFORMED;
	if (*ttl <= 1)
		return tell ? LBANSWER_EXPIRED : -HW_DROP_TTL_EXCEEDED;
	if (p->size > mtu)
		return tell ? LBANSWER_TOO_LONG(mtu) : -HW_DROP_MTU_EXCEEDED;
	return 0;
}

static __always_inline int lbsnat_leave(struct xdp_md *ctx, const __u8 destination[6], const __u8 source[6], __u32 ifindex)
{
	struct ethhdr *eth = xdp_at(ctx, 0, sizeof(*eth));

	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	__builtin_memcpy(eth->h_dest, destination, ETH_ALEN);
	__builtin_memcpy(eth->h_source, source, ETH_ALEN);
	return ifindex == ctx->ingress_ifindex ? XDP_TX : (int)bpf_redirect(ifindex, 0);
}

/* TCP's flags; those of nothing else, and of what lies beyond the frame. */
static __always_inline __u8 lbsnat_flags(struct xdp_md *ctx, const struct lbpacket *p, int family)
{
	const __u8 *at = xdp_at(ctx, lbsnat_plain(family) + 13, 1);
	__u8 flags = 0;

	if (p->proto != IPPROTO_TCP)
		return 0;
	if (p->l4 == lbsnat_plain(family))
		return at ? *at : 0;
	bpf_xdp_load_bytes(ctx, p->l4 + 13, &flags, sizeof(flags));
	return flags;
}

/* Of what is to a service. False: the frame ends before it. */
static __always_inline bool lbsnat_client(struct xdp_md *ctx, const struct lbpacket *p, struct hw_ip *client, int family)
{
	const struct iphdr *ip4 = xdp_at(ctx, ETH_HLEN, sizeof(*ip4));
	const struct ipv6hdr *ip6 = xdp_at(ctx, ETH_HLEN, sizeof(*ip6));

	*client = ip_from4(0);
	if (p->kind == LBPACKET_ERROR)
		return !(family == 4 ? bpf_xdp_load_bytes(ctx, p->client, &client->words[3], 4) : bpf_xdp_load_bytes(ctx, p->client, client, 16));
	if (family == 4) {
		if (ip4)
			client->words[3] = ip4->saddr;
		return ip4;
	}
	if (ip6)
		__builtin_memcpy(client, &ip6->saddr, 16);
	return ip6;
}

static __always_inline __u32 lbsnat_says(struct xdp_md *ctx, const struct lbpacket *p, int family)
{
	if (p->kind == LBPACKET_BEGINS)
		return 0;
	if (p->kind == LBPACKET_DATAGRAM)
		return HW_LB_TRANSLATED_DATAGRAM | HW_LB_TRANSLATED_WENT_ON;
	return HW_LB_TRANSLATED_WENT_ON | lbpool_tcp(lbsnat_flags(ctx, p, family), HW_LB_TRANSLATED_CLIENT_OVER);
}

/* What s->p becomes on its way to the backend: 0 with s->to, LBANSWER_*, or a negated drop reason. Not inline, for the stack. */
static __noinline int lbsnat_ask(struct xdp_md *ctx, struct lbsnat *s, const struct hw_lb_backend *backend, int family)
{
	const struct lbpacket *p = &s->p;
	struct lbpool_flow *flow = &s->flow;
	bool known = p->kind == LBPACKET_ERROR || p->fragment == PACKET_LATER;
	int error = lbsnat_fits(ctx, p, backend->mtu, family);
	__u32 port;

	if (error)
		return error;
	if (!lbsnat_client(ctx, p, &flow->client, family))
		return -HW_DROP_REWRITE_FAILED;
	flow->port = p->port;
	flow->frontend = p->frontend;
	flow->pool = s->backend;
	flow->hash = lbpool_hash(&flow->client, flow->port, flow->frontend);
	port = known ? lbpool_find(flow) : lbpool_take(flow, lbsnat_says(ctx, p, family));
	if (port == LBPOOL_NONE)
		return p->kind == LBPACKET_ERROR ? -HW_DROP_ICMP_WITHOUT_FLOW : -HW_DROP_NAT_PORTS_EXHAUSTED;
	s->to.saddr = lbsnat_own(family);
	s->to.sport = bpf_htons(hw_config.snat_first + port);
	s->to.daddr = backend->address;
	s->to.dport = backend->port;
	return 0;
}

/* Not inline, for the stack. */
static __noinline int lbsnat_depart(struct xdp_md *ctx, const struct lbsnat *s, const struct hw_lb_backend *backend, int family)
{
	int error = lbsnat_rewrite(ctx, s, family);

	return error ? error : lbsnat_leave(ctx, backend->destination_mac, backend->source_mac, backend->ifindex);
}

/* s->p, to a backend whose next hop is known. A verdict, LBANSWER_*, or a negated drop reason. */
static __always_inline int lbsnat_send(struct xdp_md *ctx, struct lbsnat *s, const struct hw_lb_backend *backend, int family)
{
	int error = lbsnat_ask(ctx, s, backend, family);

	return error ? error : lbsnat_depart(ctx, s, backend, family);
}

/* Whether the frame may be one. It costs every packet to this node, so it is a few comparisons. */
static __always_inline bool lbsnat_may_answer4(struct xdp_md *ctx)
{
	const struct iphdr *ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip) + 4);
	const __be16 *ports;

	if (!hw_config.snat_ports || !hw_config.lb_ipv4 || !ip || ip->daddr != hw_config.lb_ipv4)
		return false;
	if (ip->protocol == IPPROTO_ICMP || ip->frag_off & bpf_htons(0x3fff))
		return true;
	ports = (const __be16 *)(ip + 1);
	return (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) && (__u16)(bpf_ntohs(ports[1]) - hw_config.snat_first) < hw_config.snat_ports;
}

static __always_inline bool lbsnat_may_answer6(struct xdp_md *ctx)
{
	const struct ipv6hdr *ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip) + 4);
	const __be16 *ports;
	const __u32 *words;

	if (!hw_config.snat_ports || !ip)
		return false;
	words = ip->daddr.in6_u.u6_addr32;
	if (words[3] != hw_config.lb_ipv6.words[3] || words[2] != hw_config.lb_ipv6.words[2] || words[1] != hw_config.lb_ipv6.words[1] ||
	    words[0] != hw_config.lb_ipv6.words[0])
		return false;
	if (ip->nexthdr == IPPROTO_ICMPV6 || ip->nexthdr == IPPROTO_FRAGMENT)
		return true;
	ports = (const __be16 *)(ip + 1);
	return (ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP) && (__u16)(bpf_ntohs(ports[1]) - hw_config.snat_first) < hw_config.snat_ports;
}

/* Who answers which port of this node's, and what. False: it is none that is read here. Not inline, for the stack. */
static __noinline int lbsnat_read(struct xdp_md *ctx, struct lbsnat *s, int family)
{
	struct lbpacket *p = &s->p;
	struct packet *q = &s->q;
	__be16 carried[2];
	__u8 type;

	__builtin_memset(p, 0, sizeof(*p));
	__builtin_memset(q, 0, sizeof(*q));
	q->family = family;
	if (family == 4 ? lbother_head4(ctx, q, p) : lbother_head6(ctx, q, p))
		return false;
	p->proto = q->flow.proto;
	p->l4 = q->l4;
	p->fragment = q->fragment;
	if (p->proto == (family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		if (q->fragment != PACKET_WHOLE || bpf_xdp_load_bytes(ctx, q->l4, &type, 1) || !lbother_is_error(family, type) ||
		    !lbother_carried(ctx, family, q, p, &s->from, carried))
			return false;
		s->ports[0] = carried[1];
		s->ports[1] = carried[0];
		return true;
	}
	if ((p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP) || (q->fragment == PACKET_LATER && !fragments_recall(q)))
		return false;
	if (q->fragment != PACKET_LATER && bpf_xdp_load_bytes(ctx, q->l4, &q->flow.sport, 4))
		return false;
	s->from = q->flow.saddr;
	s->ports[0] = q->flow.sport;
	s->ports[1] = q->flow.dport;
	return true;
}

/* What an answer becomes: s->to. False: it is none. Not inline, for the stack. */
static __noinline int lbsnat_known(struct xdp_md *ctx, struct lbsnat *s, int family)
{
	const struct lbpacket *p = &s->p;
	struct hw_lb_translated *at;

	if (!lbsnat_read(ctx, s, family))
		return false;
	at = lbpool_answered(&s->from, s->ports[0], s->ports[1], p->proto, &s->to);
	if (!at)
		return false;
	if (p->kind != LBPACKET_ERROR && p->fragment != PACKET_LATER)
		lbpool_touch(at, p->proto == IPPROTO_UDP ? HW_LB_TRANSLATED_WENT_ON : lbpool_tcp(lbsnat_flags(ctx, p, family), HW_LB_TRANSLATED_BACKEND_OVER), false);
	fragments_carried(&s->q);
	return true;
}

/* What a backend answers. LBOTHER_PASS when it is none of that; otherwise as lbsnat_send. Not static, so that the verifier walks it once. */
__noinline int lbsnat_answer(struct xdp_md *ctx, int family)
{
	struct lbsnat *s = lbsnat_same();
	struct lbsnat_hop *hop;
	int error;

	if (!s || !lbsnat_known(ctx, s, family))
		return LBOTHER_PASS;
	hop = lbsnat_way(ctx, &s->to, family);
	if (!hop)
		return LBOTHER_PASS;
	error = lbsnat_fits(ctx, &s->p, hop->mtu, family);
	if (!error)
		error = lbsnat_rewrite(ctx, s, family);
	return error ? error : lbsnat_leave(ctx, hop->destination_mac, hop->source_mac, hop->ifindex);
}
