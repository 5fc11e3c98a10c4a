/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The ports from which backends are asked in this node's name: one pool for each backend, so that a port is used once for every one of them.
 *
 *   lbpool_find      the port that a flow has
 *   lbpool_answered  whose a port is, to which a backend answers
 *   lbpool_touch     keeps a flow alive and follows TCP
 *   lbpool_take      gives a flow a port (lib/lbtake.h)
 *
 * A block is four cache lines of eight ports. A flow's hash names the block where it is at home: most flows have a port there, and one look at
 * memory finds them. Of the others that block has a reference, or if it has no room left, the next of four. A reference whose port is another
 * flow's by now is none, and stays until its place is needed.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbfrontends.h"
#include "lib/pure/clock.h"
#include "lib/pure/lbhash.h"

#define LBPOOL_POOLS   65536
#define LBPOOL_ORIGINS 65536
#define LBPOOL_CHOICES 4
#define LBPOOL_BLOCKS  (HW_LB_POOL_PORTS / HW_LB_POOL_BLOCK)
#define LBPOOL_NONE    0xffffffff
#define LBPOOL_TAG     (0xffff0000 | HW_LB_REFERENCE)

#define LBPOOL_SECONDS_TCP	(2 * 3600 + 600)
#define LBPOOL_SECONDS_DATAGRAM 180
#define LBPOOL_SECONDS_OPENING	60
#define LBPOOL_SECONDS_CLOSED	60 /* the backend's TIME_WAIT */

#define LBPOOL_FIN 0x01
#define LBPOOL_RST 0x04

#define LBPOOL_OVER (HW_LB_TRANSLATED_CLIENT_OVER | HW_LB_TRANSLATED_BACKEND_OVER)

struct lbpool_blocks {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBPOOL_BLOCKS);
	__uint(map_flags, BPF_F_MMAPABLE); /* the kernel lays those alone at a page's beginning, others 56 bytes into a cache line (6.18) */
	__type(key, __u32);
	__type(value, struct hw_lb_pool_block);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, LBPOOL_POOLS);
	__type(key, __u32);
	__array(values, struct lbpool_blocks);
} hw_lb_pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LBPOOL_ORIGINS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct hw_lb_origin);
} hw_lb_origins SEC(".maps");

/* A flow to a backend, as the pool knows it. */
struct lbpool_flow {
	struct hw_ip client;
	__be16 port;
	__u16 pad;
	__u32 frontend; /* lbfrontends_identity */
	__u32 pool;	/* the backend's number */
	__u32 padded;
	__u64 hash; /* lbpool_hash */
};

union lbpool_word {
	__u64 word;
	struct {
		__be16 port;
		__u16 flags;
		__u32 frontend;
	} is;
};

static __always_inline __u64 *lbpool_place(struct hw_lb_translated *at)
{
	return (__u64 *)&at->port;
}

static __always_inline union lbpool_word lbpool_read(struct hw_lb_translated *at)
{
	union lbpool_word word = { .word = *(volatile __u64 *)lbpool_place(at) };

	return word;
}

static __always_inline bool lbpool_write(struct hw_lb_translated *at, union lbpool_word old, union lbpool_word new)
{
	return __sync_val_compare_and_swap(lbpool_place(at), old.word, new.word) == old.word;
}

static __always_inline __u64 lbpool_hash(const struct hw_ip *client, __be16 port, __u32 frontend)
{
	return lbhash_flow6((__u64)client->words[1] << 32 | client->words[0], (__u64)client->words[3] << 32 | client->words[2],
			    frontend * 0x9e3779b1U ^ port);
}

static __always_inline __u32 lbpool_tag(__u64 hash)
{
	return (__u32)hash << 16 | HW_LB_REFERENCE;
}

/* The block where a flow is at home; `choice` from 1 on: where its reference lies if that one has no room. */
static __always_inline __u32 lbpool_choice(__u64 hash, __u32 choice)
{
	return lbhash_slot(hash + ((__u64)(choice * 0x9e3779b1U) << 32), hw_config.snat_ports / HW_LB_POOL_BLOCK);
}

static __always_inline struct hw_lb_pool_block *lbpool_block(__u32 pool, __u32 key)
{
	void *blocks = bpf_map_lookup_elem(&hw_lb_pools, &pool);

	return blocks ? bpf_map_lookup_elem(blocks, &key) : NULL;
}

/* NULL: the pool has no such port. */
static __always_inline struct hw_lb_translated *lbpool_port(__u32 pool, __u32 port)
{
	struct hw_lb_pool_block *block = lbpool_block(pool, port / HW_LB_POOL_BLOCK);

	return block ? &block->ports[port % HW_LB_POOL_BLOCK] : NULL;
}

/* 0: the port is the flow's. */
static __always_inline __u64 lbpool_unlike(struct hw_lb_translated *at, const struct lbpool_flow *flow)
{
	union lbpool_word wanted = { .is = { .port = flow->port, .flags = HW_LB_TRANSLATED_USED, .frontend = flow->frontend } };
	union lbpool_word compared = { .is = { .port = 0xffff, .flags = HW_LB_TRANSLATED_USED, .frontend = 0xffffffff } };
	const volatile __u64 *client = (const volatile __u64 *)&at->client;
	const __u64 *own = (const __u64 *)&flow->client;

	return ((lbpool_read(at).word ^ wanted.word) & compared.word) | (client[0] ^ own[0]) | (client[1] ^ own[1]);
}

static __always_inline bool lbpool_spilled(const struct hw_lb_pool_block *block)
{
	return *(const volatile __u32 *)&block->ports[0].reference & HW_LB_REFERENCE_SPILLED;
}

/*
 * The flow's port in a block that begins with port `first`, or to which the block's references lead, or LBPOOL_NONE. Not inline, so that the
 * compiler describes a block in full: the loader asks how large the pools' are.
 */
static __noinline __u32 lbpool_search(struct hw_lb_pool_block *block, const struct lbpool_flow *flow, __u32 first)
{
	__u32 tag = lbpool_tag(flow->hash), i;
	__u64 referred = 0;

	if (!block)
		return LBPOOL_NONE;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++) {
		if (!lbpool_unlike(&block->ports[i], flow))
			return first + i;
		/* Of 0 alone the highest bit: no branch for each. */
		referred |= (__u64)((*(const volatile __u32 *)&block->ports[i].reference ^ tag) & LBPOOL_TAG) - 1;
	}
	if (!(referred >> 63))
		return LBPOOL_NONE;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++) {
		__u32 reference = *(const volatile __u32 *)&block->ports[i].reference;
		struct hw_lb_translated *at;

		if ((reference ^ tag) & LBPOOL_TAG)
			continue;
		at = lbpool_port(flow->pool, reference & HW_LB_REFERENCE_PORT);
		if (at && !lbpool_unlike(at, flow))
			return reference & HW_LB_REFERENCE_PORT;
	}
	return LBPOOL_NONE;
}

/* The number of the flow's port, or LBPOOL_NONE. Not static, so that the verifier walks it once. */
__noinline __u32 lbpool_find(const struct lbpool_flow *flow)
{
	__u32 i;

	if (!flow)
		return LBPOOL_NONE;
	for (i = 0; i < LBPOOL_CHOICES; i++) {
		__u32 key = lbpool_choice(flow->hash, i), found;
		struct hw_lb_pool_block *block = lbpool_block(flow->pool, key);

		found = lbpool_search(block, flow, key * HW_LB_POOL_BLOCK);
		if (found != LBPOOL_NONE || !block || !lbpool_spilled(block))
			return found;
	}
	return LBPOOL_NONE;
}

/* In jiffies. */
static __always_inline __u32 lbpool_lifetime(__u16 flags)
{
	__u32 seconds = LBPOOL_SECONDS_TCP;

	if ((flags & LBPOOL_OVER) == LBPOOL_OVER)
		seconds = LBPOOL_SECONDS_CLOSED;
	else if (!(flags & HW_LB_TRANSLATED_WENT_ON))
		seconds = LBPOOL_SECONDS_OPENING;
	else if (flags & HW_LB_TRANSLATED_DATAGRAM)
		seconds = LBPOOL_SECONDS_DATAGRAM;
	return seconds * hw_config.hz;
}

/* `begins`: the client's SYN, which may be another connection between the same ends. */
static __always_inline void lbpool_touch(struct hw_lb_translated *at, __u16 flags, bool begins)
{
	union lbpool_word old = lbpool_read(at), new = old;
	__u32 expires;

	if (begins && (old.is.flags & LBPOOL_OVER) == LBPOOL_OVER)
		new.is.flags = HW_LB_TRANSLATED_USED;
	new.is.flags |= flags;
	/* Whoever wrote it in between has said something newer. */
	if (new.word != old.word)
		lbpool_write(at, old, new);
	/* Once a second, or when it is less from now on. */
	expires = (__u32)bpf_jiffies64() + lbpool_lifetime(new.is.flags);
	if (expires - at->expires >= hw_config.hz)
		at->expires = expires;
}

/* What a segment says of its flow. `over`: of its sender. */
static __always_inline __u16 lbpool_tcp(__u8 flags, __u16 over)
{
	if (flags & LBPOOL_RST)
		return LBPOOL_OVER;
	return flags & LBPOOL_FIN ? over : 0;
}

/* The flow whose backend answers, as `to` from its service to its client; NULL: there is none. The second port is this node's. */
static __always_inline struct hw_lb_translated *lbpool_answered(const struct hw_ip *from, __be16 port, __be16 own, __u8 proto, struct hw_ct6_key *to)
{
	const struct hw_lb_frontend *backend;
	const struct hw_lb_origin *origin;
	struct hw_lb_translated *at;
	union lbpool_word word;
	__u32 key = (__u16)(bpf_ntohs(own) - hw_config.snat_first);

	if (key >= hw_config.snat_ports)
		return NULL;
	backend = lbfrontends_find(from->words, 6, lbhash_address(from->words), lbfrontends_port(port, HW_LB_POOL_PROTOCOL));
	at = backend ? lbpool_port(backend->number, key) : NULL;
	if (!at)
		return NULL;
	word = lbpool_read(at);
	key = word.is.frontend;
	origin = word.is.flags & HW_LB_TRANSLATED_USED ? bpf_map_lookup_elem(&hw_lb_origins, &key) : NULL;
	if (!origin || origin->proto != proto)
		return NULL;
	to->saddr = origin->addr;
	to->daddr = at->client;
	to->sport = origin->port;
	to->dport = word.is.port;
	return at;
}
