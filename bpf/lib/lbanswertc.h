/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The answers of lib/lbanswer.h in netdev, for what XDP has not seen, or has passed on.
 *
 *   scratch->packet ▸ echo reply, RST ▸ in place                          ▸ back by where it came
 *                   ▸ ICMP error      ▸ cut to the quote, headers in front ▸
 *
 * A device may still have to fill in the checksum of the TCP or UDP header (CHECKSUM_PARTIAL), which no program can see. All sums are made so that
 * they are right with it and without.
 */
#pragma once

#include "lib/lbanswer.h"
#include "lib/probes.h"
#include "lib/scratch.h"

/* Whether its sender may be told why it goes no further (RFC 1122, 3.2.2). */
static __always_inline bool lbanswertc_may_tell(const struct packet *p)
{
	return p->kind != PACKET_ICMP_ERROR && p->fragment != PACKET_LATER;
}

struct lbanswertc_reset4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct lbanswertc_reset6 {
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

/*
 * Fills in a checksum that is 0. `left`: what stands there, not complemented, where a device will do its part; `rest`: the sum of all that the
 * checksum covers, less `left`. The kernel leaves out what is no pseudo header where it is the device's.
 */
static __always_inline int lbanswertc_sum(struct __sk_buff *skb, __u32 at, __u64 left, __u64 rest)
{
	return bpf_l4_csum_replace(skb, at, 0, checksum_fold32(rest), 0) | bpf_l4_csum_replace(skb, at, 0, checksum_fold32(left), BPF_F_PSEUDO_HDR);
}

static __always_inline int lbanswertc_send(struct __sk_buff *skb)
{
	return probes_turn_ethernet(skb) ? -HW_DROP_REWRITE_FAILED : bpf_redirect(skb->ifindex, 0);
}

static __always_inline int lbanswertc_echo4(struct __sk_buff *skb)
{
	struct iphdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip) + sizeof(struct wire_icmp));

	if (!ip)
		return -HW_DROP_MALFORMED;
	lbanswer_turn4(ip, bpf_ntohs(ip->tot_len), IPPROTO_ICMP);
	lbanswer_echo_type((void *)(ip + 1), WIRE_ICMP_ECHO_REPLY);
	return lbanswertc_send(skb);
}

static __always_inline int lbanswertc_echo6(struct __sk_buff *skb)
{
	struct ipv6hdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip) + sizeof(struct wire_icmp));

	if (!ip)
		return -HW_DROP_MALFORMED;
	lbanswer_turn6(ip);
	lbanswer_echo_type((void *)(ip + 1), WIRE_ICMP6_ECHO_REPLY);
	return lbanswertc_send(skb);
}

static __noinline int lbanswertc_reset4(struct __sk_buff *skb, const struct packet *p)
{
	struct lbanswertc_reset4 answer = { 0 };

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &answer, sizeof(answer)) < 0)
		return -HW_DROP_MALFORMED;
	reset_turn(&answer.tcp, p->size - sizeof(answer.ip));
	lbanswer_turn4(&answer.ip, sizeof(answer), IPPROTO_TCP);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), BPF_F_INVALIDATE_HASH) < 0 ||
	    lbanswertc_sum(skb, ETH_HLEN + sizeof(answer.ip) + __builtin_offsetof(struct tcphdr, check),
			   checksum_words(&answer.ip.saddr, 2) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer.tcp)), checksum_words(&answer.tcp, 5)))
		return -HW_DROP_REWRITE_FAILED;
	return lbanswertc_send(skb);
}

static __noinline int lbanswertc_reset6(struct __sk_buff *skb, const struct packet *p)
{
	struct lbanswertc_reset6 answer = { 0 };

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &answer, sizeof(answer)) < 0)
		return -HW_DROP_MALFORMED;
	reset_turn(&answer.tcp, p->size - sizeof(answer.ip));
	lbanswer_turn6(&answer.ip);
	answer.ip.payload_len = bpf_htons(sizeof(answer.tcp));
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), BPF_F_INVALIDATE_HASH) < 0 ||
	    lbanswertc_sum(skb, ETH_HLEN + sizeof(answer.ip) + __builtin_offsetof(struct tcphdr, check),
			   checksum_words(&answer.ip.saddr, 8) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer.tcp)), checksum_words(&answer.tcp, 5)))
		return -HW_DROP_REWRITE_FAILED;
	return lbanswertc_send(skb);
}

/*
 * Puts the message's headers, which end with those of ICMP, in front of what it quotes. `sum`: of the ICMP header, any pseudo header and the
 * quoted IP header; `l4`: of the rest of the quote; `field`: the checksum in there. What a device fills in there makes of `l4` the complement of
 * `field`.
 */
static __always_inline int lbanswertc_quote(struct __sk_buff *skb, const void *message, __u32 headers, __u32 quote, __u64 sum, __u64 l4, __u16 field)
{
	__u64 left = (__u64)(__u16)~checksum_fold16(sum) + field;

	if (bpf_skb_change_tail(skb, ETH_HLEN + quote, 0) < 0 || bpf_skb_adjust_room(skb, headers, BPF_ADJ_ROOM_MAC, 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, message, headers, BPF_F_INVALIDATE_HASH) < 0 ||
	    lbanswertc_sum(skb, ETH_HLEN + headers - sizeof(struct wire_icmp) + __builtin_offsetof(struct wire_icmp, checksum), left,
			   sum + l4 + (__u16)~checksum_fold16(left)))
		return -HW_DROP_REWRITE_FAILED;
	return lbanswertc_send(skb);
}

/* What is quoted of a short packet behind its IP header: the checksum with it, without which the kernel cuts nothing that a device is to sum. */
static __always_inline __u32 lbanswertc_short(const struct packet *p)
{
	return p->flow.proto == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

static __always_inline __u32 lbanswertc_field(const struct packet *p)
{
	return p->flow.proto == IPPROTO_TCP ? __builtin_offsetof(struct tcphdr, check) : __builtin_offsetof(struct udphdr, check);
}

static __noinline int lbanswertc_error4(struct __sk_buff *skb, const struct packet *p, __u32 mtu, bool expired)
{
	__u32 quote = p->size >= LBANSWER_LONG ? LBANSWER_LONG : sizeof(struct iphdr) + lbanswertc_short(p);
	struct lbanswer4 answer = { 0 };
	__u64 sum, l4;
	__u16 field = 0;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.icmp.quote, quote) < 0 || bpf_skb_load_bytes(skb, p->l4 + lbanswertc_field(p), &field, sizeof(field)) < 0)
		return -HW_DROP_MALFORMED;
	*(__u8 *)&answer.ip = 0x45;
	answer.ip.saddr = p->flow.saddr.words[3];
	answer.ip.daddr = p->flow.daddr.words[3];
	lbanswer_turn4(&answer.ip, sizeof(answer.ip) + 8 + quote, IPPROTO_ICMP);
	answer.icmp.type = expired ? WIRE_ICMP_TIME_EXCEEDED : WIRE_ICMP_UNREACHABLE;
	answer.icmp.code = expired ? 0 : mtu ? 4 : 3;
	answer.icmp.mtu = bpf_htonl(mtu);
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.icmp, 8 + sizeof(struct iphdr), 0);
	l4 = (__u32)bpf_csum_diff(0, 0, (__be32 *)(answer.icmp.quote + sizeof(struct iphdr)), quote - sizeof(struct iphdr), 0);
	return lbanswertc_quote(skb, &answer, sizeof(answer.ip) + 8, quote, sum, l4, field);
}

static __noinline int lbanswertc_error6(struct __sk_buff *skb, const struct packet *p, __u32 mtu, bool expired)
{
	__u32 quote = p->size >= LBANSWER_LONG ? LBANSWER_LONG : sizeof(struct ipv6hdr) + lbanswertc_short(p);
	struct lbanswer6 answer = { 0 };
	__u64 sum, l4;
	__u16 field = 0;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, answer.icmp.quote, quote) < 0 || bpf_skb_load_bytes(skb, p->l4 + lbanswertc_field(p), &field, sizeof(field)) < 0)
		return -HW_DROP_MALFORMED;
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(8 + quote);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = LBANSWER_TTL;
	__builtin_memcpy(&answer.ip.saddr, &p->flow.daddr, 16);
	__builtin_memcpy(&answer.ip.daddr, &p->flow.saddr, 16);
	answer.icmp.type = expired ? WIRE_ICMP6_TIME_EXCEEDED : mtu ? WIRE_ICMP6_TOO_BIG : WIRE_ICMP6_UNREACHABLE;
	answer.icmp.code = expired || mtu ? 0 : 4;
	answer.icmp.mtu = bpf_htonl(mtu);
	/* Both addresses, the message and the quoted header lie side by side; the rest of the pseudo header is added. */
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.ip.saddr, 32 + 8 + sizeof(struct ipv6hdr), 0);
	sum += (__u64)bpf_htonl(8 + quote) + bpf_htonl(IPPROTO_ICMPV6);
	l4 = (__u32)bpf_csum_diff(0, 0, (__be32 *)(answer.icmp.quote + sizeof(struct ipv6hdr)), quote - sizeof(struct ipv6hdr), 0);
	return lbanswertc_quote(skb, &answer, sizeof(answer.ip) + 8, quote, sum, l4, field);
}

static __always_inline bool lbanswertc_is_plain(const struct packet *p)
{
	return p->l4 == ETH_HLEN + (p->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* TC_ACT_REDIRECT, or a negated drop reason: there is no answer to it. Not static, so that the verifier walks it once. */
__noinline int lbanswertc_make(struct __sk_buff *skb, int wanted)
{
	struct scratch *scratch = scratch_same();
	int reason = wanted >> 16 & 0xff;
	const struct packet *p;
	bool expired;

	if (!scratch || !skb)
		return -HW_DROP_REWRITE_FAILED;
	p = &scratch->packet;
	/* Like XDP, which answers nothing that has options or extension headers. */
	if (!lbanswertc_is_plain(p))
		return -HW_DROP_INVALID_OPTIONS;
	if (wanted == LBANSWER_ECHO)
		return p->family == 4 ? lbanswertc_echo4(skb) : lbanswertc_echo6(skb);
	if ((wanted & 0xff000000) == LBANSWER_RESET(0)) {
		if (p->tcp_flags & RESET_RST)
			return -reason;
		return p->family == 4 ? lbanswertc_reset4(skb, p) : lbanswertc_reset6(skb, p);
	}
	if (!lbanswer_may())
		return -reason;
	expired = wanted == LBANSWER_EXPIRED;
	return p->family == 4 ? lbanswertc_error4(skb, p, wanted & 0xffff, expired) : lbanswertc_error6(skb, p, wanted & 0xffff, expired);
}
