// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What the host's stack routes to containers: hwhost, egress.
 *
 *   frame ▸ the host's own, not forwarded ▸ endpoint by destination address ▸ host end of its veth, where to-container looks at it
 *
 * Multicast and the like is the kernel's own chatter on the device: counted, not told.
 */
#include "lib/config.h"
#include "lib/endpoints.h"
#include "lib/exit.h"
#include "lib/parse.h"

static __always_inline int judge(struct __sk_buff *skb, struct packet *p, __u32 *network)
{
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
	struct packet p = { 0 };
	__u32 network = 0;
	int verdict = judge(skb, &p, &network);
	bool chatter = verdict == -HW_DROP_MULTICAST || verdict == -HW_DROP_UNKNOWN_PROTOCOL;

	return exit_with(skb, &p, NULL, network, HW_DIRECTION_FROM_HOST, chatter, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
