/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The same as lib/lbsnat.h behind XDP, or without it, on packets as the kernel has them: what they become is written by lib/nat.h, and
 * they leave by lib/route.h.
 */
#pragma once

#include "lib/fragments.h"
#include "lib/lbanswertc.h"
#include "lib/lbbackends.h"
#include "lib/lbfrom.h"
#include "lib/lbtake.h"
#include "lib/nat.h"
#include "lib/scratch.h"

#define LBSNAT_NOT   0
#define LBSNAT_FOUND 1

/* The way of scratch->route.to, in scratch->hop. 0, LBANSWER_*, or a negated drop reason. Not inline, for the stack. */
static __noinline int lbsnat_route(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct packet *p = &scratch->packet;
	const struct hw_ct6_key *to = &scratch->route.to;
	const struct hw_uplink *uplink;
	int error;

	if (p->ttl <= 1)
		return lbanswertc_may_tell(p) ? LBANSWER_EXPIRED : -HW_DROP_TTL_EXCEEDED;
	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	if (route_recall(&to->saddr, &to->daddr, p->flow.proto, p->size, &scratch->hop))
		return 0;
	error = route_find(skb, p, &to->saddr, &to->daddr, &scratch->hop, &uplink);
	if (error == ROUTE_REFUSED)
		return lbanswertc_may_tell(p) ? LBANSWER_TOO_LONG(scratch->hop.mtu) : -HW_DROP_MTU_EXCEEDED;
	return error;
}

/* Not inline, for the stack. */
static __noinline int lbsnat_rewrite(struct __sk_buff *skb, struct scratch *scratch)
{
	return nat_flow(skb, &scratch->packet, &scratch->route.to);
}

/* As scratch->route.to says. TC_ACT_REDIRECT, LBANSWER_*, or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int lbsnat_carry(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int error;

	if (!scratch)
		return -HW_DROP_REWRITE_FAILED;
	error = lbsnat_route(skb, scratch);
	if (error)
		return error;
	fragments_carried(&scratch->packet);
	if (scratch->packet.kind == PACKET_ICMP_ERROR)
		error = nat_icmp_error(skb, &scratch->packet, &scratch->route.to, true);
	else
		error = lbsnat_rewrite(skb, scratch);
	return error ? error : route_send(skb, &scratch->packet, &scratch->hop);
}

static __always_inline __u32 lbsnat_says(const struct packet *p, bool begins)
{
	if (begins)
		return 0;
	if (p->flow.proto == IPPROTO_UDP)
		return HW_LB_TRANSLATED_DATAGRAM | HW_LB_TRANSLATED_WENT_ON;
	return HW_LB_TRANSLATED_WENT_ON | lbpool_tcp(p->tcp_flags, HW_LB_TRANSLATED_CLIENT_OVER);
}

/* What scratch->packet becomes on its way to scratch->asked: 0 with scratch->route.to, or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int lbsnat_ask(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_backend *backend = scratch ? lbbackends_find(scratch->asked.backend) : NULL;
	const struct hw_lb_place *place = scratch ? lbbackends_place(scratch->asked.backend) : NULL;
	struct lbpool_flow flow = { 0 };
	const struct packet *p;
	struct hw_ct6_key *to;
	bool known, four;
	__u32 port;
	int i;

	if (!scratch || !skb || !backend || !place)
		return -HW_DROP_SERVICE_EMPTY;
	p = &scratch->packet;
	to = &scratch->route.to;
	known = p->kind == PACKET_ICMP_ERROR || p->fragment == PACKET_LATER;
	flow.client = p->flow.saddr;
	flow.port = p->flow.sport;
	flow.frontend = scratch->asked.frontend;
	four = backend->outer4;
	if (!lbfrom_is_known(HW_LB_SNAT, four))
		return -HW_DROP_NO_SNAT_ADDRESS;
	flow.pool = scratch->asked.backend;
	flow.hash = lbpool_hash(&flow.client, flow.port, flow.frontend);
	port = known ? lbpool_find(&flow) : lbpool_take(&flow, lbsnat_says(p, scratch->asked.begins));
	if (port == LBPOOL_NONE)
		return p->kind == PACKET_ICMP_ERROR ? -HW_DROP_ICMP_WITHOUT_FLOW : -HW_DROP_NAT_PORTS_EXHAUSTED;
	to->daddr = place->address;
	to->dport = backend->port;
	to->sport = bpf_htons(hw_config.snat_first + port);
	to->saddr = ip_from4(hw_config.lb_ipv4);
	if (!four) {
#pragma unroll
		for (i = 0; i < 4; i++)
			to->saddr.words[i] = hw_config.lb_ipv6.words[i];
	}
	return 0;
}

/* Whether the packet may be one, of a port of this node's. */
static __always_inline bool lbsnat_may_answer(const struct packet *p)
{
	return (p->kind == PACKET_FLOW || p->kind == PACKET_ICMP_ERROR) && hw_config.snat_ports &&
	       (__u16)(bpf_ntohs(p->flow.dport) - hw_config.snat_first) < hw_config.snat_ports;
}

static __always_inline bool lbsnat_is_own(const struct hw_ip *addr)
{
	if (ip_is4(addr))
		return hw_config.lb_ipv4 && addr->words[3] == hw_config.lb_ipv4;
	return addr->words[3] == hw_config.lb_ipv6.words[3] && addr->words[2] == hw_config.lb_ipv6.words[2] &&
	       addr->words[1] == hw_config.lb_ipv6.words[1] && addr->words[0] == hw_config.lb_ipv6.words[0];
}

/* What a backend answers: LBSNAT_NOT when it is none of that, otherwise LBSNAT_FOUND with scratch->route.to. Not static, so that the verifier walks it once. */
__noinline int lbsnat_answer(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	struct hw_lb_translated *at;
	const struct packet *p;

	if (!scratch || !skb)
		return LBSNAT_NOT;
	p = &scratch->packet;
	if (!lbsnat_is_own(&p->flow.daddr))
		return LBSNAT_NOT;
	at = lbpool_answered(&p->flow.saddr, p->flow.sport, p->flow.dport, p->flow.proto, &scratch->route.to);
	if (!at)
		return LBSNAT_NOT;
	if (p->kind != PACKET_ICMP_ERROR && p->fragment != PACKET_LATER)
		lbpool_touch(at, p->flow.proto == IPPROTO_UDP ? HW_LB_TRANSLATED_WENT_ON : lbpool_tcp(p->tcp_flags, HW_LB_TRANSLATED_BACKEND_OVER), false);
	return LBSNAT_FOUND;
}
