/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How a packet of a service is told to the node that has its container: an ordinary Geneve packet with one option (RFC 8926).
 *
 *   Geneve   03 or 06: words of options │ 40: critical ones │ 65 58 │ key of a node itself 3 │ 0
 *   option   ff 48: class, for experiments │ 81: critical │ 2 or 5: words that follow │ address of the container 4 or 16 │ its port 2
 *            │ how often it was passed on 1 (lib/lbpass.h) │ 01: answers go by way of the node that balanced (lib/lbreturn.h), or 0
 *   inner    its source MAC, when it was passed on: the node that balanced (lib/lbbalancer.h); otherwise that is who sent it
 *
 * Critical: who does not know the option drops the packet. Who does not know the last two bytes serves what comes, answers clients himself, and
 * sends zeros.
 */
#pragma once

#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "abi/types.h"

#define LBGENEVE_KIND4	bpf_htonl(0x03406558)
#define LBGENEVE_KIND6	bpf_htonl(0x06406558)
#define LBGENEVE_KEY	bpf_htonl(HW_TUNNEL_HOST << 8)
#define LBGENEVE_ABOUT4 bpf_htonl(0xff488102)
#define LBGENEVE_ABOUT6 bpf_htonl(0xff488105)

/* Bytes of the option with its head. */
#define LBGENEVE_OPTION4 12
#define LBGENEVE_OPTION6 24

/* The option's last word, whose bytes are port, passed, returns. */
#define LBGENEVE_LAST(port, passed, returns) ((__u32)(port) | (__u32)(passed) << 16 | (__u32)(returns) << 24)
#define LBGENEVE_PORT(last)		     ((__be16)(last))
#define LBGENEVE_PASSED(last)		     ((__u8)((last) >> 16))
#define LBGENEVE_RETURNS(last)		     ((last) >> 24 & 1)

struct lbgeneve {
	struct udphdr udp;
	__be32 kind;
	__be32 key;
	__be32 about;
	__be32 option[];
};
