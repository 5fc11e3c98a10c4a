/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Numbers on the wire whose UAPI headers cannot be included for the bpf target (they want libc's sockets). */
#pragma once

#include <linux/types.h>

#define WIRE_AF_INET  2
#define WIRE_AF_INET6 10

#define WIRE_ARP_ETHERNET 1
#define WIRE_ARP_REQUEST  1
#define WIRE_ARP_REPLY	  2

#define WIRE_PROTO_SCTP 132

/* RFC 792 */
#define WIRE_ICMP_ECHO_REPLY	0
#define WIRE_ICMP_UNREACHABLE	3
#define WIRE_ICMP_ECHO		8
#define WIRE_ICMP_TIME_EXCEEDED 11
#define WIRE_ICMP_PARAMETER	12

/* RFC 4443: errors are 1…4 */
#define WIRE_ICMP6_UNREACHABLE	 1
#define WIRE_ICMP6_TOO_BIG	 2
#define WIRE_ICMP6_TIME_EXCEEDED 3
#define WIRE_ICMP6_PARAMETER	 4
#define WIRE_ICMP6_ECHO		 128
#define WIRE_ICMP6_ECHO_REPLY	 129

/* RFC 4861 */
#define WIRE_ND_RS	 133
#define WIRE_ND_RA	 134
#define WIRE_ND_NS	 135
#define WIRE_ND_NA	 136
#define WIRE_ND_REDIRECT 137

/* The start of every ICMP message, of both families. */
struct wire_icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be16 id;
	__be16 sequence;
};
