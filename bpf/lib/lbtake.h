/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Gives a flow a port of its backend's pool (lib/lbpool.h).
 *
 *   the one it has ▸ a free one beside its reference ▸ block after block, from where this CPU took the last:
 *                    free or ended ▸ begun three seconds ago and no more ▸ begun, the oldest of a few blocks ▸ there is none
 *
 * What this CPU comes to next has been taken longest ago, so that a port rests, and a flood of beginnings displaces its like.
 */
#pragma once

#include "lib/lbpool.h"

/*
 * Blocks that are looked at before a flow that began a moment ago makes room, but for the rest of a jiffy in which one has; and those that are
 * looked at for every packet. All are once in a jiffy.
 */
#define LBPOOL_PATIENCE 4
#define LBPOOL_EACH	64

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

	if (!hand)
		return LBPOOL_NONE;
	/* Beside its reference, where both come with one look at memory; in a flood nothing is free there. */
	if (hand->flooded != now) {
		lbpool_look(0, &choice);
		if (choice.score >= LBPOOL_FREE)
			return choice.port;
		choice.score = 0;
	}
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
