/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is remembered of flows: only of those on a changed slot that another backend has than the rule says (abi/lb.h, struct hw_lb_slot).
 *
 *   bucket, one cache line: 8 × { backend 16 │ tag 24 │ seen 24 }       one flow is one word, read and written at once
 *
 * A flow of which only the first packet was seen makes room for others, but never takes it from one that went on: a flood of first packets
 * displaces its like. One that has ended is kept until a minute has passed without a packet, because the closing needs the same backend, and
 * then makes room before any other. What finds no room is not recorded and told so; the caller then chooses what needs no record.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/config.h"
#include "lib/lbpacket.h"

#define LBFLOWS_BUCKETS 65536
#define LBFLOWS_YOUNG	16   /* in 1024 jiffies: a beginning is taken for a repeated one */
#define LBFLOWS_ROUNDED	3 /* of a time at least: of it rounding, the 1024 jiffies of the last packet and lbflows_age() take one each */
#define LBFLOWS_DEAD	(70 * 60 * hw_config.hz / 1024 + LBFLOWS_ROUNDED) /* of a flow that went on, and then was silent */
#define LBFLOWS_CLOSED	(60 * hw_config.hz / 1024 + LBFLOWS_ROUNDED)	  /* of one that has ended, and then was silent */
#define LBFLOWS_OVER	(HW_LB_QUIET_SECONDS * hw_config.hz / 1024)
#define LBFLOWS_TAG	((1 << HW_LB_FLOW_TAG_BITS) - 1)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBFLOWS_BUCKETS);
	__type(key, __u32);
	__type(value, struct hw_lb_flows);
} hw_lb_flows SEC(".maps");

union lbflows_word {
	__u64 word;
	struct hw_lb_flow flow;
};

static __always_inline __u32 lbflows_now(void)
{
	return (__u32)(bpf_jiffies64() >> 10) & HW_LB_FLOW_AGES;
}

/* One more than it is, because what another CPU has just written may be of later than `now`. */
static __always_inline __u32 lbflows_age(__u32 seen, __u32 now)
{
	return (now + 1 - seen) & HW_LB_FLOW_AGES;
}

/* Began or went on a moment ago, and has not ended. */
static __always_inline bool lbflows_is_young(struct hw_lb_flow flow)
{
	return !(flow.seen & HW_LB_FLOW_ENDED) && lbflows_age(flow.seen, lbflows_now()) < LBFLOWS_YOUNG;
}

static __always_inline struct hw_lb_flows *lbflows_bucket(__u64 hash, __u32 frontend)
{
	__u32 key = ((__u32)(hash >> 32) ^ frontend * 0x9e3779b1U) & (LBFLOWS_BUCKETS - 1);

	return bpf_map_lookup_elem(&hw_lb_flows, &key);
}

/* Not 0. */
static __always_inline __u32 lbflows_tag(__u64 hash, __u32 frontend)
{
	__u32 tag = ((__u32)hash ^ frontend * 0x85ebca6bU) & LBFLOWS_TAG;

	return tag ? tag : 1;
}

static __always_inline __u32 lbflows_tag_of(union lbflows_word word)
{
	return word.word >> HW_LB_FLOW_TAG_BITS & LBFLOWS_TAG;
}

/* `seen`: without a tag. */
static __always_inline union lbflows_word lbflows_word(__u32 tag, __u16 backend, __u32 seen)
{
	union lbflows_word word = { .word = (__u64)backend << 48 | (__u64)tag << HW_LB_FLOW_TAG_BITS | seen };

	return word;
}

/* What a packet of that kind (enum lbpacket_kind) leaves of what was `seen`. */
static __always_inline __u32 lbflows_after(__u32 seen, __u32 now, __u32 kind)
{
	__u32 ended = kind == LBPACKET_ENDS ? HW_LB_FLOW_ENDED : seen & HW_LB_FLOW_ENDED;

	return now | HW_LB_FLOW_WENT_ON | ended;
}

/* The flow as it was recorded before a packet of that kind, which is noted if it goes on or ends; backend 0: it is not, or too long ago. */
static __always_inline struct hw_lb_flow lbflows_find(__u64 hash, __u32 frontend, __u32 kind)
{
	struct hw_lb_flows *bucket = lbflows_bucket(hash, frontend);
	bool going = kind != LBPACKET_BEGINS && kind != LBPACKET_ERROR;
	__u32 tag = lbflows_tag(hash, frontend), now = lbflows_now();
	union lbflows_word none = { 0 }, seen, next;
	int i;

	if (!bucket)
		return none.flow;
#pragma unroll
	for (i = 0; i < HW_LB_FLOW_BUCKET; i++) {
		__u64 *place = (__u64 *)&bucket->flows[i];

		seen.word = *(volatile __u64 *)place;
		if (lbflows_tag_of(seen) != tag)
			continue;
		if (lbflows_age(seen.flow.seen, now) > LBFLOWS_OVER)
			return none.flow;
		next = lbflows_word(tag, seen.flow.backend, lbflows_after(seen.flow.seen, now, kind));
		/* Whoever wrote it in between has said something newer. */
		if (going && next.word != seen.word)
			__sync_val_compare_and_swap(place, seen.word, next.word);
		return seen.flow;
	}
	return none.flow;
}

/* 1 for 0, 0 for any other 32 bits. */
static __always_inline __u64 lbflows_is_zero(__u32 word)
{
	return ((__u64)word - 1) >> 63;
}

/* The larger. In arithmetic, as all that follows: each branch in eight places is four times as much for the verifier to walk. */
static __always_inline __u64 lbflows_larger(__u64 a, __u64 b)
{
	__s64 less = (__s64)(a - b) >> 63;

	asm volatile("" : "+r"(less));
	return a + ((b - a) & less);
}

#define LBFLOWS_SPARE (1 << 16)

#define LBFLOWS_OLDEST (LBFLOWS_SPARE / 4 - 1)

/* What is the same for every place of a bucket. */
struct lbflows_asks {
	__u32 tag;
	__u32 now;
	__u64 sooner; /* by how much those that have ended are dead before others */
};

static __always_inline struct lbflows_asks lbflows_asks(__u64 hash, __u32 frontend)
{
	struct lbflows_asks asks = { .tag = lbflows_tag(hash, frontend), .now = lbflows_now(), .sooner = LBFLOWS_DEAD - LBFLOWS_CLOSED };

	return asks;
}

/* How readily a place takes the flow: its own, a free one, one that is dead, the oldest of those that did not go on; below LBFLOWS_SPARE: not at all. */
static __always_inline __u64 lbflows_spare(union lbflows_word word, struct lbflows_asks asks)
{
	__u64 age = lbflows_age(word.flow.seen, asks.now), same = lbflows_is_zero(lbflows_tag_of(word) ^ asks.tag), free = lbflows_is_zero(lbflows_tag_of(word));
	__u64 began = (word.flow.seen / HW_LB_FLOW_WENT_ON & 1) ^ 1, ended = word.flow.seen / HW_LB_FLOW_ENDED & 1;
	__u64 dead;

	/* As what it is, and not as a sign that is spread, over which verifiers walk twice. */
	asm volatile("" : "+r"(ended));
	dead = (LBFLOWS_DEAD - 1 - ended * asks.sooner - age) >> 63;
	return same << 19 | free << 18 | dead << 17 | began * LBFLOWS_SPARE | (age & LBFLOWS_OLDEST);
}

/* A place for a flow's first packet, and what is there. */
struct lbflows_place {
	__u64 *word; /* NULL: there is no room */
	union lbflows_word is;
};

/* The bucket's place that takes the flow most readily, above how readily it does. */
static __always_inline __u64 lbflows_best(struct hw_lb_flows *bucket, struct lbflows_asks asks)
{
	union lbflows_word word;
	__u64 best = 0;
	__u32 i;

#pragma unroll
	for (i = 0; i < HW_LB_FLOW_BUCKET; i++) {
		word.word = *(volatile __u64 *)&bucket->flows[i];
		best = lbflows_larger(best, lbflows_spare(word, asks) * HW_LB_FLOW_BUCKET + i);
	}
	return best;
}

/* None when somebody has taken it since it was found the best. */
static __always_inline struct lbflows_place lbflows_again(struct hw_lb_flows *bucket, __u64 best, struct lbflows_asks asks)
{
	struct lbflows_place place = { .word = (__u64 *)&bucket->flows[best & (HW_LB_FLOW_BUCKET - 1)] };

	place.is.word = *(volatile __u64 *)place.word;
	if (best < LBFLOWS_SPARE * HW_LB_FLOW_BUCKET || lbflows_spare(place.is, asks) < best / HW_LB_FLOW_BUCKET)
		place.word = NULL;
	return place;
}

static __always_inline struct lbflows_place lbflows_place(__u64 hash, __u32 frontend)
{
	struct hw_lb_flows *bucket = lbflows_bucket(hash, frontend);
	struct lbflows_asks asks = lbflows_asks(hash, frontend);
	struct lbflows_place none = { 0 };

	return bucket ? lbflows_again(bucket, lbflows_best(bucket, asks), asks) : none;
}

/* The flow, if it was recorded there before. */
static __always_inline struct hw_lb_flow lbflows_at(const struct lbflows_place *place, __u64 hash, __u32 frontend)
{
	union lbflows_word none = { 0 };

	return place->word && lbflows_tag_of(place->is) == lbflows_tag(hash, frontend) ? place->is.flow : none.flow;
}

/* Records a flow's first packet. Returns the backend that is recorded: another CPU's, if it had the same flow; 0: there is no room, or somebody else has taken it in between. */
static __always_inline __u16 lbflows_record(const struct lbflows_place *place, __u64 hash, __u32 frontend, __u16 backend)
{
	union lbflows_word new = lbflows_word(lbflows_tag(hash, frontend), backend, lbflows_now()), was;

	if (!place->word)
		return 0;
	was.word = __sync_val_compare_and_swap(place->word, place->is.word, new.word);
	if (was.word == place->is.word)
		return backend;
	return lbflows_tag_of(was) == lbflows_tag(hash, frontend) ? was.flow.backend : 0;
}
