/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who may come from outside: by which addresses nobody does, and to whom the way back is by an uplink. */
#pragma once

#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "lib/endpoints.h"
#include "lib/hostaddrs.h"
#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/route.h"
#include "lib/uplinks.h"
#include "lib/wire.h"

/* A container that we carry for; the way to and from a guest is its own network's. */
static __always_inline bool outside_is_ours(const struct hw_ip *addr)
{
	const struct hw_endpoint *ep = endpoints_by_address(addr);

	return ep && !(ep->flags & HW_NETWORK_GUEST);
}

/* Whether the way back to the packet's sender is by an uplink. Not inline, for the stack. */
static __noinline bool outside_leads_out(struct __sk_buff *skb, const struct packet *p)
{
	const struct hw_ip *saddr = &p->flow.daddr, *daddr = &p->flow.saddr;
	struct bpf_fib_lookup fib = { 0 };
	struct route_hop hop;
	long result;

	if (route_known(saddr, daddr, p->flow.proto, 0))
		return true;
	route_ask(&fib, p, saddr, daddr, 0);
	result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if ((result != BPF_FIB_LKUP_RET_SUCCESS && result != BPF_FIB_LKUP_RET_NO_NEIGH) || !uplinks_find(fib.ifindex))
		return false;
	route_take(&fib, &hop);
	route_remember(saddr, daddr, p->flow.proto, 0, &hop, 0);
	return true;
}

/*
 * Addresses that no client has: of containers and of the host, of groups, and any to which the way back is by no uplink,
 * so that nobody passes for a neighbour whom containers trust (the kernel, which would ask this, never sees the packet).
 */
static __always_inline bool outside_is_no_client(struct __sk_buff *skb, const struct packet *p)
{
	const struct hw_ip *addr = &p->flow.saddr;

	return ip_is_this_host(addr) || ip_is_multicast(addr) || outside_is_ours(addr) || hostaddrs_find(addr) ||
	       !outside_leads_out(skb, p);
}
