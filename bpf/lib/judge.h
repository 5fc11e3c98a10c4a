/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether policy lets a flow be: asked at its first packet, and once more when the policy has changed since.
 *
 *   source       its own address, before any translation          ▸ "out" end, if it is a container here
 *   destination  behind a published port: the container's         ▸ "in" end, if it is a container here
 *
 *   either end denies ▸ POLICY_DENIED          no rule at an end that is closed ▸ POLICY_DEFAULT_OUT, _IN
 *   no rule at either end ▸ of other networks NETWORK_ISOLATED, without ICC ICC_DISABLED, published POLICY_PUBLISHED
 *   an audit rule opens its end as an allow rule does
 *
 * A flow that is denied stays known: what its ends send on finds it, and is denied as what it is. Were it forgotten, an
 * answer would pass for the start of a flow the other way, and open again what was cut.
 */
#pragma once

#include <stdbool.h>

#include "lib/ct.h"
#include "lib/endpoints.h"
#include "lib/hostaddrs.h"
#include "lib/overlay.h"
#include "lib/rules.h"
#include "lib/scratch.h"

/* The port that rules speak of: of ICMP the type and code, which of a tracked flow are an echo request's. */
static __always_inline __be16 judge_port(const struct packet *p, __be16 dport)
{
	if (p->flow.proto != IPPROTO_ICMP && p->flow.proto != IPPROTO_ICMPV6)
		return dport;
	if (p->kind == PACKET_OTHER)
		return bpf_htons((__u16)p->icmp_type << 8 | p->icmp_code);
	return bpf_htons((p->flow.proto == IPPROTO_ICMP ? WIRE_ICMP_ECHO : WIRE_ICMP6_ECHO) << 8);
}

static __always_inline bool judge_is_unidentified(const struct hw_endpoint *ep)
{
	return ep && !ep->identity;
}

/* Whether the packet ends at a container that has gone: nobody may be taken for it, nor it for the world. */
static __always_inline bool judge_misses(const struct ct_route *route, const struct hw_endpoint *sender,
					 const struct hw_endpoint *receiver)
{
	if (receiver || route->flags & HW_CT_TO_NODE)
		return false;
	if (!sender)
		return !(route->flags & HW_CT_FROM_NODE && route->flags & HW_CT_TO_HOST);
	return !((route->flags & (HW_CT_TO_HOST | HW_CT_TO_UPLINK)) || (sender->flags & HW_NETWORK_GUEST));
}

/* Finds out who has scratch->far[place].address. Not static, so that the verifier walks it once. */
__noinline int judge_find_afar(struct __sk_buff *skb, __u32 place)
{
	struct scratch *scratch = scratch_same();
	const struct hw_remote *remote;
	struct far_end *far;
	const __u32 *slice;

	if (!scratch || !skb)
		return 0;
	far = &scratch->far[place & 1];
	remote = nodes_remote(&far->address);
	if (remote) {
		far->kind = FAR_REMOTE;
		far->identity = remote->identity;
		far->network = remote->network;
		return 0;
	}
	slice = nodes_slice(&far->address);
	if (!slice)
		far->kind = FAR_ADDRESS;
	else if (overlay_is_stranger(&far->address))
		far->kind = FAR_STRANGER;
	else
		far->kind = hostaddrs_find(&far->address) ? FAR_ADDRESS : FAR_MISSING;
	return 0;
}

/* Who an end is, wherever it is. False: the address is of the pool, and nobody is known to have it. */
static __always_inline bool judge_know(struct __sk_buff *skb, struct scratch *scratch, struct rules_end *end, const struct hw_ip *addr,
				       __u32 place)
{
	struct far_end *far = &scratch->far[place];

	if (end->ep) {
		end->identity = end->ep->identity;
		end->network = end->ep->network;
		return true;
	}
	if (!hw_config.tunnel_port)
		return true;
	far->address = *addr;
	judge_find_afar(skb, place);
	end->kind = far->kind;
	if (end->kind == FAR_REMOTE) {
		end->identity = far->identity;
		end->network = far->network;
	}
	return end->kind != FAR_MISSING;
}

/* Of the packet, which may be an answer: who sends it, and who gets it. */
static __always_inline void judge_identify(struct judgement *facts, const struct rules_end *sender, const struct rules_end *receiver)
{
	facts->source_identity = sender->identity;
	facts->destination_identity = receiver->identity;
}

/* Whose end of the packet is the endpoint of the device that the program sits on. */
enum judge_own {
	JUDGE_NEITHER = 0,
	JUDGE_SENDER = 1,
	JUDGE_RECEIVER = 2,
};

static __always_inline int judge_scratch(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep, __u32 own, __u32 revision)
{
	const struct packet *p = &scratch->packet;
	struct judgement *facts = &scratch->judgement;
	struct ct_route *route = &scratch->route;
	const struct hw_endpoint *sender = own == JUDGE_SENDER ? ep : endpoints_by_address(&p->flow.saddr);
	const struct hw_endpoint *receiver = own == JUDGE_RECEIVER ? ep : endpoints_by_address(&route->to.daddr);
	bool reply = route->flags & HW_CT_REPLY, published, from_uplink;
	struct rules_end from = { 0 }, to = { 0 };
	const struct hw_ip *saddr, *daddr;
	__be16 dport;
	int error;

	if (judge_misses(route, sender, receiver))
		return -HW_DROP_NO_SUCH_ADDRESS;
	if (reply) {
		from.ep = receiver;
		to.ep = sender;
		saddr = &route->to.daddr;
		daddr = &p->flow.saddr;
		dport = p->flow.sport;
		published = dport != route->to.sport || !ip_equal(daddr, &route->to.saddr);
		from_uplink = route->flags & HW_CT_TO_UPLINK;
	} else {
		from.ep = sender;
		to.ep = receiver;
		saddr = &p->flow.saddr;
		daddr = &route->to.daddr;
		dport = route->to.dport;
		published = dport != p->flow.dport || !ip_equal(daddr, &p->flow.daddr);
		from_uplink = route->flags & HW_CT_FROM_UPLINK;
		facts->published = published;
		facts->backend = *daddr;
		facts->backend_port = dport;
	}
	if (!judge_know(skb, scratch, &from, saddr, 0) || !judge_know(skb, scratch, &to, daddr, 1))
		return -HW_DROP_NO_SUCH_ADDRESS;
	judge_identify(facts, reply ? &to : &from, reply ? &from : &to);
	error = rules_ask(facts, revision, &from, saddr, &to, daddr, p->flow.proto, judge_port(p, dport));
	if (error)
		return error;
	if (!hw_config.unidentified_allow && (judge_is_unidentified(from.ep) || judge_is_unidentified(to.ep)))
		return -HW_DROP_NOT_IDENTIFIED;
	error = rules_speak(facts, &from, &to);
	if (error)
		return error;
	published = published && !(route->flags & HW_CT_SERVICE);
	facts->verdict =
		from.said.verdict == HW_POLICY_AUDIT || to.said.verdict == HW_POLICY_AUDIT ? HW_EVENT_AUDIT : HW_EVENT_FORWARDED;
	route->policy = revision;
	return rules_are_silent(facts, &from, &to, published, route->flags, from_uplink);
}

/*
 * The flow of scratch->packet, which goes by scratch->route: known, or about to be opened and not masqueraded yet.
 * 0, or a negated drop reason. Not static, so that the verifier walks it once, and not from every caller's state.
 */
__noinline int judge_flow(struct __sk_buff *skb, __u32 own)
{
	/* First the revision, then all else: what changes meanwhile changes the revision too, and is judged again. */
	__u32 revision = policy_revision();
	struct scratch *scratch = scratch_same();
	const struct hw_endpoint *ep = NULL;

	if (!scratch)
		return -HW_DROP_POLICY_MISSING;
	if (own != JUDGE_NEITHER) {
		ep = endpoints_by_ifindex(skb->ifindex);
		if (!ep)
			return -HW_DROP_UNKNOWN_ENDPOINT;
	}
	return judge_scratch(skb, scratch, ep, own, revision);
}

/*
 * An ICMP error passes with the flow that it speaks of, as its answers do, unless a rule denies just that type between who sends it
 * and who gets it. One that denies everything between them means flows that begin there.
 */
__noinline int judge_icmp_error(struct __sk_buff *skb, __u32 own)
{
	struct scratch *scratch = scratch_same();
	struct rules_end from = { 0 }, to = { 0 };
	const struct packet *p;
	const struct hw_ip *daddr;
	int error;

	if (!scratch)
		return -HW_DROP_POLICY_MISSING;
	p = &scratch->packet;
	/* The host's own word to a container may be of a packet that opened no flow. */
	daddr = own == JUDGE_RECEIVER ? &p->flow.daddr : &scratch->route.to.daddr;
	/* From the wire it is an address, whatever it says. */
	if (own != JUDGE_NEITHER)
		from.ep = own == JUDGE_SENDER ? endpoints_by_ifindex(skb->ifindex) : endpoints_by_address(&p->source);
	to.ep = own == JUDGE_RECEIVER ? endpoints_by_ifindex(skb->ifindex) : endpoints_by_address(daddr);
	if (!judge_know(skb, scratch, &from, &p->source, 0) || !judge_know(skb, scratch, &to, daddr, 1))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	judge_identify(&scratch->judgement, &from, &to);
	error = rules_ask(&scratch->judgement, policy_revision(), &from, &p->source, &to, daddr,
			  p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, bpf_htons((__u16)p->icmp_type << 8 | p->icmp_code));
	if (from.said.wide)
		from.said.verdict = HW_POLICY_NONE;
	if (to.said.wide)
		to.said.verdict = HW_POLICY_NONE;
	return error ? error : rules_speak(&scratch->judgement, &from, &to);
}

/* What is rare of known flows: judged under another policy than the one in force, or an ICMP error of theirs. */
__noinline int judge_again(struct __sk_buff *skb, __u32 own)
{
	struct scratch *scratch = scratch_same();
	int error = 0;

	if (!scratch)
		return -HW_DROP_POLICY_MISSING;
	if (scratch->route.policy != policy_revision()) {
		error = judge_flow(skb, own);
		if (!error)
			ct_judged(&scratch->packet, &scratch->route);
	}
	if (!error && scratch->packet.kind == PACKET_ICMP_ERROR)
		error = judge_icmp_error(skb, own);
	return error;
}

/* A packet of a known flow: as a rule the policy is still the one that judged it, and no more is asked. */
static __always_inline int judge_known(struct __sk_buff *skb, const struct scratch *scratch, __u32 own)
{
	bool same = scratch->route.policy == policy_revision() && scratch->packet.kind != PACKET_ICMP_ERROR;

	return __builtin_expect(same, true) ? 0 : judge_again(skb, own);
}
