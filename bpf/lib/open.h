/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * First packets of flows: where they may go at all, what policy says (lib/judge.h), and by which way. Each function only
 * decides; one ctopen follows.
 *
 *   from a container   ▸ service: the backend that it has, from there on as if that had been asked
 *                      ▸ host address: published port, or the host itself
 *                      ▸ container here: walls of internal networks
 *                      ▸ world: route, masquerade
 *   from an uplink     ▸ published port
 *   from the host      ▸ the container
 */
#pragma once

#include "lib/ct.h"
#include "lib/deliver.h"
#include "lib/endpoints.h"
#include "lib/frontends.h"
#include "lib/hostaddrs.h"
#include "lib/judge.h"
#include "lib/networks.h"
#include "lib/nodes.h"
#include "lib/scratch.h"

/* To a published port's backend; the client's address stays, but for a client that is the backend. */
static __always_inline int open_published(const struct packet *p, const struct hw_backend *backend, struct ct_route *route)
{
	const struct hw_network *network;

	if (p->flow.proto == WIRE_PROTO_SCTP && backend->port != p->flow.dport)
		return -HW_DROP_REWRITE_FAILED;
	route->to.daddr = backend->addr;
	route->to.dport = backend->port;
	route->network = backend->network;
	if (ip_equal(&backend->addr, &p->flow.saddr)) {
		network = networks_find(backend->network);
		if (!network)
			return -HW_DROP_NO_SNAT_ADDRESS;
		route->to.saddr = p->family == 4 ? network->gateway4 : network->gateway6;
		if (ip_is_zero(&route->to.saddr))
			return -HW_DROP_NO_SNAT_ADDRESS;
	}
	return 0;
}

/* The published port that answers, of the packet's own family: another one only sockets can be translated to. */
static __always_inline const struct hw_backend *open_find_published(const struct packet *p)
{
	const struct hw_backend *backend;

	if (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6)
		return NULL;
	backend = frontends_find(&p->flow.daddr, p->flow.dport, p->flow.proto);
	return backend && ip_is4(&backend->addr) == (p->family == 4) ? backend : NULL;
}

/* R41: tunnels end at hosts, which trust one another by address, and out there a container bears this host's. */
static __always_inline bool open_is_tunnel(const struct packet *p)
{
	return p->flow.proto == IPPROTO_UDP &&
	       (p->flow.dport == hw_config.tunnel_port || p->flow.dport == bpf_htons(8472) || p->flow.dport == bpf_htons(4789) || p->flow.dport == bpf_htons(6081));
}

static __always_inline int open_to_host(const struct packet *p, const struct hw_endpoint *ep, const struct hw_host_address *host,
					struct ct_route *route)
{
	const struct hw_backend *backend;

	if (ep->flags & HW_NETWORK_INTERNAL) {
		if (!(host->flags & HW_HOST_ADDRESS_GATEWAY) || host->network != ep->network)
			return -HW_DROP_INTERNAL_NETWORK;
	} else {
		backend = open_find_published(p);
		if (backend)
			return open_published(p, backend, route);
	}
	if (open_is_tunnel(p))
		return -HW_DROP_ENCAP_PROHIBITED;
	route->flags = HW_CT_TO_HOST;
	return 0;
}

/* What stands between containers whatever the rules say. */
static __always_inline int open_to_peer(const struct hw_endpoint *ep, const struct hw_endpoint *peer)
{
	/* The way to somebody else's containers is not ours to know. */
	if (peer->flags & HW_NETWORK_GUEST)
		return -HW_DROP_NOT_AN_UPLINK;
	return peer->network != ep->network && (peer->flags | ep->flags) & HW_NETWORK_INTERNAL ? -HW_DROP_INTERNAL_NETWORK : 0;
}

/* To a container on another node, as far as this node knows: that one judges what comes in. */
static __always_inline int open_to_node(const struct packet *p, const struct hw_endpoint *ep, const struct far_end *far,
					struct ct_route *route)
{
	if (ep->flags & HW_NETWORK_INTERNAL && far->kind == FAR_REMOTE && far->network != ep->network)
		return -HW_DROP_INTERNAL_NETWORK;
	if (open_is_tunnel(p))
		return -HW_DROP_ENCAP_PROHIBITED;
	if (hw_config.native) {
		route->flags = HW_CT_TO_UPLINK;
		route->answer_flags = HW_CT_FROM_UPLINK;
		return 0;
	}
	route->flags = HW_CT_TO_NODE;
	route->answer_flags = HW_CT_FROM_NODE;
	return 0;
}

static __always_inline int open_leave(const struct packet *p, const struct hw_endpoint *ep, struct ct_route *route)
{
	route->flags = HW_CT_TO_UPLINK;
	route->answer_flags = HW_CT_FROM_UPLINK;
	if (p->family == 6 && ip_is_link_local6(&route->to.daddr))
		return -HW_DROP_NO_SUCH_ADDRESS;
	if (ep->flags & HW_NETWORK_INTERNAL)
		return -HW_DROP_INTERNAL_NETWORK;
	return open_is_tunnel(p) ? -HW_DROP_ENCAP_PROHIBITED : 0;
}

static __always_inline int open_to_world(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep,
					 struct ct_route *route, struct route_hop *hop)
{
	const struct hw_network *network;
	const struct hw_uplink *uplink;
	int error = route_find(skb, p, &p->flow.saddr, &route->to.daddr, hop, &uplink);

	if (error)
		return error;
	if (!(ep->flags & HW_NETWORK_MASQUERADE))
		return 0;
	network = networks_find(ep->network);
	if (network)
		route->to.saddr = p->family == 4 ? network->snat4 : network->snat6;
	if (!network || ip_is_zero(&route->to.saddr))
		route->to.saddr = p->family == 4 ? uplink->ipv4 : uplink->ipv6;
	if (ip_is_zero(&route->to.saddr))
		return -HW_DROP_NO_SNAT_ADDRESS;
	route->port = CT_PORT_CHANGE;
	return 0;
}

/*
 * `backend`: of the service that is asked; NULL: none is. 0: may be opened, by `route`. ROUTE_REFUSED: the container shall be told.
 * < 0: a negated drop reason.
 */
static __always_inline int open_from_container(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep,
					       const struct hw_backend *backend)
{
	const struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	const struct hw_host_address *host = NULL;
	struct far_end *far = &scratch->far[1];
	const struct hw_endpoint *peer;
	__u32 afar = FAR_ADDRESS;
	int error;

	if (p->kind != PACKET_FLOW)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (ip_is_this_host(&p->flow.daddr))
		return -HW_DROP_MARTIAN;
	ct_prepare(p, route, ep->network);
	if (backend) {
		error = open_published(p, backend, route);
		if (error)
			return error;
	}
	peer = endpoints_by_address(&route->to.daddr);
	if (!peer)
		host = hostaddrs_find(&route->to.daddr);
	if (!peer && !host && hw_config.tunnel_port) {
		far->address = route->to.daddr;
		judge_find_afar(skb, 1);
		afar = far->kind;
		if (afar == FAR_MISSING)
			return -HW_DROP_NO_SUCH_NODE;
	}
	error = peer   ? open_to_peer(ep, peer)
		: host ? open_to_host(p, ep, host, route)
		: afar ? open_to_node(p, ep, far, route)
		       : open_leave(p, ep, route);
	if (backend) {
		route->flags |= HW_CT_SERVICE;
		route->answer_flags |= HW_CT_SERVICE;
	}
	if (!error)
		error = judge_flow(skb, JUDGE_SENDER);
	if (error || peer || host)
		return error;
	if (afar)
		return deliver_find_way(skb, scratch, ep);
	return open_to_world(skb, p, ep, route, &scratch->hop);
}
