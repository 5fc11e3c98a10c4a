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

typedef __u32 __attribute__((may_alias)) lbfrontends_u32;
typedef __u64 __attribute__((may_alias)) lbfrontends_u64;

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

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && __builtin_offsetof(struct hw_lb_frontend, service) % 4 == 0 &&
		       __builtin_offsetof(struct hw_lb_frontend, number) == __builtin_offsetof(struct hw_lb_frontend, service) + 2,
	       "both are one word, the service below");

/* Another for every frontend there is; its low half is the service. */
static __always_inline __u32 lbfrontends_identity(const struct hw_lb_frontend *frontend)
{
	return *(const lbfrontends_u32 *)&frontend->service;
}

/* Port and protocol as they lie in a frontend; 0: the address alone. */
static __always_inline __u32 lbfrontends_port(__be16 port, __u8 proto)
{
	return (__u32)port | (__u32)bpf_htonl((__u32)proto << 8);
}

/* Two words as they lie in memory, compared at once. */
static __always_inline __u64 lbfrontends_pair(__u32 first, __u32 second)
{
	union {
		__u32 words[2];
		__u64 both;
	} pair = { .words = { first, second } };

	return pair.both;
}

static __always_inline bool lbfrontends_is(const struct hw_lb_frontend *frontend, const __u32 address[4], int family, __u32 port)
{
	const lbfrontends_u64 *pairs = (const void *)&frontend->addr;
	const __u32 *about = (const __u32 *)&frontend->port;

	if (pairs[1] != lbfrontends_pair(family == 4 ? LBFRONTENDS_MAPPED : address[2], address[3]))
		return false;
	if ((*about & bpf_htonl(0xffffff00)) != port || !frontend->service)
		return false;
	return pairs[0] == (family == 4 ? 0 : lbfrontends_pair(address[0], address[1]));
}

static __always_inline const struct hw_lb_frontend *lbfrontends_in(const struct hw_lb_bucket *bucket, const __u32 address[4], int family, __u32 port)
{
	if (lbfrontends_is(&bucket->frontends[0], address, family, port))
		return &bucket->frontends[0];
	return lbfrontends_is(&bucket->frontends[1], address, family, port) ? &bucket->frontends[1] : NULL;
}

static __always_inline const struct hw_lb_bucket *lbfrontends_bucket(__u32 bucket)
{
	return bpf_map_lookup_elem(&hw_lb_frontends, &bucket);
}

/* `address`: four words; of IPv4 only the last is looked at. `hash`: lbhash_address. NULL: there is none. */
static __always_inline const struct hw_lb_frontend *lbfrontends_find(const __u32 address[4], int family, __u32 hash, __u32 port)
{
	const struct hw_lb_bucket *bucket = lbfrontends_bucket(lbhash_first(lbhash_frontend(hash, port), LBFRONTENDS_BUCKETS));
	const struct hw_lb_frontend *found;

	if (!bucket)
		return NULL;
	found = lbfrontends_in(bucket, address, family, port);
	if (__builtin_expect(found || !(bucket->frontends[0].flags & HW_LB_FRONTEND_SPILLED), 1))
		return found;
	/* Formed once more, because it is seldom asked for. */
	barrier_var(port);
	bucket = lbfrontends_bucket(lbhash_second(lbhash_frontend(hash, port), LBFRONTENDS_BUCKETS));
	return bucket ? lbfrontends_in(bucket, address, family, port) : NULL;
}
