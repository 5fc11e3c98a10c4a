/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers in a service's name, made of the packet itself and sent back by where it came.
 *
 *   echo request                     ▸ its reply
 *   TCP that no backend can have     ▸ RST                                    (RFC 9293 3.10.7.1)
 *   UDP that no backend can have     ▸ port unreachable                       (3/3, 1/4)
 *   longer than the way to a backend ▸ fragmentation needed, packet too big   (3/4, 2)
 *   hop limit used up                ▸ time exceeded                          (11/0, 3/0)
 *
 *   Ethernet 14 │ IPv4 20 or IPv6 40 │ ICMP 8 │ the packet's first 128 bytes, or only its headers
 *
 * ICMP errors so many a second, because whoever asks with a false address makes us send them to somebody else; a RST is no longer than
 * what it answers.
 */
#pragma once

#include <stdbool.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbpacket.h"
#include "lib/pure/checksum.h"
#include "lib/reset.h"
#include "lib/wire.h"
#include "lib/xdp.h"

/* A verdict beside XDP_*: to be answered, and counted under the reason why it goes no further; 0: as forwarded. `mtu`: what fits. */
#define LBANSWER_WANTED		    0x40000000
#define LBANSWER_ECHO		    (LBANSWER_WANTED | 1 << 24)
#define LBANSWER_RESET(reason)	    (LBANSWER_WANTED | 2 << 24 | (int)(reason) << 16)
#define LBANSWER_UNREACHABLE(reason) (LBANSWER_WANTED | 3 << 24 | (int)(reason) << 16)
#define LBANSWER_TOO_LONG(mtu)	    (LBANSWER_WANTED | 3 << 24 | HW_DROP_MTU_EXCEEDED << 16 | (int)(mtu))

#define LBANSWER_EXPIRED	    (LBANSWER_WANTED | 4 << 24 | HW_DROP_TTL_EXCEEDED << 16)

#define LBANSWER_ERRORS 1024 /* a second, on one CPU */
#define LBANSWER_LONG	128
#define LBANSWER_SHORT4 (20 + 8)
#define LBANSWER_SHORT6 (40 + 8)
#define LBANSWER_TTL	64

struct lbanswer_budget {
	__u32 second;
	__u32 errors;
};

/* Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lbanswer_budget);
} lbanswer_budgets SEC(".maps");

struct lbanswer_icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 mtu;
	__u8 quote[LBANSWER_LONG];
};

struct lbanswer4 {
	struct iphdr ip;
	struct lbanswer_icmp icmp;
};

struct lbanswer6 {
	struct ipv6hdr ip;
	struct lbanswer_icmp icmp;
};

static __always_inline bool lbanswer_may(void)
{
	__u32 key = 0, second = (__u32)bpf_jiffies64() / hw_config.hz;
	struct lbanswer_budget *budget = bpf_map_lookup_elem(&lbanswer_budgets, &key);

	if (!budget)
		return false;
	if (budget->second != second) {
		budget->second = second;
		budget->errors = 0;
	}
	return budget->errors++ < LBANSWER_ERRORS;
}

static __always_inline void lbanswer_turn6(struct ipv6hdr *ip)
{
	struct in6_addr sender = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = sender;
	ip->hop_limit = LBANSWER_TTL;
}

/* A header that is made anew, in the name of whom the packet was for. */
static __always_inline void lbanswer_turn4(struct iphdr *ip, __u16 size, __u8 proto)
{
	__be32 sender = ip->saddr;

	ip->tot_len = bpf_htons(size);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = LBANSWER_TTL;
	ip->protocol = proto;
	ip->check = 0;
	ip->saddr = ip->daddr;
	ip->daddr = sender;
	ip->check = ~checksum_fold16(checksum_words(ip, sizeof(*ip) / 4));
}

static __always_inline void lbanswer_echo_type(struct wire_icmp *icmp, __u8 answer)
{
	icmp->checksum = checksum_apply(icmp->checksum, checksum_replace16(0, icmp->type, answer));
	icmp->type = answer;
}

/* The packet is whole and sound. */
static __always_inline int lbanswer_echo4(struct xdp_md *ctx)
{
	struct ethhdr *eth = xdp_at(ctx, 0, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct wire_icmp));
	struct iphdr *ip = (void *)(eth + 1);

	if (!eth)
		return -HW_DROP_MALFORMED;
	xdp_turn_ethernet(eth);
	lbanswer_turn4(ip, bpf_ntohs(ip->tot_len), IPPROTO_ICMP);
	lbanswer_echo_type((void *)(ip + 1), WIRE_ICMP_ECHO_REPLY);
	return XDP_TX;
}

static __always_inline int lbanswer_echo6(struct xdp_md *ctx)
{
	struct ethhdr *eth = xdp_at(ctx, 0, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct wire_icmp));
	struct ipv6hdr *ip = (void *)(eth + 1);

	if (!eth)
		return -HW_DROP_MALFORMED;
	xdp_turn_ethernet(eth);
	lbanswer_turn6(ip);
	lbanswer_echo_type((void *)(ip + 1), WIRE_ICMP6_ECHO_REPLY);
	return XDP_TX;
}

static __always_inline int lbanswer_reset4(struct xdp_md *ctx, int reason)
{
	const int length = ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr);
	struct ethhdr *eth = xdp_at(ctx, 0, length);
	struct tcphdr *tcp;
	struct iphdr *ip;

	if (!eth)
		return -HW_DROP_MALFORMED;
	ip = (void *)(eth + 1);
	tcp = (void *)(ip + 1);
	if (tcp->rst)
		return -reason;
	xdp_turn_ethernet(eth);
	reset_turn(tcp, bpf_ntohs(ip->tot_len) - sizeof(*ip));
	lbanswer_turn4(ip, sizeof(*ip) + sizeof(*tcp), IPPROTO_TCP);
	tcp->check = ~checksum_fold16(checksum_words(&ip->saddr, 2) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp)) + checksum_words(tcp, 5));
	return bpf_xdp_adjust_tail(ctx, length - (int)xdp_length(ctx)) ? -HW_DROP_REWRITE_FAILED : XDP_TX;
}

static __always_inline int lbanswer_reset6(struct xdp_md *ctx, int reason)
{
	const int length = ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr);
	struct ethhdr *eth = xdp_at(ctx, 0, length);
	struct ipv6hdr *ip;
	struct tcphdr *tcp;

	if (!eth)
		return -HW_DROP_MALFORMED;
	ip = (void *)(eth + 1);
	tcp = (void *)(ip + 1);
	if (tcp->rst)
		return -reason;
	xdp_turn_ethernet(eth);
	reset_turn(tcp, bpf_ntohs(ip->payload_len));
	lbanswer_turn6(ip);
	ip->payload_len = bpf_htons(sizeof(*tcp));
	tcp->check = ~checksum_fold16(checksum_words(&ip->saddr, 8) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp)) + checksum_words(tcp, 5));
	return bpf_xdp_adjust_tail(ctx, length - (int)xdp_length(ctx)) ? -HW_DROP_REWRITE_FAILED : XDP_TX;
}

/* Puts the message in front of what it quotes of the packet: `size` bytes from the IP header on. */
static __always_inline int lbanswer_send(struct xdp_md *ctx, void *message, __u32 header, __u32 quote, __be16 ethertype)
{
	int surplus = (int)xdp_length(ctx) - ETH_HLEN - (int)quote;
	struct ethhdr *eth = xdp_at(ctx, 0, sizeof(*eth)), old;

	if (!eth)
		return -HW_DROP_MALFORMED;
	old = *eth;
	if (bpf_xdp_adjust_tail(ctx, -surplus) || bpf_xdp_adjust_head(ctx, -(int)header))
		return -HW_DROP_REWRITE_FAILED;
	eth = xdp_at(ctx, 0, sizeof(*eth));
	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	__builtin_memcpy(eth->h_dest, old.h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, old.h_dest, ETH_ALEN);
	eth->h_proto = ethertype;
	return bpf_xdp_store_bytes(ctx, ETH_HLEN, message, header + quote) ? -HW_DROP_REWRITE_FAILED : XDP_TX;
}

static __always_inline int lbanswer_error4(struct xdp_md *ctx, __u32 mtu, bool expired)
{
	const struct iphdr *ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip));
	struct lbanswer4 answer = { 0 };
	__u32 quote;

	if (!ip)
		return -HW_DROP_MALFORMED;
	quote = bpf_ntohs(ip->tot_len) >= LBANSWER_LONG ? LBANSWER_LONG : LBANSWER_SHORT4;
	*(__u8 *)&answer.ip = 0x45;
	answer.ip.saddr = ip->saddr;
	answer.ip.daddr = ip->daddr;
	lbanswer_turn4(&answer.ip, sizeof(answer.ip) + 8 + quote, IPPROTO_ICMP);
	if (bpf_xdp_load_bytes(ctx, ETH_HLEN, answer.icmp.quote, quote))
		return -HW_DROP_MALFORMED;
	answer.icmp.type = expired ? WIRE_ICMP_TIME_EXCEEDED : WIRE_ICMP_UNREACHABLE;
	answer.icmp.code = expired ? 0 : mtu ? 4 : 3;
	answer.icmp.mtu = bpf_htonl(mtu);
	answer.icmp.checksum = ~checksum_fold16((__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.icmp, 8 + quote, 0));
	return lbanswer_send(ctx, &answer, sizeof(answer.ip) + 8, quote, bpf_htons(ETH_P_IP));
}

static __always_inline int lbanswer_error6(struct xdp_md *ctx, __u32 mtu, bool expired)
{
	const struct ipv6hdr *ip = xdp_at(ctx, ETH_HLEN, sizeof(*ip));
	struct lbanswer6 answer = { 0 };
	__u32 quote;
	__u64 sum;

	if (!ip)
		return -HW_DROP_MALFORMED;
	quote = bpf_ntohs(ip->payload_len) + sizeof(*ip) >= LBANSWER_LONG ? LBANSWER_LONG : LBANSWER_SHORT6;
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(8 + quote);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.saddr = ip->saddr;
	answer.ip.daddr = ip->daddr;
	lbanswer_turn6(&answer.ip);
	if (bpf_xdp_load_bytes(ctx, ETH_HLEN, answer.icmp.quote, quote))
		return -HW_DROP_MALFORMED;
	answer.icmp.type = expired ? WIRE_ICMP6_TIME_EXCEEDED : mtu ? WIRE_ICMP6_TOO_BIG : WIRE_ICMP6_UNREACHABLE;
	answer.icmp.code = expired || mtu ? 0 : 4;
	answer.icmp.mtu = bpf_htonl(mtu);
	/* Both addresses and the message lie side by side; the rest of the pseudo header is added. */
	sum = (__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.ip.saddr, 32 + 8 + quote, 0);
	sum += (__u64)bpf_htonl(8 + quote) + bpf_htonl(IPPROTO_ICMPV6);
	answer.icmp.checksum = ~checksum_fold16(sum);
	return lbanswer_send(ctx, &answer, sizeof(answer.ip) + 8, quote, bpf_htons(ETH_P_IPV6));
}

/* What a packet wants that is TCP or UDP right behind a plain header, whole and sound. */
static __always_inline int lbanswer_refusal(__u8 proto, int reason)
{
	return proto == IPPROTO_TCP ? LBANSWER_RESET(reason) : LBANSWER_UNREACHABLE(reason);
}

/* XDP_TX, or a negated drop reason: there is no answer to it. */
static __noinline int lbanswer_make(struct xdp_md *ctx, int family, int wanted)
{
	int reason = wanted >> 16 & 0xff;
	bool expired;

	if ((wanted & ~0xffff) == LBANSWER_ECHO)
		return family == 4 ? lbanswer_echo4(ctx) : lbanswer_echo6(ctx);
	if ((wanted & 0xff000000) == LBANSWER_RESET(0))
		return family == 4 ? lbanswer_reset4(ctx, reason) : lbanswer_reset6(ctx, reason);
	if (!lbanswer_may())
		return -reason;
	expired = (wanted & ~0xffff) == LBANSWER_EXPIRED;
	return family == 4 ? lbanswer_error4(ctx, wanted & 0xffff, expired) : lbanswer_error6(ctx, wanted & 0xffff, expired);
}
