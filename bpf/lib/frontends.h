/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Published ports: which backend answers for an address and port of the host.
 *
 *   (addr, port, proto) ▸ exact address ▸ every address of the family ▸ backend or NULL
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct hw_frontend_key);
	__type(value, struct hw_backend);
} hw_frontends SEC(".maps");

/* The entry of exactly this address, which may be the wildcard. */
static __always_inline const struct hw_backend *frontends_exact(const struct hw_ip *addr, __be16 port, __u8 proto)
{
	struct hw_frontend_key key = { .addr = *addr, .port = port, .proto = proto };

	return bpf_map_lookup_elem(&hw_frontends, &key);
}

/* The entry of every address in the family of `like`. */
static __always_inline const struct hw_backend *frontends_wildcard(const struct hw_ip *like, __be16 port, __u8 proto)
{
	struct hw_frontend_key key = { .port = port, .proto = proto };

	if (like->words[0] == 0 && like->words[1] == 0 && like->words[2] == bpf_htonl(0xffff))
		key.addr.words[2] = bpf_htonl(0xffff);
	return bpf_map_lookup_elem(&hw_frontends, &key);
}

static __always_inline const struct hw_backend *frontends_find(const struct hw_ip *addr, __be16 port, __u8 proto)
{
	const struct hw_backend *backend = frontends_exact(addr, port, proto);

	return backend ? backend : frontends_wildcard(addr, port, proto);
}
