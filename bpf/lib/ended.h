/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Tunnels that end here: whose the packet is that was in one. */
#pragma once

#include "lib/hostaddrs.h"
#include "lib/lbnode.h"
#include "lib/nodes.h"
#include "lib/scratch.h"
#include "lib/tunnel.h"

/* What was in a tunnel that ends here. */
enum ended {
	ENDED_NONE = 0, /* there is none, or it is not for us to read */
	ENDED_SERVED,	/* for a container that scratch->backend says */
	ENDED_RETURNED, /* for a client */
	ENDED_RECEIVED, /* between nodes and their containers */
};

static __always_inline enum ended ended_open(struct __sk_buff *skb, struct scratch *scratch, bool outer4)
{
	__u32 *key = &scratch->sender.key;

	if (hw_config.services && lbnode_take(skb, scratch, outer4))
		return ENDED_SERVED;
	if (!hw_config.tunnel_header || !(outer4 ? tunnel_take(skb, key) : tunnel6_take(skb, key)))
		return ENDED_NONE;
	return hw_config.services && *key == HW_TUNNEL_RETURN ? ENDED_RETURNED : ENDED_RECEIVED;
}

/* The same, of IPv6. Not static, so that the verifier walks it once. */
__noinline int ended_open6(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();

	return scratch && skb ? ended_open(skb, scratch, false) : ENDED_NONE;
}

/*
 * Takes the headers off. What our programs do not read themselves is for this host's stack, whose device gives it to from_overlay. With native
 * routing tunnels carry nothing but what services need.
 */
static __always_inline enum ended ended_take(struct __sk_buff *skb, struct scratch *scratch)
{
	struct packet *p = &scratch->packet;
	struct sender *sender = &scratch->sender;
	enum ended ended;

	if (p->fragment != PACKET_WHOLE || !hostaddrs_find(&p->flow.daddr))
		return ENDED_NONE;
	sender->address = p->flow.saddr;
	sender->node = nodes_by_address(&p->flow.saddr);
	if (!sender->node)
		return ENDED_NONE;
	sender->key = HW_TUNNEL_HOST;
	ended = p->family == 4 ? ended_open(skb, scratch, true) : ended_open6(skb);
	if (ended != ENDED_NONE)
		__builtin_memset(p, 0, sizeof(*p));
	return ended;
}
