/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a host socket asked for before sock-lb rewrote it, so that the program sees the address it named.
 *
 *   connect, sendmsg ▸ sockorigins_remember        getpeername, recvmsg ▸ sockorigins_recall
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct hw_sock_key);
	__type(value, struct hw_sock_origin);
} hw_sock_origins SEC(".maps");

static __always_inline const struct hw_sock_origin *sockorigins_recall(__u64 cookie, const struct hw_ip *backend, __be16 port)
{
	struct hw_sock_key key = { .cookie = cookie, .addr = *backend, .port = port };

	return bpf_map_lookup_elem(&hw_sock_origins, &key);
}

/* Writes only what changed: a datagram socket says the same with each datagram, and writes to LRU maps are dear. */
static __always_inline void sockorigins_remember(__u64 cookie, const struct hw_backend *backend, const struct hw_ip *addr,
						 __be16 port)
{
	struct hw_sock_key key = { .cookie = cookie, .addr = backend->addr, .port = backend->port };
	struct hw_sock_origin origin = { .addr = *addr, .port = port };
	const struct hw_sock_origin *known = bpf_map_lookup_elem(&hw_sock_origins, &key);

	if (known && known->port == port && !__builtin_memcmp(&known->addr, addr, sizeof(*addr)))
		return;
	bpf_map_update_elem(&hw_sock_origins, &key, &origin, BPF_ANY);
}
