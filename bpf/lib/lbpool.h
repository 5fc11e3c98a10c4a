/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The ports from which backends are asked in this node's name: one pool for each backend, so that a port is used once for every one of them.
 *
 *   lbpool_take     the flow's port ▸ the one it has, or one that is free or ended ▸ of flows that only began the oldest
 *   lbpool_find     the same without taking any
 *   lbpool_port     whose a port is
 *   lbpool_touch    keeps a flow alive and follows TCP
 *
 * A block is five cache lines: references to flows by their hash, and eight ports. A port beside the flow's reference is the best. If none is free
 * there, each CPU takes ports where it took the last, block after block: what it comes to has been taken longest ago. A flow's reference lies in the first of four blocks that has room for it, and the pool
 * remembers how many of them were ever needed, hardly ever more than one. A reference whose port is another flow's by now is none.
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
#define LBPOOL_STATES  1024
#define LBPOOL_ORIGINS 65536
#define LBPOOL_CHOICES 4
#define LBPOOL_BLOCKS  (HW_LB_POOL_PORTS / HW_LB_POOL_BLOCK)
#define LBPOOL_NONE    0xffffffff

#define LBPOOL_SECONDS_TCP	(2 * 3600 + 600)
#define LBPOOL_SECONDS_DATAGRAM 180
#define LBPOOL_SECONDS_OPENING	60
#define LBPOOL_SECONDS_CLOSED	60 /* the backend's TIME_WAIT */

#define LBPOOL_FIN 0x01
#define LBPOOL_RST 0x04

#define LBPOOL_OVER (HW_LB_TRANSLATED_CLIENT_OVER | HW_LB_TRANSLATED_BACKEND_OVER)

/*
 * Blocks that are looked at before a flow that began a moment ago makes room, but for the rest of a jiffy in which one has; and those that are
 * looked at for every packet. All are once in a jiffy.
 */
#define LBPOOL_PATIENCE 4
#define LBPOOL_EACH	64

struct lbpool_blocks {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBPOOL_BLOCKS);
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
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBPOOL_STATES);
	__type(key, __u32);
	__type(value, struct hw_lb_pool_state);
} hw_lb_pool_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LBPOOL_ORIGINS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct hw_lb_origin);
} hw_lb_origins SEC(".maps");

/* Where this CPU took a port last, of pools whose numbers are the same modulo LBPOOL_STATES: it is no more than a hint. Of this object alone, which nobody else reads (no hw_ name). */
struct lbpool_hand {
	__u32 block;   /* and 1; 0: it has taken none */
	__u32 flooded; /* jiffies when a flow that began a moment ago made room */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LBPOOL_STATES);
	__type(key, __u32);
	__type(value, struct lbpool_hand);
} lbpool_hands SEC(".maps");

/* A flow to a backend, as the pool knows it. */
struct lbpool_flow {
	struct hw_ip client;
	__be16 port;
	__u32 frontend; /* lbfrontends_identity */
	__u32 pool;	/* the backend's number */
	__u64 hash;	/* lbpool_hash */
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

/* The block in which a flow's reference lies at the `choice`th try. */
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

static __always_inline bool lbpool_is(struct hw_lb_translated *at, const struct lbpool_flow *flow)
{
	union lbpool_word word = lbpool_read(at);

	return word.is.flags & HW_LB_TRANSLATED_USED && word.is.port == flow->port && word.is.frontend == flow->frontend && ip_equal(&at->client, &flow->client);
}

/*
 * The port to which a block's references lead, or LBPOOL_NONE. Not inline, so that the compiler describes a block in full: the loader asks how
 * large the pools' are.
 */
static __noinline __u32 lbpool_search(const struct hw_lb_pool_block *block, const struct lbpool_flow *flow)
{
	__u32 tag = lbpool_tag(flow->hash), i;

	if (!block)
		return LBPOOL_NONE;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_REFERENCES; i++) {
		__u32 reference = *(const volatile __u32 *)&block->references[i];
		struct hw_lb_translated *at;

		if ((reference ^ tag) & ~HW_LB_REFERENCE_PORT)
			continue;
		at = lbpool_port(flow->pool, reference & HW_LB_REFERENCE_PORT);
		if (at && lbpool_is(at, flow))
			return reference & HW_LB_REFERENCE_PORT;
	}
	return LBPOOL_NONE;
}

static __always_inline struct hw_lb_pool_state *lbpool_state(__u32 pool)
{
	__u32 key = pool % LBPOOL_STATES;

	return bpf_map_lookup_elem(&hw_lb_pool_states, &key);
}

/* The number of the flow's port, or LBPOOL_NONE. */
static __always_inline __u32 lbpool_find(const struct lbpool_flow *flow)
{
	__u32 found = lbpool_search(lbpool_block(flow->pool, lbpool_choice(flow->hash, 0)), flow), i;
	const struct hw_lb_pool_state *state;

	if (found != LBPOOL_NONE)
		return found;
	state = lbpool_state(flow->pool);
	for (i = 1; i < LBPOOL_CHOICES; i++) {
		if (!state || state->choices <= i)
			break;
		found = lbpool_search(lbpool_block(flow->pool, lbpool_choice(flow->hash, i)), flow);
		if (found != LBPOOL_NONE)
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

/* What is looked for in one block after another, and the best of it so far. */
struct lbpool_choice {
	__u32 pool;
	__u32 start;
	__u32 port;  /* number in the pool */
	__u32 score; /* 0: there is none */
	__u32 steps;
	__u32 patience;
	__u32 now;
};

#define LBPOOL_FREE  0x20000 /* or ended */
#define LBPOOL_BEGAN 0x10000 /* and so long it has left, less from 0xffff */

static __always_inline __u64 lbpool_larger(__u64 a, __u64 b)
{
	__s64 less = (__s64)(a - b) >> 63;

	asm volatile("" : "+r"(less));
	return a + ((b - a) & less);
}

/* How readily a port is taken; 0: not at all. In arithmetic, as in lib/lbflows.h. */
static __always_inline __u64 lbpool_spare(struct hw_lb_translated *at, __u32 now)
{
	__s64 left = (__s32)(at->expires - now);
	__u64 flags = at->flags, used = flags & 1, began = used & ~(flags >> 1), ended = (__u64)(left - 1) >> 63;

	return (1 - (used & ~ended & 1)) << 17 | ((LBPOOL_BEGAN | (0xffff - left)) & (0 - (began & ~ended & 1)));
}

/* From this score on no better is looked for: free, ended, or begun three seconds ago. */
static __always_inline __u32 lbpool_old(void)
{
	return LBPOOL_BEGAN | (0xffff - (LBPOOL_SECONDS_OPENING - 3) * hw_config.hz);
}

static long lbpool_look(__u64 step, struct lbpool_choice *choice)
{
	__u32 blocks = hw_config.snat_ports / HW_LB_POOL_BLOCK, key = choice->start + (__u32)step, i;
	struct hw_lb_pool_block *block;
	__u64 best = 0;

	choice->steps = step;
	if (key >= blocks)
		key -= blocks;
	block = lbpool_block(choice->pool, key);
	if (!block)
		return 1;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++)
		best = lbpool_larger(best, lbpool_spare(&block->ports[i], choice->now) * HW_LB_POOL_BLOCK + i);
	/* Of what this CPU has taken just now nothing makes room. */
	if (best / HW_LB_POOL_BLOCK > choice->score && (step || best / HW_LB_POOL_BLOCK >= lbpool_old())) {
		choice->score = best / HW_LB_POOL_BLOCK;
		choice->port = key * HW_LB_POOL_BLOCK + best % HW_LB_POOL_BLOCK;
	}
	return choice->score >= lbpool_old() || (step >= choice->patience && choice->score);
}

/* A port that may be taken, or LBPOOL_NONE. Not inline, for the stack. */
static __noinline __u32 lbpool_choose(const struct lbpool_flow *flow, struct hw_lb_pool_state *state)
{
	__u32 blocks = hw_config.snat_ports / HW_LB_POOL_BLOCK, now = (__u32)bpf_jiffies64(), key = flow->pool % LBPOOL_STATES;
	struct lbpool_choice choice = { .pool = flow->pool, .now = now, .start = lbpool_choice(flow->hash, 0) };
	struct lbpool_hand *hand = bpf_map_lookup_elem(&lbpool_hands, &key);

	/* Beside its reference, where both come with one look at memory. */
	lbpool_look(0, &choice);
	if (choice.score >= LBPOOL_FREE)
		return choice.port;
	choice.score = 0;

	if (!hand)
		return LBPOOL_NONE;
	choice.patience = hand->flooded == now ? 1 : LBPOOL_PATIENCE;
	choice.start = hand->block ? hand->block - 1 : lbhash_slot((__u64)(bpf_get_smp_processor_id() * 0x9e3779b1U) << 32, blocks);
	/* At last the first block once more, of which the youngest may make room as well. */
	bpf_loop(state->searched == now ? LBPOOL_EACH : blocks + 1, lbpool_look, &choice, 0);
	if (choice.steps > LBPOOL_EACH)
		state->searched = now;
	if (!choice.score)
		return LBPOOL_NONE;
	hand->block = choice.port / HW_LB_POOL_BLOCK + 1;
	if (choice.score < lbpool_old())
		hand->flooded = now;
	return choice.port;
}

/* The reference of the flow that had the port is none any more. */
static __noinline int lbpool_unrefer(const struct lbpool_flow *flow, __u32 port)
{
	__u32 wanted = lbpool_tag(flow->hash) | port, choice, i;

	for (choice = 0; choice < LBPOOL_CHOICES; choice++) {
		struct hw_lb_pool_state *state = choice ? lbpool_state(flow->pool) : NULL;
		struct hw_lb_pool_block *block;

		if (choice && (!state || state->choices <= choice))
			return 0;
		block = lbpool_block(flow->pool, lbpool_choice(flow->hash, choice));
		if (!block)
			return 0;
#pragma unroll
		for (i = 0; i < HW_LB_POOL_REFERENCES; i++) {
			if (block->references[i] == wanted) {
				__sync_val_compare_and_swap(&block->references[i], wanted, 0);
				return 0;
			}
		}
	}
	return 0;
}

/* False: no block has room. */
static __noinline int lbpool_refer(const struct lbpool_flow *flow, __u32 port, struct hw_lb_pool_state *state)
{
	__u32 wanted = lbpool_tag(flow->hash) | port, choice, i;

	for (choice = 0; choice < LBPOOL_CHOICES; choice++) {
		struct hw_lb_pool_block *block = lbpool_block(flow->pool, lbpool_choice(flow->hash, choice));

		if (!block)
			return false;
		if (state->choices <= choice)
			state->choices = choice + 1;
#pragma unroll
		for (i = 0; i < HW_LB_POOL_REFERENCES; i++) {
			if (!block->references[i] && !__sync_val_compare_and_swap(&block->references[i], 0, wanted))
				return true;
		}
	}
	return false;
}

/* Makes the port the flow's, whoever had it. False: somebody else was faster, or no block has room for the reference. Not inline, for the stack. */
static __noinline int lbpool_give(const struct lbpool_flow *flow, __u32 port, __u32 flags, struct hw_lb_pool_state *state)
{
	union lbpool_word new = { .is = { .port = flow->port, .frontend = flow->frontend, .flags = flags | HW_LB_TRANSLATED_USED } }, old, taken = { 0 };
	struct hw_lb_translated *at = lbpool_port(flow->pool, port);
	struct lbpool_flow before;

	if (!at)
		return false;
	old = lbpool_read(at);
	before = (struct lbpool_flow){ .client = at->client, .port = old.is.port, .frontend = old.is.frontend, .pool = flow->pool };
	/* Live, and nobody's: of no client, so that it is neither found nor taken meanwhile. */
	at->expires = (__u32)bpf_jiffies64() + lbpool_lifetime(new.is.flags);
	taken.is.flags = HW_LB_TRANSLATED_USED | HW_LB_TRANSLATED_WENT_ON;
	if (!lbpool_write(at, old, taken))
		return false;
	if (old.is.flags) {
		before.hash = lbpool_hash(&before.client, before.port, before.frontend);
		lbpool_unrefer(&before, port);
	}
	at->client = flow->client;
	if (!lbpool_refer(flow, port, state)) {
		lbpool_write(at, taken, (union lbpool_word){ 0 });
		return false;
	}
	return lbpool_write(at, taken, new);
}

/* What a segment says of its flow. `over`: of its sender. */
static __always_inline __u16 lbpool_tcp(__u8 flags, __u16 over)
{
	if (flags & LBPOOL_RST)
		return LBPOOL_OVER;
	return flags & LBPOOL_FIN ? over : 0;
}

/*
 * The number of the flow's port, which it has or is given, or LBPOOL_NONE. `flags`: what the client's packet says of a flow that goes on; 0: it
 * begins. Not inline, for the stack.
 */
static __noinline __u32 lbpool_take(const struct lbpool_flow *flow, __u32 flags)
{
	__u32 port = lbpool_find(flow), i;
	struct hw_lb_pool_state *state;
	struct hw_lb_translated *at;

	if (port != LBPOOL_NONE) {
		at = lbpool_port(flow->pool, port);
		if (at)
			lbpool_touch(at, flags, !flags);
		return port;
	}
	flags &= ~HW_LB_TRANSLATED_WENT_ON;
	state = lbpool_state(flow->pool);
	if (!state)
		return LBPOOL_NONE;
	for (i = 0; i < 2; i++) {
		port = lbpool_choose(flow, state);
		if (port == LBPOOL_NONE || lbpool_give(flow, port, flags, state))
			break;
		port = LBPOOL_NONE;
	}
	return port;
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
