/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Remembers of changed slots when a packet last went to another backend than the current one: the agent settles those that had none for long. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"

#define LBELSEWHERE_LINES 16384

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LBELSEWHERE_LINES);
	__type(key, __u32);
	__type(value, struct hw_lb_elsewhere);
} hw_lb_elsewhere SEC(".maps");


/* `index`: of the slot in the row of all. A plain store: whoever comes at the same time says the same. */
static __always_inline void lbelsewhere_note(__u32 index)
{
	__u32 key = index / HW_LB_ELSEWHERE & (LBELSEWHERE_LINES - 1);
	struct hw_lb_elsewhere *line = bpf_map_lookup_elem(&hw_lb_elsewhere, &key);
	__u8 epoch = (__u8)(bpf_jiffies64() >> HW_LB_EPOCH_BITS);

	if (line && line->epochs[index % HW_LB_ELSEWHERE] != epoch)
		line->epochs[index % HW_LB_ELSEWHERE] = epoch;
}
