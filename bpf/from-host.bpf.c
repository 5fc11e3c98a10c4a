// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the host's stack routes to containers: hwhost, egress.
 *
 *   frame ▸ the host's own, not forwarded ▸ endpoint by destination address ▸ host end of its veth, where to-container looks at it
 *                                         ▸ a container on another node     ▸ conntrack, known or opened ▸ the tunnel
 *
 * Multicast and the like is the kernel's own chatter on the device: counted, not told.
 */
#include "lib/config.h"
#include "lib/ctopen.h"
#include "lib/deliver.h"
#include "lib/endpoints.h"
#include "lib/exit.h"
#include "lib/fragments.h"
#include "lib/hostaddrs.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/overlay.h"
#include "lib/parse.h"
#include "lib/scratch.h"

/*
 * To a container on another node, which judges what comes in there; what is opened here lets the answers in. The host's stack is told
 * of what is too large by the device's MTU, and cuts it itself.
 */
static __always_inline int to_node(struct __sk_buff *skb, struct scratch *scratch)
{
	struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	const struct hw_host_address *host;
	int error;

	__builtin_memset(p, 0, sizeof(*p));
	error = parse_ip(skb, p, parse_ethertype(skb));
	if (error)
		return error;
	host = hostaddrs_find(&p->source);
	/* The other node knows this one by its own addresses, not by its networks' gateways. */
	if (!host || !(host->flags & HW_HOST_ADDRESS_LOCAL))
		return -HW_DROP_INVALID_SOURCE_IP;
	if (!fragments_follow(p))
		return -HW_DROP_FRAGMENT_WITHOUT_FIRST;
	if (p->kind == PACKET_OTHER || p->kind == PACKET_ND)
		return -HW_DROP_UNKNOWN_PROTOCOL;
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (!ct_find(skb, p, 0, route)) {
		if (p->kind != PACKET_FLOW)
			return -HW_DROP_ICMP_WITHOUT_FLOW;
		ct_prepare(p, route, 0);
		route->flags = HW_CT_TO_NODE;
		route->answer_flags = HW_CT_FROM_NODE | HW_CT_TO_HOST;
		error = judge_flow(skb, JUDGE_NEITHER);
		if (!error)
			error = ctopen(skb);
	} else {
		error = judge_known(skb, scratch, JUDGE_NEITHER);
	}
	if (error)
		return error;
	fragments_carried(p);
	error = deliver_find_way(skb, scratch, NULL);
	if (error == ROUTE_REFUSED)
		return -HW_DROP_MTU_EXCEEDED;
	return error ? error : deliver(skb, scratch);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, __u32 *network)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	const struct hw_endpoint *ep;

	if (ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return -HW_DROP_MALFORMED;
		p->flow.saddr = ip_from4(ip->saddr);
		p->flow.daddr = ip_from4(ip->daddr);
		p->flow.proto = ip->protocol;
	} else if (ethertype == bpf_htons(ETH_P_IPV6) && hw_config.ipv6) {
		struct ipv6hdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return -HW_DROP_MALFORMED;
		__builtin_memcpy(&p->flow.saddr, &ip->saddr, 16);
		__builtin_memcpy(&p->flow.daddr, &ip->daddr, 16);
		p->flow.proto = ip->nexthdr;
	} else {
		return -HW_DROP_UNKNOWN_PROTOCOL;
	}
	if (ip_is_multicast(&p->flow.daddr))
		return -HW_DROP_MULTICAST;
	ep = endpoints_by_address(&p->flow.daddr);
	if (!ep && hw_config.tunnel_ifindex && !skb->ingress_ifindex && overlay_node(&p->flow.daddr))
		return to_node(skb, scratch);
	/* A guest's way is its own network's: by hwhost it is reached by mistake. */
	if (!ep || ep->flags & HW_NETWORK_GUEST)
		return -HW_DROP_NO_SUCH_ADDRESS;
	*network = ep->network;
	/*
	 * R44: the host forwards nothing to containers. Its source address does not tell, because it may have been
	 * masqueraded (what Docker does to its own bridges' containers) or forged; where the packet came in does.
	 */
	if (skb->ingress_ifindex)
		return -HW_DROP_DIRECT_ACCESS;
	return bpf_redirect(ep->ifindex, 0);
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_take();
	__u32 network = 0;
	bool chatter;
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	verdict = judge(skb, scratch, &network);
	chatter = verdict == -HW_DROP_MULTICAST || verdict == -HW_DROP_UNKNOWN_PROTOCOL;
	return exit_with(skb, &scratch->packet, NULL, network, HW_DIRECTION_FROM_HOST, chatter, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
