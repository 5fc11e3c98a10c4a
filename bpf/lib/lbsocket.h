/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which backend a socket has that names a service.
 *
 *   address ─ no service's ▸ LBSOCKET_NOT
 *           └ port ─ none of its ▸ refused, unless the address is the host's as well
 *                  └ service ▸ sources ▸ slot of the client ─ yes ──────────────▸ up? ▸ backend
 *                                      └ slot of the socket's cookie ▸ current ─┘ └ down ▸ another slot, a few times
 *
 * A connected socket never asks again: that is all the memory a flow wants. Datagrams ask each time, and a slot that changed sends a socket on
 * to whom it had, as a packet's flow.
 */
#pragma once

#include "abi/reasons.h"
#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbfrontends.h"
#include "lib/lbhomes.h"
#include "lib/lbservices.h"
#include "lib/lbsources.h"
#include "lib/lbstay.h"
#include "lib/pure/lbhash.h"
#include "lib/sockorigins.h"

#define LBSOCKET_TRIES 4

enum lbsocket_verdict {
	LBSOCKET_NOT = 0,   /* nothing of a service's */
	LBSOCKET_FOUND = 1, /* otherwise a negated drop reason */
};

/* The backend that it had, while it is up and still the one of that number; 0: none. */
static __always_inline __u32 lbsocket_had(const struct hw_sock_origin *had)
{
	const struct hw_lb_backend *backend = had ? lbbackends_find(had->number) : NULL;
	const struct hw_lb_place *place = had ? lbbackends_place(had->number) : NULL;

	return backend && place && sockorigins_got(had, &place->address, backend->port) ? had->number : 0;
}

/* 0: nobody. Not inline, so that the compiler describes a slot in full: the loader asks how large the pages' are. */
static __noinline int lbsocket_at(union lbservices_word at, __u32 had)
{
	if (had && at.slot.changed)
		return had;
	return lbbackends_find(at.slot.current) ? at.slot.current : 0;
}

static __always_inline int lbsocket_by_slot(struct lbfrontends_table table, __u64 hash, __u32 had)
{
	int i, number;

	for (i = 0; i < LBSOCKET_TRIES; i++) {
		number = lbsocket_at(lbservices_slot(table, lbservices_place(table, hash)), had);
		if (number)
			return number;
		hash = lbhash_finish(hash + 1);
	}
	return -HW_DROP_SERVICE_EMPTY;
}

/* As a packet of that client would, so that both have the same backend. */
static __always_inline int lbsocket_stay(const struct lbstay_client *c, struct lbfrontends_table table, __u64 hash, __u32 had)
{
	struct hw_lb_stay *stay = lbstay_find(c);
	__u64 now = bpf_jiffies64();
	union lbservices_word at;
	int backend = 0;

	if (stay) {
		at = lbstay_read(stay, now);
		if (lbstay_open(stay, c, now, &at) || had)
			backend = lbsocket_at(at, had);
		if (backend) {
			lbstay_note(stay, c, now, at, backend);
			return backend;
		}
	}
	backend = lbsocket_by_slot(table, hash, had);
	if (backend > 0)
		lbstay_settle(c, backend, stay);
	return backend;
}

static __always_inline int lbsocket_choose(struct bpf_sock_addr *ctx, __u32 number, const struct hw_ip *to, const struct hw_sock_origin *had)
{
	const struct hw_lb_service *service = lbservices_find(number);
	struct lbfrontends_table table;
	union lbservices_asks asks;
	struct hw_ip client = { 0 };
	struct lbstay_client c;
	bool known = false;
	__u64 hash;

	if (!service)
		return -HW_DROP_SERVICE_EMPTY;
	asks = lbservices_asks(service);
	if (asks.depth || asks.flags) {
		known = lbhomes_client(ctx, to, &client);
		if (asks.depth && !(known && lbsources_may(asks, &client)))
			return -HW_DROP_SERVICE_SOURCE;
	}
	table = lbservices_table(service);
	if (!table.slots)
		return -HW_DROP_SERVICE_EMPTY;
	if (asks.flags & HW_LB_SERVICE_AFFINITY) {
		hash = lbstay_hash(&client);
		c = lbstay_client(&client, number, asks);
		return lbsocket_stay(&c, table, hash, lbsocket_had(had));
	}
	return lbsocket_by_slot(table, lbhash_finish(bpf_get_socket_cookie(ctx)), lbsocket_had(had));
}

/* `sends`: a datagram without connect, which may have gone there before. LBSOCKET_FOUND: `origin` has the backend. */
static __always_inline int lbsocket_find(struct bpf_sock_addr *ctx, const struct hw_ip *to, __be16 port, bool sends, struct hw_sock_origin *origin)
{
	const __u32 *words = (const __u32 *)to->words;
	__u32 hash = lbhash_address(words);
	const struct hw_lb_frontend *address = lbfrontends_find(words, 6, hash, 0), *frontend;
	const struct hw_lb_backend *backend;
	const struct hw_lb_place *place;
	int number;

	if (!address)
		return LBSOCKET_NOT;
	frontend = lbfrontends_find(words, 6, hash, lbfrontends_port(port, ctx->protocol));
	if (!frontend)
		return address->flags & HW_LB_FRONTEND_SHARED ? LBSOCKET_NOT : -HW_DROP_SERVICE_PORT;
	number = lbsocket_choose(ctx, frontend->service, to, sends ? sockorigins_last(ctx, to, port) : NULL);
	if (number <= 0)
		return number;
	backend = lbbackends_find(number);
	place = lbbackends_place(number);
	if (!backend || !place)
		return -HW_DROP_SERVICE_EMPTY;
	origin->number = number;
	origin->backend = place->address;
	origin->backend_port = backend->port;
	return LBSOCKET_FOUND;
}
