/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The next hop of outer packets to a backend. The kernel's FIB is asked again when the answer is HW_LB_HOP_JIFFIES old, and the answer
 * lies in the backend's own line, so that a route or neighbour that changes is followed with no agent there.
 */
#pragma once

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbbackends.h"
#include "lib/lbfrom.h"
#include "lib/uplinks.h"
#include "lib/wire.h"

/* Not inline, because it is seldom asked. False: the way is not known, or not by an uplink. */
static __noinline bool lbhop_find(struct xdp_md *ctx, struct hw_lb_backend *backend, __u32 number)
{
	struct bpf_fib_lookup fib = { .ifindex = hw_config.host_ifindex };
	__u32 now = (__u32)bpf_jiffies64();
	const struct hw_lb_place *place = lbbackends_place(number);
	const struct hw_uplink *uplink;
	long result;

	if (!place || !lbfrom_is_known(backend->mode, backend->outer4))
		return false;
	if (backend->outer4) {
		fib.family = WIRE_AF_INET;
		fib.ipv4_dst = backend->outer4;
		fib.ipv4_src = lbfrom4(backend->mode);
	} else {
		fib.family = WIRE_AF_INET6;
		__builtin_memcpy(fib.ipv6_dst, &place->outer, 16);
	}
	result = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	/* Without a neighbour the old one is as good a guess as any, and the kernel is not asked by every packet. */
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH && backend->ifindex) {
		backend->found = now;
		return true;
	}
	if (result != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	/* A driver without the program may take no frames of XDP's, and would lose them without a word. */
	uplink = uplinks_find(fib.ifindex);
	if (!uplink || !uplink->accelerated)
		return false;
	__builtin_memcpy(backend->destination_mac, fib.dmac, ETH_ALEN);
	__builtin_memcpy(backend->source_mac, fib.smac, ETH_ALEN);
	backend->mtu = fib.mtu_result;
	backend->found = now;
	backend->ifindex = fib.ifindex;
	return true;
}

static __always_inline bool lbhop_is_known(struct xdp_md *ctx, struct hw_lb_backend *backend, __u32 number)
{
	if (__builtin_expect(backend->ifindex && (__u32)bpf_jiffies64() - backend->found < HW_LB_HOP_JIFFIES, 1))
		return true;
	return lbhop_find(ctx, backend, number);
}
