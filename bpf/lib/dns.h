/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* An answer as DNS writes it (RFC 1035): header, the question as asked, and records that name it. */
#pragma once

#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "abi/types.h"
#include "lib/ip.h"
#include "lib/wire.h"

#define DNS_TTL	   5 /* seconds: containers come and go */
#define DNS_LABELS (HW_NAME_BYTES / 2)

#define DNS_A	 1
#define DNS_PTR	 12
#define DNS_AAAA 28
#define DNS_IN	 1

struct dns_header {
	__be16 id;
	__be16 flags;
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additionals;
};

struct dns_record {
	__be16 name;
	__be16 type;
	__be16 class;
	__be16 ttl[2];
	__be16 size;
} __attribute__((packed));

#define DNS_QUESTION (HW_NAME_BYTES + 4)
#define DNS_BODY     (DNS_QUESTION + HW_NAME_ADDRESSES * (sizeof(struct dns_record) + sizeof(struct hw_ip)))

/* A whole answer: its IP header ends where UDP begins, and behind its end lie zeros, which no checksum minds. */
struct dns_answer {
	__u8 ip[sizeof(struct ipv6hdr)];
	struct udphdr udp;
	struct dns_header dns;
	__u8 body[DNS_BODY];
};

#define DNS_HEAD (sizeof(struct udphdr) + sizeof(struct dns_header))

_Static_assert((DNS_HEAD + DNS_BODY) % 4 == 0 && DNS_HEAD + DNS_BODY <= 512, "what bpf_csum_diff takes at once");

/*
 * Keeps the compiler from leaving out, or asking otherwise, what only it knows to be so. Verifiers before Linux 6.8 do not
 * even learn from `!= 0` that a number is at least 1: sizes for helpers are therefore one more than what was checked.
 */
static __always_inline __u32 dns_checked(__u32 number)
{
	asm volatile("" : "+r"(number));
	return number;
}

/* Bytes of a name with its end; 0: none, or none of ours. */
static __always_inline __u32 dns_end(const __u8 name[HW_NAME_BYTES])
{
	__u32 at = 0, i;

	for (i = 0; i < DNS_LABELS; i++) {
		__u8 size = name[at & (HW_NAME_BYTES - 1)];

		if (!size)
			return i ? at + 1 : 0;
		/* Longer ones are compression, which a question has no use for. */
		if (size > 63)
			return 0;
		at += size + 1;
		if (at >= HW_NAME_BYTES)
			return 0;
	}
	return 0;
}

/* Writes a record at `at`; returns where the next one goes. */
static __always_inline __u32 dns_add(struct dns_answer *answer, __u32 at, __u16 type, const void *data, __u32 size)
{
	struct dns_record *record;

	at = dns_checked(at);
	if (at > DNS_BODY - sizeof(*record) - size)
		return at;
	record = (struct dns_record *)&answer->body[at];
	record->name = bpf_htons(0xc000 | sizeof(struct dns_header)); /* the question's */
	record->type = bpf_htons(type);
	record->class = bpf_htons(DNS_IN);
	record->ttl[1] = bpf_htons(DNS_TTL);
	record->size = bpf_htons(size);
	__builtin_memcpy(record + 1, data, size);
	answer->dns.answers += bpf_htons(1);
	return at + sizeof(*record) + size;
}

/* All addresses of a family, beginning with another one each time. Where the answer ends. */
static __always_inline __u32 dns_add_addresses(struct dns_answer *answer, __u32 at, __u16 type, const struct hw_ip *addresses)
{
	__u32 count, start, i;

	for (count = 0; count < HW_NAME_ADDRESSES; count++) {
		if (ip_is_zero(&addresses[count]))
			break;
	}
	if (!count)
		return at;
	start = bpf_ntohs(answer->dns.id) % count;
	for (i = 0; i < HW_NAME_ADDRESSES; i++) {
		const struct hw_ip *ip = &addresses[(start + i < count ? start + i : start + i - count) & (HW_NAME_ADDRESSES - 1)];

		if (i >= count)
			break;
		at = type == DNS_A ? dns_add(answer, at, type, &ip->words[3], 4) : dns_add(answer, at, type, ip, 16);
	}
	return at;
}

/* The name behind an address. Copied with the zeros behind it, which stay behind the answer's end. */
static __always_inline __u32 dns_add_pointer(struct dns_answer *answer, __u32 at, const struct hw_name_pointer *pointer)
{
	struct dns_record *record;
	__u32 size = dns_end(pointer->name);

	at = dns_checked(at);
	if (!size || at > DNS_BODY - sizeof(*record) - HW_NAME_BYTES)
		return at;
	dns_add(answer, at, DNS_PTR, pointer->name, HW_NAME_BYTES);
	record = (struct dns_record *)&answer->body[at];
	record->size = bpf_htons(size);
	return at + sizeof(*record) + size;
}
