/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the containers of one network share: gateways, sources of masqueraded flows, and who hears what is sent to a group. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/ip.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct hw_network);
} hw_networks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct hw_member);
	__type(value, __u32);
} hw_members SEC(".maps");

static __always_inline const struct hw_network *networks_find(__u32 number)
{
	return bpf_map_lookup_elem(&hw_networks, &number);
}

/* Whether `addr` is the gateway that the network's containers know. */
static __always_inline bool networks_is_gateway(__u32 number, const struct hw_ip *addr)
{
	const struct hw_network *network = networks_find(number);

	return network && !ip_is_zero(addr) && (ip_equal(addr, &network->gateway4) || ip_equal(addr, &network->gateway6));
}

/* Whether `addr` is the broadcast address of the network's subnet. */
static __always_inline bool networks_is_broadcast(__u32 number, const struct hw_ip *addr)
{
	const struct hw_network *network = ip_is4(addr) ? networks_find(number) : NULL;

	return network && network->broadcast4 && network->broadcast4 == addr->words[3];
}

/* ifindex of the member in this slot; 0: none. */
static __always_inline __u32 networks_member(__u32 number, __u32 slot)
{
	struct hw_member key = { .network = number, .slot = slot };
	const __u32 *ifindex = bpf_map_lookup_elem(&hw_members, &key);

	return ifindex ? *ifindex : 0;
}
