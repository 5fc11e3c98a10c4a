/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a service's address and port lie in the table of frontends, and which slot of a service's table a flow has. Nodes that balance
 * for the same address agree in both. Arithmetic only; words are as they lie in memory.
 */
#pragma once

#include "lib/pure/hash.h"

#define LBHASH_MULTIPLIER 0xd6e8feb86659fd93ULL

/* Of an address alone; also the start of a frontend's. A sum of products, which the processor forms side by side: rounds would wait for each other. */
static __always_inline __u32 lbhash_address(const __u32 words[4])
{
	return words[0] * 0x9e3779b1U + words[1] * 0x85ebca77U + words[2] * 0xc2b2ae3dU + words[3] * 0x27d4eb2fU;
}

/* The same of an IPv4 address, as ::ffff:a.b.c.d. `mapped`: the word with ffff. */
static __always_inline __u32 lbhash_address4(__u32 mapped, __u32 address)
{
	return mapped * 0xc2b2ae3dU + address * 0x27d4eb2fU;
}

/* `port`: bytes port, protocol, 0. */
static __always_inline __u32 lbhash_frontend(__u32 address_hash, __u32 port)
{
	return hash_finish(address_hash + port * 0x165667b1U);
}

static __always_inline __u32 lbhash_first(__u32 hash, __u32 buckets)
{
	return hash & (buckets - 1);
}

static __always_inline __u32 lbhash_second(__u32 hash, __u32 buckets)
{
	return ((hash >> 16) ^ hash * 5) & (buckets - 1);
}

static __always_inline __u64 lbhash_finish(__u64 hash)
{
	hash ^= hash >> 32;
	hash *= LBHASH_MULTIPLIER;
	hash ^= hash >> 32;
	hash *= LBHASH_MULTIPLIER;
	return hash ^ (hash >> 32);
}

/* Of a flow: the client's address, and both ports in one word, the client's first; without ports the client's own. */
static __always_inline __u64 lbhash_flow4(__u32 client, __u32 ports)
{
	return lbhash_finish((__u64)ports << 32 | client);
}

static __always_inline __u64 lbhash_flow6(__u64 high, __u64 low, __u32 ports)
{
	low *= 0x9e3779b97f4a7c15ULL;
	return lbhash_finish((high * LBHASH_MULTIPLIER) ^ (low << 32 | low >> 32) ^ ((__u64)ports << 16));
}

static __always_inline __u32 lbhash_slot(__u64 hash, __u32 slots)
{
	return (__u32)((hash >> 32) * slots >> 32);
}
