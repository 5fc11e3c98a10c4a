/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ethernet addresses: every frame that we hand on comes from the host's one MAC. */
#pragma once

#include <stdbool.h>
#include <linux/if_ether.h>

#include "lib/config.h"
#include "lib/packet.h"

/* Of the configuration, which is volatile and cannot be copied as a whole. */
static __always_inline void eth_host_mac(__u8 mac[ETH_ALEN])
{
	int i;

#pragma unroll
	for (i = 0; i < ETH_ALEN; i++)
		mac[i] = hw_config.host_mac[i];
}

static __always_inline bool eth_equal(const __u8 *a, const __u8 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) | (a[5] ^ b[5]));
}

static __always_inline bool eth_is_from(const struct __sk_buff *skb, const __u8 mac[ETH_ALEN])
{
	struct ethhdr *eth = packet_at(skb, 0, sizeof(*eth));

	return eth && eth_equal(eth->h_source, mac);
}

/* From the host, to `mac`. 0, or a negated drop reason. */
static __always_inline int eth_address(struct __sk_buff *skb, const __u8 mac[ETH_ALEN])
{
	struct ethhdr *eth = packet_at(skb, 0, sizeof(*eth));

	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	__builtin_memcpy(eth->h_dest, mac, ETH_ALEN);
	eth_host_mac(eth->h_source);
	return 0;
}
