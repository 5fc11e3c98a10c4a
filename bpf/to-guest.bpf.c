// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What a guest is sent: host end of a veth that somebody else made, egress.
 *
 *   frame ▸ endpoint by device ▸ parse ▸ to its own address ▸ conntrack, known or opened, and policy ▸ on, as it is
 *
 * What comes here for other addresses is its bridge's chatter, and nobody listens to it.
 */
#include "lib/exit.h"
#include "lib/guest.h"

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep)
{
	struct packet *p = &scratch->packet;
	const struct hw_endpoint *peer;
	int error = guest_parse(skb, p);

	if (error)
		return error;
	if (!ip_equal(&p->flow.daddr, p->family == 4 ? &ep->ipv4 : &ep->ipv6))
		return GUEST_UNTOUCHED;
	/* The containers that we carry for send to no guest: somebody has borrowed the address. */
	peer = endpoints_by_address(&p->source);
	if (peer && !(peer->flags & HW_NETWORK_GUEST))
		return -HW_DROP_MARTIAN;
	return guest_judge(skb, scratch, JUDGE_RECEIVER);
}

SEC("tc")
int to_guest(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	struct scratch *scratch = scratch_take();
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = ep ? judge(skb, scratch, ep) : -HW_DROP_UNKNOWN_ENDPOINT;
	if (verdict == GUEST_UNTOUCHED)
		return exit_untouched();
	if (verdict < 0 && ep && !scratch->judgement.revision)
		scratch->judgement.destination_identity = ep->identity;
	return exit_with(skb, &scratch->packet, &scratch->judgement, 0, HW_DIRECTION_TO_CONTAINER, false, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
