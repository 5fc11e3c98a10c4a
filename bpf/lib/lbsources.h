/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose clients may ask a service, and with whom a client stays. Asked only of services that say so. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/config.h"
#include "lib/ip.h"
#include "lib/lbservices.h"
#include "lib/pure/clock.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hw_lb_sources);
} hw_lb_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct hw_lb_client);
	__type(value, struct hw_lb_stay);
} hw_lb_clients SEC(".maps");

static __always_inline const __u64 *lbsources_line(const struct hw_lb_sources *all, __u32 line)
{
	return all->words + (line & (HW_LB_SOURCES_LINES - 1)) * 8;
}

/* Whether the number of a line's starts up to the address is even. Each is subtracted by itself, two of IPv4 at once, and none waits for another. */
static __always_inline bool lbsources_even4(const __u64 *line, __u64 address)
{
	__u64 both = (address & 0x7fffffff) << 32 | (address & 0x7fffffff), signs = 0;

#pragma unroll
	for (int i = 0; i < 8; i++)
		signs ^= line[i] - both;
	return !((signs << 32 ^ signs) >> 63);
}

static __always_inline bool lbsources_even6(const __u64 *line, __u64 high)
{
	__u64 signs = 0;

	high = high << 1 >> 1;
#pragma unroll
	for (int i = 0; i < 8; i++)
		signs ^= line[i] - high;
	return !(signs >> 63);
}

/* The address, of which the compiler does not know any more that it has 32 bits: it would make branches of what is subtracted from it. */
static __always_inline __u64 lbsources_wide(__u64 address)
{
	asm volatile("" : "+r"(address));
	return address;
}

/* Bytes. The compiler must not know how few they are, or it subtracts halves of pointers, which the verifier refuses. */
static __always_inline __u32 lbsources_between(const void *beginnings, const void *at)
{
	__u64 bytes = at - beginnings;

	asm volatile("" : "+r"(bytes));
	return bytes & 0xff;
}

/* Which of the lines behind 2^HW_LB_SOURCES_NEAR beginnings it is. In arithmetic: branches of each step would be guessed wrong half of the time, and all walked by the verifier. */
static __always_inline __u32 lbsources_step4(const __u32 *beginnings, __u64 address)
{
	const __u32 *at = beginnings;

	address = lbsources_wide(address);
#pragma unroll
	for (int i = 3; i >= 1; i -= 2)
		at += (((at[1 << i] - address) >> 63) + ((at[2 << i] - address) >> 63) + ((at[3 << i] - address) >> 63)) << i;
	at += (at[1] - address) >> 63;
	return lbsources_between(beginnings, at) / sizeof(*at);
}

static __always_inline __u32 lbsources_step6(const __u64 *beginnings, __u64 high)
{
	const __u64 *at = beginnings;

#pragma unroll
	for (int i = 3; i >= 1; i -= 2)
		at += (((at[1 << i] - (high >> 1)) >> 63) + ((at[2 << i] - (high >> 1)) >> 63) + ((at[3 << i] - (high >> 1)) >> 63)) << i;
	at += (at[1] - (high >> 1)) >> 63;
	return lbsources_between(beginnings, at) / sizeof(*at);
}

/* 1: the address is no less than that beginning, whose place is counted from the map's first, of IPv4 in halves of words. */
static __always_inline __u32 lbsources_reaches(const struct hw_lb_sources *all, __u32 family, __u32 place, __u64 address)
{
	const __u32 mask = HW_LB_SOURCES_LINES * 16 - 1;
	__u64 beginning = family == 4 ? ((const __u32 *)all->words)[place & mask] : all->words[place & mask / 2];

	return (beginning - address) >> 63;
}

/* As above, of 2^`steps` beginnings. */
static __always_inline __u32 lbsources_search(const struct hw_lb_sources *all, __u32 family, __u32 first, __u32 steps, __u64 address)
{
	__u32 at = first, width = 1u << (steps & 31);

	address = lbsources_wide(address);
	for (int i = 0; i < (HW_LB_SOURCES_DEEPEST + 1) / 2; i++) {
		if (width < 4)
			break;
		width >>= 2;
		at += (lbsources_reaches(all, family, at + width, address) + lbsources_reaches(all, family, at + 2 * width, address) +
		       lbsources_reaches(all, family, at + 3 * width, address)) *
		      width;
	}
	if (width == 2)
		at += lbsources_reaches(all, family, at + 1, address);
	return at - first;
}

/* 1: `a` is the less, by at most `borrow`, which is 0 or 1. */
static __always_inline __u64 lbsources_less(__u64 a, __u64 b, __u64 borrow)
{
	return ((~a & b) | ((~a | b) & (a - b - borrow))) >> 63;
}

/* Whether one of the ranges lets it in that begin or end within its 2^64 addresses. */
static __always_inline bool lbsources_longer(const struct hw_lb_sources *all, __u32 sources, __u64 high, __u64 low)
{
	__u64 head = *lbsources_line(all, sources);
	__u32 first = (sources + (__u32)head) * 8, at = 0, left = head >> 32;

	for (int i = 0; i < 17; i++) {
		__u32 half = left >> 1, place = first + 2 * (at + half);
		__u64 less;

		if (!left)
			break;
		less = lbsources_less(high, all->words[place & (HW_LB_SOURCES_LINES * 8 - 1)],
				      lbsources_less(low, all->words[(place + 1) & (HW_LB_SOURCES_LINES * 8 - 1)], 0));
		at += (half + 1) * (__u32)(1 - less);
		left = half - (__u32)(1 - less) * (~left & 1);
	}
	return at & 1;
}

/* Of IPv4 `low` is the address. Global, so that the verifier walks it once. */
__noinline int lbsources_far(__u64 word, __u32 family, __u64 high, __u64 low)
{
	union lbservices_asks asks = { .word = word };
	__u32 key = 0, line = asks.sources;
	const struct hw_lb_sources *all = bpf_map_lookup_elem(&hw_lb_sources, &key);

	if (!all)
		return false;
	if (asks.depth == 1)
		line += family == 4 ? low >> 31 : high >> 63;
	else if (family == 4)
		line += (1 << asks.depth >> 5) + lbsources_search(all, 4, line * 16, asks.depth - 1, low);
	else
		line += (1 << asks.depth >> 4) + lbsources_search(all, 6, line * 8, asks.depth - 1, high >> 1);
	if (family == 4)
		return lbsources_even4(lbsources_line(all, line), low);
	return lbsources_even6(lbsources_line(all, line), high) || (asks.depth > 1 && lbsources_longer(all, asks.sources, high, low));
}

/* Without a call if there are no more than 2^HW_LB_SOURCES_NEAR lines, and the upper half of the address says that it may. */
static __always_inline bool lbsources_near(union lbservices_asks asks, int family, __u64 high, __u64 low)
{
	__u32 key = 0, line = asks.sources;
	const struct hw_lb_sources *all = bpf_map_lookup_elem(&hw_lb_sources, &key);

	if (!all)
		return false;
	if (asks.depth == 1)
		line += family == 4 ? low >> 31 : high >> 63;
	else if (asks.depth != HW_LB_SOURCES_NEAR + 1)
		return lbsources_far(asks.word, family, high, low);
	else if (family == 4)
		line += (1 << HW_LB_SOURCES_NEAR) / 16 + lbsources_step4((const __u32 *)lbsources_line(all, line), low);
	else
		line += (1 << HW_LB_SOURCES_NEAR) / 8 + lbsources_step6(lbsources_line(all, line), high);
	if (family == 4)
		return lbsources_even4(lbsources_line(all, line), low);
	return lbsources_even6(lbsources_line(all, line), high) || (asks.depth > 1 && lbsources_far(asks.word, 6, high, low));
}

static __always_inline __u64 lbsources_high(const struct hw_ip *client)
{
	return (__u64)bpf_ntohl(client->words[0]) << 32 | bpf_ntohl(client->words[1]);
}

static __always_inline __u64 lbsources_low(const struct hw_ip *client)
{
	return (__u64)bpf_ntohl(client->words[2]) << 32 | bpf_ntohl(client->words[3]);
}

/* `asks`: of a service that asks. */
static __always_inline bool lbsources_may(union lbservices_asks asks, const struct hw_ip *client)
{
	if (ip_is4(client))
		return lbsources_far(asks.word, 4, 0, bpf_ntohl(client->words[3]));
	return lbsources_far(asks.word, 6, lbsources_high(client), lbsources_low(client));
}

/* The backend that the client has; 0: none any more. */
static __always_inline __u32 lbsources_stay(__u32 service, const struct hw_ip *client, __u32 seconds)
{
	struct hw_lb_client key = { .addr = *client, .service = service };
	struct hw_lb_stay *stay = bpf_map_lookup_elem(&hw_lb_clients, &key);
	__u32 now = (__u32)bpf_jiffies64();

	if (!stay || clock_expired(stay->expires, now))
		return 0;
	stay->expires = now + seconds * hw_config.hz;
	return stay->backend;
}

static __always_inline void lbsources_settle(__u32 service, const struct hw_ip *client, __u32 seconds, __u32 backend)
{
	struct hw_lb_client key = { .addr = *client, .service = service };
	struct hw_lb_stay stay = { .backend = backend, .expires = (__u32)bpf_jiffies64() + seconds * hw_config.hz };

	bpf_map_update_elem(&hw_lb_clients, &key, &stay, BPF_ANY);
}
