/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What containers on other nodes answer clients for whom this node balances, where they are to answer by way of it (mode snat).
 *
 *   container ▸ its node: rewritten to service:port ▸ client ▸ tunnel, key HW_TUNNEL_RETURN ▸ this node ▸ client, as it is, one hop less
 *
 * The tunnel's other end is a node, and what it says is a service's answer: from an address and port that is a service's here. Nothing is
 * remembered of flows, so that another node may take over.
 */
#pragma once

#include "lib/fragments.h"
#include "lib/icmp.h"
#include "lib/lbfrontends.h"
#include "lib/node.h"
#include "lib/parse.h"
#include "lib/route.h"
#include "lib/scratch.h"

/*
 * Reads what was in a tunnel of a service's, either way, into scratch->packet: of a flow, or an error about one. 0, or a negated drop reason. Not
 * static, so that the verifier walks it once.
 */
__noinline int lbreturn_parse(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	__be16 ethertype = parse_ethertype(skb);
	struct packet *p;
	int error;

	if (!scratch)
		return -HW_DROP_MALFORMED;
	p = &scratch->packet;
	if (ethertype != bpf_htons(ETH_P_IP) && (ethertype != bpf_htons(ETH_P_IPV6) || !hw_config.ipv6))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	error = parse_ip(skb, p, ethertype);
	if (error)
		return error;
	if (p->kind == PACKET_ND || p->kind == PACKET_OTHER || ip_is_multicast(&p->flow.daddr))
		return -HW_DROP_UNKNOWN_PROTOCOL;
	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	return p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p) ? -HW_DROP_ICMP_WITHOUT_FLOW : 0;
}

static __always_inline bool lbreturn_is_service(const struct packet *p)
{
	const struct hw_ip *addr = &p->flow.saddr;

	return lbfrontends_find(addr->words, 6, lbhash_address(addr->words), lbfrontends_port(p->flow.sport, p->flow.proto)) != NULL;
}

/* 0, or a negated drop reason. */
static __always_inline int lbreturn_read(struct __sk_buff *skb, struct packet *p)
{
	int error = lbreturn_parse(skb);

	if (error)
		return error;
	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	return lbreturn_is_service(p) ? 0 : -HW_DROP_PEER_ADDRESS;
}

/* To the client. */
static __always_inline int lbreturn_carry(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct packet *p = &scratch->packet;
	struct route_hop *hop = &scratch->hop;
	const struct hw_uplink *uplink;
	int error = ROUTE_FOUND;

	if (p->ttl <= 1 || !route_recall(&p->flow.saddr, &p->flow.daddr, p->flow.proto, p->size, hop))
		error = route_find(skb, p, &p->flow.saddr, &p->flow.daddr, hop, &uplink);
	if (error)
		return error == ROUTE_REFUSED && !hop->mtu ? -HW_DROP_TTL_EXCEEDED : error;
	fragments_carried(p);
	return route_send(skb, p, hop);
}

/*
 * The packet of scratch->sender. TC_ACT_REDIRECT, ROUTE_REFUSED when it is longer than scratch->hop.mtu, or a negated drop reason. Not static, so
 * that the verifier walks it once.
 */
__noinline int lbreturn(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int error;

	if (!scratch || !skb)
		return -HW_DROP_UNKNOWN_PEER;
	error = scratch->sender.node ? lbreturn_read(skb, &scratch->packet) : -HW_DROP_UNKNOWN_PEER;
	if (error == -HW_DROP_UNKNOWN_PEER || error == -HW_DROP_PEER_ADDRESS)
		node_tell_sender(&scratch->packet, &scratch->sender);
	return error ? error : lbreturn_carry(skb, scratch);
}
