/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the rules in force say of a flow's two ends, and what happens where they say nothing (lib/judge.h). */
#pragma once

#include <stdbool.h>

#include "lib/endpoints.h"
#include "lib/hostaddrs.h"
#include "lib/policy.h"
#include "lib/scratch.h"

struct rules_end {
	const struct hw_endpoint *ep; /* NULL: no container here */
	__u32 kind;		      /* enum far_kind */
	__u32 identity;		      /* of a container, wherever it is */
	__u32 network;		      /* its; 0: none that is here */
	struct hw_policy_class class;
	struct hw_policy_entry said; /* what the rules of this end say of the other */
};

static __always_inline int rules_classify(__u32 slot, struct rules_end *end, const struct hw_ip *addr)
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

static __always_inline bool rules_is_container(const struct rules_end *end)
{
	return end->ep ? true : end->kind == FAR_REMOTE || end->kind == FAR_STRANGER;
}

/* Whether a flow stays within one network. Where only the other node can know, it is left to that node. */
static __always_inline bool rules_is_within(const struct rules_end *from, const struct rules_end *to, __u16 flags)
{
	if (from->kind == FAR_STRANGER)
		return flags & HW_CT_SAME_NETWORK;
	return to->kind == FAR_STRANGER || from->network == to->network;
}

/* What the rules of `subject` say, if it has any. */
static __always_inline int rules_hear(__u32 slot, struct rules_end *subject, const struct rules_end *peer, __u32 direction,
				      __u8 proto, __be16 port)
{
	struct hw_policy_pair pair = { .subject = subject->class.class, .peer = peer->class.class, .direction = direction };
	struct hw_policy_port key = { .length = 64, .proto = bpf_htons(proto), .port = port };

	if (!subject->ep || !subject->class.class)
		return 0;
	return policy_rule(slot, &pair, &key, &subject->said);
}

static __always_inline int rules_refuse(struct judgement *facts, __u32 direction, __u32 rule, int reason)
{
	facts->end = direction + 1;
	facts->rule = rule;
	return -reason;
}

/* What happens where rules are silent at one end or at both. 0, or a negated drop reason. */
static __always_inline int rules_are_silent(struct judgement *facts, const struct rules_end *from, const struct rules_end *to,
					    bool published, __u16 flags, bool from_uplink)
{
	__u16 ours = (from->ep ? from->ep->flags : 0) | (to->ep ? to->ep->flags : 0);
	bool out_silent = from->ep && !from->said.verdict, in_silent = to->ep && !to->said.verdict;

	if (out_silent && from->class.flags & HW_POLICY_DENY_OUT)
		return rules_refuse(facts, HW_POLICY_OUT, 0, HW_DROP_POLICY_DEFAULT_OUT);
	if (in_silent && to->class.flags & HW_POLICY_DENY_IN)
		return rules_refuse(facts, HW_POLICY_IN, 0, HW_DROP_POLICY_DEFAULT_IN);
	/* Who comes by a published port comes from outside, wherever it lives. */
	if (published) {
		if (from_uplink && in_silent && !(to->class.flags & HW_POLICY_COVERED) && hw_config.published_deny)
			return rules_refuse(facts, HW_POLICY_IN, 0, HW_DROP_POLICY_PUBLISHED);
		return 0;
	}
	if (!rules_is_container(from) || !rules_is_container(to) || !(out_silent || in_silent) || ours & HW_NETWORK_GUEST)
		return 0;
	if (!rules_is_within(from, to, flags)) {
		if (!hw_config.between_networks)
			return rules_refuse(facts, out_silent ? HW_POLICY_OUT : HW_POLICY_IN, 0, HW_DROP_NETWORK_ISOLATED);
	} else if (ours & HW_NETWORK_NO_ICC && from->ep != to->ep) {
		return rules_refuse(facts, out_silent ? HW_POLICY_OUT : HW_POLICY_IN, 0, HW_DROP_ICC_DISABLED);
	}
	return 0;
}

/* A denial by either end, or the end whose rule speaks: audit before allow, and "out" before "in". */
static __always_inline int rules_speak(struct judgement *facts, const struct rules_end *from, const struct rules_end *to)
{
	if (from->said.verdict == HW_POLICY_DENY)
		return rules_refuse(facts, HW_POLICY_OUT, from->said.rule, HW_DROP_POLICY_DENIED);
	if (to->said.verdict == HW_POLICY_DENY)
		return rules_refuse(facts, HW_POLICY_IN, to->said.rule, HW_DROP_POLICY_DENIED);
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
static __always_inline int rules_ask(struct judgement *facts, __u32 revision, struct rules_end *from, const struct hw_ip *saddr,
				     struct rules_end *to, const struct hw_ip *daddr, __u8 proto, __be16 port)
{
	__u32 slot = revision & 1;
	int error;

	facts->revision = revision;
	facts->rule = 0;
	facts->end = 0;
	if (!revision)
		return -HW_DROP_POLICY_MISSING;
	error = rules_classify(slot, from, saddr);
	if (!error)
		error = rules_classify(slot, to, daddr);
	if (!error)
		error = rules_hear(slot, from, to, HW_POLICY_OUT, proto, port);
	if (!error)
		error = rules_hear(slot, to, from, HW_POLICY_IN, proto, port);
	return error;
}
