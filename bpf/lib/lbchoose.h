/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which backend a packet has. One way for XDP and tc.
 *
 *   service ▸ sources ▸ slot of the flow, or of the client ─ settled ─ current ────────▸ up? ▸ backend
 *                                                          └ changed ▸ abi/lb.h tells ─┘ └ down ▸ current
 */
#pragma once

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbelsewhere.h"
#include "lib/lbflows.h"
#include "lib/lbpacket.h"
#include "lib/lbservices.h"
#include "lib/lbsources.h"
#include "lib/lbstay.h"

/*
 * Of a flow on a changed slot. Not inline, because hardly any is, and so that the compiler describes a slot in full: the loader asks how
 * large the pages' are.
 */
static __noinline __u32 lbchoose_changed(__u64 hash, union lbservices_word at, __u32 frontend, __u32 kind)
{
	__u32 before = at.slot.previous ? at.slot.previous : at.slot.current, wanted = before;
	struct lbflows_place place;
	struct hw_lb_flow flow;

	if (kind != LBPACKET_BEGINS) {
		flow = lbflows_find(hash, frontend, kind);
		if (lbbackends_find(flow.backend))
			return flow.backend;
		if (kind != LBPACKET_DATAGRAM)
			return before;
		if (at.slot.current && (__u32)bpf_jiffies64() - at.slot.changed >= HW_LB_UDP_SECONDS * hw_config.hz)
			wanted = at.slot.current;
	} else if (at.slot.current) {
		wanted = at.slot.current;
	} else {
		return 0;
	}
	place = lbflows_place(hash, frontend);
	if (kind == LBPACKET_BEGINS) {
		flow = lbflows_at(&place, hash, frontend);
		if (!lbbackends_find(flow.backend))
			flow.backend = 0;
		/* The same beginning once more, and not the next flow of a client that has gone through its ports. */
		if (flow.backend && lbflows_is_young(flow))
			return flow.backend;
		if (wanted == before && !flow.backend)
			return wanted;
	}
	wanted = lbflows_record(&place, hash, frontend, wanted);
	return wanted ? wanted : before;
}

/* By the table: a backend that is up, its number in `number`; NULL: there is none. The table has slots. */
static __always_inline struct hw_lb_backend *lbchoose_by_slot(const struct lbpacket *p, struct lbfrontends_table table, __u64 hash, __u32 *number)
{
	__u32 slot = lbservices_place(table, hash);
	union lbservices_word at = lbservices_slot(table, slot);
	struct hw_lb_backend *backend;

	*number = at.slot.current;
	if (__builtin_expect(at.slot.changed, 0)) {
		*number = lbchoose_changed(hash, at, p->frontend, p->kind);
		if (*number != at.slot.current)
			lbelsewhere_note(table.first + slot);
	}
	backend = lbbackends_find(*number);
	if (backend || *number == at.slot.current)
		return backend;
	*number = at.slot.current;
	return lbbackends_find(*number);
}

/* Of a client whose slot is known; 0: nobody has it, or nobody takes what begins. */
static __always_inline __u32 lbchoose_known(struct hw_lb_stay *stay, const struct lbstay_client *c, const struct lbpacket *p)
{
	__u64 now = bpf_jiffies64();
	union lbservices_word at = lbstay_read(stay, now);
	__u32 number;

	if ((p->kind == LBPACKET_BEGINS || p->kind == LBPACKET_DATAGRAM) && !lbstay_open(stay, c, now, &at) && p->kind == LBPACKET_BEGINS)
		return 0;
	number = at.slot.changed ? lbchoose_changed(p->hash, at, p->frontend, p->kind) : at.slot.current;
	if (!lbbackends_find(number))
		number = at.slot.current;
	if (!lbbackends_find(number))
		return 0;
	lbstay_note(stay, c, now, at, number);
	return number;
}

/*
 * Of a service with affinity: the client's address alone chooses, and what it has it keeps. Takes the flow's hash, and the frontend as in struct
 * lbpacket; returns the backend's number, 0: none that is up. Not static, so that the verifier walks it once.
 */
__noinline int lbchoose_stay(const struct hw_ip *client, __u64 flow, __u32 frontend, __u32 kind)
{
	struct lbpacket p = { .hash = flow, .frontend = frontend, .kind = kind };
	const struct hw_lb_service *service = lbservices_find((__u16)frontend);
	struct lbfrontends_table table;
	struct lbstay_client c;
	struct hw_lb_stay *stay;
	__u32 number;

	if (!service || !client)
		return 0;
	c = lbstay_client(client, (__u16)frontend, lbservices_asks(service));
	stay = lbstay_find(&c);
	if (!stay && kind != LBPACKET_ERROR)
		stay = lbstay_inherit(&c);
	number = stay ? lbchoose_known(stay, &c, &p) : 0;
	if (number)
		return number;
	table = lbservices_table(service);
	if (!table.slots || !lbchoose_by_slot(&p, table, lbstay_hash(client), &number))
		return 0;
	if (kind != LBPACKET_ERROR)
		lbstay_settle(&c, number, stay);
	return number;
}
