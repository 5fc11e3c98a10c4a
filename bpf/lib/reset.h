/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a closed port says to a segment (RFC 9293 3.10.7.1), as far as it does not depend on the family. */
#pragma once

#include <linux/tcp.h>
#include <bpf/bpf_endian.h>

#include "lib/pure/checksum.h"

#define RESET_RST 0x04
#define RESET_ACK 0x10

/* `length`: bytes of the segment, its header with them. The checksum is left to the caller. */
static __always_inline void reset_turn(struct tcphdr *tcp, __u32 length)
{
	__u8 flags = ((__u8 *)tcp)[13];
	__be16 port = tcp->source;
	__be32 next = bpf_htonl(bpf_ntohl(tcp->seq) + length - tcp->doff * 4 + tcp->syn + tcp->fin);

	tcp->source = tcp->dest;
	tcp->dest = port;
	tcp->seq = flags & RESET_ACK ? tcp->ack_seq : 0;
	tcp->ack_seq = flags & RESET_ACK ? 0 : next;
	((checksum_u16 *)tcp)[6] = bpf_htons(5 << 12 | RESET_RST | (flags & RESET_ACK ? 0 : RESET_ACK));
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
}
