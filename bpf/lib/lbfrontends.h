/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which service an address and port are. A table of our own, because every packet of the uplink asks it: one or two cache lines,
 * where the kernel's hash costs three times as much.
 *
 *   (address, port, protocol) ▸ its frontend       (address, 0, 0) ▸ whether it is a service's address at all
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/pure/lbhash.h"

#define LBFRONTENDS_BUCKETS 32768

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBFRONTENDS_BUCKETS);
	__type(key, __u32);
	__type(value, struct hw_lb_bucket);
} hw_lb_frontends SEC(".maps");

#define LBFRONTENDS_MAPPED bpf_htonl(0xffff)

/* Where a service's slots lie, as it was at one moment. */
struct lbfrontends_table {
	__u32 first;
	__u32 slots;
};

/* `words`: eight bytes, one number after the other. */
static __always_inline struct lbfrontends_table lbfrontends_table_at(const void *words)
{
	union {
		__u64 word;
		struct lbfrontends_table table;
	} at = { .word = *(const volatile __u64 *)words };

	return at.table;
}

static __always_inline struct lbfrontends_table lbfrontends_table(const struct hw_lb_frontend *frontend)
{
	return lbfrontends_table_at(&frontend->table);
}

/* Another for every frontend there is. */
static __always_inline __u32 lbfrontends_identity(const struct hw_lb_frontend *frontend)
{
	return (__u32)frontend->number << 16 | frontend->service;
}

/* Port and protocol as they lie in a frontend; 0: the address alone. */
static __always_inline __u32 lbfrontends_port(__be16 port, __u8 proto)
{
	return (__u32)port | (__u32)bpf_htonl((__u32)proto << 8);
}

static __always_inline bool lbfrontends_is(const struct hw_lb_frontend *frontend, const __u32 address[4], int family, __u32 port)
{
	const __u32 *words = (const __u32 *)&frontend->addr;

	if (words[3] != address[3] || (words[4] & bpf_htonl(0xffffff00)) != port || !frontend->service)
		return false;
	return family == 4 ? !(words[0] | words[1]) && words[2] == LBFRONTENDS_MAPPED
			   : words[2] == address[2] && words[1] == address[1] && words[0] == address[0];
}

static __always_inline const struct hw_lb_frontend *lbfrontends_in(__u32 bucket, const __u32 address[4], int family, __u32 port, bool *more)
{
	const struct hw_lb_bucket *found = bpf_map_lookup_elem(&hw_lb_frontends, &bucket);

	if (!found)
		return NULL;
	*more = found->frontends[0].flags & HW_LB_FRONTEND_SPILLED;
	if (lbfrontends_is(&found->frontends[0], address, family, port))
		return &found->frontends[0];
	return lbfrontends_is(&found->frontends[1], address, family, port) ? &found->frontends[1] : NULL;
}

/* `address`: four words; of IPv4 only the last is looked at. `hash`: lbhash_address. NULL: there is none. */
static __always_inline const struct hw_lb_frontend *lbfrontends_find(const __u32 address[4], int family, __u32 hash, __u32 port)
{
	const struct hw_lb_frontend *found;
	bool more = false;

	hash = lbhash_frontend(hash, port);
	found = lbfrontends_in(lbhash_first(hash, LBFRONTENDS_BUCKETS), address, family, port, &more);
	if (!found && __builtin_expect(more, false))
		found = lbfrontends_in(lbhash_second(hash, LBFRONTENDS_BUCKETS), address, family, port, &more);
	return found;
}
