/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Other nodes: where tunnels to them end, from where they come, which containers and slices of the pool are theirs.
 *
 *   hw_nodes    number ▸ where it is and how much fits      hw_peers   outer address ▸ number
 *   hw_remotes  container's address ▸ node and who it is    hw_slices  longest prefix ▸ number
 *   hw_balancers  hash of an outer IPv6 address ▸ number (lib/lbbalancer.h)
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct hw_node);
} hw_nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct hw_ip);
	__type(value, __u32);
} hw_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u32);
} hw_balancers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_ip);
	__type(value, struct hw_remote);
} hw_remotes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_slice);
	__type(value, __u32);
} hw_slices SEC(".maps");

static __always_inline const struct hw_node *nodes_find(__u32 number)
{
	return bpf_map_lookup_elem(&hw_nodes, &number);
}

/* The number of the node with that address of its own; 0: none. */
static __always_inline __u32 nodes_by_address(const struct hw_ip *addr)
{
	const __u32 *number = bpf_map_lookup_elem(&hw_peers, addr);

	return number ? *number : 0;
}

/* The same of one of whose address only the hash is known. */
static __always_inline __u32 nodes_by_hash(__u32 hash)
{
	const __u32 *number = bpf_map_lookup_elem(&hw_balancers, &hash);

	return number ? *number : 0;
}

static __always_inline const struct hw_remote *nodes_remote(const struct hw_ip *addr)
{
	return bpf_map_lookup_elem(&hw_remotes, addr);
}

/* The number of the node whose slice holds the address, 0 for one of the pool that is nobody's; NULL: not of the pool. */
static __always_inline const __u32 *nodes_slice(const struct hw_ip *addr)
{
	struct hw_slice key = { .length = 128, .addr = *addr };

	return bpf_map_lookup_elem(&hw_slices, &key);
}
