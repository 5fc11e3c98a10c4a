/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Makes of a frame the one that it becomes (lib/lbsnat.h): addresses, ports, one hop less, and every checksum by what changed.
 *
 *   TCP, UDP       Ethernet │ IP │ ports … checksum                    a later fragment has only IP
 *   an ICMP error  Ethernet │ IP │ ICMP 8 │ IP │ ports … checksum      what it carries the other way round
 */
#pragma once

#include <linux/errno.h>

#include "lib/lbother.h"
#include "lib/lbpool.h"

/* What is known of one packet, kept off the stack, as in lib/scratch.h. */
struct lbsnat {
	struct lbpacket p;
	struct hw_ct6_key to;	 /* what the flow becomes */
	struct packet q;	 /* of an answer */
	struct hw_ip from;	 /* of an answer's flow: the backend */
	struct lbpool_flow flow; /* of what is sent */
	__u32 backend;		 /* its number */
	__be16 ports[2];	 /* of an answer's flow: the backend's, and this node's */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lbsnat);
} lbsnat_map SEC(".maps");

static __always_inline struct lbsnat *lbsnat_same(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&lbsnat_map, &key);
}

/* An address in a header, of 4 or 16 bytes, becomes another; added to the change of what a checksum covers. */
static __always_inline __u64 lbsnat_replace(__u64 difference, checksum_u32 *at, const struct hw_ip *to, int family)
{
	int i;

	if (family == 4) {
		difference = checksum_replace32(difference, *at, to->words[3]);
		*at = to->words[3];
		return difference;
	}
#pragma unroll
	for (i = 0; i < 4; i++) {
		difference = checksum_replace32(difference, at[i], to->words[i]);
		at[i] = to->words[i];
	}
	return difference;
}

/* Ports and checksum of TCP or UDP at a constant place. False: the frame ends before them. */
static __always_inline bool lbsnat_ports(struct xdp_md *ctx, __u32 at, __u8 proto, const struct hw_ct6_key *to, __u64 addresses)
{
	__u16 *check = xdp_at(ctx, at + (proto == IPPROTO_TCP ? 16 : 6), sizeof(*check));
	__be16 *ports = xdp_at(ctx, at, 4);

	if (!ports || !check)
		return false;
	if (proto == IPPROTO_TCP || *check) {
		*check = checksum_apply(*check, checksum_replace16(checksum_replace16(addresses, ports[0], to->sport), ports[1], to->dport));
		if (proto == IPPROTO_UDP && !*check)
			*check = 0xffff;
	}
	ports[0] = to->sport;
	ports[1] = to->dport;
	return true;
}

/* The IP header, with one hop less; `difference` is that of its addresses. False: the frame ends before its end. */
static __always_inline bool lbsnat_header(struct xdp_md *ctx, const struct hw_ct6_key *to, int family, __u64 *difference)
{
	struct iphdr *ip4 = xdp_at(ctx, ETH_HLEN, sizeof(*ip4));
	struct ipv6hdr *ip6 = xdp_at(ctx, ETH_HLEN, sizeof(*ip6));

	if (family == 4) {
		if (!ip4)
			return false;
		*difference = lbsnat_replace(lbsnat_replace(0, (checksum_u32 *)&ip4->saddr, &to->saddr, 4), (checksum_u32 *)&ip4->daddr, &to->daddr, 4);
		ip4->check = checksum_apply(ip4->check, checksum_replace16(*difference, bpf_htons((__u16)ip4->ttl << 8), bpf_htons((__u16)(ip4->ttl - 1) << 8)));
		ip4->ttl--;
		return true;
	}
	if (!ip6)
		return false;
	*difference = lbsnat_replace(lbsnat_replace(0, (checksum_u32 *)&ip6->saddr, &to->saddr, 6), (checksum_u32 *)&ip6->daddr, &to->daddr, 6);
	ip6->hop_limit--;
	return true;
}

static __always_inline int lbsnat_store16(struct xdp_md *ctx, __u32 at, __u16 old, __u16 new, __u64 *outer)
{
	*outer = checksum_replace16(*outer, old, new);
	return bpf_xdp_store_bytes(ctx, at, &new, sizeof(new));
}

/* The same of an address somewhere in the frame. */
static __always_inline int lbsnat_store(struct xdp_md *ctx, __u32 at, const struct hw_ip *to, int family, __u64 *difference)
{
	const __u32 size = family == 4 ? 4 : 16;
	struct hw_ip address;

	if (bpf_xdp_load_bytes(ctx, at, &address, size))
		return -EINVAL;
	*difference = lbsnat_replace(*difference, (checksum_u32 *)&address, to, family);
	return bpf_xdp_store_bytes(ctx, at, &address, size);
}

/* The packet that an error carries becomes the one that its sender sent: `to` reversed. `outer`: the change of what the error's checksum covers. */
static __always_inline int lbsnat_carried(struct xdp_md *ctx, const struct lbpacket *p, const struct hw_ct6_key *to, int family, __u64 *outer)
{
	__u32 at = p->l4 + sizeof(struct wire_icmp), first = at + (family == 4 ? 12 : 8), check = p->inner + (p->proto == IPPROTO_TCP ? 16 : 6);
	__u64 difference = 0;
	__be16 ports[2];
	__u16 old, new;
	int error;

	error = lbsnat_store(ctx, first, &to->daddr, family, &difference);
	error |= lbsnat_store(ctx, first + (family == 4 ? 4 : 16), &to->saddr, family, &difference);
	*outer += difference;
	if (family == 4) {
		error |= bpf_xdp_load_bytes(ctx, at + 10, &old, sizeof(old));
		error |= lbsnat_store16(ctx, at + 10, old, checksum_apply(old, difference), outer);
	}
	error |= bpf_xdp_load_bytes(ctx, p->inner, ports, sizeof(ports));
	difference = checksum_replace16(checksum_replace16(difference, ports[0], to->dport), ports[1], to->sport);
	error |= lbsnat_store16(ctx, p->inner, ports[0], to->dport, outer);
	error |= lbsnat_store16(ctx, p->inner + 2, ports[1], to->sport, outer);
	/* Routers carry eight bytes at least, and of TCP its checksum lies behind them. */
	if (check + 2 > (__u32)p->size + ETH_HLEN || bpf_xdp_load_bytes(ctx, check, &old, sizeof(old)) || (p->proto == IPPROTO_UDP && !old))
		return error;
	new = checksum_apply(old, difference);
	return error | lbsnat_store16(ctx, check, old, p->proto == IPPROTO_UDP && !new ? 0xffff : new, outer);
}

/* 0, or a negated drop reason. Not static, so that the verifier walks it once. */
__noinline int lbsnat_error(struct xdp_md *ctx, int family)
{
	struct lbsnat *s = lbsnat_same();
	__u64 difference = 0, outer = 0;
	const struct hw_ct6_key *to;
	const struct lbpacket *p;
	__u16 check;

	if (!s)
		return -HW_DROP_REWRITE_FAILED;
	p = &s->p;
	to = &s->to;
	if (lbsnat_carried(ctx, p, to, family, &outer) || !lbsnat_header(ctx, to, family, &difference))
		return -HW_DROP_REWRITE_FAILED;
	if (family == 6)
		outer += difference;
	if (bpf_xdp_load_bytes(ctx, p->l4 + 2, &check, sizeof(check)))
		return -HW_DROP_REWRITE_FAILED;
	check = checksum_apply(check, outer);
	return bpf_xdp_store_bytes(ctx, p->l4 + 2, &check, sizeof(check)) ? -HW_DROP_REWRITE_FAILED : 0;
}

/* Where the transport header of nearly every packet lies. */
static __always_inline __u32 lbsnat_plain(int family)
{
	return ETH_HLEN + (family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
}

/* 0, or a negated drop reason. */
static __always_inline int lbsnat_rewrite(struct xdp_md *ctx, const struct lbsnat *s, int family)
{
	const struct lbpacket *p = &s->p;
	const struct hw_ct6_key *to = &s->to;
	const __u32 plain = lbsnat_plain(family);
	__u64 addresses;
	bool done = true;

	if (p->kind == LBPACKET_ERROR)
		return lbsnat_error(ctx, family);
	if (!lbsnat_header(ctx, to, family, &addresses))
		return -HW_DROP_REWRITE_FAILED;
	if (p->fragment != PACKET_LATER)
		done = p->l4 == plain ? lbsnat_ports(ctx, plain, p->proto, to, addresses) : lbsnat_ports(ctx, plain + 8, p->proto, to, addresses);
	return done ? 0 : -HW_DROP_REWRITE_FAILED;
}
