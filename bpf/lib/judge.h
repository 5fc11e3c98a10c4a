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
#include "lib/policy.h"
#include "lib/scratch.h"

struct judge_end {
	const struct hw_endpoint *ep; /* NULL: no container here */
	__u32 kind;		      /* enum far_kind */
	__u32 identity;		      /* of a container, wherever it is */
	__u32 network;		      /* its; 0: none that is here */
	struct hw_policy_class class;
	struct hw_policy_entry said; /* what the rules of this end say of the other */
};

static __always_inline int judge_classify(__u32 slot, struct judge_end *end, const struct hw_ip *addr)
{
	struct hw_policy_prefix prefix = { .length = 128, .addr = *addr };
	const struct hw_policy_class *class;

	if (!end->ep && end->kind != FAR_REMOTE)
		return policy_prefix(slot, &prefix, &end->class.class);
	class = policy_class(slot, end->identity);
	if (class)
		end->class = *class;
	/* Who is not identified may have no class: then no rule is for it, and only what is said of everyone is said of it. */
	return class || !end->identity ? 0 : -HW_DROP_POLICY_MISSING;
}

static __always_inline bool judge_is_container(const struct judge_end *end)
{
	return end->ep ? true : end->kind == FAR_REMOTE || end->kind == FAR_STRANGER;
}

/* Whether a flow stays within one network. Where only the other node can know, it is left to that node. */
static __always_inline bool judge_is_within(const struct judge_end *from, const struct judge_end *to, __u16 flags)
{
	if (from->kind == FAR_STRANGER)
		return flags & HW_CT_SAME_NETWORK;
	return to->kind == FAR_STRANGER || from->network == to->network;
}

/* What the rules of `subject` say, if it has any. */
static __always_inline int judge_hear(__u32 slot, struct judge_end *subject, const struct judge_end *peer, __u32 direction,
				      __u8 proto, __be16 port)
{
	struct hw_policy_pair pair = { .subject = subject->class.class, .peer = peer->class.class, .direction = direction };
	struct hw_policy_port key = { .length = 64, .proto = bpf_htons(proto), .port = port };

	if (!subject->ep || !subject->class.class)
		return 0;
	return policy_rule(slot, &pair, &key, &subject->said);
}

static __always_inline int judge_refuse(struct judgement *facts, __u32 direction, __u32 rule, int reason)
{
	facts->end = direction + 1;
	facts->rule = rule;
	return -reason;
}

/* What happens where rules are silent at one end or at both. 0, or a negated drop reason. */
static __always_inline int judge_by_default(struct judgement *facts, const struct judge_end *from, const struct judge_end *to,
					    bool published, __u16 flags, bool from_uplink)
{
	__u16 ours = (from->ep ? from->ep->flags : 0) | (to->ep ? to->ep->flags : 0);
	bool out_silent = from->ep && !from->said.verdict, in_silent = to->ep && !to->said.verdict;

	if (out_silent && from->class.flags & HW_POLICY_DENY_OUT)
		return judge_refuse(facts, HW_POLICY_OUT, 0, HW_DROP_POLICY_DEFAULT_OUT);
	if (in_silent && to->class.flags & HW_POLICY_DENY_IN)
		return judge_refuse(facts, HW_POLICY_IN, 0, HW_DROP_POLICY_DEFAULT_IN);
	/* Who comes by a published port comes from outside, wherever it lives. */
	if (published) {
		if (from_uplink && in_silent && !(to->class.flags & HW_POLICY_COVERED) && hw_config.published_deny)
			return judge_refuse(facts, HW_POLICY_IN, 0, HW_DROP_POLICY_PUBLISHED);
		return 0;
	}
	if (!judge_is_container(from) || !judge_is_container(to) || !(out_silent || in_silent) || ours & HW_NETWORK_GUEST)
		return 0;
	if (!judge_is_within(from, to, flags)) {
		if (!hw_config.between_networks)
			return judge_refuse(facts, out_silent ? HW_POLICY_OUT : HW_POLICY_IN, 0, HW_DROP_NETWORK_ISOLATED);
	} else if (ours & HW_NETWORK_NO_ICC && from->ep != to->ep) {
		return judge_refuse(facts, out_silent ? HW_POLICY_OUT : HW_POLICY_IN, 0, HW_DROP_ICC_DISABLED);
	}
	return 0;
}

/* A denial by either end, or the end whose rule speaks: audit before allow, and "out" before "in". */
static __always_inline int judge_by_rule(struct judgement *facts, const struct judge_end *from, const struct judge_end *to)
{
	if (from->said.verdict == HW_POLICY_DENY)
		return judge_refuse(facts, HW_POLICY_OUT, from->said.rule, HW_DROP_POLICY_DENIED);
	if (to->said.verdict == HW_POLICY_DENY)
		return judge_refuse(facts, HW_POLICY_IN, to->said.rule, HW_DROP_POLICY_DENIED);
	if (from->said.verdict && (from->said.verdict == HW_POLICY_AUDIT || to->said.verdict != HW_POLICY_AUDIT)) {
		facts->end = HW_POLICY_OUT + 1;
		facts->rule = from->said.rule;
	} else if (to->said.verdict) {
		facts->end = HW_POLICY_IN + 1;
		facts->rule = to->said.rule;
	}
	return 0;
}

/* Finds both ends' classes and what their rules say. 0, or a negated drop reason. */
static __always_inline int judge_ask(struct judgement *facts, __u32 revision, struct judge_end *from, const struct hw_ip *saddr,
				     struct judge_end *to, const struct hw_ip *daddr, __u8 proto, __be16 port)
{
	__u32 slot = revision & 1;
	int error;

	facts->revision = revision;
	facts->rule = 0;
	facts->end = 0;
	if (!revision)
		return -HW_DROP_POLICY_MISSING;
	error = judge_classify(slot, from, saddr);
	if (!error)
		error = judge_classify(slot, to, daddr);
	if (!error)
		error = judge_hear(slot, from, to, HW_POLICY_OUT, proto, port);
	if (!error)
		error = judge_hear(slot, to, from, HW_POLICY_IN, proto, port);
	return error;
}

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
static __always_inline bool judge_know(struct __sk_buff *skb, struct scratch *scratch, struct judge_end *end, const struct hw_ip *addr,
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
static __always_inline void judge_identify(struct judgement *facts, const struct judge_end *sender, const struct judge_end *receiver)
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
	struct judge_end from = { 0 }, to = { 0 };
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
	error = judge_ask(facts, revision, &from, saddr, &to, daddr, p->flow.proto, judge_port(p, dport));
	if (error)
		return error;
	if (!hw_config.unidentified_allow && (judge_is_unidentified(from.ep) || judge_is_unidentified(to.ep)))
		return -HW_DROP_NOT_IDENTIFIED;
	error = judge_by_rule(facts, &from, &to);
	if (error)
		return error;
	published = published && !(route->flags & HW_CT_SERVICE);
	facts->verdict =
		from.said.verdict == HW_POLICY_AUDIT || to.said.verdict == HW_POLICY_AUDIT ? HW_EVENT_AUDIT : HW_EVENT_FORWARDED;
	route->policy = revision;
	return judge_by_default(facts, &from, &to, published, route->flags, from_uplink);
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
	struct judge_end from = { 0 }, to = { 0 };
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
	error = judge_ask(&scratch->judgement, policy_revision(), &from, &p->source, &to, daddr,
			  p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, bpf_htons((__u16)p->icmp_type << 8 | p->icmp_code));
	if (from.said.wide)
		from.said.verdict = HW_POLICY_NONE;
	if (to.said.wide)
		to.said.verdict = HW_POLICY_NONE;
	return error ? error : judge_by_rule(&scratch->judgement, &from, &to);
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
