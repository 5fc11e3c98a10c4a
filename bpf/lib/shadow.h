/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports that a masqueraded flow may not have, because answers to it would shadow a service of the host's:
 *
 *   published                               ▸ packets of its clients would enter the container that chose the port
 *   a host program's socket, as W:p sees it ▸ the same, for the host's own service
 *
 * A container knows which port its flow will get, and could choose each client's next port beforehand. Asked when a
 * flow is opened, and once more at its first answer: the service may be younger than the flow.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/frontends.h"

/* Whether a service here would take a packet with these ends, which comes from the world. */
static __noinline bool shadow_is_service(struct __sk_buff *skb, __u8 family, const struct hw_ct6_key *flow)
{
	struct bpf_sock_tuple tuple = { 0 };
	__u32 size = family == 4 ? sizeof(tuple.ipv4) : sizeof(tuple.ipv6);
	struct bpf_sock *sock;

	if (flow->proto != IPPROTO_TCP && flow->proto != IPPROTO_UDP)
		return false;
	if (frontends_find(&flow->daddr, flow->dport, flow->proto))
		return true;
	if (family == 4) {
		tuple.ipv4.saddr = flow->saddr.words[3];
		tuple.ipv4.daddr = flow->daddr.words[3];
		tuple.ipv4.sport = flow->sport;
		tuple.ipv4.dport = flow->dport;
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &flow->saddr, 16);
		__builtin_memcpy(tuple.ipv6.daddr, &flow->daddr, 16);
		tuple.ipv6.sport = flow->sport;
		tuple.ipv6.dport = flow->dport;
	}
	sock = flow->proto == IPPROTO_TCP ? bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0)
					  : bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sock)
		return false;
	bpf_sk_release(sock);
	return true;
}
