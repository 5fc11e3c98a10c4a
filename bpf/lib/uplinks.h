/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The devices by which the world is reached. A packet leaves by no other. Under 0, from where packets to other nodes leave by any of them. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/ip.h"

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

/* The address by which other nodes know this one, whichever uplink is taken; NULL: they know it by each uplink's own. */
static __always_inline const struct hw_ip *uplinks_node4(void)
{
	const struct hw_uplink *node = uplinks_find(0);

	return node && ip_is4(&node->ipv4) ? &node->ipv4 : NULL;
}

static __always_inline const struct hw_ip *uplinks_node6(void)
{
	const struct hw_uplink *node = uplinks_find(0);

	return node && !ip_is_zero(&node->ipv6) ? &node->ipv6 : NULL;
}

/* From where packets to other nodes leave by the uplink; all zero: there is none. */
static __always_inline const struct hw_ip *uplinks_source4(const struct hw_uplink *uplink)
{
	const struct hw_ip *node = uplink->own_ipv4 ? NULL : uplinks_node4();

	return node ? node : &uplink->ipv4;
}

static __always_inline const struct hw_ip *uplinks_source6(const struct hw_uplink *uplink)
{
	const struct hw_ip *node = uplink->own_ipv6 ? NULL : uplinks_node6();

	return node ? node : &uplink->ipv6;
}
