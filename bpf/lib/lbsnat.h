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

#include "lib/lbbackends.h"
#include "lib/lbhop.h"
#include "lib/lbsnatwrite.h"
#include "lib/lbtake.h"

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
	const struct hw_lb_place *place = lbbackends_place(s->backend);
	int error = lbsnat_fits(ctx, p, backend->mtu, family);
	__u32 port;

	if (error)
		return error;
	if (!place || !lbsnat_client(ctx, p, &flow->client, family))
		return -HW_DROP_REWRITE_FAILED;
	flow->port = p->port;
	flow->pad = 0;
	flow->frontend = p->frontend;
	flow->pool = s->backend;
	flow->padded = 0;
	flow->hash = lbpool_hash(&flow->client, flow->port, flow->frontend);
	port = known ? lbpool_find(flow) : lbpool_take(flow, lbsnat_says(ctx, p, family));
	if (port == LBPOOL_NONE)
		return p->kind == LBPACKET_ERROR ? -HW_DROP_ICMP_WITHOUT_FLOW : -HW_DROP_NAT_PORTS_EXHAUSTED;
	s->to.saddr = lbsnat_own(family);
	s->to.sport = bpf_htons(hw_config.snat_first + port);
	s->to.daddr = place->address;
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

/* Whether a plain packet comes from where some backend listens that is asked in this node's name. Not inline, for the stack. */
static __noinline int lbsnat_is_asked(struct xdp_md *ctx, int family)
{
	const struct iphdr *ip4 = xdp_at(ctx, ETH_HLEN, sizeof(*ip4) + 4);
	const struct ipv6hdr *ip6 = xdp_at(ctx, ETH_HLEN, sizeof(*ip6) + 4);
	__u32 address[4];

	if (family == 4) {
		if (!ip4)
			return false;
		address[3] = ip4->saddr;
		return lbfrontends_find(address, 4, lbhash_address4(LBFRONTENDS_MAPPED, ip4->saddr),
					lbfrontends_port(*(const __be16 *)(ip4 + 1), HW_LB_POOL_PROTOCOL)) != NULL;
	}
	if (!ip6)
		return false;
	__builtin_memcpy(address, &ip6->saddr, 16);
	return lbfrontends_find(address, 6, lbhash_address(address), lbfrontends_port(*(const __be16 *)(ip6 + 1), HW_LB_POOL_PROTOCOL)) != NULL;
}

/* Whether the frame may be one. It costs every packet to this node, so it is a few comparisons. */
static __always_inline bool lbsnat_may_answer4(struct xdp_md *ctx)
{
	const struct iphdr *ip;
	const __be16 *ports;

	if (!hw_config.snat_ports || !hw_config.lb_ipv4)
		return false;
	ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip) + 4);
	if (!ip || ip->daddr != hw_config.lb_ipv4)
		return false;
	if (ip->protocol == IPPROTO_ICMP || ip->frag_off & bpf_htons(0x3fff))
		return true;
	if (ip->ihl != 5)
		return false;
	ports = (const __be16 *)(ip + 1);
	return (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) && (__u16)(bpf_ntohs(ports[1]) - hw_config.snat_first) < hw_config.snat_ports &&
	       lbsnat_is_asked(ctx, 4);
}

static __always_inline bool lbsnat_may_answer6(struct xdp_md *ctx)
{
	const struct ipv6hdr *ip;
	const __be16 *ports;
	const __u32 *words;

	if (!hw_config.snat_ports)
		return false;
	ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip) + 4);
	if (!ip)
		return false;
	words = ip->daddr.in6_u.u6_addr32;
	if (words[3] != hw_config.lb_ipv6.words[3] || words[2] != hw_config.lb_ipv6.words[2] || words[1] != hw_config.lb_ipv6.words[1] ||
	    words[0] != hw_config.lb_ipv6.words[0])
		return false;
	if (ip->nexthdr == IPPROTO_ICMPV6 || ip->nexthdr == IPPROTO_FRAGMENT)
		return true;
	ports = (const __be16 *)(ip + 1);
	return (ip->nexthdr == IPPROTO_TCP || ip->nexthdr == IPPROTO_UDP) && (__u16)(bpf_ntohs(ports[1]) - hw_config.snat_first) < hw_config.snat_ports &&
	       lbsnat_is_asked(ctx, 6);
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
