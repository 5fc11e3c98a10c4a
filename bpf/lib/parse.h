/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reads an IP packet into a struct packet, once.
 *
 *   Ethernet ▸ IPv4 with options | IPv6 with up to six extension headers ▸ TCP, UDP, SCTP, ICMP echo ▸ flow
 *
 * Of a later fragment the ports stay 0 (lib/fragments.h knows them), of an ICMP error the flow (lib/icmp.h).
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "lib/config.h"
#include "lib/ip.h"
#include "lib/packet.h"
#include "lib/wire.h"

#define PARSE_HEADERS	 128 /* made linear before reading */
#define PARSE_TUNNEL	 64  /* outer headers and the inner frame's (lib/tunnel.h) */
#define PARSE_EXTENSIONS 6

/*
 * Whether all that is read of the packet lies there: of ordinary TCP, and of tunnels that end here. What a socket sends lies behind its
 * headers in pages, and to pull the first bytes of that means a copy of the whole head.
 */
static __always_inline bool parse_is_linear(const struct __sk_buff *skb)
{
	const __u8 *bytes = packet_at(skb, 0, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr));
	const __be16 *dport;

	if (!bytes)
		return false;
	if (bytes[12] == 0x86 && bytes[13] == 0xdd)
		return bytes[20] == IPPROTO_TCP && packet_at(skb, 0, ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr));
	if (bytes[12] != 0x08 || bytes[13] || bytes[ETH_HLEN] != 0x45)
		return false;
	if (bytes[23] == IPPROTO_TCP)
		return true;
	dport = (const __be16 *)(bytes + ETH_HLEN + sizeof(struct iphdr) + 2);
	return hw_config.tunnel_header && bytes[23] == IPPROTO_UDP && *dport == hw_config.tunnel_port && packet_at(skb, 0, PARSE_TUNNEL);
}

/* The frame's protocol, or 0 for a frame too short or tagged. */
static __always_inline __be16 parse_ethertype(struct __sk_buff *skb)
{
	struct ethhdr *eth;

	if (!parse_is_linear(skb))
		packet_pull(skb, PARSE_HEADERS);
	eth = packet_at(skb, 0, sizeof(*eth));
	return eth && !skb->vlan_present ? eth->h_proto : 0;
}

static __always_inline int parse_ports(const struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr *tcp;
	__be16 *ports = packet_at(skb, p->l4, 8);
	__u32 header = p->flow.proto == IPPROTO_TCP ? sizeof(*tcp) : sizeof(struct udphdr);

	/* Behind its end a packet has no ports, whatever the frame carries there. */
	if (!ports || (p->l4 - ETH_HLEN + header > p->size && !skb->gso_size))
		return -HW_DROP_MALFORMED;
	p->flow.sport = ports[0];
	p->flow.dport = ports[1];
	if (p->flow.proto == IPPROTO_TCP) {
		tcp = packet_at(skb, p->l4, sizeof(*tcp));
		if (!tcp)
			return -HW_DROP_MALFORMED;
		p->tcp_flags = ((__u8 *)tcp)[13];
		header = tcp->doff * 4;
	}
	/* Of a packet that will be cut into segments, what counts on the way is the largest of them. */
	if (skb->gso_size)
		p->size = p->l4 - ETH_HLEN + header + skb->gso_size;
	return 0;
}

static __always_inline int parse_icmp(const struct __sk_buff *skb, struct packet *p)
{
	struct wire_icmp *icmp = packet_at(skb, p->l4, sizeof(*icmp));
	__u8 type;

	if (!icmp || p->l4 - ETH_HLEN + sizeof(*icmp) > p->size)
		return -HW_DROP_MALFORMED;
	type = icmp->type;
	p->icmp_type = type;
	p->icmp_code = icmp->code;
	if (type == (p->family == 4 ? WIRE_ICMP_ECHO : WIRE_ICMP6_ECHO)) {
		p->flow.sport = icmp->id;
	} else if (type == (p->family == 4 ? WIRE_ICMP_ECHO_REPLY : WIRE_ICMP6_ECHO_REPLY)) {
		p->flow.dport = icmp->id;
		p->kind = PACKET_ANSWER;
	} else if (p->fragment != PACKET_WHOLE) {
		p->kind = PACKET_OTHER;
	} else if (p->family == 4) {
		p->kind = type == WIRE_ICMP_UNREACHABLE || type == WIRE_ICMP_TIME_EXCEEDED || type == WIRE_ICMP_PARAMETER
				  ? PACKET_ICMP_ERROR
				  : PACKET_OTHER;
	} else {
		p->kind = type >= WIRE_ICMP6_UNREACHABLE && type <= WIRE_ICMP6_PARAMETER ? PACKET_ICMP_ERROR
			  : type >= WIRE_ND_RS && type <= WIRE_ND_REDIRECT		 ? PACKET_ND
											 : PACKET_OTHER;
	}
	return 0;
}

static __always_inline int parse_transport(const struct __sk_buff *skb, struct packet *p)
{
	__u8 proto = p->flow.proto;

	if (proto == (p->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return p->fragment == PACKET_LATER ? 0 : parse_icmp(skb, p);
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP && proto != WIRE_PROTO_SCTP) {
		p->kind = PACKET_OTHER;
		return 0;
	}
	return p->fragment == PACKET_LATER ? 0 : parse_ports(skb, p);
}

/*
 * Whether IPv4 options ask for a route of the sender's choice (RFC 791: loose 131, strict 137). The verifier walks what is not static
 * once, not for each length that the header may have and each way to here: that was more than half of all that it walked.
 */
__noinline int parse_source_routed(struct __sk_buff *skb, __u32 at, __u32 end)
{
	__u8 option[2];
	int i;

	for (i = 0; i < 40; i++) {
		if (at >= end || bpf_skb_load_bytes(skb, at, option, 2) < 0 || option[0] == 0)
			return 0;
		if (option[0] == 131 || option[0] == 137)
			return 1;
		at += option[0] == 1 || option[1] < 2 ? 1 : option[1];
	}
	return 0;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));
	__u32 header, fragment, size;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return -HW_DROP_MALFORMED;
	header = ip->ihl * 4;
	size = bpf_ntohs(ip->tot_len);
	if ((size < header || size > skb->len - ETH_HLEN) && !skb->gso_size)
		return -HW_DROP_MALFORMED;
	p->family = 4;
	p->size = size;
	p->ttl = ip->ttl;
	p->flow.saddr = ip_from4(ip->saddr);
	p->flow.daddr = ip_from4(ip->daddr);
	p->source = p->flow.saddr;
	p->flow.proto = ip->protocol;
	p->fragment_id = ip->id;
	fragment = bpf_ntohs(ip->frag_off);
	p->dont_fragment = (fragment & 0x4000) != 0;
	p->l4 = ETH_HLEN + header;
	if (fragment & 0x1fff) {
		p->fragment = PACKET_LATER;
		/* RFC 3128: a fragment that would rewrite the flags of a TCP header already judged */
		if ((fragment & 0x1fff) == 1 && p->flow.proto == IPPROTO_TCP)
			return -HW_DROP_MALFORMED;
	} else if (fragment & 0x2000) {
		p->fragment = PACKET_FIRST;
	}
	if (header > sizeof(*ip))
		p->source_routed = parse_source_routed(skb, ETH_HLEN + sizeof(*ip), ETH_HLEN + header);
	return parse_transport(skb, p);
}

static __always_inline int parse_ipv6(const struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr *ip = packet_at(skb, ETH_HLEN, sizeof(*ip));
	__u32 at = ETH_HLEN + sizeof(*ip), offset, size;
	bool fragmented = false;
	struct {
		__u8 next;
		__u8 length;
		__u8 type;
		__u8 left;
		__u8 rest[4];
	} extension;
	__u8 next;
	int i;

	if (!ip || ip->version != 6)
		return -HW_DROP_MALFORMED;
	size = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	if (size > skb->len - ETH_HLEN && !skb->gso_size)
		return -HW_DROP_MALFORMED;
	p->size = size;
	p->family = 6;
	p->ttl = ip->hop_limit;
	p->dont_fragment = 1;
	__builtin_memcpy(&p->flow.saddr, &ip->saddr, 16);
	__builtin_memcpy(&p->flow.daddr, &ip->daddr, 16);
	p->source = p->flow.saddr;
	/* They stand for IPv4 addresses in our maps, and nowhere on a wire. */
	if (ip_is4(&p->flow.saddr) || ip_is4(&p->flow.daddr))
		return -HW_DROP_MARTIAN;
	next = ip->nexthdr;

	for (i = 0; i < PARSE_EXTENSIONS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if (p->fragment == PACKET_LATER)
			break;
		if (bpf_skb_load_bytes(skb, at, &extension, sizeof(extension)) < 0)
			return -HW_DROP_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			if (fragmented)
				return -HW_DROP_INVALID_OPTIONS;
			fragmented = true;
			offset = (__u32)extension.type << 8 | extension.left;
			__builtin_memcpy(&p->fragment_id, extension.rest, 4);
			p->fragment = offset & ~7U ? PACKET_LATER : offset & 1 ? PACKET_FIRST : PACKET_WHOLE;
			at += 8;
			if ((offset & ~7U) == 8 && extension.next == IPPROTO_TCP)
				return -HW_DROP_MALFORMED;
		} else {
			if (next == IPPROTO_ROUTING && (extension.type == 0 || extension.left))
				p->source_routed = 1;
			at += 8 + extension.length * 8;
		}
		next = extension.next;
	}
	p->flow.proto = next;
	if (at > PACKET_L4_MAX)
		return -HW_DROP_INVALID_OPTIONS;
	p->l4 = at;
	return parse_transport(skb, p);
}

/* 0, or a negated drop reason. */
static __always_inline int parse_ip(struct __sk_buff *skb, struct packet *p, __be16 ethertype)
{
	return ethertype == bpf_htons(ETH_P_IP) ? parse_ipv4(skb, p) : parse_ipv6(skb, p);
}
