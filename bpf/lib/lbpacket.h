/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What balancing wants to know of a packet, read once. Most packets are TCP or UDP right behind a plain header: those are read here, with
 * everything at a constant place. What is otherwise with a service's address is read by lib/lbother.h.
 */
#pragma once

#include <stdbool.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "lib/lbfrontends.h"
#include "lib/packet.h"
#include "lib/pure/lbhash.h"
#include "lib/wire.h"

#define LBPACKET_SYN_MASK 0x17 /* FIN, SYN, RST, ACK */
#define LBPACKET_SYN	  0x02
#define LBPACKET_OVER	  0x05 /* FIN, RST */

/* The common header of SCTP, behind which the first chunk's type lies, and the types that matter (RFC 9260, 3.2). */
#define LBPACKET_SCTP	       12
#define LBPACKET_SCTP_INIT     1
#define LBPACKET_SCTP_ABORT    6
#define LBPACKET_SCTP_COMPLETE 14

enum lbpacket_kind {
	LBPACKET_GOES_ON = 0,  /* TCP and SCTP that neither begin nor end */
	LBPACKET_BEGINS = 1,   /* SYN, INIT */
	LBPACKET_DATAGRAM = 2, /* UDP: who knows */
	LBPACKET_ERROR = 3,    /* ICMP, about a flow */
	LBPACKET_ENDS = 4,     /* FIN or RST, ABORT or SHUTDOWN COMPLETE: a few more may come */
};

/* Without a gap, which on a stack nobody may read before Linux 6.3, and who copies all of it would. */
struct lbpacket {
	__u64 hash; /* of the flow */
	struct lbfrontends_table table; /* as the frontend has it */
	__u32 frontend; /* lbfrontends_identity, whose low half is the service */
	__u32 size;   /* bytes of the IP packet */
	__u16 client; /* offset of the client's address in the frame */
	__u16 l4;     /* offset of the transport header; of a later fragment: of its payload */
	__u16 inner;  /* of an ICMP error: of the transport header in the packet that it carries */
	__be16 port;  /* the client's */
	__u32 kind;   /* enum lbpacket_kind */
	__u8 fragment; /* enum packet_fragment */
	__u8 proto;   /* of the flow */
	__u16 tos;    /* or traffic class */
};

_Static_assert(sizeof(struct lbpacket) == 40, "its fields are all of it");

/* Where plain packets have the client's address. */
#define LBPACKET_CLIENT4 (ETH_HLEN + (__u32)__builtin_offsetof(struct iphdr, saddr))
#define LBPACKET_CLIENT6 (ETH_HLEN + (__u32)__builtin_offsetof(struct ipv6hdr, saddr))

enum lbpacket_reading {
	LBPACKET_READ = 0,
	LBPACKET_OTHER = 1, /* the address is a service's, the packet not plain or for none of its ports */
	LBPACKET_NOT = 2,   /* nothing of a service's */
};

static __always_inline __u32 lbpacket_ports(__be16 first, __be16 second)
{
	return (__u32)first | (__u32)second << 16;
}

/* The same of a packet's own, which lie so. */
static __always_inline __u32 lbpacket_both(const __be16 *ports)
{
	return *(const lbfrontends_u32 *)ports;
}

/* Whether a transport header, which is in the frame, agrees with the `length` that the IP header leaves it; below 0: not all of that header. */
static __always_inline bool lbpacket_is_sound(const void *l4, __u8 proto, __s32 length)
{
	const struct tcphdr *tcp = l4;
	const struct udphdr *udp = l4;
	__s32 least;

	if (proto == WIRE_PROTO_SCTP)
		return length > LBPACKET_SCTP;
	least = proto == IPPROTO_TCP ? tcp->doff * 4 : bpf_ntohs(udp->len);
	return least >= (__s32)(proto == IPPROTO_TCP ? sizeof(*tcp) : sizeof(*udp)) && least <= length;
}

static __always_inline __u8 lbpacket_tcp_kind(__u8 flags)
{
	if (!(flags & (LBPACKET_SYN | LBPACKET_OVER)))
		return LBPACKET_GOES_ON;
	if ((flags & LBPACKET_SYN_MASK) == LBPACKET_SYN)
		return LBPACKET_BEGINS;
	return flags & LBPACKET_OVER ? LBPACKET_ENDS : LBPACKET_GOES_ON;
}

static __always_inline __u8 lbpacket_sctp_kind(__u8 chunk)
{
	if (chunk == LBPACKET_SCTP_INIT)
		return LBPACKET_BEGINS;
	return chunk == LBPACKET_SCTP_ABORT || chunk == LBPACKET_SCTP_COMPLETE ? LBPACKET_ENDS : LBPACKET_GOES_ON;
}

static __always_inline __u8 lbpacket_kind(const void *l4, __u8 proto)
{
	const __u8 *bytes = l4;

	if (proto == IPPROTO_UDP)
		return LBPACKET_DATAGRAM;
	return proto == IPPROTO_TCP ? lbpacket_tcp_kind(bytes[13]) : lbpacket_sctp_kind(bytes[LBPACKET_SCTP]);
}

static __always_inline int lbpacket_read4(const void *data, const void *end, struct lbpacket *p)
{
	const struct iphdr *ip = data + ETH_HLEN;
	const void *l4 = ip + 1;
	const __be16 *ports = l4;
	const struct hw_lb_frontend *frontend;
	__u32 hash, address[4], room;
	__u8 proto;

	if (l4 > end)
		return LBPACKET_NOT;
	address[3] = ip->daddr;
	hash = lbhash_address4(LBFRONTENDS_MAPPED, ip->daddr);
	proto = ip->protocol;
	if (*(const __u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x3fff))
		goto other;
	if (proto == IPPROTO_TCP) {
		if (l4 + sizeof(struct tcphdr) > end)
			goto other;
	} else if (proto != IPPROTO_UDP || l4 + sizeof(struct udphdr) > end) {
		goto other;
	}
	frontend = lbfrontends_find(address, 4, hash, lbfrontends_port(ports[1], proto));
	if (!frontend)
		goto other;
	p->size = bpf_ntohs(ip->tot_len);
	room = end - data - ETH_HLEN;
	if (p->size > room || !lbpacket_is_sound(l4, proto, p->size - sizeof(*ip)))
		return LBPACKET_OTHER;
	p->table = lbfrontends_table(frontend);
	p->frontend = lbfrontends_identity(frontend);
	p->port = ports[0];
	p->proto = proto;
	p->l4 = ETH_HLEN + sizeof(*ip);
	p->tos = ip->tos;
	p->kind = lbpacket_kind(l4, proto);
	p->client = LBPACKET_CLIENT4;
	p->inner = 0;
	p->fragment = PACKET_WHOLE;
	p->hash = lbhash_flow4(ip->saddr, lbpacket_both(ports));
	return LBPACKET_READ;
other:
	return lbfrontends_find(address, 4, hash, 0) ? LBPACKET_OTHER : LBPACKET_NOT;
}

static __always_inline __u64 lbpacket_hash6(const struct in6_addr *client, __u32 ports)
{
	const __u32 *words = client->in6_u.u6_addr32;

	return lbhash_flow6((__u64)words[1] << 32 | words[0], (__u64)words[3] << 32 | words[2], ports);
}

static __always_inline int lbpacket_read6(const void *data, const void *end, struct lbpacket *p)
{
	const struct ipv6hdr *ip = data + ETH_HLEN;
	const __u32 *address = ip->daddr.in6_u.u6_addr32;
	const void *l4 = ip + 1;
	const __be16 *ports = l4;
	const struct hw_lb_frontend *frontend;
	__u32 hash, room;
	__u8 proto;

	if (l4 > end)
		return LBPACKET_NOT;
	hash = lbhash_address(address);
	proto = ip->nexthdr;
	if (proto == IPPROTO_TCP) {
		if (l4 + sizeof(struct tcphdr) > end)
			goto other;
	} else if (proto != IPPROTO_UDP || l4 + sizeof(struct udphdr) > end) {
		goto other;
	}
	frontend = lbfrontends_find(address, 6, hash, lbfrontends_port(ports[1], proto));
	if (!frontend)
		goto other;
	p->size = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	room = end - data - ETH_HLEN;
	if (p->size > room || ip->version != 6 || !lbpacket_is_sound(l4, proto, p->size - sizeof(*ip)))
		return LBPACKET_OTHER;
	p->table = lbfrontends_table(frontend);
	p->frontend = lbfrontends_identity(frontend);
	p->port = ports[0];
	p->proto = proto;
	p->l4 = ETH_HLEN + sizeof(*ip);
	p->tos = bpf_ntohs(*(const __be16 *)ip) >> 4;
	p->kind = lbpacket_kind(l4, proto);
	p->client = LBPACKET_CLIENT6;
	p->inner = 0;
	p->fragment = PACKET_WHOLE;
	p->hash = lbpacket_hash6(&ip->saddr, lbpacket_both(ports));
	return LBPACKET_READ;
other:
	return lbfrontends_find(address, 6, hash, 0) ? LBPACKET_OTHER : LBPACKET_NOT;
}
