// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What other nodes send through the tunnel, as far as netdev has not taken it: the overlay's device, ingress.
 *
 *   outer source and key, from the packet's metadata ▸ lib/node.h, or what a service's client is answered ▸ lib/lbreturn.h
 */
#include "lib/exit.h"
#include "lib/lbreturn.h"
#include "lib/node.h"

#define PACKET_TO_US 0 /* <linux/if_packet.h>: PACKET_HOST */

/* False: it came through no tunnel. */
static __always_inline bool read_sender(struct __sk_buff *skb, struct sender *sender)
{
	struct bpf_tunnel_key key = { 0 };

	__builtin_memset(sender, 0, sizeof(*sender));
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		sender->address = ip_from4(bpf_htonl(key.remote_ipv4));
	else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6))
		__builtin_memcpy(&sender->address, key.remote_ipv6, 16);
	else
		return false;
	sender->key = key.tunnel_id;
	sender->node = nodes_by_address(&sender->address);
	return true;
}

static __always_inline int receive(struct __sk_buff *skb, struct scratch *scratch)
{
	int verdict;

	if (!read_sender(skb, &scratch->sender))
		return -HW_DROP_MALFORMED;
	if (scratch->sender.key != HW_TUNNEL_RETURN)
		return node_receive(skb);
	verdict = lbreturn(skb);
	/* netdev tells of it, which nearly all of them meet. */
	return verdict == ROUTE_REFUSED ? -HW_DROP_MTU_EXCEEDED : verdict;
}

SEC("tc")
int from_overlay(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_take();
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	scratch->network = 0;
	/* The inner frame is to the other node's MAC. */
	bpf_skb_change_type(skb, PACKET_TO_US);
	verdict = receive(skb, scratch);
	return exit_with(skb, &scratch->packet, &scratch->judgement, scratch->network, HW_DIRECTION_FROM_OVERLAY, false, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
