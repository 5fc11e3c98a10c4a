/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Addresses that the host answers to: its own, and the gateways of its networks. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct hw_ip);
	__type(value, struct hw_host_address);
} hw_host_addrs SEC(".maps");

static __always_inline const struct hw_host_address *hostaddrs_find(const struct hw_ip *addr)
{
	return bpf_map_lookup_elem(&hw_host_addrs, addr);
}
