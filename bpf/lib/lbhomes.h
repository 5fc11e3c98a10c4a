/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* As whom a socket comes to a service: no packet has said it yet. Asked only where a service's sources or affinity want to know. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/ip.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct hw_lb_home);
} hw_lb_homes SEC(".maps");

/* The address that the socket is bound to, of the family of `to`; all zero: none. */
static __always_inline struct hw_ip lbhomes_bound(struct bpf_sock_addr *ctx, const struct hw_ip *to)
{
	struct bpf_sock *sk = ctx->sk;
	struct hw_ip addr = { 0 };

	if (ip_is4(to)) {
		if (sk->src_ip4)
			addr = ip_from4(sk->src_ip4);
		return addr;
	}
	addr.words[0] = sk->src_ip6[0];
	addr.words[1] = sk->src_ip6[1];
	addr.words[2] = sk->src_ip6[2];
	addr.words[3] = sk->src_ip6[3];
	return addr;
}

/*
 * The client, by its own address. False: it is not known, and `client` is what tells its namespace from others, an address of 100::/64 that
 * nobody has (RFC 6666).
 */
static __always_inline bool lbhomes_client(struct bpf_sock_addr *ctx, const struct hw_ip *to, struct hw_ip *client)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	const struct hw_lb_home *home;

	*client = lbhomes_bound(ctx, to);
	if (!ip_is_zero(client))
		return true;
	home = bpf_map_lookup_elem(&hw_lb_homes, &cookie);
	if (home)
		*client = ip_is4(to) ? home->ipv4 : home->ipv6;
	if (!ip_is_zero(client))
		return true;
	client->words[0] = bpf_htonl(0x01000000);
	client->words[2] = (__u32)cookie;
	client->words[3] = cookie >> 32;
	return false;
}
