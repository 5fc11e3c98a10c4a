/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What stands at both ends of the device under test: one program that sends frames of many flows, and one that takes them and says what they were.
 *
 *   generate ▸ gen0 ══ dut0 (what is measured) ▸ back, or by dut1 ══ sink0
 *                 └ sink                                       sink ┘
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/pure/hash.h"
#include "lib/pure/lbhash.h"
#include "lib/xdp.h"

#define WORDS 15 /* of the shortest frame that Ethernet has, without its checksum */

const volatile __u32 frames_flows = 1; /* a power of two; 0: each frame is a flow's first */
const volatile __u32 frames_ifindex = 0; /* of gen0 */
const volatile __u8 frames_template[4 * WORDS] = { 0 }; /* TCP, from 10.0.0.0:1024, with right checksums */

enum { ADDRESSED = 256, KINDS = 512 };

/* By the outer protocol, and ADDRESSED when the frame goes to where it was sent. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, KINDS);
	__type(key, __u32);
	__type(value, __u64);
} frames_taken SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} frames_sent SEC(".maps");

static __always_inline __u16 sum_with(__u16 checksum, __u32 more)
{
	__u32 sum = (__u16)~checksum + more;

	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u8 *frame = xdp_at(ctx, 0, 4 * WORDS);
	__u32 key = 0, *sent = bpf_map_lookup_elem(&frames_sent, &key), flow, client;

	if (!frame || !sent)
		return XDP_ABORTED;
	flow = hash_finish((*sent)++);
	if (frames_flows)
		flow &= frames_flows - 1;
	client = flow & 0xffffff;
	for (int i = 0; i < WORDS; i++)
		((__u32 *)frame)[i] = ((const volatile __u32 *)frames_template)[i];
	*(__u32 *)(frame + 26) |= bpf_htonl(client);
	*(__u16 *)(frame + 34) = bpf_htons(1024 + (flow >> 24));
	client = bpf_htons(client >> 16) + bpf_htons(client & 0xffff);
	*(__u16 *)(frame + 24) = sum_with(*(__u16 *)(frame + 24), client);
	*(__u16 *)(frame + 50) = sum_with(*(__u16 *)(frame + 50), client + bpf_htons(flow >> 24));
	return bpf_redirect(frames_ifindex, 0);
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 20);
	__u64 *taken;
	__u32 kind;

	if (!frame || *(__u16 *)(frame + 12) != bpf_htons(ETH_P_IP))
		return XDP_DROP;
	kind = frame[23];
	if (*(__u32 *)(frame + 30) == *(const volatile __u32 *)(frames_template + 30))
		kind |= ADDRESSED;
	taken = bpf_map_lookup_elem(&frames_taken, &kind);
	if (taken)
		(*taken)++;
	return XDP_DROP;
}

SEC("xdp")
int turn(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_TX;
}

/* Room, MACs and a header of IPv4 in IPv4, of which the length, the destination and the checksum are not known before. `size`: of what is inside. */
static __always_inline int wrap_for(struct xdp_md *ctx, __be32 to, __u32 size)
{
	struct iphdr *outer;
	struct ethhdr *eth;
	__u32 sum;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return XDP_ABORTED;
	eth = xdp_at(ctx, 0, sizeof(*eth) + sizeof(*outer));
	if (!eth)
		return XDP_ABORTED;
	*eth = (struct ethhdr){ .h_dest = { 2, 0, 0, 0, 0, 0xfe }, .h_source = { 2, 0, 0, 0, 0, 1 }, .h_proto = bpf_htons(ETH_P_IP) };
	outer = (void *)(eth + 1);
	size += sizeof(*outer);
	*outer = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_IPIP, .tot_len = bpf_htons(size), .saddr = bpf_htonl(0xc0000201), .daddr = to };
	sum = bpf_htons(0x4500) + bpf_htons(0x4004) + bpf_htons(0xc000) + bpf_htons(0x0201) + bpf_htons(size) + (to & 0xffff) + (to >> 16);
	outer->check = sum_with(0xffff, (sum & 0xffff) + (sum >> 16));
	return XDP_TX;
}

/* The least that who wraps IPv4 in IPv4 must do. */
SEC("xdp")
int wrap(struct xdp_md *ctx)
{
	return wrap_for(ctx, bpf_htonl(0xac110001), xdp_length(ctx) - ETH_HLEN);
}

/*
 * The least that may be called a balancer (the probe of the goals): one exact service, the flow's slot of one table, that slot's server, a counter of each, IPIP. No
 * check of what comes, no next hop, no change of anything.
 */
struct frames_server {
	__be32 address;
	__u32 pad[3];
};

struct frames_count {
	__u64 packets;
	__u64 bytes;
};

enum { SLOTS = 65537, SERVERS = 128 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} frames_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SERVERS);
	__type(key, __u32);
	__type(value, struct frames_server);
} frames_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SERVERS);
	__type(key, __u32);
	__type(value, struct frames_count);
} frames_counts SEC(".maps");

static __always_inline void frames_count(__u32 number, __u32 bytes)
{
	struct frames_count *count = bpf_map_lookup_elem(&frames_counts, &number);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
}

SEC("xdp")
int probe(struct xdp_md *ctx)
{
	__u8 *frame = xdp_at(ctx, 0, ETH_HLEN + 40);
	struct frames_server *server;
	__u32 slot, number, length;
	__u64 hash, *at;

	if (!frame || *(__u16 *)(frame + 12) != bpf_htons(ETH_P_IP) || frame[14] != 0x45 || frame[23] != IPPROTO_TCP ||
	    *(__u32 *)(frame + 30) != *(const volatile __u32 *)(frames_template + 30) || *(__u16 *)(frame + 36) != bpf_htons(80))
		return XDP_PASS;
	length = bpf_ntohs(*(__u16 *)(frame + 16));
	hash = lbhash_flow4(*(__u32 *)(frame + 26), *(__u32 *)(frame + 34));
	slot = lbhash_slot(hash, SLOTS);
	at = bpf_map_lookup_elem(&frames_slots, &slot);
	if (!at)
		return XDP_DROP;
	number = (__u32)*at;
	server = bpf_map_lookup_elem(&frames_servers, &number);
	if (!server)
		return XDP_DROP;
	frames_count(0, length);
	frames_count(number, length);
	return wrap_for(ctx, server->address, length);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
