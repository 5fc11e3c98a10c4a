/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Containers as clients of services, by packets that no socket was led to a backend for (bpf/sock-lb.bpf.c): of raw and SCTP sockets, of
 * guests in a container, of connections that are older than the service.
 *
 *   first packet ▸ address of a service ─ no ─▸ as ever
 *                  └ port ▸ sources ▸ backend ▸ the flow goes on as one to the backend itself, and is conntrack's from then on
 *                    └ of none, or nobody serves ▸ refused at once (lib/refuse.h)
 */
#pragma once

#include "lib/lbpick.h"
#include "lib/scratch.h"

#define LBCLIENT_NOT   0
#define LBCLIENT_FOUND 1 /* scratch->backend */

/* Of scratch->packet, a flow's first, from a container of `network`; or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int lbclient_find(struct __sk_buff *skb, __u32 network)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_frontend *address, *frontend;
	const struct hw_lb_backend *backend;
	const struct hw_lb_place *place;
	struct lbpacket b = { 0 };
	const struct packet *p;
	__u32 number;

	if (!scratch || !skb)
		return LBCLIENT_NOT;
	p = &scratch->packet;
	address = lbpick_frontend(p, 0);
	if (!address || (p->flow.proto != IPPROTO_TCP && p->flow.proto != IPPROTO_UDP && p->flow.proto != WIRE_PROTO_SCTP))
		return LBCLIENT_NOT;
	frontend = lbpick_frontend(p, lbfrontends_port(p->flow.dport, p->flow.proto));
	if (!frontend)
		return address->flags & HW_LB_FRONTEND_SHARED ? LBCLIENT_NOT : -HW_DROP_SERVICE_PORT;
	backend = lbpick(skb, p, frontend, &b, &number);
	if (!backend)
		return number == LBPICK_DENIED ? -HW_DROP_SERVICE_SOURCE : -HW_DROP_SERVICE_EMPTY;
	place = lbbackends_place(number);
	if (!place)
		return -HW_DROP_SERVICE_EMPTY;
	scratch->backend.addr = place->address;
	scratch->backend.port = backend->port;
	scratch->backend.network = network;
	return LBCLIENT_FOUND;
}
