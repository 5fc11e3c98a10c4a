/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The last step: rewrites what the flow says and hands the packet on.
 *
 *   to a container   ▸ its MAC, redirect_peer into its namespace
 *   to the host      ▸ hwhost's ingress
 *   to another node  ▸ lib/overlay.h, or by its route as to the world
 *   to a service's client, by way of the node that balanced ▸ lib/overlay.h
 *   to the world     ▸ lib/route.h
 */
#pragma once

#include "lib/ct.h"
#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/nat.h"
#include "lib/overlay.h"
#include "lib/route.h"
#include "lib/scratch.h"

/* As it is, to the host's own stack. */
static __always_inline int deliver_host(void)
{
	return bpf_redirect(hw_config.host_ifindex, BPF_F_INGRESS);
}

static __always_inline int deliver_endpoint(struct __sk_buff *skb, const struct hw_endpoint *ep)
{
	int error = eth_address(skb, ep->mac);

	return error ? error : bpf_redirect_peer(ep->ifindex, 0);
}

/*
 * The next hop of a known flow, if it goes to the world: ROUTE_*, or a negated drop reason. That of an answer is looked up as for the
 * host's own packets, that of a container's own flow as for the container's, as policy routing would have it. `ep`: who sends.
 */
static __always_inline int deliver_find_way(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	const struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	const struct hw_ip *saddr = route->flags & HW_CT_REPLY ? &route->to.saddr : &p->flow.saddr;
	const struct hw_node *balancer = route->node ? nodes_find(route->node) : NULL;
	const struct hw_uplink *uplink;

	if (balancer)
		return overlay_find_balancer(p, balancer, &scratch->hop);
	/* Struck out: until the client comes by another node, it is answered from here. */
	route->node = 0;
	if (route->flags & HW_CT_TO_NODE)
		return overlay_find(p, ep, &route->to.daddr, &scratch->hop);
	if (!(route->flags & HW_CT_TO_UPLINK))
		return ROUTE_FOUND;
	if (p->ttl > 1 && route_recall(saddr, &route->to.daddr, p->flow.proto, p->size, &scratch->hop))
		return ROUTE_FOUND;
	return route_find(skb, p, saddr, &route->to.daddr, &scratch->hop, &uplink);
}

/* Wherever the flow goes. To the world the hop has been found. */
static __always_inline int deliver(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct packet *p = &scratch->packet;
	const struct ct_route *route = &scratch->route;
	const struct hw_endpoint *ep = NULL;
	int error = 0;

	if (!(route->flags & (HW_CT_TO_UPLINK | HW_CT_TO_HOST | HW_CT_TO_NODE))) {
		ep = endpoints_by_address(&route->to.daddr);
		/* Somebody else's veth is not ours to write to. */
		if (!ep || ep->flags & HW_NETWORK_GUEST)
			return -HW_DROP_NO_SUCH_ADDRESS;
		if (p->size > ep->mtu)
			return -HW_DROP_MTU_EXCEEDED;
	}
	if (route->flags & HW_CT_NAT)
		error = nat_apply(skb, p, &route->to);
	if (error)
		return error;
	if (ep)
		return deliver_endpoint(skb, ep);
	if (route->node && !ip_is4(&scratch->hop.tunnel))
		return overlay_send6(skb);
	if (route->flags & HW_CT_TO_NODE || route->node)
		return overlay_send(skb);
	return route->flags & HW_CT_TO_UPLINK ? route_send(skb, p, &scratch->hop) : deliver_host();
}
