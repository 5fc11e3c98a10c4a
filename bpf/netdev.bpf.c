// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What arrives from the world: an uplink, ingress.
 *
 *   frame ▸ who has an address that this node holds ▸ answered (lib/lbheld.h)
 *         ▸ parse ▸ martians ▸ another node's tunnel: headers off ▸ lib/node.h, or what a service's client is answered ▸ lib/lbreturn.h
 *                            ▸ fragments ▸ a service's backend answers this node ▸ client (lib/lbsnattc.h)
 *                                        ▸ conntrack ─ known, and judged by the policy in force ─┐
 *                                  └ published port ▸ policy ▸ opened                            ▸ rewrite ▸ container
 *                                  └ straight to a container ▸ dropped, but with native routing from another node's
 *                                  └ anything else: the host's own, untouched
 *
 * A later fragment that overtakes its first passes to the host as what it seems, and a copy of it is kept (lib/held.h).
 */
#include "lib/ctopen.h"
#include "lib/deliver.h"
#include "lib/ended.h"
#include "lib/endpoints.h"
#include "lib/exit.h"
#include "lib/fragments.h"
#include "lib/held.h"
#include "lib/icmp.h"
#include "lib/judge.h"
#include "lib/lbanswertc.h"
#include "lib/lbheld.h"
#include "lib/lbtc.h"
#include "lib/lbnode.h"
#include "lib/lbpass.h"
#include "lib/lbreturn.h"
#include "lib/node.h"
#include "lib/open.h"
#include "lib/outside.h"
#include "lib/parse.h"
#include "lib/probes.h"
#include "lib/scratch.h"

/* <linux/if_packet.h>: PACKET_HOST, PACKET_MULTICAST */
#define PACKET_TO_US	0
#define PACKET_TO_GROUP 2

/* Not ours; but no one outside reaches a container by its own address (R44). */
static __always_inline int leave(const struct packet *p)
{
	return outside_is_ours(&p->flow.daddr) ? -HW_DROP_DIRECT_ACCESS : HW_PASS;
}

/* Native routing: a container here, asked for by a container or the stack of another node that the way back leads to. */
static __always_inline int open_from_node(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct packet *p = &scratch->packet;
	const struct hw_endpoint *ep = endpoints_by_address(&p->flow.daddr);
	const struct hw_remote *remote = nodes_remote(&p->flow.saddr);
	struct ct_route *route = &scratch->route;

	if (!ep || !overlay_node(&p->flow.saddr) || endpoints_by_address(&p->flow.saddr) || !outside_leads_out(skb, p))
		return -HW_DROP_DIRECT_ACCESS;
	if (ep->flags & HW_NETWORK_INTERNAL && !(remote && remote->network == ep->network))
		return -HW_DROP_INTERNAL_NETWORK;
	ct_prepare(p, route, ep->network);
	route->flags = HW_CT_FROM_UPLINK;
	route->answer_flags = HW_CT_TO_UPLINK;
	return judge_flow(skb, JUDGE_NEITHER);
}

/* To a container here, whose answers go by way of a `node`; 0: straight to the client. */
static __always_inline int open_to_backend(struct __sk_buff *skb, struct scratch *scratch, const struct hw_backend *backend, __u32 node)
{
	const struct hw_endpoint *ep = endpoints_by_address(&backend->addr);
	const struct packet *p = &scratch->packet;
	struct ct_route *route = &scratch->route;
	int error;

	if (outside_is_no_client(skb, p))
		return -HW_DROP_MARTIAN;
	/* Such a network's ports are not published, but a service may select its containers, for clients within. */
	if (ep && ep->flags & HW_NETWORK_INTERNAL)
		return -HW_DROP_INTERNAL_NETWORK;
	ct_prepare(p, route, backend->network);
	route->flags = HW_CT_FROM_UPLINK;
	route->answer_flags = HW_CT_TO_UPLINK;
	route->node = node;
	error = open_published(p, backend, route);
	return error ? error : judge_flow(skb, JUDGE_NEITHER);
}

/* A first packet: 0 to be opened by the route, HW_PASS, TC_ACT_REDIRECT when it was sent to a service's backend, LBANSWER_*, or a negated drop reason. */
static __always_inline int open_from_uplink(struct __sk_buff *skb, struct scratch *scratch)
{
	const struct packet *p = &scratch->packet;
	const struct hw_host_address *host;
	const struct hw_backend *backend;
	int found = LBTC_NOT, passed;

	if (hw_config.services && (p->kind == PACKET_FLOW || p->kind == PACKET_ICMP_ERROR))
		found = lbtc_find(skb);
	if (found == LBTC_SNAT) {
		passed = lbsnat_ask(skb);
		return passed ? passed : lbsnat_carry(skb);
	}
	if (found == LBTC_HERE) {
		passed = lbpass(skb);
		if (passed != LBTC_NOT)
			return passed;
	} else if (found != LBTC_NOT) {
		return found;
	}
	if (p->kind != PACKET_FLOW)
		return leave(p);
	if (found == LBTC_HERE)
		return open_to_backend(skb, scratch, &scratch->backend, 0);
	if (hw_config.native && outside_is_ours(&p->flow.daddr))
		return open_from_node(skb, scratch);
	host = hostaddrs_find(&p->flow.daddr);
	if (!host)
		return leave(p);
	/* A gateway is the containers' address for the host, and not known outside. */
	if (host->flags & HW_HOST_ADDRESS_GATEWAY)
		return HW_PASS;
	backend = open_find_published(p);
	return backend ? open_to_backend(skb, scratch, backend, 0) : HW_PASS;
}

/* Known, opened or refused: rewritten, and to its container. */
static __always_inline int carry_on(struct __sk_buff *skb, struct scratch *scratch, int error)
{
	const struct packet *p = &scratch->packet;

	if (error)
		return error;
	scratch->network = scratch->route.network;
	if (p->source_routed)
		return -HW_DROP_INVALID_OPTIONS;
	fragments_carried(p);
	error = deliver(skb, scratch);
	return error == TC_ACT_REDIRECT && p->fragment == PACKET_FIRST ? held_release(skb) : error;
}

/*
 * What another node has sent for scratch->backend, which is a container here if it is anything. The client's packet is as the client
 * sent it, and its flow is one from the uplink: that is how its answers leave, unless the node that balanced wants them (scratch->returns). Not
 * static, so that the verifier walks it once.
 */
__noinline int netdev_serve(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	int error = lbreturn_parse(skb);
	struct packet *p;

	if (!scratch)
		return -HW_DROP_MALFORMED;
	if (error)
		return error;
	p = &scratch->packet;
	if (ct_find(skb, p, HW_CT_FROM_UPLINK, &scratch->route)) {
		lbnode_follow(skb, scratch, scratch->returns);
		return carry_on(skb, scratch, judge_known(skb, scratch, JUDGE_NEITHER));
	}
	error = lbpass(skb);
	if (error == TC_ACT_REDIRECT)
		fragments_carried(p);
	if (error != LBTC_NOT)
		return error;
	if (p->kind != PACKET_FLOW)
		return -HW_DROP_ICMP_WITHOUT_FLOW;
	if (!lbtc_is_here(&scratch->backend.addr, scratch->backend.port, &scratch->backend))
		return -HW_DROP_NO_SUCH_ADDRESS;
	error = open_to_backend(skb, scratch, &scratch->backend, scratch->returns);
	scratch->route.answer_flags |= ip_is4(&scratch->sender.address) ? HW_CT_WRAPPED : HW_CT_WRAPPED | HW_CT_WRAPPED6;
	return carry_on(skb, scratch, error ? error : ctopen(skb));
}

/* What a container on another node answers a client. */
static __always_inline int return_to_client(struct __sk_buff *skb, const struct scratch *scratch)
{
	int verdict = lbreturn(skb);

	if (verdict != ROUTE_REFUSED)
		return verdict;
	return lbanswertc_may_tell(&scratch->packet) ? LBANSWER_TOO_LONG(scratch->hop.mtu) : -HW_DROP_MTU_EXCEEDED;
}

static __always_inline int carry_ended(struct __sk_buff *skb, struct scratch *scratch, enum ended ended)
{
	switch (ended) {
	case ENDED_SERVED:
		if (scratch->balancer.kind)
			lbnode_find_balancer(skb);
		return netdev_serve(skb);
	case ENDED_RETURNED:
		return return_to_client(skb, scratch);
	default:
		return hw_config.native ? -HW_DROP_UNKNOWN_PROTOCOL : node_receive(skb);
	}
}

/* What may be a flow's, known or opened. Not static, so that the verifier walks it once. */
__noinline int netdev_carry(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	struct ct_route *route;
	struct packet *p;
	int error;

	if (!scratch)
		return HW_PASS;
	p = &scratch->packet;
	route = &scratch->route;
	if (!fragments_follow(p)) {
		held_keep(skb);
		return leave(p);
	}
	if (p->kind == PACKET_ICMP_ERROR && !icmp_read_carried(skb, p))
		return leave(p);
	if (hw_config.services && lbsnat_may_answer(p) && lbsnat_answer(skb) == LBSNAT_FOUND)
		return lbsnat_carry(skb);
	if (!ct_find(skb, p, HW_CT_FROM_UPLINK, route)) {
		error = open_from_uplink(skb, scratch);
		if (error == HW_PASS)
			fragments_passed(p);
		if (error == TC_ACT_REDIRECT)
			fragments_carried(p);
		if (!error)
			error = ctopen(skb);
	} else {
		lbnode_follow(skb, scratch, 0);
		error = judge_known(skb, scratch, JUDGE_NEITHER);
	}
	return carry_on(skb, scratch, error);
}

static __always_inline int judge(struct __sk_buff *skb, struct scratch *scratch, __u8 *direction)
{
	struct packet *p = &scratch->packet;
	__be16 ethertype = parse_ethertype(skb);
	enum ended ended;
	int error;

	if (ethertype == bpf_htons(ETH_P_ARP))
		return lbheld_answer_arp(skb);
	if (skb->pkt_type == PACKET_TO_GROUP && ethertype == bpf_htons(ETH_P_IPV6))
		return lbheld_answer_nd(skb);
	/* A broadcast, or heard by chance: the host makes of it what it would without us, and forwards none. */
	if (skb->pkt_type != PACKET_TO_US)
		return HW_PASS;
	if (ethertype != bpf_htons(ETH_P_IP) && (ethertype != bpf_htons(ETH_P_IPV6) || !hw_config.ipv6))
		return HW_PASS;
	error = parse_ip(skb, p, ethertype);
	if (error == -HW_DROP_MARTIAN)
		return error;
	if (error)
		return p->family ? leave(p) : HW_PASS;
	/* R45: nobody else's packets bear the addresses that mean "this host". */
	if (ip_is_loopback(&p->flow.saddr) || ip_is_loopback(&p->flow.daddr))
		return -HW_DROP_MARTIAN;
	if (p->kind == PACKET_ND)
		return lbheld_answer_nd(skb);
	if (ip_is_multicast(&p->flow.daddr))
		return HW_PASS;
	if (p->kind == PACKET_OTHER)
		return leave(p);
	if (probes_are_asked(p)) {
		error = probes_answer(skb);
		return error == HW_PASS ? leave(p) : error;
	}
	if ((hw_config.tunnel_ifindex || hw_config.services) && p->flow.proto == IPPROTO_UDP && p->flow.dport == hw_config.tunnel_port) {
		ended = ended_take(skb, scratch);
		if (ended) {
			*direction = HW_DIRECTION_FROM_OVERLAY;
			return carry_ended(skb, scratch, ended);
		}
		if (hw_config.tunnel_ifindex)
			return leave(p);
	}
	return netdev_carry(skb);
}

/* Not inline: what it needs of the stack is what netdev_carry and those below it have. Not static, so that the verifier walks it once. */
__noinline int netdev_exit(struct __sk_buff *skb, __u32 direction, int verdict)
{
	struct scratch *scratch = scratch_same();

	if (!scratch)
		return TC_ACT_SHOT;
	return exit_with(skb, &scratch->packet, &scratch->judgement, scratch->network, direction, false, verdict);
}

/*
 * In a service's name (LBANSWER_*); counted and told as dropped where there is a reason for it. To a client's packet that another node has sent
 * there is none, because the client is not where it came from; to a container's answer it is as if a client's router had made it, and goes the same
 * way. Not static, so that the verifier walks it once.
 */
__noinline int netdev_answer(struct __sk_buff *skb, __u32 direction, int wanted)
{
	const struct scratch *scratch = scratch_same();
	int reason = wanted >> 16 & 0xff, sent = -reason;
	bool returned = scratch && direction == HW_DIRECTION_FROM_OVERLAY && scratch->sender.key == HW_TUNNEL_RETURN;

	if (direction == HW_DIRECTION_FROM_UPLINK || returned)
		sent = lbanswertc_make(skb, wanted);
	if (returned && sent == TC_ACT_REDIRECT)
		sent = probes_turn_ethernet(skb) ? -HW_DROP_REWRITE_FAILED : bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	if (sent != TC_ACT_REDIRECT || !reason)
		return netdev_exit(skb, direction, sent);
	netdev_exit(skb, direction, -reason);
	return TC_ACT_REDIRECT;
}

SEC("tc")
int netdev(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_take();
	__u8 direction = HW_DIRECTION_FROM_UPLINK;
	int verdict;

	if (!scratch)
		return TC_ACT_SHOT;
	scratch->network = 0;
	verdict = judge(skb, scratch, &direction);
	if (verdict == HW_PASS)
		return exit_untouched();
	if (verdict > 0 && verdict & LBANSWER_WANTED)
		return netdev_answer(skb, direction, verdict);
	return netdev_exit(skb, direction, verdict);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
