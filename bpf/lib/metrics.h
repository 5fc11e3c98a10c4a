/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters: packets and bytes by direction and reason. Reason 0 is what was forwarded. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/reasons.h"
#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HW_DIRECTIONS *HW_METRIC_REASONS);
	__type(key, __u32);
	__type(value, struct hw_counter);
} hw_metrics SEC(".maps");

static __always_inline void metrics_count(__u32 direction, __u32 reason, __u32 bytes)
{
	__u32 key = direction * HW_METRIC_REASONS + reason;
	struct hw_counter *counter = bpf_map_lookup_elem(&hw_metrics, &key);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}
