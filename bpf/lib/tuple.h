/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who talks to whom, as a conntrack key: turned round, made narrow for IPv4 and wide again, compared, hashed. */
#pragma once

#include <stdbool.h>

#include "abi/types.h"
#include "lib/ip.h"
#include "lib/pure/hash.h"

static __always_inline struct hw_ct4_key tuple_narrow(const struct hw_ct6_key *wide)
{
	struct hw_ct4_key key = {
		.saddr = wide->saddr.words[3],
		.daddr = wide->daddr.words[3],
		.sport = wide->sport,
		.dport = wide->dport,
		.proto = wide->proto,
	};

	return key;
}

static __always_inline struct hw_ct4_key tuple_narrow_reverse(const struct hw_ct6_key *wide)
{
	struct hw_ct4_key key = {
		.saddr = wide->daddr.words[3],
		.daddr = wide->saddr.words[3],
		.sport = wide->dport,
		.dport = wide->sport,
		.proto = wide->proto,
	};

	return key;
}

static __always_inline struct hw_ct6_key tuple_widen(const struct hw_ct4_key *narrow)
{
	struct hw_ct6_key key = {
		.saddr = ip_from4(narrow->saddr),
		.daddr = ip_from4(narrow->daddr),
		.sport = narrow->sport,
		.dport = narrow->dport,
		.proto = narrow->proto,
	};

	return key;
}

static __always_inline struct hw_ct6_key tuple_reverse(const struct hw_ct6_key *key)
{
	struct hw_ct6_key reverse = {
		.saddr = key->daddr,
		.daddr = key->saddr,
		.sport = key->dport,
		.dport = key->sport,
		.proto = key->proto,
	};

	return reverse;
}

static __always_inline bool tuple_equal(const struct hw_ct6_key *a, const struct hw_ct6_key *b)
{
	return a->sport == b->sport && a->dport == b->dport && ip_equal(&a->saddr, &b->saddr) && ip_equal(&a->daddr, &b->daddr);
}

/* Spreads flows over the ports that they may be given. */
static __always_inline __u32 tuple_hash(const struct hw_ct6_key *key)
{
	__u32 hash = hash_mix(key->proto, key->saddr.words[3]);

	hash = hash_mix(hash, key->saddr.words[0] ^ key->saddr.words[1] ^ key->saddr.words[2]);
	hash = hash_mix(hash, key->daddr.words[3]);
	hash = hash_mix(hash, key->daddr.words[0] ^ key->daddr.words[1] ^ key->daddr.words[2]);
	return hash_finish(hash_mix(hash, (__u32)key->sport << 16 | key->dport));
}
