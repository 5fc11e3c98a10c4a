/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Two CPUs, each with this program, give new flows ports of one pool at the same moment: they wait for each other before each flow.
 *
 *   the other is there ▸ flow N's SYN, after a hesitation of its own ▸ xdp_lb ▸ its ACK ▸ xdp_lb ▸ what became of both
 *   it is not yet      ▸ nothing, this time
 */
#include "../../../bpf/xdp-lb.bpf.c"

#define RACE_SERVICES 32
#define RACE_EACH     7 /* flows of a side to one service */
#define RACE_FLOWS    (RACE_SERVICES * RACE_EACH)
#define RACE_STEPS    512 /* some 5 us: before the other begins, the kernel waits for the end of a run that is under way */
#define RACE_HESITATION 127 /* steps, at most */

const volatile __u32 race_side = 0;

/* Of one side. */
struct race_turn {
	__u32 flow;  /* the next */
	__u32 there; /* 1 more than the flow for which it waits, or has waited */
	__u32 pad[14];
};

struct race_result {
	__u32 verdicts[2]; /* XDP_*: of the SYN and of the ACK */
	__be16 ports[2];   /* from which they left */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct race_turn);
} race_turns SEC(".maps");

/* A side that is about to run the program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} race_ready SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * RACE_FLOWS);
	__type(key, __u32);
	__type(value, struct race_result);
} race_results SEC(".maps");

static long race_look(__u64 step, __u32 *flow)
{
	__u32 side = !race_side;
	const volatile struct race_turn *other = bpf_map_lookup_elem(&race_turns, &side);

	(void)step;
	return !other || other->there > *flow;
}

static long race_rest(__u64 step, __u32 *flow)
{
	(void)step;
	(void)flow;
	return 0;
}

/* False: the other is not there yet. */
static __always_inline bool race_meet(struct race_turn *own, __u32 flow)
{
	*(volatile __u32 *)&own->there = flow + 1;
	if (bpf_loop(RACE_STEPS, race_look, &flow, 0) == RACE_STEPS)
		return false;
	bpf_loop(bpf_get_prandom_u32() & RACE_HESITATION, race_rest, &flow, 0);
	return true;
}

static __always_inline bool race_write(struct xdp_md *ctx, __u32 flow, __u8 flags)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 40);

	if (!frame)
		return false;
	frame[22] = 64;
	*(__be32 *)(frame + 26) = bpf_htonl(0x0a000000 + race_side);
	*(__be32 *)(frame + 30) = bpf_htonl(0xcb007100 + flow / RACE_EACH); /* 203.0.113.0 and on */
	*(__be16 *)(frame + 34) = bpf_htons(2000 + flow);
	*(__be16 *)(frame + 36) = bpf_htons(80);
	frame[ETH_HLEN + 20 + 13] = flags;
	return true;
}

/* Not static, so that the verifier walks it once. */
__noinline int race_send(struct xdp_md *ctx)
{
	return lb(ctx);
}

static __always_inline void race_note(struct xdp_md *ctx, struct race_result *result, __u32 which, __u32 verdict)
{
	const __u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 40);

	result->verdicts[which] = verdict;
	result->ports[which] = frame ? *(const __be16 *)(frame + 34) : 0;
}

SEC("xdp")
int race(struct xdp_md *ctx)
{
	__u32 side = race_side, key;
	struct race_turn *own = bpf_map_lookup_elem(&race_turns, &side);
	struct race_result *result;
	__u32 flow = own ? own->flow : 0;

	key = side * RACE_FLOWS + flow;
	result = bpf_map_lookup_elem(&race_results, &key);
	if (!own || !result || flow >= RACE_FLOWS || !race_meet(own, flow))
		return XDP_PASS;
	own->flow++;
	if (!race_write(ctx, flow, 0x02))
		return XDP_ABORTED;
	race_note(ctx, result, 0, race_send(ctx));
	if (!race_write(ctx, flow, 0x10))
		return XDP_ABORTED;
	race_note(ctx, result, 1, race_send(ctx));
	return XDP_PASS;
}
