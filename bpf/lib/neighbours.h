/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames by which a link asks for an Ethernet address and is told it.
 *
 *   ARP (RFC 826)                       Ethernet 14 │ 1 0x0800 6 4 operation │ sender MAC, address │ target MAC, address
 *   neighbour advertisement (RFC 4861)  Ethernet 14 │ IPv6 40 │ 136 0 sum │ flags │ target 16 │ option 2 1 MAC
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>

#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/pure/checksum.h"
#include "lib/wire.h"

struct neighbours_arp {
	struct ethhdr eth;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

#define NEIGHBOURS_SOLICITED 0x40000000
#define NEIGHBOURS_OVERRIDE  0x20000000

struct neighbours_advert {
	__be32 version;
	__be16 length;
	__u8 next;
	__u8 hop_limit;
	struct hw_ip saddr;
	struct hw_ip daddr;
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct hw_ip target;
	__u8 option;
	__u8 option_length;
	__u8 mac[ETH_ALEN];
};

_Static_assert(sizeof(struct neighbours_advert) == 72, "an advertisement with one option");

#define NEIGHBOURS_PAYLOAD (sizeof(struct neighbours_advert) - 40)

/* Of Ethernet and IPv4. */
static __always_inline bool neighbours_is_arp(const struct neighbours_arp *arp)
{
	return arp->hardware == bpf_htons(WIRE_ARP_ETHERNET) && arp->protocol == bpf_htons(ETH_P_IP) && arp->hardware_length == ETH_ALEN &&
	       arp->protocol_length == 4;
}

/* Makes of a request the answer that its target is at `mac`. */
static __always_inline void neighbours_turn_arp(struct neighbours_arp *arp, const __u8 mac[ETH_ALEN])
{
	__be32 sender, target;

	__builtin_memcpy(&sender, arp->sender, 4);
	__builtin_memcpy(&target, arp->target, 4);
	arp->operation = bpf_htons(WIRE_ARP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_dest, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->target, &sender, 4);
	__builtin_memcpy(arp->sender_mac, mac, ETH_ALEN);
	__builtin_memcpy(arp->eth.h_source, mac, ETH_ALEN);
	__builtin_memcpy(arp->sender, &target, 4);
}

/* Fills in all but the MAC and the checksum. */
static __always_inline void neighbours_advert(struct neighbours_advert *na, const struct hw_ip *asker, const struct hw_ip *target, __u32 flags)
{
	na->version = bpf_htonl(6U << 28);
	na->length = bpf_htons(NEIGHBOURS_PAYLOAD);
	na->next = IPPROTO_ICMPV6;
	na->hop_limit = 255;
	na->saddr = *target;
	na->daddr = *asker;
	na->type = WIRE_ND_NA;
	na->flags = bpf_htonl(flags);
	na->target = *target;
	na->option = 2; /* target link-layer address, in units of 8 bytes: */
	na->option_length = 1;
}

/* Sum of the advertisement and its pseudo header, by 32-bit words. */
static __always_inline __u16 neighbours_checksum(const struct neighbours_advert *na)
{
	__s64 sum = bpf_csum_diff(0, 0, (__be32 *)&na->saddr, sizeof(*na) - 8, 0);

	return ~checksum_fold16((__u32)sum + (__u64)bpf_htonl(NEIGHBOURS_PAYLOAD) + bpf_htonl(IPPROTO_ICMPV6));
}
