/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers a container at once, in a service's name, whose port nobody has or serves.
 *
 *   TCP       ▸ RST                           Ethernet 14 │ IPv4 20 or IPv6 40 │ TCP 20
 *   UDP, SCTP ▸ port unreachable (lib/complain.h)
 *
 * Counted and told as dropped.
 */
#pragma once

#include "lib/complain.h"
#include "lib/reset.h"

/* A verdict beside TC_ACT_*, with the reason in its lowest byte: the answer is on its way. */
#define REFUSE_ANSWERED 0x10000

struct refuse4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct refuse6 {
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

static __noinline int refuse_tcp4(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep)
{
	struct refuse4 answer = { 0 };

	if (bpf_skb_load_bytes(skb, p->l4, &answer.tcp, sizeof(answer.tcp)) < 0)
		return -HW_DROP_MALFORMED;
	reset_turn(&answer.tcp, p->size - (p->l4 - ETH_HLEN));
	answer.ip.version = 4;
	answer.ip.ihl = 5;
	answer.ip.tot_len = bpf_htons(sizeof(answer));
	answer.ip.frag_off = bpf_htons(0x4000);
	answer.ip.ttl = 64;
	answer.ip.protocol = IPPROTO_TCP;
	answer.ip.saddr = p->flow.daddr.words[3];
	answer.ip.daddr = p->flow.saddr.words[3];
	answer.ip.check = ~checksum_fold16(checksum_words(&answer.ip, 5));
	answer.tcp.check = ~checksum_fold16(checksum_words(&answer.ip.saddr, 2) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer.tcp)) +
					    checksum_words(&answer.tcp, 5));
	return complain_send(skb, ep, &answer, sizeof(answer));
}

static __noinline int refuse_tcp6(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep)
{
	struct refuse6 answer = { 0 };

	if (bpf_skb_load_bytes(skb, p->l4, &answer.tcp, sizeof(answer.tcp)) < 0)
		return -HW_DROP_MALFORMED;
	reset_turn(&answer.tcp, p->size - (p->l4 - ETH_HLEN));
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(sizeof(answer.tcp));
	answer.ip.nexthdr = IPPROTO_TCP;
	answer.ip.hop_limit = 64;
	__builtin_memcpy(&answer.ip.saddr, &p->flow.daddr, 16);
	__builtin_memcpy(&answer.ip.daddr, &p->flow.saddr, 16);
	answer.tcp.check = ~checksum_fold16(checksum_words(&answer.ip.saddr, 8) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer.tcp)) +
					    checksum_words(&answer.tcp, 5));
	return complain_send(skb, ep, &answer, sizeof(answer));
}

/* REFUSE_ANSWERED with the reason, or it negated: there is no answer to that. */
static __always_inline int refuse(struct __sk_buff *skb, const struct packet *p, const struct hw_endpoint *ep, int reason)
{
	int sent;

	if (p->fragment != PACKET_WHOLE || (p->tcp_flags & RESET_RST))
		return -reason;
	if (p->flow.proto == IPPROTO_TCP)
		sent = p->family == 4 ? refuse_tcp4(skb, p, ep) : refuse_tcp6(skb, p, ep);
	else
		sent = p->family == 4 ? complain_ipv4(skb, p, ep, &p->flow.daddr, COMPLAIN_PORT) : complain_ipv6(skb, p, ep, &p->flow.daddr, COMPLAIN_PORT);
	return sent == TC_ACT_REDIRECT ? REFUSE_ANSWERED | reason : -reason;
}
