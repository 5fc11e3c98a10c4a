/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * First packets of services' flows whose backend is a container here, by the same choice as XDP's (lib/lbchoose.h): the flow is then opened
 * like one to a published port, and is conntrack's.
 */
#pragma once

#include "lib/endpoints.h"
#include "lib/lbchoose.h"
#include "lib/packet.h"
#include "lib/scratch.h"

/* The container of `address`, as a published port's backend. False: it is none that we carry for. */
static __always_inline bool lblocal_is(const struct hw_ip *address, __be16 port, struct hw_backend *backend)
{
	const struct hw_endpoint *ep = endpoints_by_address(address);

	if (!ep || ep->flags & HW_NETWORK_GUEST)
		return false;
	backend->addr = *address;
	backend->port = port;
	backend->network = ep->network;
	return true;
}

static __always_inline __u8 lblocal_kind(const struct packet *p)
{
	if (p->flow.proto == IPPROTO_UDP)
		return LBPACKET_DATAGRAM;
	return (p->tcp_flags & LBPACKET_SYN_MASK) == LBPACKET_SYN ? LBPACKET_BEGINS : LBPACKET_GOES_ON;
}

static __always_inline struct hw_lb_backend *lblocal_choose(const struct packet *p, const struct hw_lb_service *service, const struct lbpacket *b)
{
	struct lbservices_table table = lbservices_table(service);
	__u32 number;

	if (!table.slots)
		return NULL;
	if (service->flags & HW_LB_SERVICE_AFFINITY)
		return lbchoose_stay(b, table, service->affinity, &p->flow.saddr, &number);
	return lbchoose_by_slot(b, table, b->hash, &number);
}

/*
 * Of scratch->packet's flow: 1 with scratch->backend filled in, 0 when it is nobody's here, or a negated drop reason. Not static, so that
 * the verifier walks it once.
 */
__noinline int lblocal_find(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_frontend *frontend;
	const struct hw_lb_service *service;
	const struct hw_lb_backend *backend;
	struct lbpacket b = { 0 };
	const struct packet *p;
	__u32 ports;

	if (!scratch || !skb)
		return 0;
	p = &scratch->packet;
	frontend = lbfrontends_find(p->flow.daddr.words, 6, lbhash_address(p->flow.daddr.words), lbfrontends_port(p->flow.dport, p->flow.proto));
	service = frontend ? lbservices_find(frontend->service) : NULL;
	if (!service)
		return 0;
	ports = lbpacket_ports(p->flow.sport, p->flow.dport);
	b.service = frontend->service;
	b.frontend = frontend->number;
	b.kind = lblocal_kind(p);
	b.hash = p->family == 4 ? lbhash_flow4(p->flow.saddr.words[3], ports) : lbpacket_hash6((const struct in6_addr *)&p->flow.saddr, ports);
	if (service->flags & HW_LB_SERVICE_SOURCES && !lbsources_may(b.service, &p->flow.saddr))
		return -HW_DROP_SERVICE_SOURCE;
	backend = lblocal_choose(p, service, &b);
	return backend && backend->mode == HW_LB_LOCAL && lblocal_is(&backend->address, backend->port, &scratch->backend);
}
