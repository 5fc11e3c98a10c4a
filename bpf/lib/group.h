/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a container sends to a group: multicast, the limited broadcast, and the broadcast address of its subnet (R49).
 *
 *   a rule of the sender's policy opens the group's address ▸ a copy to each container of its network that
 *                                                             a rule opens, or that is open and has none
 *   no rule speaks of it                                    ▸ MULTICAST
 *
 * Nothing goes to the host or to the wire. Each packet is judged, because nobody answers from a group's address and
 * conntrack has nothing to follow; so groups cost what policy costs, for every member.
 */
#pragma once

#include "lib/eth.h"
#include "lib/fragments.h"
#include "lib/handover.h"
#include "lib/judge.h"
#include "lib/networks.h"
#include "lib/scratch.h"

#define GROUP_TOLD	   1024
#define GROUP_TOLD_SECONDS 30

#define GROUP_PROTO_IPIP 4
#define GROUP_PROTO_SIT	 41
#define GROUP_PROTO_GRE	 47

struct group_told {
	__u32 revision;
	__u32 expires;
};

/* Whom people were told of. Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, GROUP_TOLD);
	__type(key, struct hw_ct6_key);
	__type(value, struct group_told);
} group_told_map SEC(".maps");

/* The first packet in a while, or under a policy: told as a flow that is opened. */
static __always_inline bool group_is_news(const struct packet *p, __u32 revision)
{
	__u32 now = (__u32)bpf_jiffies64();
	const struct group_told *last = bpf_map_lookup_elem(&group_told_map, &p->flow);
	struct group_told told = { .revision = revision, .expires = now + GROUP_TOLD_SECONDS * hw_config.hz };

	if (last && last->revision == revision && !clock_expired(last->expires, now))
		return false;
	bpf_map_update_elem(&group_told_map, &p->flow, &told, BPF_ANY);
	return true;
}

/* fe80::/64 and the interface id that the kernel makes of a MAC (RFC 4291, appendix A): most groups of IPv6 are spoken to from it. */
static __always_inline bool group_is_link_local_of(const struct hw_ip *addr, const __u8 mac[ETH_ALEN])
{
	const __u8 *id = addr->bytes + 8;

	return addr->words[0] == bpf_htonl(0xfe800000) && !addr->words[1] && id[0] == (mac[0] ^ 2) && id[1] == mac[1] &&
	       id[2] == mac[2] && id[3] == 0xff && id[4] == 0xfe && id[5] == mac[3] && id[6] == mac[4] && id[7] == mac[5];
}

/* Who has no address yet may ask for one (RFC 2131). */
static __always_inline bool group_is_dhcp_question(const struct packet *p)
{
	return p->family == 4 && !p->source.words[3] && p->flow.daddr.words[3] == 0xffffffff && p->flow.proto == IPPROTO_UDP &&
	       p->flow.sport == bpf_htons(68) && p->flow.dport == bpf_htons(67);
}

static __always_inline int group_check(const struct packet *p, const struct hw_endpoint *ep)
{
	__u8 proto = p->flow.proto;

	/* A device that is not sure yet of its address reports its groups without one (RFC 3590): nobody's attempt at anything. */
	if (p->family == 6 && proto == IPPROTO_ICMPV6 && ip_is_zero(&p->source))
		return -HW_DROP_MULTICAST;
	if (p->family == 4 ? !ip_equal(&p->source, &ep->ipv4) && !group_is_dhcp_question(p)
			   : !ip_equal(&p->source, &ep->ipv6) && !group_is_link_local_of(&p->source, ep->mac))
		return -HW_DROP_INVALID_SOURCE_IP;
	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	return proto == GROUP_PROTO_IPIP || proto == GROUP_PROTO_SIT || proto == GROUP_PROTO_GRE ? -HW_DROP_ENCAP_PROHIBITED : 0;
}

static __always_inline __be16 group_port(const struct packet *p)
{
	if (p->flow.proto == IPPROTO_ICMP || p->flow.proto == IPPROTO_ICMPV6)
		return bpf_htons((__u16)p->icmp_type << 8 | p->icmp_code);
	return p->flow.dport;
}

/* The sender's own end: only a rule opens it. 0, or a negated drop reason. Not inline, for the stack: the copies begin when it is done. */
static __noinline int group_may_send(struct scratch *scratch, const struct hw_endpoint *ep)
{
	const struct packet *p = &scratch->packet;
	struct judgement *facts = &scratch->judgement;
	struct rules_end from = { .ep = ep, .identity = ep->identity, .network = ep->network }, to = { 0 };
	int error = rules_ask(facts, policy_revision(), &from, &p->source, &to, &p->flow.daddr, p->flow.proto, group_port(p));

	facts->source_identity = ep->identity;
	facts->destination_identity = 0;
	if (error)
		return error;
	if (from.said.verdict == HW_POLICY_NONE)
		return -HW_DROP_MULTICAST;
	if (!hw_config.unidentified_allow && !ep->identity)
		return -HW_DROP_NOT_IDENTIFIED;
	scratch->sender_class = from.class.class;
	facts->verdict = from.said.verdict == HW_POLICY_AUDIT ? HW_EVENT_AUDIT : HW_EVENT_FORWARDED;
	return rules_speak(facts, &from, &to);
}

/* A member's end: closed by a rule, by its default, or by a network without ICC unless a rule opens it. */
static __always_inline bool group_may_hear(struct scratch *scratch, const struct hw_endpoint *sender, const struct hw_endpoint *ep)
{
	const struct packet *p = &scratch->packet;
	struct judgement *facts = &scratch->judgement;
	struct rules_end from = { .ep = sender, .class.class = scratch->sender_class }, to = { .ep = ep, .identity = ep->identity };
	__u32 slot = facts->revision & 1;

	if (!ep->identity && !hw_config.unidentified_allow)
		return false;
	if (rules_classify(slot, &to, &ep->ipv4) || rules_hear(slot, &to, &from, HW_POLICY_IN, p->flow.proto, group_port(p)))
		return false;
	if (to.said.verdict == HW_POLICY_AUDIT && facts->verdict != HW_EVENT_AUDIT) {
		facts->verdict = HW_EVENT_AUDIT;
		facts->end = HW_POLICY_IN + 1;
		facts->rule = to.said.rule;
		facts->destination_identity = ep->identity;
	}
	if (to.said.verdict)
		return to.said.verdict != HW_POLICY_DENY;
	return !(to.class.flags & HW_POLICY_DENY_IN) && !(sender->flags & HW_NETWORK_NO_ICC);
}

/* A copy of scratch->packet to the member in this slot, if it may have one. Not static, so that the verifier walks it once. */
__noinline int group_copy(struct __sk_buff *skb, __u32 slot)
{
	const struct hw_endpoint *sender = endpoints_by_ifindex(skb->ifindex), *ep;
	struct scratch *scratch = scratch_same();
	__u32 ifindex;

	if (!sender || !scratch)
		return 0;
	ifindex = networks_member(sender->network, slot);
	if (!ifindex || ifindex == skb->ifindex)
		return 0;
	ep = endpoints_by_ifindex(ifindex);
	if (!ep || ep->network != sender->network || ep->flags & HW_NETWORK_GUEST || scratch->packet.size > ep->mtu)
		return 0;
	if (scratch->packet.family == 6 && !(ep->flags & HW_NETWORK_IPV6))
		return 0;
	return group_may_hear(scratch, sender, ep) && handover_give(skb, ifindex);
}

/* HANDOVER_DONE, or a negated drop reason. The frame keeps the group's MAC, and comes from the host's as every other. */
__noinline int group_send(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	struct scratch *scratch = scratch_same();
	struct packet *p;
	struct ethhdr *eth;
	__u32 slot;
	int error;

	if (!ep || !scratch)
		return -HW_DROP_UNKNOWN_ENDPOINT;
	p = &scratch->packet;
	if (p->kind == PACKET_ICMP_ERROR || !hw_config.mark)
		return -HW_DROP_MULTICAST;
	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	error = group_may_send(scratch, ep);
	if (!error)
		error = group_check(p, ep);
	if (error) {
		scratch->judgement.verdict = 0;
		return error;
	}
	fragments_carried(p);
	eth = packet_at(skb, 0, sizeof(*eth));
	if (!eth)
		return -HW_DROP_REWRITE_FAILED;
	eth_host_mac(eth->h_source);
	for (slot = 0; slot < HW_MEMBERS; slot++)
		group_copy(skb, slot);
	if (!group_is_news(p, scratch->judgement.revision))
		scratch->judgement.verdict = 0;
	return HANDOVER_DONE;
}
