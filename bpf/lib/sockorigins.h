/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a socket asked for before sock-lb rewrote it, kept with the socket and gone with it.
 *
 *   connect ▸ sockorigins_connected     getpeername, recvmsg ▸ sockorigins_recall
 *   sendmsg ▸ sockorigins_sent          recvmsg ▸ sockorigins_recall
 *
 * The hooks hold the socket's lock, so that one socket's are never written by two at once.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/ip.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct hw_sock_origin);
} hw_sock_connected SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct hw_sock_sent);
} hw_sock_sent SEC(".maps");

/* Of connected UDP once more, by the socket's cookie: the kernel's lists of sockets show what is kept with those of TCP only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct hw_sock_origin);
} hw_sock_udp SEC(".maps");

static __always_inline void sockorigins_connected(struct bpf_sock_addr *ctx, const struct hw_sock_origin *origin)
{
	struct hw_sock_origin *kept = bpf_sk_storage_get(&hw_sock_connected, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 cookie;

	if (!kept)
		return;
	*kept = *origin;
	if (ctx->protocol != IPPROTO_UDP)
		return;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_update_elem(&hw_sock_udp, &cookie, origin, BPF_ANY);
}

/* Where the socket, which is connected, goes now is what the program named. */
static __always_inline void sockorigins_forget(struct bpf_sock_addr *ctx)
{
	struct hw_sock_origin *kept;
	__u64 cookie;

	/* Most sockets connect once; to ask for what is kept would cost as much as all the rest. */
	if (!ctx->sk->dst_port)
		return;
	kept = bpf_sk_storage_get(&hw_sock_connected, ctx->sk, 0, 0);
	if (!kept)
		return;
	kept->backend_port = 0;
	if (ctx->protocol != IPPROTO_UDP)
		return;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_delete_elem(&hw_sock_udp, &cookie);
}

static __always_inline bool sockorigins_asked(const struct hw_sock_origin *origin, const struct hw_ip *addr, __be16 port)
{
	return origin->port == port && ip_equal(&origin->addr, addr);
}

static __always_inline bool sockorigins_got(const struct hw_sock_origin *origin, const struct hw_ip *addr, __be16 port)
{
	return origin->backend_port == port && ip_equal(&origin->backend, addr);
}

/* What the socket got when it last sent there; NULL: it is long ago, or never. */
static __always_inline const struct hw_sock_origin *sockorigins_last(struct bpf_sock_addr *ctx, const struct hw_ip *addr, __be16 port)
{
	struct hw_sock_sent *sent = bpf_sk_storage_get(&hw_sock_sent, ctx->sk, 0, 0);
	__u32 i;

	if (!sent)
		return NULL;
	for (i = 0; i < HW_SOCK_SENT; i++) {
		if (sockorigins_asked(&sent->origins[i], addr, port))
			return &sent->origins[i];
	}
	return NULL;
}

/* An address has one place: answers that are still under way from another backend than the last are not known any more. */
static __always_inline void sockorigins_sent(struct bpf_sock_addr *ctx, const struct hw_sock_origin *origin)
{
	struct hw_sock_sent *sent = bpf_sk_storage_get(&hw_sock_sent, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 i;

	if (!sent)
		return;
	for (i = 0; i < HW_SOCK_SENT; i++) {
		if (!sockorigins_asked(&sent->origins[i], &origin->addr, origin->port))
			continue;
		if (!sockorigins_got(&sent->origins[i], &origin->backend, origin->backend_port))
			sent->origins[i] = *origin;
		sent->last = i;
		return;
	}
	i = sent->next++ % HW_SOCK_SENT;
	sent->origins[i] = *origin;
	sent->last = i;
}

/* NULL: nothing was rewritten to that address. Of two services with one backend it is the one that was asked last. */
static __always_inline const struct hw_sock_origin *sockorigins_recall(struct bpf_sock_addr *ctx, const struct hw_ip *addr, __be16 port)
{
	const struct hw_sock_origin *origin = bpf_sk_storage_get(&hw_sock_connected, ctx->sk, 0, 0);
	const struct hw_sock_sent *sent;
	__u32 i;

	if (origin && sockorigins_got(origin, addr, port))
		return origin;
	sent = bpf_sk_storage_get(&hw_sock_sent, ctx->sk, 0, 0);
	if (!sent)
		return NULL;
	origin = &sent->origins[sent->last % HW_SOCK_SENT];
	if (sockorigins_got(origin, addr, port))
		return origin;
	for (i = 0; i < HW_SOCK_SENT; i++) {
		if (sockorigins_got(&sent->origins[i], addr, port))
			return &sent->origins[i];
	}
	return NULL;
}
