/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Takes off what another node has put around a packet of a service for a container here (lib/lbgeneve.h). */
#pragma once

#include <stdbool.h>

#include "lib/ip.h"
#include "lib/lbgeneve.h"
#include "lib/tunnel.h"

struct lbnode_option {
	__be32 about;
	__be32 words[5];
};

#define LBNODE_OPTION_AT (ETH_HLEN + sizeof(struct iphdr) + __builtin_offsetof(struct lbgeneve, about))

/* From another node for sure: whole, UDP over IPv4 to the tunnel's port. False: it is as it was, and not that. */
static __always_inline bool lbnode_take(struct __sk_buff *skb, struct hw_backend *backend, __u32 *passed)
{
	const struct tunnel_headers *headers = packet_at(skb, ETH_HLEN, TUNNEL_BYTES);
	struct lbnode_option option = { 0 };
	__u32 size;
	__be16 inner;

	if (!headers || !tunnel_is_plain(skb, headers) || headers->key != LBGENEVE_KEY)
		return false;
	if (headers->kind == LBGENEVE_KIND4) {
		size = LBGENEVE_OPTION4;
		if (bpf_skb_load_bytes(skb, LBNODE_OPTION_AT, &option, LBGENEVE_OPTION4) < 0 || option.about != LBGENEVE_ABOUT4)
			return false;
		backend->addr = ip_from4(option.words[0]);
		backend->port = LBGENEVE_PORT(option.words[1]);
		*passed = LBGENEVE_PASSED(option.words[1]);
		inner = bpf_htons(ETH_P_IP);
	} else if (headers->kind == LBGENEVE_KIND6) {
		size = LBGENEVE_OPTION6;
		if (bpf_skb_load_bytes(skb, LBNODE_OPTION_AT, &option, LBGENEVE_OPTION6) < 0 || option.about != LBGENEVE_ABOUT6)
			return false;
		__builtin_memcpy(&backend->addr, option.words, 16);
		backend->port = LBGENEVE_PORT(option.words[4]);
		*passed = LBGENEVE_PASSED(option.words[4]);
		inner = bpf_htons(ETH_P_IPV6);
	} else {
		return false;
	}
	return tunnel_strip(skb, TUNNEL_BYTES + size, inner);
}
