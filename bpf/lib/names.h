/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Answers in place what a container asks for names of other nodes. Docker's resolver forwards what it does not know
 * from inside the container, to servers that it was told of; so the question passes here, whomever it is for.
 *
 *   UDP to port 53 ▸ one question ▸ (network, name) known ─ A, AAAA, PTR ▸ records, turned by the question's id
 *                                          │              └ anything else ▸ none, and no error
 *                                          └ not known ▸ goes on as every packet
 *
 *   Ethernet 14 │ IPv4 20 or IPv6 40 │ UDP 8 │ DNS 12 │ the question as asked │ up to 8 records (RFC 1035)
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/dns.h"
#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/parse.h"
#include "lib/pure/checksum.h"
#include "lib/pure/letters.h"
#include "lib/scratch.h"

#define NAMES_UNKNOWN 0x101 /* beside TC_ACT_*: nothing was done */
#define NAMES_PORT    53

/* Of the header's flags (RFC 1035): what a plain question has clear, and what its answer takes over or sets. */
#define NAMES_NOT_PLAIN 0xfa00 /* answer, operation, truncated */
#define NAMES_KEPT	0x0110 /* recursion desired, checking disabled */
#define NAMES_ANSWER	0x8080 /* answer, recursion available */

struct names_work {
	struct hw_name key;
	struct dns_answer answer;
	__u32 question; /* bytes of name, type and class */
};

/* As lib/scratch.h: nobody else's. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct names_work);
} names_scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_name);
	__type(value, struct hw_name_addresses);
} hw_names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_name);
	__type(value, struct hw_name_pointer);
} hw_pointers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct hw_name_scope);
} hw_name_scopes SEC(".maps");

/* Reads the question into key and answer. False: none that we answer. */
static __always_inline bool names_read(const struct __sk_buff *skb, const struct packet *p, struct names_work *work)
{
	__u32 at = p->l4 + DNS_HEAD, left, last, end, size;
	struct dns_answer *answer = &work->answer;
	int i;

	if (bpf_skb_load_bytes(skb, p->l4, &answer->udp, DNS_HEAD) < 0)
		return false;
	size = bpf_ntohs(answer->udp.len);
	if (size <= DNS_HEAD + 5 || p->l4 - ETH_HLEN + size > p->size)
		return false;
	if ((answer->dns.flags & bpf_htons(NAMES_NOT_PLAIN)) || answer->dns.questions != bpf_htons(1) || answer->dns.answers ||
	    answer->dns.authorities || bpf_ntohs(answer->dns.additionals) > 1)
		return false;
	left = size - DNS_HEAD;
	last = dns_checked((left < HW_NAME_BYTES ? left : HW_NAME_BYTES) - 1);
	__builtin_memset(&work->key, 0, sizeof(work->key));
	__builtin_memset(answer->body, 0, DNS_BODY);
	if (last >= HW_NAME_BYTES || bpf_skb_load_bytes(skb, at, work->key.name, last + 1) < 0)
		return false;
	last = dns_checked(dns_end(work->key.name) - 1);
	end = last + 1;
	if (last >= HW_NAME_BYTES || end + 4 > left)
		return false;
	__builtin_memset(&work->key, 0, sizeof(work->key));
	if (bpf_skb_load_bytes(skb, at, work->key.name, end) < 0 || bpf_skb_load_bytes(skb, at, answer->body, end + 4) < 0)
		return false;
	/* A length is less than any letter, so it stays what it is. */
	for (i = 0; i < HW_NAME_BYTES / 4; i++) {
		__u32 *word = (__u32 *)work->key.name + i;

		*word = letters_small(*word);
	}
	work->question = end + 4;
	return true;
}

/* The entry of `map` for the name, in the network of the asker or another one of its container. */
static __always_inline const void *names_find(void *map, struct names_work *work, const struct hw_endpoint *ep)
{
	const struct hw_name_scope *scope;
	__u32 ifindex = ep->ifindex;
	const void *found;
	int i;

	work->key.network = ep->network;
	found = bpf_map_lookup_elem(map, &work->key);
	scope = found ? NULL : bpf_map_lookup_elem(&hw_name_scopes, &ifindex);
	if (!scope)
		return found;
	for (i = 0; i < HW_NAME_SCOPES; i++) {
		work->key.network = scope->networks[i];
		if (!work->key.network)
			break;
		found = bpf_map_lookup_elem(map, &work->key);
		if (found)
			return found;
	}
	return NULL;
}

/* Fills the headers and sums. Bytes of the IP packet, or 0. */
static __always_inline __u32 names_address(const struct packet *p, struct dns_answer *answer, __u32 size)
{
	struct ipv6hdr *ip6 = (struct ipv6hdr *)answer->ip;
	struct iphdr *ip4 = (struct iphdr *)(ip6 + 1) - 1;
	__be16 port = answer->udp.source;
	__u64 sum = (__u64)bpf_htonl(size) + bpf_htonl(IPPROTO_UDP);
	__u16 check;

	__builtin_memset(answer->ip, 0, sizeof(answer->ip));
	answer->udp.source = answer->udp.dest;
	answer->udp.dest = port;
	answer->udp.len = bpf_htons(size);
	answer->udp.check = 0;
	sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)&answer->udp, DNS_HEAD + DNS_BODY, 0);
	if (p->family == 4) {
		ip4->version = 4;
		ip4->ihl = 5;
		ip4->tot_len = bpf_htons(sizeof(*ip4) + size);
		ip4->frag_off = bpf_htons(0x4000);
		ip4->ttl = 64;
		ip4->protocol = IPPROTO_UDP;
		ip4->saddr = p->flow.daddr.words[3];
		ip4->daddr = p->source.words[3];
		ip4->check = ~checksum_fold16((__u32)bpf_csum_diff(0, 0, (__be32 *)ip4, sizeof(*ip4), 0));
		sum += (__u64)ip4->saddr + ip4->daddr;
	} else {
		ip6->version = 6;
		ip6->payload_len = bpf_htons(size);
		ip6->nexthdr = IPPROTO_UDP;
		ip6->hop_limit = 64;
		__builtin_memcpy(&ip6->saddr, &p->flow.daddr, 16);
		__builtin_memcpy(&ip6->daddr, &p->source, 16);
		sum += (__u32)bpf_csum_diff(0, 0, (__be32 *)&ip6->saddr, 32, 0);
	}
	check = ~checksum_fold16(sum);
	answer->udp.check = check ? check : 0xffff;
	return (p->family == 4 ? sizeof(*ip4) : sizeof(*ip6)) + size;
}

/* Puts the answer in the frame's place and turns it round. */
static __always_inline int names_send(struct __sk_buff *skb, const struct packet *p, struct dns_answer *answer,
				      const struct hw_endpoint *ep, __u32 end)
{
	__u32 size = names_address(p, answer, DNS_HEAD + end);
	long error;

	if (size > sizeof(*answer) || bpf_skb_change_tail(skb, ETH_HLEN + size, 0) < 0)
		return -HW_DROP_REWRITE_FAILED;
	if (p->family == 4)
		error = bpf_skb_store_bytes(skb, ETH_HLEN, answer->ip + sizeof(struct ipv6hdr) - sizeof(struct iphdr),
					    sizeof(struct iphdr) + DNS_HEAD + end, BPF_F_INVALIDATE_HASH);
	else
		error = bpf_skb_store_bytes(skb, ETH_HLEN, answer->ip, sizeof(struct ipv6hdr) + DNS_HEAD + end,
					    BPF_F_INVALIDATE_HASH);
	if (error < 0 || eth_address(skb, ep->mac) < 0)
		return -HW_DROP_REWRITE_FAILED;
	return bpf_redirect_peer(skb->ifindex, 0);
}

/* Whether the packet may be a question. All that others pay. */
static __always_inline bool names_is_question(const struct __sk_buff *skb, const struct packet *p)
{
	return p->flow.dport == bpf_htons(NAMES_PORT) && p->flow.proto == IPPROTO_UDP && p->fragment == PACKET_WHOLE && !skb->gso_size;
}

/* A verdict, a negated drop reason, or NAMES_UNKNOWN. */
__noinline int names_answer(struct __sk_buff *skb)
{
	const struct hw_endpoint *ep = endpoints_by_ifindex(skb->ifindex);
	const struct scratch *scratch = scratch_same();
	const struct hw_name_addresses *addresses;
	const struct hw_name_pointer *pointer;
	struct names_work *work;
	__u32 key = 0, end;
	__be16 asked[2];

	work = bpf_map_lookup_elem(&names_scratch, &key);
	if (!ep || !scratch || !work || !names_read(skb, &scratch->packet, work))
		return NAMES_UNKNOWN;
	end = dns_checked(work->question);
	if (end < 4 || end > DNS_QUESTION)
		return NAMES_UNKNOWN;
	__builtin_memcpy(asked, &work->answer.body[end - 4], 4);
	addresses = names_find(&hw_names, work, ep);
	pointer = addresses ? NULL : names_find(&hw_pointers, work, ep);
	if (!addresses && !pointer)
		return NAMES_UNKNOWN;
	work->answer.dns.flags = (work->answer.dns.flags & bpf_htons(NAMES_KEPT)) | bpf_htons(NAMES_ANSWER);
	work->answer.dns.additionals = 0;
	if (asked[1] == bpf_htons(DNS_IN)) {
		if (addresses && asked[0] == bpf_htons(DNS_A))
			end = dns_add_addresses(&work->answer, end, DNS_A, addresses->ipv4);
		else if (addresses && asked[0] == bpf_htons(DNS_AAAA))
			end = dns_add_addresses(&work->answer, end, DNS_AAAA, addresses->ipv6);
		else if (pointer && asked[0] == bpf_htons(DNS_PTR))
			end = dns_add_pointer(&work->answer, end, pointer);
	}
	end = dns_checked(end);
	if (end > DNS_BODY)
		return -HW_DROP_REWRITE_FAILED;
	return names_send(skb, &scratch->packet, &work->answer, ep, end);
}
