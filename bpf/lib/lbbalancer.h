/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who balanced a packet that was passed on, in six bytes that are the source MAC of the inner frame.
 *
 *   02 00 │ IPv4 address 4      02 01 │ hash of an IPv6 address 4: what lib/pure/lbhash.h makes of it as of a frontend without a port
 */
#pragma once

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/nodes.h"
#include "lib/pure/lbhash.h"
#include "lib/scratch.h"

#define LBBALANCER_KIND4 bpf_htons(0x0200)
#define LBBALANCER_KIND6 bpf_htons(0x0201)

#define LBBALANCER_BYTES 6

_Static_assert(sizeof(struct balancer) - __builtin_offsetof(struct balancer, kind) == LBBALANCER_BYTES, "kind and name lie as in a MAC");

static __always_inline struct balancer lbbalancer_of(const struct hw_ip *address)
{
	struct balancer balancer = { .kind = LBBALANCER_KIND4, .name = address->words[3] };

	if (!ip_is4(address)) {
		balancer.kind = LBBALANCER_KIND6;
		balancer.name = lbhash_frontend(lbhash_address(address->words), 0);
	}
	return balancer;
}

/* This node, by the address that others reach it at: of the family that it reaches them by. */
static __always_inline struct balancer lbbalancer_own(bool outer4)
{
	struct hw_ip address = outer4 ? ip_from4(hw_config.node_ipv4) : hw_config.node_ipv6;

	return lbbalancer_of(&address);
}

/* His number; 0: it is no node's. */
static __always_inline __u32 lbbalancer_number(const struct balancer *balancer)
{
	struct hw_ip address;

	if (balancer->kind == LBBALANCER_KIND6)
		return nodes_by_hash(balancer->name);
	if (balancer->kind != LBBALANCER_KIND4)
		return 0;
	address = ip_from4(balancer->name);
	return nodes_by_address(&address);
}
