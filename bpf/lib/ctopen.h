/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Opens flows: both entries of a first packet, with a source port that nobody holds.
 *
 *   partner claimed ▸ taken by another live flow: the next port ▸ own entry
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "lib/ct.h"
#include "lib/pure/ports.h"
#include "lib/scratch.h"
#include "lib/shadow.h"

#define CTOPEN_CANDIDATES 32

/*
 * The entry of an earlier flow that went the same way: ports come round, and to write into it what differs costs a fraction of a new
 * entry. The policy is last, so that who reads it meanwhile has the flow judged again.
 */
static __always_inline void ctopen_renew(struct ct_state *old, const struct ct_state *state)
{
	old->expires = state->expires;
	old->flags = state->flags;
	old->touched = state->touched;
	old->network = state->network;
	old->node = state->node;
	barrier();
	old->policy = state->policy;
}

/*
 * The entry of scratch->packet's flow, and its partner, which is claimed: -EEXIST when another live flow holds that place. An entry of an
 * earlier flow is looked for first where there is one on the packet's own side, for such come in pairs.
 *
 * Functions that are not static the verifier walks once each, and not from every state in which they are called; they take
 * nothing but the packet and plain numbers.
 */
static __always_inline int ctopen_write4(const struct hw_ct6_key *seen, const struct hw_ct6_key *to, const struct ct_state *state,
					 bool partner, bool again)
{
	struct hw_ct4_key key = partner ? tuple_narrow_reverse(to) : tuple_narrow(seen);
	struct hw_ct4 value = {
		.to = partner ? tuple_narrow_reverse(seen) : tuple_narrow(to),
		.expires = state->expires,
		.flags = state->flags,
		.touched = state->touched,
		.network = state->network,
		.policy = state->policy,
	};
	struct hw_ct4 *old = again ? bpf_map_lookup_elem(&hw_ct4, &key) : NULL;

	value.to.node = state->node;
	if (!old) {
		if (!bpf_map_update_elem(&hw_ct4, &key, &value, partner ? BPF_NOEXIST : BPF_ANY))
			return 0;
		old = bpf_map_lookup_elem(&hw_ct4, &key);
	}
	if (old && old->to.saddr == value.to.saddr && old->to.daddr == value.to.daddr && old->to.sport == value.to.sport &&
	    old->to.dport == value.to.dport) {
		ctopen_renew((struct ct_state *)&old->to.proto, state);
		return 0;
	}
	if (partner && old && !ct_is_dead(old->expires))
		return -EEXIST;
	return bpf_map_update_elem(&hw_ct4, &key, &value, BPF_ANY);
}

static __always_inline int ctopen_write6(const struct hw_ct6_key *seen, const struct hw_ct6_key *to, const struct ct_state *state,
					 bool partner, bool again)
{
	struct hw_ct6_key key = partner ? tuple_reverse(to) : *seen;
	struct hw_ct6 value = {
		.to = partner ? tuple_reverse(seen) : *to,
		.expires = state->expires,
		.flags = state->flags,
		.touched = state->touched,
		.network = state->network,
		.policy = state->policy,
	};
	struct hw_ct6 *old = again ? bpf_map_lookup_elem(&hw_ct6, &key) : NULL;

	value.to.node = state->node;
	if (!old) {
		if (!bpf_map_update_elem(&hw_ct6, &key, &value, partner ? BPF_NOEXIST : BPF_ANY))
			return 0;
		old = bpf_map_lookup_elem(&hw_ct6, &key);
	}
	if (old && tuple_equal(&old->to, &value.to)) {
		ctopen_renew((struct ct_state *)&old->to.proto, state);
		return 0;
	}
	if (partner && old && !ct_is_dead(old->expires))
		return -EEXIST;
	return bpf_map_update_elem(&hw_ct6, &key, &value, BPF_ANY);
}

__noinline int ctopen_write(struct __sk_buff *skb, __u32 partner)
{
	struct scratch *scratch = scratch_same();
	const struct hw_ct6_key *seen, *to;

	if (!scratch || !skb)
		return -EINVAL;
	seen = &scratch->packet.flow;
	to = &scratch->route.to;
	return scratch->packet.family == 4 ? ctopen_write4(seen, to, &scratch->opening, partner, scratch->route.again)
					   : ctopen_write6(seen, to, &scratch->opening, partner, scratch->route.again);
}

/* Whether answers to the flow as it leaves would shadow a service of the host's. */
__noinline int ctopen_shadows(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	struct hw_ct6_key answer;

	if (!scratch)
		return 0;
	answer = tuple_reverse(&scratch->route.to);
	return shadow_is_service(skb, scratch->packet.family, &answer);
}

/* Without a port that may change (SCTP's checksum covers them) there is one candidate. */
static __always_inline bool ctopen_is_fixed(const struct packet *p, const struct ct_route *route)
{
	__u8 proto = p->flow.proto;

	return route->port == CT_PORT_KEEP ||
	       (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6);
}

/*
 * Opens the flow of scratch->packet. scratch->route says where it goes and which flags each direction carries; its source
 * port changes when it must: by its `port`, and when another flow has it. 0, or a negated drop reason.
 */
__noinline int ctopen(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	__u32 now = (__u32)bpf_jiffies64(), start;
	int error = -EEXIST, i;
	const struct packet *p;
	struct ct_route *route;
	struct ct_state *state;
	bool fixed;

	if (!scratch)
		return -HW_DROP_CT_INSERT_FAILED;
	p = &scratch->packet;
	route = &scratch->route;
	state = &scratch->opening;
	start = tuple_hash(&p->flow);
	fixed = ctopen_is_fixed(p, route);
	state->expires = now + ct_seconds(p->flow.proto, 0, false) * hw_config.hz;
	state->flags = route->answer_flags | HW_CT_REPLY;
	state->touched = clock_epoch(now);
	state->network = route->network;
	state->node = route->node;
	state->policy = route->policy;
	if (!ip_equal(&p->flow.saddr, &route->to.saddr) || !ip_equal(&p->flow.daddr, &route->to.daddr) ||
	    p->flow.dport != route->to.dport)
		state->flags |= HW_CT_NAT;
	for (i = 0; i < CTOPEN_CANDIDATES; i++) {
		if ((route->port || i) && !fixed) {
			/* A large odd stride: neighbours in the hash do not walk the same ports. */
			__u16 port = ports_pick(start + i * 7919, hw_config.ephemeral_low, hw_config.ephemeral_high);

			if (!port)
				break;
			route->to.sport = bpf_htons(port);
			state->flags |= HW_CT_NAT;
			if ((route->answer_flags & HW_CT_FROM_UPLINK) && ctopen_shadows(skb))
				continue;
		}
		error = ctopen_write(skb, true);
		if (error != -EEXIST || fixed)
			break;
	}
	if (error)
		return error == -EEXIST ? -HW_DROP_NAT_PORTS_EXHAUSTED : -HW_DROP_CT_INSERT_FAILED;

	state->flags = route->flags | HW_CT_SEEN | (state->flags & HW_CT_NAT);
	route->flags = state->flags;
	return ctopen_write(skb, false) ? -HW_DROP_CT_INSERT_FAILED : 0;
}
