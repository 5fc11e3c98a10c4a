/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The balancer on one packet after another of many flows, as the driver's ring would bring them: a program that wraps its packet cannot be
 * run on it twice, so each run writes the packet's headers anew, calls the balancer and takes off what it put on.
 */
#include "lib/lbbackends.h"
#include "lib/metrics.h"

/* HARNESS_UNCOUNTED: without the backend's counter and without the program's, to see what they cost. */
#ifdef HARNESS_UNCOUNTED
#define lbbackends_count(number, bytes, kind) ((void)(number), (void)(bytes), (void)(kind))
#define metrics_count(direction, reason, bytes) ((void)(direction), (void)(reason), (void)(bytes))
#endif

#include "../bpf/xdp-lb.bpf.c"

#include "lib/pure/hash.h"

const volatile __u32 harness_family = 4;
const volatile __u32 harness_flows = 1;	   /* a power of two; 0: each packet is a flow's first */
const volatile __u32 harness_services = 1; /* by their addresses, one after the other */
const volatile __u32 harness_wrapped = 20; /* bytes that are put on; 0: none */
const volatile __u32 harness_translated = 0; /* 1: sent on with nothing put on */
const volatile __u32 harness_floor = 0;	   /* 1: the balancer is not called */
const volatile __u32 harness_flood = 0;	   /* 1: every other packet is a SYN of a new flow */

struct harness_state {
	__u32 count;
	__u32 pad;
	__u64 verdicts[8]; /* XDP_* */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct harness_state);
} harness_states SEC(".maps");

static __noinline int call(struct xdp_md *ctx)
{
	return lb(ctx);
}

static __noinline int call_nothing(struct xdp_md *ctx)
{
	return ctx->data == ctx->data_end ? XDP_ABORTED : harness_wrapped || harness_translated ? XDP_TX : XDP_PASS;
}

static __always_inline bool write4(struct xdp_md *ctx, __u32 flow, __u32 service)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 40);

	if (!frame)
		return false;
	*(__u32 *)frame = 0x00000002;
	*(__u32 *)(frame + 4) = 0x00020100;
	*(__u32 *)(frame + 8) = 0xfe000000;
	*(__u16 *)(frame + 12) = bpf_htons(ETH_P_IP);
	*(__u32 *)(frame + 26) = bpf_htonl(0x0a000000 | (flow & 0xffffff));
	*(__u32 *)(frame + 30) = bpf_htonl(0xc6120000 + service);
	*(__u16 *)(frame + 34) = bpf_htons(1024 + (flow >> 24));
	if (harness_translated) {
		frame[22] = 64;
		*(__u16 *)(frame + 36) = bpf_htons(80);
	}
	return true;
}

static __always_inline bool write6(struct xdp_md *ctx, __u32 flow, __u32 service)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 60);

	if (!frame)
		return false;
	*(__u32 *)frame = 0x00000002;
	*(__u32 *)(frame + 4) = 0x00020100;
	*(__u32 *)(frame + 8) = 0xfe000000;
	*(__u16 *)(frame + 12) = bpf_htons(ETH_P_IPV6);
	*(__u32 *)(frame + 34) = bpf_htonl(flow & 0xffffff);
	*(__u32 *)(frame + 50) = bpf_htonl(service);
	*(__u16 *)(frame + 54) = bpf_htons(1024 + (flow >> 24));
	if (harness_translated) {
		frame[21] = 64;
		*(__u32 *)(frame + 22) = bpf_htonl(0xfd00000c);
		*(__u32 *)(frame + 38) = bpf_htonl(0xfd000005);
		__builtin_memset(frame + 26, 0, 8);
		__builtin_memset(frame + 42, 0, 8);
		*(__u16 *)(frame + 56) = bpf_htons(80);
	}
	return true;
}

/* TCP over IPv4. */
static __always_inline bool write_flags(struct xdp_md *ctx, bool begins)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 40);

	if (!frame)
		return false;
	frame[ETH_HLEN + 20 + 13] = begins ? 0x02 : 0x10;
	return true;
}

SEC("xdp")
int lb_harness(struct xdp_md *ctx)
{
	__u32 key = 0, flow, service = 0, random;
	struct harness_state *state = bpf_map_lookup_elem(&harness_states, &key);
	bool flooding;
	int verdict;

	if (!state)
		return XDP_ABORTED;
	flow = state->count++ ^ bpf_get_smp_processor_id() << 31;
	random = hash_finish(flow);
	flooding = harness_flood && flow & 1;
	if (harness_flows && !flooding)
		flow = random & (harness_flows - 1);
	if (harness_services > 1)
		service = ((__u64)hash_finish(random + 1) * harness_services) >> 32;
	if (!(harness_family == 4 ? write4(ctx, flow, service) : write6(ctx, flow, service)))
		return XDP_ABORTED;
	if (harness_flood && !write_flags(ctx, flooding))
		return XDP_ABORTED;
	verdict = harness_floor ? call_nothing(ctx) : call(ctx);
	state->verdicts[verdict & 7]++;
	if (harness_wrapped && verdict == XDP_TX && bpf_xdp_adjust_head(ctx, harness_floor ? 0 : harness_wrapped))
		return XDP_ABORTED;
	return verdict;
}
