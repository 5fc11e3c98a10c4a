/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Other nodes ask whether this one is there (src/peers/probe-packet.ts draws the question). The programs answer, so that a node whose
 * agent is away is not taken for dead while it carries packets.
 *
 *   a node's UDP to the probes' port, a question ▸ turned round, its type "answered by the programs" ▸ out by the same device
 */
#pragma once

#include "lib/hostaddrs.h"
#include "lib/nodes.h"
#include "lib/packet.h"
#include "lib/parse.h"

#define PROBES_LENGTH	96
#define PROBES_QUESTION 1
#define PROBES_ANSWERED 3

struct probes_head {
	__u8 magic[4];
	__u8 type;
	__u8 nonce;
};

static __always_inline bool probes_are_asked(const struct packet *p)
{
	return hw_config.probe_port && p->flow.proto == IPPROTO_UDP && p->flow.dport == hw_config.probe_port;
}

static __always_inline int probes_turn_ethernet(struct __sk_buff *skb)
{
	struct ethhdr *eth = packet_at(skb, 0, sizeof(*eth));
	__u8 sender[ETH_ALEN];

	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	__builtin_memcpy(sender, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, sender, ETH_ALEN);
	return 0;
}

/* Addresses and ports change places, which no checksum notices. */
static __always_inline int probes_turn(struct __sk_buff *skb, const struct packet *p)
{
	__be16 ports[2] = { p->flow.dport, p->flow.sport };
	int error = 0;

	if (p->family == 4) {
		error |= bpf_skb_store_bytes(skb, ETH_HLEN + 12, &p->flow.daddr.words[3], 4, 0);
		error |= bpf_skb_store_bytes(skb, ETH_HLEN + 16, &p->flow.saddr.words[3], 4, 0);
	} else {
		error |= bpf_skb_store_bytes(skb, ETH_HLEN + 8, &p->flow.daddr, 16, 0);
		error |= bpf_skb_store_bytes(skb, ETH_HLEN + 24, &p->flow.saddr, 16, 0);
	}
	return error | bpf_skb_store_bytes(skb, p->l4, ports, sizeof(ports), 0);
}

/* Answers scratch->packet, or HW_PASS: it is no question, or nobody's who may ask. Not static, so that the verifier walks it once. */
__noinline int probes_answer(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_host_address *host;
	const struct packet *p;
	struct probes_head head;
	__u8 type = PROBES_ANSWERED;
	__u32 at;

	if (!scratch)
		return HW_PASS;
	p = &scratch->packet;
	at = p->l4 + sizeof(struct udphdr);
	if (p->kind != PACKET_FLOW || p->fragment != PACKET_WHOLE || p->l4 > PACKET_L4_MAX || skb->len != at + PROBES_LENGTH)
		return HW_PASS;
	host = hostaddrs_find(&p->flow.daddr);
	if (!host || !(host->flags & HW_HOST_ADDRESS_LOCAL) || !nodes_by_address(&p->flow.saddr))
		return HW_PASS;
	if (bpf_skb_load_bytes(skb, at, &head, sizeof(head)) < 0 || head.magic[0] != 'H' || head.magic[1] != 'W' || head.magic[2] != 'P' ||
	    head.magic[3] != '1' || head.type != PROBES_QUESTION)
		return HW_PASS;
	if (bpf_l4_csum_replace(skb, p->l4 + 6, bpf_htons(PROBES_QUESTION << 8 | head.nonce), bpf_htons(PROBES_ANSWERED << 8 | head.nonce),
				BPF_F_MARK_MANGLED_0 | 2) < 0 ||
	    bpf_skb_store_bytes(skb, at + 4, &type, sizeof(type), 0) < 0 || probes_turn(skb, p) || probes_turn_ethernet(skb))
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect(skb->ifindex, 0);
}
