/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which backend a packet has. One way for XDP and tc.
 *
 *   service ▸ sources ▸ the client stays ─ yes ─────────────────────────┐
 *                     └ slot of the flow ─ settled ─ current ───────────▸ up? ▸ backend
 *                                        └ changed ▸ abi/lb.h tells ────┘ └ down ▸ current
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
	return lbflows_record(&place, hash, frontend, wanted) ? wanted : before;
}

/* By the table: a backend that is up, its number in `number`; NULL: there is none. The table has slots. */
static __always_inline struct hw_lb_backend *lbchoose_by_slot(const struct lbpacket *p, struct lbfrontends_table table, __u64 hash, __u32 *number)
{
	__u32 index = table.first + lbhash_slot(hash, table.slots);
	union lbservices_word at = lbservices_slot(index);
	struct hw_lb_backend *backend;

	*number = at.slot.current;
	if (__builtin_expect(at.slot.changed, 0)) {
		*number = lbchoose_changed(hash, at, p->frontend, p->kind);
		if (*number != at.slot.current)
			lbelsewhere_note(index);
	}
	backend = lbbackends_find(*number);
	if (backend || *number == at.slot.current)
		return backend;
	*number = at.slot.current;
	return lbbackends_find(*number);
}

static __always_inline __u64 lbchoose_client_hash(const struct hw_ip *client)
{
	return lbhash_flow6((__u64)client->words[1] << 32 | client->words[0], (__u64)client->words[3] << 32 | client->words[2], 0);
}

/* The client's address alone chooses, and what it has it keeps. */
static __always_inline struct hw_lb_backend *lbchoose_stay(const struct lbpacket *p, struct lbfrontends_table table, __u32 seconds,
							   const struct hw_ip *client, __u32 *number)
{
	__u64 hash = lbchoose_client_hash(client);
	struct hw_lb_backend *backend;

	*number = lbsources_stay(p->service, client, seconds);
	backend = lbbackends_find(*number);
	if (backend)
		return backend;
	backend = lbchoose_by_slot(p, table, hash, number);
	if (backend && p->kind != LBPACKET_ERROR)
		lbsources_settle(p->service, client, seconds, *number);
	return backend;
}
