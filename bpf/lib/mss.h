/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tells a client that what it sends to a service is wrapped on its way: the segment size that its container's SYN-ACK offers is lowered
 * to what fits between the nodes, so that nothing depends on an ICMP message that somebody filters.
 *
 *   TCP option   2: kind │ 4: length │ segment size 2   (RFC 9293, 3.7.1)
 */
#pragma once

#include <stdbool.h>
#include <linux/tcp.h>

#include "lib/ct.h"
#include "lib/lbgeneve.h"
#include "lib/packet.h"
#include "lib/scratch.h"
#include "lib/tunnel6.h"
#include "lib/uplinks.h"

#define MSS_OPTIONS 10 /* more are not read: Linux sends 5 */

struct mss_option {
	__u8 kind;
	__u8 length;
	__be16 size;
};

/* The first packet of a container's answer to a client whose packets another node wraps. */
static __always_inline bool mss_is_offered(const struct packet *p, const struct ct_route *route)
{
	return route->flags & HW_CT_WRAPPED && p->flow.proto == IPPROTO_TCP && p->tcp_flags & CT_SYN && p->fragment == PACKET_WHOLE;
}

/* What fits the tunnel that the client's packets come by, were there no option in it; 0: that is not known. */
static __always_inline __u32 mss_fitting(const struct scratch *scratch)
{
	__u32 taken = scratch->route.flags & HW_CT_WRAPPED6 ? TUNNEL6_BYTES : TUNNEL_BYTES;
	const struct hw_uplink *uplink;

	/* The node that balanced may be answered by a tunnel of the other family. */
	if (scratch->route.node)
		return scratch->hop.mtu + tunnel6_bytes(&scratch->hop.tunnel) - taken;
	uplink = uplinks_find(scratch->hop.ifindex);
	return uplink ? uplink->mtu - taken : 0;
}

/* The packet of the scratch, before it is rewritten, on its way to scratch->hop. Not static, so that the verifier walks it once. */
__noinline int mss_lower(struct __sk_buff *skb)
{
	const struct scratch *scratch = scratch_same();
	__u32 at, end, most = scratch ? mss_fitting(scratch) : 0;
	struct mss_option option;
	struct tcphdr *tcp;
	__be16 lower;
	int i;

	if (!most)
		return 0;
	at = scratch->packet.l4;
	tcp = packet_at(skb, at, sizeof(*tcp));
	if (!tcp)
		return 0;
	end = at + tcp->doff * 4;
	most -= sizeof(*tcp) + (scratch->packet.family == 4 ? LBGENEVE_OPTION4 + sizeof(struct iphdr) : LBGENEVE_OPTION6 + sizeof(struct ipv6hdr));
	at += sizeof(*tcp);
	for (i = 0; i < MSS_OPTIONS && at + sizeof(option) <= end; i++) {
		if (bpf_skb_load_bytes(skb, at, &option, sizeof(option)) < 0 || !option.kind)
			return 0;
		if (option.kind == 2)
			break;
		at += option.kind == 1 ? 1 : option.length;
	}
	if (i == MSS_OPTIONS || at + sizeof(option) > end || option.kind != 2 || option.length != sizeof(option) || bpf_ntohs(option.size) <= most)
		return 0;
	lower = bpf_htons((__u16)most);
	if (bpf_skb_store_bytes(skb, at + 2, &lower, sizeof(lower), 0) < 0)
		return -HW_DROP_REWRITE_FAILED;
	/* The sum's words begin where the header does. */
	if ((at - scratch->packet.l4) & 1) {
		option.size = __builtin_bswap16(option.size);
		lower = __builtin_bswap16(lower);
	}
	return bpf_l4_csum_replace(skb, scratch->packet.l4 + 16, option.size, lower, sizeof(lower)) < 0 ? -HW_DROP_REWRITE_FAILED : 0;
}
