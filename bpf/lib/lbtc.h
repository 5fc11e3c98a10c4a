/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services' packets behind XDP, or without it: by the same choice (lib/lbpick.h), with the same headers (lib/lbwrap.h).
 *
 *   backend here      ▸ the flow is opened like one to a published port, and is conntrack's from then on
 *   backend elsewhere ▸ wrapped or, if it knows nothing of services, translated (lib/lbsnattc.h), and out by redirect_neigh: where no neighbour is
 *                       known yet, where XDP is off
 *
 *   too long for the way, nobody serves, a port that no service has, echo request ▸ answered as by XDP (lib/lbanswertc.h)
 *
 * Of an address that the host has as well, all that is no service's is the host's.
 */
#pragma once

#include "lib/endpoints.h"
#include "lib/lbanswertc.h"
#include "lib/lbbalancer.h"
#include "lib/lbhop.h"
#include "lib/lbpick.h"
#include "lib/lbsnattc.h"
#include "lib/lbwrap.h"
#include "lib/packet.h"
#include "lib/scratch.h"
#include "lib/uplinks.h"

#define LBTC_NOT  0
#define LBTC_HERE 1 /* scratch->backend */
#define LBTC_SNAT 2 /* scratch->asked */

/* Of the largest headers: IPv6 outside and inside. */
#define LBTC_HEADERS (sizeof(struct ipv6hdr) + sizeof(struct lbgeneve) + 20 + ETH_HLEN)

_Static_assert(LBTC_HEADERS <= sizeof(((struct scratch *)0)->headers), "the headers fit the scratch");

/* The container of `address`, as a published port's backend. False: it is none that we carry for. */
static __always_inline bool lbtc_is_here(const struct hw_ip *address, __be16 port, struct hw_backend *backend)
{
	const struct hw_endpoint *ep = endpoints_by_address(address);

	if (!ep || ep->flags & HW_NETWORK_GUEST)
		return false;
	backend->addr = *address;
	backend->port = port;
	backend->network = ep->network;
	return true;
}

/* The way of the outer packet, by an uplink. 0, a negated drop reason, or the bytes that fit. Not inline, for the stack. */
static __noinline int lbtc_route(struct __sk_buff *skb, const struct hw_lb_backend *backend, const struct hw_lb_place *place, __u32 size, struct route_hop *hop)
{
	struct bpf_fib_lookup fib = { .ifindex = hw_config.host_ifindex, .tot_len = size };
	long result;

	if (!lbfrom_is_known(backend->mode, ip_is4(&place->outer)))
		return -HW_DROP_NO_SNAT_ADDRESS;
	if (ip_is4(&place->outer)) {
		fib.family = WIRE_AF_INET;
		fib.ipv4_dst = place->outer.words[3];
		fib.ipv4_src = lbfrom4(backend->mode);
	} else {
		fib.family = WIRE_AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, &place->outer, 16);
	}
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return fib.mtu_result;
	if (result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -HW_DROP_NO_ROUTE;
	if (!uplinks_find(fib.ifindex))
		return -HW_DROP_NOT_AN_UPLINK;
	hop->ifindex = fib.ifindex;
	hop->neighbour.nh_family = fib.family;
	__builtin_memcpy(hop->neighbour.ipv6_nh, fib.ipv6_dst, 16);
	return 0;
}

/* In the inner frame, of which nobody knows from the outer headers any more who balanced. */
static __always_inline void lbtc_name_balancer(__u8 *frame, const struct scratch *scratch, bool outer4)
{
	struct balancer balancer = scratch->balancer.kind ? scratch->balancer : lbbalancer_own(outer4);

	__builtin_memcpy(frame + ETH_ALEN, &balancer.kind, LBBALANCER_BYTES);
}

/* The headers before the packet, in scratch->headers; returns their bytes, 0 when it cannot be. */
static __always_inline __u32 lbtc_headers(struct __sk_buff *skb, struct scratch *scratch, const struct hw_lb_backend *backend,
					  const struct hw_lb_place *place, __u8 tos, int family, bool outer4)
{
	__u8 *headers = scratch->headers;
	const __u32 outer = outer4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	const __u32 geneve = sizeof(struct lbgeneve) + (family == 4 ? 8 : 20);
	__u32 extra = backend->mode == HW_LB_GENEVE ? geneve + ETH_HLEN : 0;
	__u32 size = skb->len - ETH_HLEN + extra;
	__u8 proto = backend->mode == HW_LB_GENEVE ? IPPROTO_UDP : family == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;

	if (size + outer > 0xffff)
		return 0;
	if (extra)
		tos &= LBWRAP_GENEVE_TOS;
	if (outer4)
		lbwrap_ipv4((void *)headers, lbfrom4(backend->mode), place->outer.words[3], tos, size + outer, proto);
	else
		lbwrap_ipv6((void *)headers, lbfrom6(backend->mode), &place->outer, tos, size, proto);
	if (!extra)
		return outer;
	lbwrap_geneve_head((void *)(headers + outer), backend, &place->address, scratch->flow_hash, family, size, scratch->passed);
	if (bpf_skb_load_bytes(skb, 0, headers + outer + geneve, ETH_HLEN) < 0)
		return 0;
	if (scratch->passed)
		lbtc_name_balancer(headers + outer + geneve, scratch, outer4);
	return outer + geneve + ETH_HLEN;
}

static __always_inline __u64 lbtc_flags(const struct hw_lb_backend *backend, bool outer4)
{
	__u64 flags = (outer4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6) | BPF_F_ADJ_ROOM_FIXED_GSO;

	if (backend->mode == HW_LB_GENEVE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	return flags;
}

/* The frame's own headers: service class, and what it is. */
static __always_inline int lbtc_wrap(struct __sk_buff *skb, struct scratch *scratch, const struct hw_lb_backend *backend, const struct hw_lb_place *place,
				     int family, bool outer4)
{
	const __u8 *ip = packet_at(skb, ETH_HLEN, 2);
	struct ethhdr *eth;
	__u32 bytes = lbwrap_bytes(backend->mode, family, outer4);
	__u8 tos;
	int error;

	if (!ip)
		return -HW_DROP_MALFORMED;
	tos = family == 4 ? ip[1] : (__u8)(ip[0] << 4 | ip[1] >> 4);
	error = lbtc_route(skb, backend, place, scratch->packet.size + bytes, &scratch->hop);
	if (error > 0)
		return lbanswertc_may_tell(&scratch->packet) ? LBANSWER_TOO_LONG(error - bytes) : -HW_DROP_MTU_EXCEEDED;
	if (error)
		return error;
	bytes = lbtc_headers(skb, scratch, backend, place, tos, family, outer4);
	if (!bytes || bytes > LBTC_HEADERS || bpf_skb_adjust_room(skb, bytes, BPF_ADJ_ROOM_MAC, lbtc_flags(backend, outer4)) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, scratch->headers, bytes, BPF_F_RECOMPUTE_CSUM) < 0)
		return -HW_DROP_REWRITE_FAILED;
	eth = packet_at(skb, 0, sizeof(*eth));
	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	eth->h_proto = outer4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return bpf_redirect_neigh(scratch->hop.ifindex, &scratch->hop.neighbour, sizeof(scratch->hop.neighbour), 0);
}

/*
 * To the backend that is scratch->chosen, by the source port of scratch->flow_hash: TC_ACT_REDIRECT, LBANSWER_*, or a negated drop reason. Not
 * static, so that the verifier walks it once.
 */
__noinline int lbtc_send(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_backend *backend;
	const struct hw_lb_place *place;
	bool outer4;

	if (!scratch || !skb)
		return -HW_DROP_REWRITE_FAILED;
	backend = lbbackends_find(scratch->chosen);
	place = lbbackends_place(scratch->chosen);
	if (!backend || !place)
		return -HW_DROP_SERVICE_EMPTY;
	/* As lbtc_route(): while a node goes over to the other family the two entries may not say the same. */
	outer4 = ip_is4(&place->outer);
	if (scratch->packet.family == 4)
		return outer4 ? lbtc_wrap(skb, scratch, backend, place, 4, true) : lbtc_wrap(skb, scratch, backend, place, 4, false);
	return outer4 ? lbtc_wrap(skb, scratch, backend, place, 6, true) : lbtc_wrap(skb, scratch, backend, place, 6, false);
}

/* Nobody can take it. */
static __always_inline int lbtc_refuse(const struct packet *p, int reason)
{
	return p->kind == PACKET_ICMP_ERROR || p->fragment != PACKET_WHOLE ? -reason : lbanswer_refusal(p->flow.proto, reason);
}

/* No port of a service's: but the address may be one's. */
static __always_inline int lbtc_other(const struct packet *p)
{
	const struct hw_lb_frontend *address = lbpick_frontend(p, 0);

	if (!address || address->flags & HW_LB_FRONTEND_SHARED || p->kind != PACKET_FLOW)
		return LBTC_NOT;
	if (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6)
		return p->fragment == PACKET_WHOLE ? LBANSWER_ECHO : LBTC_NOT;
	return lbtc_refuse(p, HW_DROP_SERVICE_PORT);
}

/*
 * Of scratch->packet's flow: LBTC_HERE with scratch->backend filled in, LBTC_SNAT with scratch->asked, TC_ACT_REDIRECT when it was sent, LBTC_NOT
 * when it is no service's, LBANSWER_*, or a negated drop reason. Not static, so that the verifier walks it once.
 */
__noinline int lbtc_find(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_frontend *frontend;
	const struct hw_lb_backend *backend;
	const struct hw_lb_place *place;
	struct lbpacket b = { 0 };
	const struct packet *p;

	if (!scratch || !skb)
		return LBTC_NOT;
	p = &scratch->packet;
	scratch->passed = 0;
	scratch->balancer.kind = 0;
	frontend = lbpick_frontend(p, lbfrontends_port(p->flow.dport, p->flow.proto));
	if (!frontend)
		return lbtc_other(p);
	backend = lbpick(skb, p, frontend, &b, &scratch->chosen);
	if (scratch->chosen == LBPICK_DENIED)
		return -HW_DROP_SERVICE_SOURCE;
	if (!backend)
		return lbtc_refuse(p, HW_DROP_SERVICE_EMPTY);
	if (backend->mode == HW_LB_LOCAL) {
		place = lbbackends_place(scratch->chosen);
		if (!place || !lbtc_is_here(&place->address, backend->port, &scratch->backend))
			return LBTC_NOT;
		if (b.kind != LBPACKET_ERROR)
			lbbackends_begin(scratch->chosen);
		return LBTC_HERE;
	}
	lbbackends_count(scratch->chosen, p->size, b.kind);
	if (backend->mode == HW_LB_SNAT) {
		scratch->asked.backend = scratch->chosen;
		scratch->asked.frontend = b.frontend;
		scratch->asked.begins = b.kind == LBPACKET_BEGINS;
		return p->flow.proto == WIRE_PROTO_SCTP ? -HW_DROP_SERVICE_PROTOCOL : LBTC_SNAT;
	}
	scratch->flow_hash = b.hash;
	return lbtc_send(skb);
}
