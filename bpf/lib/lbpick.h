/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The backend of a packet that was read for conntrack: by the same choice as XDP's (lib/lbchoose.h). */
#pragma once

#include "lib/lbchoose.h"
#include "lib/packet.h"

/* Of a client that may not: beside every backend's number. */
#define LBPICK_DENIED 0xffffffff

/* `port` 0: the address alone. NULL: it is no service's. */
static __always_inline const struct hw_lb_frontend *lbpick_frontend(const struct packet *p, __u32 port)
{
	return lbfrontends_find(p->flow.daddr.words, 6, lbhash_address(p->flow.daddr.words), port);
}

static __always_inline __u8 lbpick_kind(const struct __sk_buff *skb, const struct packet *p)
{
	__u8 chunk = 0;

	if (p->kind == PACKET_ICMP_ERROR)
		return LBPACKET_ERROR;
	if (p->flow.proto == IPPROTO_UDP)
		return LBPACKET_DATAGRAM;
	if (p->flow.proto == IPPROTO_TCP)
		return lbpacket_tcp_kind(p->tcp_flags);
	return bpf_skb_load_bytes(skb, p->l4 + LBPACKET_SCTP, &chunk, sizeof(chunk)) < 0 ? LBPACKET_GOES_ON : lbpacket_sctp_kind(chunk);
}

/* What balancing wants to know of the packet, and its service; NULL: it has gone meanwhile. */
static __always_inline const struct hw_lb_service *lbpick_read(const struct __sk_buff *skb, const struct packet *p, const struct hw_lb_frontend *frontend,
							       struct lbpacket *b)
{
	__u32 ports = lbpacket_ports(p->flow.sport, p->flow.dport);

	b->frontend = lbfrontends_identity(frontend);
	b->kind = lbpick_kind(skb, p);
	b->hash = p->family == 4 ? lbhash_flow4(p->flow.saddr.words[3], ports) : lbpacket_hash6((const struct in6_addr *)&p->flow.saddr, ports);
	return lbservices_find(frontend->service);
}

/* A backend that is up, its number in `number`; NULL: nobody has it, or with LBPICK_DENIED in `number` the client may not. `b` is filled in. */
static __always_inline struct hw_lb_backend *lbpick(struct __sk_buff *skb, const struct packet *p, const struct hw_lb_frontend *frontend,
						    struct lbpacket *b, __u32 *number)
{
	const struct hw_lb_service *service = lbpick_read(skb, p, frontend, b);
	struct lbfrontends_table table;
	union lbservices_asks asks;

	*number = 0;
	if (!service)
		return NULL;
	asks = lbservices_asks(service);
	if (asks.depth && !lbsources_may(asks, &p->flow.saddr)) {
		*number = LBPICK_DENIED;
		return NULL;
	}
	table = lbservices_table(service);
	if (!table.slots)
		return NULL;
	if (asks.flags & HW_LB_SERVICE_AFFINITY) {
		*number = lbchoose_stay(&p->flow.saddr, b->hash, b->frontend, b->kind);
		return lbbackends_find(*number);
	}
	return lbchoose_by_slot(b, table, b->hash, number);
}
