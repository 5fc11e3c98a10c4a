/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What one program knows of one packet, kept off the stack of 512 bytes. A program is never interrupted by
 * itself on its CPU, so one per CPU is enough; each object has its own, which nobody else reads (no hw_ name).
 */
#pragma once

#include "lib/ct.h"
#include "lib/judgement.h"
#include "lib/packet.h"
#include "lib/route.h"

struct scratch {
	struct packet packet;
	struct judgement judgement;
	struct ct_route route;
	struct route_hop hop;
	struct ct_state opening; /* lib/ctopen.h */
	__u32 sender_class;	 /* lib/group.h */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch_map SEC(".maps");

/* As the program's caller left it; for functions that are verified on their own, and take nothing but the packet. */
static __always_inline struct scratch *scratch_same(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&scratch_map, &key);
}

/* Packet and judgement are blank, the rest as the last packet left it. */
static __always_inline struct scratch *scratch_take(void)
{
	struct scratch *scratch = scratch_same();

	if (scratch)
		__builtin_memset(scratch, 0, __builtin_offsetof(struct scratch, judgement) + JUDGEMENT_BLANK);
	return scratch;
}
