/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Addresses of services that this node holds, each on some of its uplinks: who asks for one there is told the uplink's MAC.
 *
 *   ARP request, also a probe (from 0.0.0.0)           ▸ reply                       ▸ out by the same device
 *   neighbour solicitation                             ▸ advertisement               ▸ out by the same device
 *   the same from ::, of who wants the address himself ▸ advertisement to every node ▸ out by the same device
 *   not held, or who says that it is his               ▸ the host's
 *
 * Who says that he has an address which is certainly this node's is noted (hw_lb_rivals). What this node's other uplinks on the link say is nobody's word.
 *
 * Before it begins the agent asks the link who has the address: who answers then, has it, and this node does not answer.
 *
 * One node of several holds an address. The agent puts off the time until which that is certain; afterwards whoever announces the address
 * has it, and this node ceases to answer; a probe it leaves unanswered already, because the one to whom the address goes asks first. So an agent, or a store, that is away makes no gap, and nobody answers beside a new holder.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/eth.h"
#include "lib/neighbours.h"

#define LBHELD_FOR_GOOD	   0xffffffff
#define LBHELD_TO_ANOTHER  3 /* <linux/if_packet.h>: PACKET_OTHERHOST */
#define LBHELD_NANOSECONDS 1000000000ULL

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct hw_lb_held_key);
	__type(value, struct hw_lb_held);
} hw_lb_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct hw_lb_held_key);
	__type(value, struct hw_lb_rival);
} hw_lb_rivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct hw_uplink_mac);
	__type(value, __u32);
} hw_uplink_macs SEC(".maps");

/* A neighbour solicitation or advertisement without its options. */
struct lbheld_nd {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	struct hw_ip target;
} __attribute__((packed));

_Static_assert(sizeof(struct lbheld_nd) == ETH_HLEN + 40 + 24, "a message without options");

static __always_inline struct hw_lb_held *lbheld_entry(const struct __sk_buff *skb, const struct hw_ip *addr)
{
	struct hw_lb_held_key key = { .addr = *addr, .ifindex = skb->ifindex };

	return skb->pkt_type == LBHELD_TO_ANOTHER ? NULL : bpf_map_lookup_elem(&hw_lb_held, &key);
}

static __always_inline bool lbheld_is_certain(const struct hw_lb_held *held)
{
	return held->until == LBHELD_FOR_GOOD || bpf_ktime_get_boot_ns() / LBHELD_NANOSECONDS < held->until;
}

/* `probe`: who asks wants the address himself. */
static __always_inline const struct hw_lb_held *lbheld_find(const struct __sk_buff *skb, const struct hw_ip *addr, bool probe)
{
	const struct hw_lb_held *held = lbheld_entry(skb, addr);

	return held && held->state == HW_LB_HELD_ANSWERED && (!probe || lbheld_is_certain(held)) ? held : NULL;
}

static __always_inline bool lbheld_is_own(const __u8 mac[ETH_ALEN])
{
	struct hw_uplink_mac key = { 0 };

	__builtin_memcpy(key.mac, mac, ETH_ALEN);
	return bpf_map_lookup_elem(&hw_uplink_macs, &key);
}

/* For the agent, which defends the address. Not inline, for the stack. */
static __noinline void lbheld_note(const struct __sk_buff *skb, const struct hw_ip *addr, const __u8 mac[ETH_ALEN])
{
	struct hw_lb_held_key key = { .addr = *addr, .ifindex = skb->ifindex };
	struct hw_lb_rival *known = bpf_map_lookup_elem(&hw_lb_rivals, &key), rival = { .frames = 1 };

	if (known) {
		__builtin_memcpy(known->mac, mac, ETH_ALEN);
		known->frames++;
		return;
	}
	__builtin_memcpy(rival.mac, mac, ETH_ALEN);
	bpf_map_update_elem(&hw_lb_rivals, &key, &rival, BPF_NOEXIST);
}

/* `mac` says that it has the address. */
static __always_inline void lbheld_yield(const struct __sk_buff *skb, const struct hw_ip *addr, const __u8 mac[ETH_ALEN])
{
	struct hw_lb_held *held = lbheld_entry(skb, addr);

	if (!held || eth_equal(mac, held->mac) || lbheld_is_own(mac))
		return;
	if (held->state == HW_LB_HELD_ASKED) {
		__builtin_memcpy(held->mac, mac, ETH_ALEN);
		held->state = HW_LB_HELD_TAKEN;
	} else if (held->state == HW_LB_HELD_ANSWERED && !lbheld_is_certain(held)) {
		held->state = HW_LB_HELD_YIELDED;
	} else if (held->state == HW_LB_HELD_ANSWERED) {
		lbheld_note(skb, addr, mac);
	}
}

/* Not static, as the other two, so that the verifier walks each once. */
__noinline int lbheld_answer_arp(struct __sk_buff *skb)
{
	struct neighbours_arp *arp = packet_at(skb, 0, sizeof(*arp));
	const struct hw_lb_held *held;
	struct hw_ip sender_ip, target_ip;
	__be32 sender, target;

	if (!arp || !neighbours_is_arp(arp))
		return HW_PASS;
	__builtin_memcpy(&sender, arp->sender, 4);
	__builtin_memcpy(&target, arp->target, 4);
	sender_ip = ip_from4(sender);
	lbheld_yield(skb, &sender_ip, arp->sender_mac);
	if (arp->operation != bpf_htons(WIRE_ARP_REQUEST))
		return HW_PASS;
	target_ip = ip_from4(target);
	held = lbheld_find(skb, &target_ip, !sender);
	if (!held || sender == target)
		return HW_PASS;
	neighbours_turn_arp(arp, held->mac);
	return bpf_redirect(skb->ifindex, 0);
}

/* Not inline, for the stack. */
__noinline int lbheld_advertise(struct __sk_buff *skb)
{
	const struct lbheld_nd *ns = packet_at(skb, 0, sizeof(*ns));
	struct neighbours_advert na = { 0 };
	const struct hw_lb_held *held;
	struct hw_ip asker, target;
	struct ethhdr eth;

	if (!ns)
		return HW_PASS;
	__builtin_memcpy(&target, &ns->target, sizeof(target));
	__builtin_memcpy(&asker, &ns->ip.saddr, sizeof(asker));
	held = lbheld_find(skb, &target, ip_is_zero(&asker));
	if (!held || ip_is_multicast(&asker))
		return HW_PASS;
	__builtin_memcpy(eth.h_dest, ns->eth.h_source, ETH_ALEN);
	__builtin_memcpy(eth.h_source, held->mac, ETH_ALEN);
	eth.h_proto = bpf_htons(ETH_P_IPV6);
	neighbours_advert(&na, &asker, &target, NEIGHBOURS_SOLICITED | NEIGHBOURS_OVERRIDE);
	if (ip_is_zero(&asker)) {
		/* ff02::1 at 33:33:00:00:00:01 (RFC 4861, 7.2.4) */
		na.daddr.words[0] = bpf_htonl(0xff020000);
		na.daddr.words[3] = bpf_htonl(1);
		na.flags = bpf_htonl(NEIGHBOURS_OVERRIDE);
		__builtin_memset(eth.h_dest, 0, ETH_ALEN);
		eth.h_dest[0] = 0x33;
		eth.h_dest[1] = 0x33;
		eth.h_dest[5] = 1;
	}
	__builtin_memcpy(na.mac, held->mac, ETH_ALEN);
	na.checksum = neighbours_checksum(&na);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(na), 0) < 0 || bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) < 0 ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &na, sizeof(na), BPF_F_INVALIDATE_HASH) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect(skb->ifindex, 0);
}

__noinline int lbheld_answer_nd(struct __sk_buff *skb)
{
	const struct lbheld_nd *nd = packet_at(skb, 0, sizeof(*nd));
	struct hw_ip target;

	if (!nd || nd->ip.version != 6 || nd->ip.nexthdr != IPPROTO_ICMPV6 || nd->ip.hop_limit != 255 || nd->icmp.icmp6_code)
		return HW_PASS;
	if (bpf_ntohs(nd->ip.payload_len) < sizeof(*nd) - ETH_HLEN - sizeof(nd->ip) ||
	    skb->len < ETH_HLEN + sizeof(nd->ip) + bpf_ntohs(nd->ip.payload_len))
		return HW_PASS;
	if (nd->icmp.icmp6_type == WIRE_ND_NS)
		return lbheld_advertise(skb);
	if (nd->icmp.icmp6_type == WIRE_ND_NA) {
		__builtin_memcpy(&target, &nd->target, sizeof(target));
		lbheld_yield(skb, &target, nd->eth.h_source);
	}
	return HW_PASS;
}
