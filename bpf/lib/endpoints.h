/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The containers here: by the host end of their veth, and by their addresses. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct hw_endpoint);
} hw_endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct hw_ip);
	__type(value, struct hw_endpoint);
} hw_addresses SEC(".maps");

/* By ifindex; only of containers on several networks, each a number of its own. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} hw_containers SEC(".maps");

static __always_inline const struct hw_endpoint *endpoints_by_ifindex(__u32 ifindex)
{
	return bpf_map_lookup_elem(&hw_endpoints, &ifindex);
}

static __always_inline const struct hw_endpoint *endpoints_by_address(const struct hw_ip *addr)
{
	return bpf_map_lookup_elem(&hw_addresses, addr);
}

/* The same container's place on another network, by its address there. */
static __always_inline const struct hw_endpoint *endpoints_beside(const struct hw_endpoint *ep, const struct hw_ip *addr)
{
	const struct hw_endpoint *other = endpoints_by_address(addr);
	__u32 here = ep->ifindex, there = other ? other->ifindex : 0;
	const __u32 *one = other ? bpf_map_lookup_elem(&hw_containers, &here) : NULL;
	const __u32 *two = one ? bpf_map_lookup_elem(&hw_containers, &there) : NULL;

	return two && *one == *two ? other : NULL;
}
