/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A frame as a driver hands it over, before the kernel has made a packet of it. */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

static __always_inline void *xdp_start(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *xdp_end(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* In assembly, because the compiler likes to subtract the frame's end from other numbers first, which the verifier refuses. */
static __always_inline __u32 xdp_length(const struct xdp_md *ctx)
{
	long length;

	asm volatile("%0 = %1\n\t%0 -= %2" : "=&r"(length) : "r"(xdp_end(ctx)), "r"(xdp_start(ctx)));
	return length;
}

/* `size` bytes at `at`, a constant; NULL: the frame is shorter. */
static __always_inline void *xdp_at(const struct xdp_md *ctx, __u32 at, __u32 size)
{
	void *place = xdp_start(ctx) + at;

	return place + size > xdp_end(ctx) ? NULL : place;
}

/* Whence it came is where it goes. */
static __always_inline void xdp_turn_ethernet(struct ethhdr *eth)
{
	__u8 sender[ETH_ALEN];

	__builtin_memcpy(sender, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, sender, ETH_ALEN);
}
