/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What comes to a service's address and is not TCP or UDP to one of its ports, right behind a plain header.
 *
 *   SCTP       ▸ its flow
 *   ICMP error ▸ the flow that it speaks of          later fragment ▸ the flow of its first
 *   echo       ▸ answered                            IP options     ▸ dropped
 *   a port that no service has ▸ refused             lies           ▸ dropped
 *
 * Of an address that the host has as well, all that is no service's is the host's.
 */
#pragma once

#include "lib/fragments.h"
#include "lib/lbanswer.h"
#include "lib/lbfrontends.h"
#include "lib/lbpacket.h"
#include "lib/packet.h"
#include "lib/wire.h"
#include "lib/xdp.h"

/* Not ours: beside XDP_* and LBANSWER_*. */
#define LBOTHER_PASS 0x100

#define LBOTHER_OPTIONS6 (1ULL << 0 | 1ULL << 43 | 1ULL << 51 | 1ULL << 60) /* hop-by-hop, routing, authentication, destination */

static __always_inline int lbother_head4(struct xdp_md *ctx, struct packet *q, struct lbpacket *p)
{
	__u32 room = xdp_length(ctx) - ETH_HLEN;
	struct iphdr ip;
	__u16 fragment;

	if (bpf_xdp_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return -HW_DROP_MALFORMED;
	fragment = bpf_ntohs(ip.frag_off);
	q->flow.saddr = ip_from4(ip.saddr);
	q->flow.daddr = ip_from4(ip.daddr);
	q->flow.proto = ip.protocol;
	q->fragment = fragment & 0x1fff ? PACKET_LATER : fragment & 0x2000 ? PACKET_FIRST : PACKET_WHOLE;
	q->fragment_id = ip.id;
	q->l4 = ETH_HLEN + sizeof(ip);
	p->size = bpf_ntohs(ip.tot_len);
	p->tos = ip.tos;
	p->client = ETH_HLEN + __builtin_offsetof(struct iphdr, saddr);
	if (p->size > room || p->size < ip.ihl * 4)
		return -HW_DROP_MALFORMED;
	return ip.ihl > 5 ? -HW_DROP_INVALID_OPTIONS : 0;
}

static __always_inline int lbother_head6(struct xdp_md *ctx, struct packet *q, struct lbpacket *p)
{
	__u32 room = xdp_length(ctx) - ETH_HLEN, size;
	struct ipv6hdr ip;
	struct {
		__u8 next;
		__u8 reserved;
		__be16 offset;
		__be32 id;
	} fragment;

	if (bpf_xdp_load_bytes(ctx, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 6)
		return -HW_DROP_MALFORMED;
	__builtin_memcpy(&q->flow.saddr, &ip.saddr, 16);
	__builtin_memcpy(&q->flow.daddr, &ip.daddr, 16);
	q->flow.proto = ip.nexthdr;
	q->l4 = ETH_HLEN + sizeof(ip);
	size = bpf_ntohs(ip.payload_len) + sizeof(ip);
	p->size = size;
	p->tos = bpf_ntohs(*(__be16 *)&ip) >> 4;
	p->client = ETH_HLEN + __builtin_offsetof(struct ipv6hdr, saddr);
	if (size > room)
		return -HW_DROP_MALFORMED;
	if (ip.nexthdr == IPPROTO_FRAGMENT) {
		if (size < sizeof(ip) + sizeof(fragment) || bpf_xdp_load_bytes(ctx, q->l4, &fragment, sizeof(fragment)))
			return -HW_DROP_MALFORMED;
		q->flow.proto = fragment.next;
		q->fragment = fragment.offset & bpf_htons(0xfff8) ? PACKET_LATER : PACKET_FIRST;
		q->fragment_id = fragment.id;
		q->l4 += sizeof(fragment);
	}
	return q->flow.proto < 64 && LBOTHER_OPTIONS6 >> q->flow.proto & 1 ? -HW_DROP_INVALID_OPTIONS : 0;
}

static __always_inline const struct hw_lb_frontend *lbother_frontend(const struct hw_ip *addr, __u32 port)
{
	return lbfrontends_find(addr->words, 6, lbhash_address(addr->words), port);
}

/* `client` and `ports`: of the flow, the client's first. */
static __always_inline int lbother_flow(struct lbpacket *p, const struct hw_lb_frontend *frontend, const struct hw_ip *client, __u32 ports, int family)
{
	p->table = lbfrontends_table(frontend);
	p->frontend = lbfrontends_identity(frontend);
	p->port = ports & 0xffff;
	p->hash = family == 4 ? lbhash_flow4(client->words[3], ports) : lbpacket_hash6((const struct in6_addr *)client, ports);
	return 0;
}

static __always_inline bool lbother_has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == WIRE_PROTO_SCTP;
}

/* Bytes that are read of a transport header. */
static __always_inline __u32 lbother_bytes(__u8 proto)
{
	return proto == IPPROTO_TCP ? sizeof(struct tcphdr) : proto == IPPROTO_UDP ? sizeof(struct udphdr) : LBPACKET_SCTP + 1;
}

/* TCP, UDP or SCTP. */
static __always_inline int lbother_ports(struct xdp_md *ctx, int family, struct packet *q, struct lbpacket *p, bool shared)
{
	const struct hw_lb_frontend *frontend;
	struct tcphdr l4 = { 0 };
	__u32 size = lbother_bytes(q->flow.proto);
	__u16 length = p->size - (q->l4 - ETH_HLEN);

	p->proto = q->flow.proto;
	p->kind = p->proto == IPPROTO_UDP ? LBPACKET_DATAGRAM : LBPACKET_GOES_ON;
	p->fragment = q->fragment;
	p->l4 = q->l4;
	if (q->fragment == PACKET_LATER) {
		if (!fragments_recall(q))
			return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	} else {
		if (length < size || bpf_xdp_load_bytes(ctx, q->l4, &l4, size) ||
		    (q->fragment == PACKET_WHOLE && !lbpacket_is_sound(&l4, p->proto, length)))
			return -HW_DROP_MALFORMED;
		p->kind = lbpacket_kind(&l4, p->proto);
		q->flow.sport = l4.source;
		q->flow.dport = l4.dest;
	}
	frontend = lbother_frontend(&q->flow.daddr, lbfrontends_port(q->flow.dport, p->proto));
	if (!frontend && (shared || q->fragment != PACKET_WHOLE))
		return -HW_DROP_SERVICE_PORT;
	if (!frontend)
		return lbanswer_refusal(p->proto, HW_DROP_SERVICE_PORT);
	fragments_carried(q);
	return lbother_flow(p, frontend, &q->flow.saddr, lbpacket_ports(q->flow.sport, q->flow.dport), family);
}

/* The packet that an ICMP error carries, which went from the error's receiver to `to`. False: it did not, or its ports are not there. */
static __always_inline bool lbother_carried(struct xdp_md *ctx, int family, const struct packet *q, struct lbpacket *p, struct hw_ip *to, __be16 ports[2])
{
	__u32 at = q->l4 + sizeof(struct wire_icmp);
	struct hw_ip from;

	if (family == 4) {
		struct iphdr ip;

		if (bpf_xdp_load_bytes(ctx, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(0x1fff))
			return false;
		from = ip_from4(ip.saddr);
		*to = ip_from4(ip.daddr);
		p->proto = ip.protocol;
		p->client = at + __builtin_offsetof(struct iphdr, daddr);
		at += ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_xdp_load_bytes(ctx, at, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&from, &ip.saddr, 16);
		__builtin_memcpy(to, &ip.daddr, 16);
		p->proto = ip.nexthdr;
		p->client = at + __builtin_offsetof(struct ipv6hdr, daddr);
		at += sizeof(ip);
	}
	p->kind = LBPACKET_ERROR;
	p->l4 = q->l4;
	p->inner = at;
	return lbother_has_ports(p->proto) && ip_equal(&from, &q->flow.daddr) &&
	       at + 4 <= (__u32)p->size + ETH_HLEN && !bpf_xdp_load_bytes(ctx, at, ports, 4);
}

/* An ICMP error: of the flow that the packet in it belongs to, which went from the service to the client. */
static __always_inline int lbother_error(struct xdp_md *ctx, int family, struct packet *q, struct lbpacket *p)
{
	const struct hw_lb_frontend *frontend;
	struct hw_ip client;
	__be16 ports[2];

	if (!lbother_carried(ctx, family, q, p, &client, ports))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	frontend = lbother_frontend(&q->flow.daddr, lbfrontends_port(ports[0], p->proto));
	if (!frontend)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	return lbother_flow(p, frontend, &client, lbpacket_ports(ports[1], ports[0]), family);
}

static __always_inline bool lbother_is_error(int family, __u8 type)
{
	return family == 4 ? type == WIRE_ICMP_UNREACHABLE || type == WIRE_ICMP_TIME_EXCEEDED || type == WIRE_ICMP_PARAMETER
			   : type >= WIRE_ICMP6_UNREACHABLE && type <= WIRE_ICMP6_PARAMETER;
}

static __always_inline int lbother_icmp(struct xdp_md *ctx, int family, struct packet *q, struct lbpacket *p, bool shared)
{
	struct wire_icmp icmp;

	if (q->fragment != PACKET_WHOLE)
		return -HW_DROP_SERVICE_PROTOCOL;
	if (p->size < q->l4 - ETH_HLEN + sizeof(icmp) || bpf_xdp_load_bytes(ctx, q->l4, &icmp, sizeof(icmp)))
		return -HW_DROP_MALFORMED;
	if (family == 6 && icmp.type >= WIRE_ND_RS && icmp.type <= WIRE_ND_REDIRECT)
		return LBOTHER_PASS;
	if (icmp.type == (family == 4 ? WIRE_ICMP_ECHO : WIRE_ICMP6_ECHO))
		return shared ? LBOTHER_PASS : LBANSWER_ECHO;
	return lbother_is_error(family, icmp.type) ? lbother_error(ctx, family, q, p) : -HW_DROP_SERVICE_PROTOCOL;
}

/* 0: `p` is a flow's after all. Otherwise a verdict: LBOTHER_PASS, LBANSWER_*, or a negated drop reason. */
static __noinline int lbother_read(struct xdp_md *ctx, int family, struct lbpacket *p)
{
	struct packet q = { .family = family };
	int verdict = family == 4 ? lbother_head4(ctx, &q, p) : lbother_head6(ctx, &q, p);
	const struct hw_lb_frontend *address = lbother_frontend(&q.flow.daddr, 0);
	bool shared = address && address->flags & HW_LB_FRONTEND_SHARED;

	if (!verdict) {
		if (lbother_has_ports(q.flow.proto))
			verdict = lbother_ports(ctx, family, &q, p, shared);
		else if (q.flow.proto == (family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
			verdict = lbother_icmp(ctx, family, &q, p, shared);
		else
			verdict = -HW_DROP_SERVICE_PROTOCOL;
	}
	return verdict < 0 && shared ? LBOTHER_PASS : verdict;
}
