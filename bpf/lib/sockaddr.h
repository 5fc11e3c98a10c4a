/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A socket call's address as one plain value for both families, and back into the call.
 *
 * The kernel shows the port as a __be16 in a 32-bit field, and takes IPv6 addresses only in whole words.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct sockaddr_value {
	struct hw_ip addr;
	__be16 port;
};

static __always_inline struct sockaddr_value sockaddr_read4(const struct bpf_sock_addr *ctx)
{
	struct sockaddr_value value = { .port = (__be16)ctx->user_port };

	value.addr.words[2] = bpf_htonl(0xffff);
	value.addr.words[3] = ctx->user_ip4;
	return value;
}

static __always_inline struct sockaddr_value sockaddr_read6(const struct bpf_sock_addr *ctx)
{
	struct sockaddr_value value = { .port = (__be16)ctx->user_port };

	value.addr.words[0] = ctx->user_ip6[0];
	value.addr.words[1] = ctx->user_ip6[1];
	value.addr.words[2] = ctx->user_ip6[2];
	value.addr.words[3] = ctx->user_ip6[3];
	return value;
}

static __always_inline void sockaddr_write4(struct bpf_sock_addr *ctx, const struct hw_ip *addr, __be16 port)
{
	ctx->user_ip4 = addr->words[3];
	ctx->user_port = port;
}

static __always_inline void sockaddr_write6(struct bpf_sock_addr *ctx, const struct hw_ip *addr, __be16 port)
{
	ctx->user_ip6[0] = addr->words[0];
	ctx->user_ip6[1] = addr->words[1];
	ctx->user_ip6[2] = addr->words[2];
	ctx->user_ip6[3] = addr->words[3];
	ctx->user_port = port;
}

static __always_inline bool sockaddr_is_v4(const struct hw_ip *addr)
{
	return addr->words[0] == 0 && addr->words[1] == 0 && addr->words[2] == bpf_htonl(0xffff);
}

/* 0.0.0.0 or ::, which a call to connect or send takes for loopback and a bind for every address. */
static __always_inline bool sockaddr_is_any(const struct hw_ip *addr)
{
	if (addr->words[3] != 0 || addr->words[0] != 0 || addr->words[1] != 0)
		return false;
	return addr->words[2] == 0 || addr->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool sockaddr_is_loopback(const struct hw_ip *addr)
{
	if (sockaddr_is_v4(addr))
		return (addr->words[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return addr->words[0] == 0 && addr->words[1] == 0 && addr->words[2] == 0 && addr->words[3] == bpf_htonl(1);
}

/* 127.0.0.1 or ::1, in the family of `like`. */
static __always_inline struct hw_ip sockaddr_loopback(const struct hw_ip *like)
{
	struct hw_ip addr = {};

	addr.words[2] = sockaddr_is_v4(like) ? bpf_htonl(0xffff) : 0;
	addr.words[3] = sockaddr_is_v4(like) ? bpf_htonl(0x7f000001) : bpf_htonl(1);
	return addr;
}
