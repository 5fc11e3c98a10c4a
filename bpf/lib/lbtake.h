/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Gives a flow a port of its backend's pool (lib/lbpool.h).
 *
 *   the one it has ▸ block after block, from where it is at home:
 *                    free or ended ▸ begun three seconds ago and no more ▸ begun, the oldest of a few blocks ▸ there is none
 *
 * A flood of beginnings displaces its like. Blocks in which nothing could be taken are passed over for a second, so that a pool that is nearly
 * full costs little more than an empty one.
 */
#pragma once

#include "lib/lbpool.h"

#define LBPOOL_STATES 1024

/*
 * Blocks with something to take that are looked at before a flow that began a moment ago makes room, but for the rest of a jiffy in which one
 * has; and those that are passed by or looked at for every packet. All are once in a jiffy, whatever is known of them.
 */
#define LBPOOL_PATIENCE 4
#define LBPOOL_EACH	64
#define LBPOOL_FORESEEN 8

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBPOOL_STATES);
	__type(key, __u32);
	__type(value, struct hw_lb_pool_state);
} hw_lb_pool_states SEC(".maps");

static __always_inline struct hw_lb_pool_state *lbpool_state(__u32 pool)
{
	__u32 key = pool % LBPOOL_STATES;

	return bpf_map_lookup_elem(&hw_lb_pool_states, &key);
}

/* What is looked for in one block after another, and the best of it so far. */
struct lbpool_choice {
	__u32 pool;
	__u32 start;
	__u32 each;  /* steps by what is known; then all of them, whatever it is */
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
static __always_inline __u64 lbpool_spare(union lbpool_word word, __u32 expires, __u32 now)
{
	__s64 left = (__s32)(expires - now);
	__u64 flags = word.is.flags, used = flags & 1, began = used & ~(flags >> 1), ended = (__u64)(left - 1) >> 63;

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
	struct hw_lb_pool_state *state = lbpool_state(choice->pool);
	struct hw_lb_pool_block *block;
	__u64 best = 0, bit, *barren;

	choice->steps = step;
	if (step >= choice->each)
		key -= choice->each;
	if (key >= blocks)
		key -= blocks;
	block = lbpool_block(choice->pool, key);
	if (!block || !state)
		return 1;
	barren = &state->barren[key / 64 % (LBPOOL_BLOCKS / 64)];
	bit = 1ULL << (key % 64);
	if (step < choice->each && *barren & bit)
		return 0;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++) {
		if (!(*(volatile __u16 *)&block->ports[i].flags & HW_LB_TRANSLATED_USED)) {
			choice->score = LBPOOL_FREE;
			choice->port = key * HW_LB_POOL_BLOCK + i;
			*barren &= ~bit;
			return 1;
		}
	}
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++)
		best = lbpool_larger(best, lbpool_spare(lbpool_read(&block->ports[i]), block->ports[i].expires, choice->now) * HW_LB_POOL_BLOCK + i);
	if (best < HW_LB_POOL_BLOCK) {
		if (state->pool == choice->pool)
			*barren |= bit;
		return 0;
	}
	*barren &= ~bit;
	if (best / HW_LB_POOL_BLOCK > choice->score) {
		choice->score = best / HW_LB_POOL_BLOCK;
		choice->port = key * HW_LB_POOL_BLOCK + best % HW_LB_POOL_BLOCK;
	}
	return choice->score >= lbpool_old() || --choice->patience == 0;
}

/* Nobody knows of a pool for longer than a second what could not be taken. */
static __always_inline void lbpool_refresh(struct hw_lb_pool_state *state, __u32 pool, __u32 now)
{
	if (state->pool == pool && now - state->since < hw_config.hz)
		return;
	__builtin_memset(state->barren, 0, sizeof(state->barren));
	state->pool = pool;
	state->since = now;
	state->searched = now - 1;
	state->flooded = now - 1;
}

/* A port that may be taken, above it its score; or LBPOOL_NONE. Not static, so that the verifier walks it once. */
__noinline __u64 lbpool_choose(const struct lbpool_flow *flow)
{
	__u32 blocks = hw_config.snat_ports / HW_LB_POOL_BLOCK, now = (__u32)bpf_jiffies64();
	struct lbpool_choice choice = { .now = now };
	struct hw_lb_pool_state *state = flow ? lbpool_state(flow->pool) : NULL;

	if (!state || !flow)
		return LBPOOL_NONE;
	choice.pool = flow->pool;
	choice.start = lbpool_choice(flow->hash, 0);
	lbpool_refresh(state, flow->pool, now);
	choice.each = blocks < LBPOOL_EACH ? blocks : LBPOOL_EACH;
	choice.patience = state->flooded == now ? 1 : LBPOOL_PATIENCE;
	bpf_loop(state->searched == now ? choice.each : choice.each + blocks, lbpool_look, &choice, 0);
	if (!choice.score) {
		state->searched = now;
		return LBPOOL_NONE;
	}
	if (choice.score < lbpool_old())
		state->flooded = now;
	return (__u64)choice.score << 32 | choice.port;
}

struct lbpool_clearing {
	__u32 pool;
	__u32 key; /* the block's */
};

/* Whether a block's reference is to a flow whose it may be. What is given to a flow just now is none's that can be told, and may be it. */
static __always_inline bool lbpool_is_referred(struct hw_lb_translated *at, __u32 reference, __u32 key)
{
	union lbpool_word word = lbpool_read(at);
	__u64 hash = lbpool_hash(&at->client, word.is.port, word.is.frontend), unlike = 1;
	__u32 choice;

	if (word.is.flags & HW_LB_TRANSLATED_USED && !word.is.frontend)
		return true;
#pragma unroll
	for (choice = 0; choice < LBPOOL_CHOICES; choice++)
		unlike *= lbpool_choice(hash, choice) ^ key;
	return word.is.flags & HW_LB_TRANSLATED_USED && !unlike && !((lbpool_tag(hash) ^ reference) & LBPOOL_TAG);
}

static long lbpool_clear(__u64 place, struct lbpool_clearing *clearing)
{
	struct hw_lb_pool_block *block = lbpool_block(clearing->pool, clearing->key);
	struct hw_lb_translated *at;
	__u32 reference;

	if (!block)
		return 1;
	reference = *(volatile __u32 *)&block->ports[place % HW_LB_POOL_BLOCK].reference;
	at = lbpool_port(clearing->pool, reference & HW_LB_REFERENCE_PORT);
	if (!at || !lbpool_is_referred(at, reference, clearing->key))
		__sync_val_compare_and_swap(&block->ports[place % HW_LB_POOL_BLOCK].reference, reference, reference & HW_LB_REFERENCE_SPILLED);
	return 0;
}

/* In a place that is free, or whose reference is to the very port: it was of the flow that had it before. */
static __always_inline bool lbpool_add_reference(struct hw_lb_pool_block *block, __u32 wanted)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i++) {
		__u32 reference = *(volatile __u32 *)&block->ports[i].reference;

		if (reference & HW_LB_REFERENCE && (reference ^ wanted) & HW_LB_REFERENCE_PORT)
			continue;
		if (__sync_val_compare_and_swap(&block->ports[i].reference, reference, (reference & HW_LB_REFERENCE_SPILLED) | wanted) == reference)
			return true;
	}
	return false;
}

/* False: no block has room. */
static __noinline int lbpool_refer(const struct lbpool_flow *flow, __u32 port)
{
	__u32 wanted = lbpool_tag(flow->hash) | port, choice;
	struct lbpool_clearing clearing = { .pool = flow->pool };

	for (choice = 0; choice < LBPOOL_CHOICES; choice++) {
		struct hw_lb_pool_block *block;

		clearing.key = lbpool_choice(flow->hash, choice);
		block = lbpool_block(flow->pool, clearing.key);
		if (!block)
			return false;
		if (lbpool_add_reference(block, wanted))
			return true;
		bpf_loop(HW_LB_POOL_BLOCK, lbpool_clear, &clearing, 0);
		if (lbpool_add_reference(block, wanted))
			return true;
		__sync_fetch_and_or(&block->ports[0].reference, HW_LB_REFERENCE_SPILLED);
	}
	return false;
}

/*
 * Makes the port that was chosen the flow's, whoever had it. False: it is not as readily taken as it was then, since somebody was faster or its flow went on,
 * or no block has room for the reference. Not static, so that the verifier walks it once.
 */
__noinline int lbpool_give(const struct lbpool_flow *flow, __u64 chosen, __u32 flags)
{
	union lbpool_word new = { .is = { .flags = flags | HW_LB_TRANSLATED_USED } }, old, taken = { 0 };
	__u32 port = (__u32)chosen;
	struct hw_lb_translated *at = flow ? lbpool_port(flow->pool, port) : NULL;

	if (!at || !flow)
		return false;
	new.is.port = flow->port;
	new.is.frontend = flow->frontend;
	old = lbpool_read(at);
	if (lbpool_spare(old, at->expires, (__u32)bpf_jiffies64()) < chosen >> 32)
		return false;
	/* Live, and nobody's: of no client, so that it is neither found nor taken meanwhile. */
	at->expires = (__u32)bpf_jiffies64() + lbpool_lifetime(new.is.flags);
	taken.is.flags = HW_LB_TRANSLATED_USED | HW_LB_TRANSLATED_WENT_ON;
	if (!lbpool_write(at, old, taken))
		return false;
	at->client = flow->client;
	if (port / HW_LB_POOL_BLOCK != lbpool_choice(flow->hash, 0) && !lbpool_refer(flow, port)) {
		lbpool_write(at, taken, (union lbpool_word){ 0 });
		return false;
	}
	return lbpool_write(at, taken, new);
}

/* Where nothing is to be had, the block from which the flow will have its port is asked for before the one where it is at home, so that it waits for both at once. */
static __always_inline void lbpool_foresee(const struct lbpool_flow *flow)
{
	__u32 key = lbpool_choice(flow->hash, 0), i;
	struct hw_lb_pool_state *state = lbpool_state(flow->pool);
	struct hw_lb_pool_block *block;
	__u64 barren;

	if (!state)
		return;
	barren = state->barren[key / 64 % (LBPOOL_BLOCKS / 64)] >> (key % 64);
	if (!(barren & 1))
		return;
	for (i = 1; i < LBPOOL_FORESEEN && barren >> i & 1; i++)
		;
	block = lbpool_block(flow->pool, key + i);
	if (!block)
		return;
#pragma unroll
	for (i = 0; i < HW_LB_POOL_BLOCK; i += 2)
		lbpool_read(&block->ports[i]);
}

/*
 * The number of the flow's port, which it has or is given, or LBPOOL_NONE. `flags`: what the client's packet says of a flow that goes on; 0: it
 * begins. Not static, so that the verifier walks it once.
 */
__noinline __u32 lbpool_take(const struct lbpool_flow *flow, __u32 flags)
{
	struct hw_lb_translated *at;
	__u64 chosen;
	__u32 port, i;

	if (!flow)
		return LBPOOL_NONE;
	if (!flags)
		lbpool_foresee(flow);
	port = lbpool_find(flow);
	if (port != LBPOOL_NONE) {
		at = lbpool_port(flow->pool, port);
		if (at)
			lbpool_touch(at, flags, !flags);
		return port;
	}
	flags &= ~HW_LB_TRANSLATED_WENT_ON;
	for (i = 0; i < 2; i++) {
		chosen = lbpool_choose(flow);
		if (chosen == LBPOOL_NONE || lbpool_give(flow, chosen, flags))
			return (__u32)chosen;
	}
	return LBPOOL_NONE;
}
