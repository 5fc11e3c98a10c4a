/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet that goes on, for a container here, of whose flow this node knows nothing: another backend of its slot may have the flow.
 *
 *   balancing node ▸ node of A, knows it not ▸ node of C, knows it not ▸ node of A: A has it, and answers as to anybody
 *                                 passed on: 1                      2
 *
 * Who else may have it this node's own slots tell, which are the same at every node that has seen the same changes; so the packet need not
 * name him, and is no longer than others. That it comes back is for flows that conntrack has lost: they are taken up where they would be
 * without all this. What was passed on twice is passed on no more, whatever slots say.
 */
#pragma once

#include "lib/lbtc.h"

#define LBPASS_MOST 2

_Static_assert(HW_LB_QUIET_SECONDS >= CT_SECONDS_TCP, "no slot settles while conntrack remembers a flow of before");

static __always_inline bool lbpass_is(const struct hw_lb_backend *backend, __u32 number, const struct hw_backend *me)
{
	const struct hw_lb_place *place = lbbackends_place(number);

	return place && backend->port == me->port && ip_equal(&place->address, &me->addr);
}

/* Whom to ask, who is not `me`; NULL: nobody. `number`: under whom the flow is recorded. */
static __noinline const struct hw_lb_backend *lbpass_other(union lbservices_word at, const struct hw_backend *me, __u32 *number)
{
	bool unrecorded = at.slot.changed && at.slot.previous;
	const struct hw_lb_backend *backend;

	backend = lbbackends_find(*number);
	if (backend)
		return lbpass_is(backend, *number, me) ? NULL : backend;
	*number = unrecorded ? at.slot.previous : at.slot.current;
	backend = lbbackends_find(*number);
	if (backend && !lbpass_is(backend, *number, me))
		return backend;
	*number = unrecorded ? at.slot.current : at.slot.previous;
	backend = lbbackends_find(*number);
	return backend && !lbpass_is(backend, *number, me) ? backend : NULL;
}

static __always_inline bool lbpass_goes_on(const struct packet *p)
{
	if (p->kind == PACKET_ICMP_ERROR)
		return true;
	return p->kind == PACKET_FLOW && p->flow.proto == IPPROTO_TCP && lbpacket_tcp_kind(p->tcp_flags) != LBPACKET_BEGINS;
}

/*
 * Of scratch->packet, which is for scratch->backend: TC_ACT_REDIRECT when it was passed on, LBTC_NOT when it was not, or a negated drop
 * reason. Not static, so that the verifier walks it once.
 */
__noinline int lbpass(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_lb_frontend *frontend;
	const struct hw_lb_service *service;
	const struct hw_lb_backend *other;
	struct lbfrontends_table table;
	struct lbpacket b = { 0 };

	if (!scratch || !skb || scratch->passed >= LBPASS_MOST || !lbpass_goes_on(&scratch->packet))
		return LBTC_NOT;
	frontend = lbpick_frontend(&scratch->packet, lbfrontends_port(scratch->packet.flow.dport, scratch->packet.flow.proto));
	service = frontend ? lbpick_read(skb, &scratch->packet, frontend, &b) : NULL;
	if (!service)
		return LBTC_NOT;
	table = lbservices_table(service);
	if (!table.slots)
		return LBTC_NOT;
	scratch->chosen = lbflows_find(b.hash, b.frontend, LBPACKET_ERROR).backend;
	/* What began before the client changed was recorded as the client's. */
	if (service->flags & HW_LB_SERVICE_AFFINITY) {
		b.hash = lbstay_hash(&scratch->packet.flow.saddr);
		if (!scratch->chosen)
			scratch->chosen = lbflows_find(b.hash, b.frontend, LBPACKET_ERROR).backend;
	}
	other = lbpass_other(lbservices_slot(table, lbservices_place(table, b.hash)), &scratch->backend, &scratch->chosen);
	/* A container here has it not, either: conntrack knows the flows of all of them. A server's is known to who asked it, and to nobody else. */
	if (!other || other->mode == HW_LB_LOCAL || other->mode == HW_LB_SNAT)
		return LBTC_NOT;
	scratch->flow_hash = b.hash;
	scratch->passed++;
	return lbtc_send(skb);
}
