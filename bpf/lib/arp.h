/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers a container's ARP requests in place (R38).
 *
 *   request from the endpoint's own MAC and address (or a probe, 0.0.0.0)
 *     ▸ for its gateway, or another container of its network ▸ the host's MAC
 *   anything else ▸ dropped: gratuitous, replies, foreign senders; no container ever learns from another
 */
#pragma once

#include <linux/pkt_cls.h>

#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/ip.h"
#include "lib/neighbours.h"
#include "lib/networks.h"

/* Whether the host's MAC stands for `target`, as seen by `ep`. */
static __always_inline bool arp_stands_for(const struct hw_endpoint *ep, const struct hw_ip *target)
{
	const struct hw_endpoint *peer;

	if (networks_is_gateway(ep->network, target))
		return true;
	peer = endpoints_by_address(target);
	return peer && peer->network == ep->network && peer->ifindex != ep->ifindex;
}

static __always_inline int arp_answer(struct __sk_buff *skb, const struct hw_endpoint *ep)
{
	struct neighbours_arp *arp = packet_at(skb, 0, sizeof(*arp));
	struct hw_ip sender_ip, target_ip;
	__u8 mac[ETH_ALEN];
	__be32 sender, target;

	if (!arp)
		return -HW_DROP_MALFORMED;
	__builtin_memcpy(&sender, arp->sender, 4);
	__builtin_memcpy(&target, arp->target, 4);
	if (!neighbours_is_arp(arp) || arp->operation != bpf_htons(WIRE_ARP_REQUEST) || !eth_equal(arp->sender_mac, ep->mac) || sender == target)
		return -HW_DROP_INVALID_ARP;
	sender_ip = ip_from4(sender);
	if (sender && !ip_equal(&sender_ip, &ep->ipv4))
		return -HW_DROP_INVALID_ARP;
	target_ip = ip_from4(target);
	if (!arp_stands_for(ep, &target_ip))
		return -HW_DROP_NO_SUCH_ADDRESS;

	eth_host_mac(mac);
	neighbours_turn_arp(arp, mac);
	/* The request was a broadcast; the answer is for the container alone. */
	bpf_skb_change_type(skb, 0 /* PACKET_HOST */);
	return bpf_redirect_peer(skb->ifindex, 0);
}
