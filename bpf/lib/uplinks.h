/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The devices by which the world is reached. A packet leaves by no other. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct hw_uplink);
} hw_uplinks SEC(".maps");

static __always_inline const struct hw_uplink *uplinks_find(__u32 ifindex)
{
	return bpf_map_lookup_elem(&hw_uplinks, &ifindex);
}
