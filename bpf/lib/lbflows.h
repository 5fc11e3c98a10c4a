/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is remembered of flows: only of those on a changed slot that another backend has than the rule says (abi/types.h, struct hw_lb_slot).
 *
 *   bucket, one cache line: 8 × { tag 32 │ backend 16 │ seen 16 }       one flow is one word, read and written at once
 *
 * A flow of which only the first packet was seen makes room for others, but never takes it from one that went on: a flood of first packets
 * displaces its like. What finds no room is not recorded and told so; the caller then chooses what needs no record.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

#define LBFLOWS_BUCKETS 65536
#define LBFLOWS_WENT_ON 0x8000
#define LBFLOWS_AGES	0x7fff /* how old a flow may become before its age begins anew */
#define LBFLOWS_YOUNG	16     /* in 1024 jiffies: a beginning is taken for a repeated one */
#define LBFLOWS_DEAD	1024   /* of a flow that went on, and then was silent: 70 min at 250 Hz */

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

static __always_inline __u16 lbflows_now(void)
{
	return (__u16)(bpf_jiffies64() >> 10) & LBFLOWS_AGES;
}

static __always_inline __u16 lbflows_age(__u16 seen, __u16 now)
{
	return (now - seen) & LBFLOWS_AGES;
}

static __always_inline struct hw_lb_flows *lbflows_bucket(__u64 hash, __u32 frontend)
{
	__u32 key = ((__u32)(hash >> 32) ^ frontend * 0x9e3779b1U) & (LBFLOWS_BUCKETS - 1);

	return bpf_map_lookup_elem(&hw_lb_flows, &key);
}

static __always_inline __u32 lbflows_tag(__u64 hash, __u32 frontend)
{
	__u32 tag = (__u32)hash ^ frontend * 0x85ebca6bU;

	return tag ? tag : 1;
}

/* The flow as it is recorded, which is kept as one that goes on if `going`; backend 0: it is not. */
static __always_inline struct hw_lb_flow lbflows_find(__u64 hash, __u32 frontend, bool going)
{
	struct hw_lb_flows *bucket = lbflows_bucket(hash, frontend);
	__u32 tag = lbflows_tag(hash, frontend);
	union lbflows_word none = { 0 }, seen, now;
	int i;

	if (!bucket)
		return none.flow;
#pragma unroll
	for (i = 0; i < HW_LB_FLOW_BUCKET; i++) {
		__u64 *place = (__u64 *)&bucket->flows[i];

		seen.word = *(volatile __u64 *)place;
		if (seen.flow.tag != tag)
			continue;
		now.word = seen.word;
		now.flow.seen = lbflows_now() | LBFLOWS_WENT_ON;
		/* Whoever wrote it in between has said something newer. */
		if (going && now.word != seen.word)
			__sync_val_compare_and_swap(place, seen.word, now.word);
		return seen.flow;
	}
	return none.flow;
}

/* How readily a flow makes room: 0 not at all. */
static __always_inline __u32 lbflows_spare(struct hw_lb_flow flow, __u32 tag, __u16 now)
{
	__u32 age = lbflows_age(flow.seen, now);

	if (flow.tag == tag)
		return 0x40000;
	if (!flow.tag)
		return 0x30000;
	if (!(flow.seen & LBFLOWS_WENT_ON))
		return 0x20000 + age;
	return age >= LBFLOWS_DEAD ? 0x10000 + age : 0;
}

/* Records a flow's first packet. False: there is no room. */
static __always_inline bool lbflows_record(__u64 hash, __u32 frontend, __u16 backend)
{
	struct hw_lb_flows *bucket = lbflows_bucket(hash, frontend);
	__u32 tag = lbflows_tag(hash, frontend), best = 0, chosen = 0, i;
	union lbflows_word old, is, new = { .flow = { .tag = tag, .backend = backend, .seen = lbflows_now() } };
	__u16 now = new.flow.seen;
	__u64 *place;

	if (!bucket)
		return false;
#pragma unroll
	for (i = 0; i < HW_LB_FLOW_BUCKET; i++) {
		__u32 spare;

		is.word = *(volatile __u64 *)&bucket->flows[i];
		spare = lbflows_spare(is.flow, tag, now);
		if (spare > best) {
			best = spare;
			chosen = i;
			old = is;
		}
	}
	if (!best)
		return false;
	place = (__u64 *)&bucket->flows[chosen & (HW_LB_FLOW_BUCKET - 1)];
	return __sync_val_compare_and_swap(place, old.word, new.word) == old.word;
}
