/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connection tracking: two entries for each flow, one for each direction (drawn in DESIGN.md).
 *
 *   ct_find    the packet's flow ▸ where it goes, or "no flow"
 *   ct_touch   keeps a flow alive and follows TCP; costs a second lookup once an epoch at most
 *   ct_judged  remembers which policy judged it, and touches it
 *   ct_prepare a first packet: lib/ctopen.h makes both entries
 *
 * Flows are spoken of as struct hw_ct6_key for both families; only here are IPv4 ones made narrow.
 * A first TCP packet need not be a SYN: a flow whose entries were evicted is picked up where it is.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/config.h"
#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/policy.h"
#include "lib/pure/clock.h"
#include "lib/shadow.h"
#include "lib/tuple.h"

#define CT_FIN 0x01
#define CT_SYN 0x02
#define CT_RST 0x04
#define CT_ACK 0x10

#define CT_SECONDS_TCP	    (2 * 3600 + 600)
#define CT_SECONDS_OPENING  60
#define CT_SECONDS_CLOSED   10
#define CT_SECONDS_ANSWERED 180
#define CT_SECONDS_ONE_WAY  30

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct hw_ct4_key);
	__type(value, struct hw_ct4);
} hw_ct4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct hw_ct6_key);
	__type(value, struct hw_ct6);
} hw_ct6 SEC(".maps");

/* What both values carry behind the addresses and ports of `to`. */
struct ct_state {
	__u8 proto;
	__u8 pad;
	__u16 node;
	__u32 expires;
	__u16 flags;
	__u16 touched;
	__u32 network;
	__u32 policy;
};

_Static_assert(__builtin_offsetof(struct hw_ct4, policy) - __builtin_offsetof(struct hw_ct4, to.proto) ==
		       __builtin_offsetof(struct ct_state, policy),
	       "struct hw_ct4 carries a struct ct_state");
_Static_assert(__builtin_offsetof(struct hw_ct6, policy) - __builtin_offsetof(struct hw_ct6, to.proto) ==
		       __builtin_offsetof(struct ct_state, policy),
	       "struct hw_ct6 carries a struct ct_state");

/* The source port of a flow that is opened. */
enum ct_port {
	CT_PORT_FREE = 0,   /* may change */
	CT_PORT_CHANGE = 1, /* must */
	CT_PORT_KEEP = 2,   /* must not */
};

/* Where a packet goes. */
struct ct_route {
	struct hw_ct6_key to;
	__u32 network;
	__u32 policy; /* revision that judged the flow */
	__u16 flags;
	__u16 answer_flags; /* opening: of the partner */
	__u16 port;	    /* opening: enum ct_port */
	__u16 again;	    /* opening: an earlier flow's entry is there */
	__u32 node;	    /* by way of which a service's client is answered; 0: answers go their own way */
};

/* The state of the entry with this key, and its `to`; NULL: none. */
static __always_inline struct ct_state *ct_lookup(const struct hw_ct6_key *wide, __u8 family, struct hw_ct6_key *to)
{
	if (family == 4) {
		struct hw_ct4_key key = tuple_narrow(wide);
		struct hw_ct4 *entry = bpf_map_lookup_elem(&hw_ct4, &key);

		if (!entry)
			return NULL;
		if (to)
			*to = tuple_widen(&entry->to);
		return (struct ct_state *)&entry->to.proto;
	} else {
		struct hw_ct6 *entry = bpf_map_lookup_elem(&hw_ct6, wide);

		if (!entry)
			return NULL;
		if (to)
			*to = entry->to;
		return (struct ct_state *)&entry->to.proto;
	}
}

static __always_inline __u32 ct_seconds(__u8 proto, __u16 flags, bool answered)
{
	if (proto != IPPROTO_TCP)
		return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6 || !answered ? CT_SECONDS_ONE_WAY : CT_SECONDS_ANSWERED;
	if (flags & HW_CT_CLOSED)
		return CT_SECONDS_CLOSED;
	return answered ? CT_SECONDS_TCP : CT_SECONDS_OPENING;
}

static __always_inline bool ct_is_dead(__u32 expires)
{
	return clock_dead(expires, (__u32)bpf_jiffies64(), CT_SECONDS_TCP * hw_config.hz);
}

/* Both entries of the packet's flow. */
static __noinline int ct_forget(const struct packet *p, const struct hw_ct6_key *to)
{
	struct hw_ct6_key partner = tuple_reverse(to);

	if (p->family == 4) {
		struct hw_ct4_key narrow = tuple_narrow(&p->flow), narrow_partner = tuple_narrow(&partner);

		bpf_map_delete_elem(&hw_ct4, &narrow);
		return bpf_map_delete_elem(&hw_ct4, &narrow_partner);
	}
	bpf_map_delete_elem(&hw_ct6, &p->flow);
	return bpf_map_delete_elem(&hw_ct6, &partner);
}

/*
 * Moves the expiry of both directions, and closes both after FIN and FIN, or RST. Rare: not inline, for the stack.
 * A flow that the policy in force has not let pass yet is judged before it is touched (ct_judged): what is denied dies,
 * however long its ends go on sending.
 */
static __noinline void ct_follow(const struct packet *p, struct ct_state *state, const struct hw_ct6_key *to)
{
	struct hw_ct6_key key = tuple_reverse(to);
	struct ct_state *partner = ct_lookup(&key, p->family, NULL);
	__u16 flags = state->flags | HW_CT_SEEN, partner_flags = partner ? partner->flags : 0;
	bool was_closed = flags & HW_CT_CLOSED;
	__u32 now = (__u32)bpf_jiffies64();

	if (state->policy != policy_revision())
		return;
	if (p->tcp_flags & CT_FIN)
		flags |= HW_CT_FIN;
	if ((p->tcp_flags & CT_RST) || (flags & partner_flags & HW_CT_FIN) || (partner_flags & HW_CT_CLOSED))
		flags |= HW_CT_CLOSED;
	state->flags = flags;
	state->touched = clock_epoch(now);
	/* What is closed dies at its time, however long stragglers keep coming. */
	if (!was_closed)
		state->expires = now + ct_seconds(p->flow.proto, flags, partner_flags & HW_CT_SEEN) * hw_config.hz;
	if (!partner)
		return;
	partner->expires = state->expires;
	if (flags & ~partner_flags & HW_CT_CLOSED)
		partner->flags = partner_flags | HW_CT_CLOSED;
}

/* Nothing to do for most packets: the flow was touched a moment ago. */
static __always_inline void ct_touch(const struct packet *p, struct ct_state *state, const struct hw_ct6_key *to)
{
	if (state->touched != clock_epoch((__u32)bpf_jiffies64()) || !(state->flags & HW_CT_SEEN) ||
	    (p->tcp_flags & (CT_FIN | CT_SYN | CT_RST)))
		ct_follow(p, state, to);
}

/*
 * Finds the packet's live flow. `from` is what the entry must say about where its packets come from: a packet
 * off the wire may never ride on a flow between containers, however well its addresses are forged.
 */
static __always_inline bool ct_find(struct __sk_buff *skb, const struct packet *p, __u16 from, struct ct_route *route)
{
	struct ct_state *state = ct_lookup(&p->flow, p->family, &route->to);

	route->again = state != NULL;
	if (!state || ct_is_dead(state->expires) || (state->flags & (HW_CT_FROM_UPLINK | HW_CT_FROM_NODE)) != from)
		return false;
	if (p->kind != PACKET_ICMP_ERROR) {
		/* Who answers does not open: this is a connection of its own, and no flow that still waits may catch it. */
		if ((p->tcp_flags & (CT_SYN | CT_ACK)) == CT_SYN && (state->flags & HW_CT_REPLY)) {
			if (!(state->flags & HW_CT_SEEN))
				ct_forget(p, &route->to);
			return false;
		}
		/* Without translation it is to a container's own address, where nothing of the host's can be. */
		if (from == HW_CT_FROM_UPLINK && (state->flags & (HW_CT_REPLY | HW_CT_SEEN | HW_CT_NAT)) == (HW_CT_REPLY | HW_CT_NAT) &&
		    shadow_is_service(skb, p->family, &p->flow)) {
			ct_forget(p, &route->to);
			return false;
		}
		/* A new connection on the ports of one that is closing is a new flow. */
		if ((p->tcp_flags & (CT_SYN | CT_ACK)) == CT_SYN && (state->flags & (HW_CT_FIN | HW_CT_CLOSED)))
			return false;
		ct_touch(p, state, &route->to);
	}
	route->flags = state->flags;
	route->network = state->network;
	route->policy = state->policy;
	route->node = state->node;
	return true;
}

/* A known flow that may go on: both entries remember which policy said so, and that it is alive. */
static __noinline int ct_judged(const struct packet *p, const struct ct_route *route)
{
	struct hw_ct6_key partner = tuple_reverse(&route->to);
	struct ct_state *state = ct_lookup(&p->flow, p->family, NULL);

	if (state) {
		state->policy = route->policy;
		if (p->kind != PACKET_ICMP_ERROR)
			ct_follow(p, state, &route->to);
	}
	state = ct_lookup(&partner, p->family, NULL);
	if (state)
		state->policy = route->policy;
	return 0;
}

/* A first packet that goes on as it is; the caller changes what differs, then opens. */
static __always_inline void ct_prepare(const struct packet *p, struct ct_route *route, __u32 network)
{
	route->to = p->flow;
	route->network = network;
	route->flags = 0;
	route->answer_flags = 0;
	route->node = 0;
	route->port = CT_PORT_FREE;
}
