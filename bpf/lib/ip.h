/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Questions about addresses. Both families are one type: IPv4 is ::ffff:a.b.c.d. */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

static __always_inline struct hw_ip ip_from4(__be32 address)
{
	struct hw_ip ip = { 0 };

	ip.words[2] = bpf_htonl(0xffff);
	ip.words[3] = address;
	return ip;
}

static __always_inline bool ip_equal(const struct hw_ip *a, const struct hw_ip *b)
{
	return a->words[3] == b->words[3] && a->words[2] == b->words[2] && a->words[1] == b->words[1] && a->words[0] == b->words[0];
}

static __always_inline bool ip_is_zero(const struct hw_ip *ip)
{
	return !(ip->words[0] | ip->words[1] | ip->words[2] | ip->words[3]);
}

static __always_inline bool ip_is4(const struct hw_ip *ip)
{
	return !ip->words[0] && !ip->words[1] && ip->words[2] == bpf_htonl(0xffff);
}

/* Multicast and the limited broadcast. */
static __always_inline bool ip_is_multicast(const struct hw_ip *ip)
{
	if (ip_is4(ip))
		return ip->bytes[12] >= 224 && (ip->bytes[12] < 240 || ip->words[3] == 0xffffffff);
	return ip->bytes[0] == 0xff;
}

/* Addresses that mean "this host": 127.0.0.0/8, 0.0.0.0/8, ::1 and ::. */
static __always_inline bool ip_is_this_host(const struct hw_ip *ip)
{
	if (ip_is4(ip))
		return ip->bytes[12] == 127 || ip->bytes[12] == 0;
	return !(ip->words[0] | ip->words[1] | ip->words[2]) && (bpf_ntohl(ip->words[3]) <= 1);
}

static __always_inline bool ip_is_loopback(const struct hw_ip *ip)
{
	if (ip_is4(ip))
		return ip->bytes[12] == 127;
	return !(ip->words[0] | ip->words[1] | ip->words[2]) && ip->words[3] == bpf_htonl(1);
}

static __always_inline bool ip_is_link_local6(const struct hw_ip *ip)
{
	return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}
