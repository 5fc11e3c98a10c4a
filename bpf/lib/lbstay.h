/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * With whom the clients of a service with affinity stay. Each has a slot of its own (abi/lb.h), which what begins changes:
 *
 *   who is current takes what begins, and the client's time is not over ▸ stays
 *   else ▸ current: as the service's table says; previous: whose are the client's flows that are not recorded, while he lives
 *
 * It settles as a service's slots do: when for long no packet went to another than the current one.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbservices.h"
#include "lib/pure/lbhash.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct hw_lb_client);
	__type(value, struct hw_lb_stay);
} hw_lb_clients SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_lb_closed);
	__type(value, __u32);
} hw_lb_closed SEC(".maps");

/* A client of a service with affinity. */
struct lbstay_client {
	struct hw_lb_client key;
	__u64 time; /* jiffies for which it stays */
};

static __always_inline __u64 lbstay_hash(const struct hw_ip *client)
{
	return lbhash_flow6((__u64)client->words[1] << 32 | client->words[0], (__u64)client->words[3] << 32 | client->words[2], 0);
}

/* `asks`: of the service, which has slots. */
static __always_inline struct lbstay_client lbstay_client(const struct hw_ip *client, __u32 service, union lbservices_asks asks)
{
	struct lbstay_client c = {
		.key = { .addr = *client, .service = service },
		.time = (__u64)asks.affinity * hw_config.hz,
	};

	return c;
}

/* The client's in the service's table. Found anew, because it is seldom asked for and the caller's frame has no room. */
static __noinline __u64 lbstay_shared(const struct hw_lb_client *client)
{
	const struct hw_lb_service *service = lbservices_find(client->service);
	struct lbfrontends_table table;

	if (!service)
		return 0;
	table = lbservices_table(service);
	/* Deleted meanwhile. */
	if (!table.slots)
		return 0;
	return lbservices_slot(table, lbservices_place(table, lbstay_hash(&client->addr))).word;
}

/* NULL: nothing is known of the client. */
static __always_inline struct hw_lb_stay *lbstay_find(const struct lbstay_client *c)
{
	return bpf_map_lookup_elem(&hw_lb_clients, &c->key);
}

/*
 * The client's slot (union lbservices_word), and for how many jiffies it stays; `flags` of the map's. Not inline, because the caller's frame has no room;
 * not static, so that the verifier walks it once.
 */
__noinline int lbstay_set(const struct hw_lb_client *client, __u64 slot, __u64 time, __u32 flags)
{
	union lbservices_word at = { .word = slot };
	__u64 now = bpf_jiffies64();
	struct hw_lb_stay stay = { .slot = at.slot, .expires = now + time, .elsewhere = now };
	struct hw_lb_client key;

	if (!client)
		return 0;
	/* Before Linux 6.2 a key must lie in the frame of who asks. */
	key = *client;
	return bpf_map_update_elem(&hw_lb_clients, &key, &stay, flags);
}

/* `known`: an entry of the client's is there, and is replaced. Else somebody else's that came first stands. */
static __always_inline void lbstay_settle(const struct lbstay_client *c, __u32 backend, bool known)
{
	union lbservices_word settled = { .slot = { .current = backend } };

	lbstay_set(&c->key, settled.word, c->time, known ? BPF_ANY : BPF_NOEXIST);
}

/* A client of whom nothing is known has the flows that the service's slot has: on a changed one the previous backend may have some. NULL: it is settled. */
static __always_inline struct hw_lb_stay *lbstay_inherit(const struct lbstay_client *c)
{
	union lbservices_word at = { .word = lbstay_shared(&c->key) };

	if (!at.slot.changed)
		return NULL;
	lbstay_set(&c->key, at.word, c->time, BPF_NOEXIST);
	return lbstay_find(c);
}

/* When the backend ceased to take what begins, never 0; 0: it takes it. */
static __always_inline __u32 lbstay_closed(__u32 service, __u32 backend)
{
	struct hw_lb_closed key = { .service = service, .backend = backend };
	const __u32 *since = bpf_map_lookup_elem(&hw_lb_closed, &key);

	return since ? *since : 0;
}

/* What stands then: somebody else may have written meanwhile. */
static __always_inline union lbservices_word lbstay_write(struct hw_lb_stay *stay, union lbservices_word at, union lbservices_word next)
{
	union lbservices_word was = { .word = __sync_val_compare_and_swap((__u64 *)&stay->slot, at.word, next.word) };

	return was.word == at.word ? next : was;
}

static __always_inline union lbservices_word lbstay_read(struct hw_lb_stay *stay, __u64 now)
{
	union lbservices_word at = { .word = *(const volatile __u64 *)&stay->slot }, settled = { .slot = { .current = at.slot.current } };

	/* Another CPU's packet may have been later than `now`. */
	if (!at.slot.changed || (__s64)(now - stay->elsewhere) < (__s64)HW_LB_QUIET_SECONDS * hw_config.hz)
		return at;
	return lbstay_write(stay, at, settled);
}

/* The slot after a change, as `followed` in src/lb/slots.ts; which others have flows, beside the previous one, is not known. `since`: not 0. */
static __always_inline union lbservices_word lbstay_changed(union lbservices_word at, __u16 to, __u32 since)
{
	__u16 base = at.slot.changed ? at.slot.previous : at.slot.current;
	union lbservices_word next = { .slot = { .current = to } };
	bool lives = lbbackends_find(base);

	if (!lives && !at.slot.changed)
		return next;
	next.slot.previous = lives ? base : to;
	next.slot.changed = since;
	return next;
}

/* Before what begins, or may: the slot as it is then. False: nobody takes it. */
static __always_inline bool lbstay_open(struct hw_lb_stay *stay, const struct lbstay_client *c, __u64 now, union lbservices_word *at)
{
	__u32 since = lbstay_closed(c->key.service, at->slot.current);
	union lbservices_word shared;
	__u16 to;

	if (!since && stay->expires > now && lbbackends_find(at->slot.current))
		return true;
	shared.word = lbstay_shared(&c->key);
	to = shared.slot.current;
	if (!to || to == at->slot.current)
		return to;
	stay->elsewhere = now;
	*at = lbstay_write(stay, *at, lbstay_changed(*at, to, since ? since : ((__u32)now - 1) | 1));
	return true;
}

/* A packet of the client's goes to that backend. */
static __always_inline void lbstay_note(struct hw_lb_stay *stay, const struct lbstay_client *c, __u64 now, union lbservices_word at, __u32 backend)
{
	stay->expires = now + c->time;
	if (backend != at.slot.current)
		stay->elsewhere = now;
}
