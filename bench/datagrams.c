/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small UDP packets for the benchmarks of policy: the sender's own time is what it costs to carry them, because on one
 * host the way to the receiver's socket is walked within the system call that sends.
 *
 *   datagrams serve  ADDRESS PORT                              answers what begins with 'e'; the kernel drops all else unread
 *   datagrams open   ADDRESS PORT SOURCEPORT                   one exchange, so that the flow is established
 *   datagrams send   ADDRESS PORT FIRST FLOWS COUNT SECONDS    from ports FIRST… one after the other; prints packets and ns of each
 *   datagrams forget                                           every flow that netfilter tracks in this namespace
 */
#include <arpa/inet.h>
#include <err.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 16

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int opened(int domain, int type, int protocol)
{
	int fd = socket(domain, type, protocol);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

static int bound(const struct sockaddr_in *at)
{
	int fd = opened(AF_INET, SOCK_DGRAM, 0);

	if (bind(fd, (const struct sockaddr *)at, sizeof(*at)))
		err(1, "bind");
	return fd;
}

static void serve(const struct sockaddr_in *at)
{
	/* The payload lies behind the eight bytes of the UDP header. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'e', 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	int fd = bound(at);
	char byte;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)))
		err(1, "SO_ATTACH_FILTER");
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);

		if (recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&from, &size) == 1)
			sendto(fd, &byte, 1, 0, (struct sockaddr *)&from, size);
	}
}

static void exchange(const struct sockaddr_in *to, int port)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct timeval patience = { .tv_usec = 200000 };
	int fd = bound(&from);
	char byte = 'e';

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int attempt = 0; attempt < 10; attempt++) {
		sendto(fd, &byte, 1, 0, (const struct sockaddr *)to, sizeof(*to));
		if (recv(fd, &byte, 1, 0) == 1)
			return;
	}
	errx(1, "no answer");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Raw, so that one socket sends from every port. Of the batches' times the median counts: while the machine does something
 * else for a moment, a few of them tell of that.
 */
static void stream(const struct sockaddr_in *to, int first, int flows, long count, double seconds)
{
	struct {
		struct iphdr ip;
		struct udphdr udp;
		char payload[32];
	} packet = {
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .daddr = to->sin_addr.s_addr },
		.udp = { .dest = to->sin_port, .len = htons(sizeof(packet.udp) + sizeof(packet.payload)) },
	};
	int fd = opened(AF_INET, SOCK_RAW, IPPROTO_RAW);
	double *times = calloc(count / BATCH + 1, sizeof(*times)), start = now();
	long sent = 0, batches = 0;

	if (!times)
		err(1, "calloc");
	while (sent + BATCH <= count && now() - start < seconds) {
		double begin = now();

		for (int i = 0; i < BATCH; i++, sent++) {
			packet.udp.source = htons(first + sent % flows);
			if (sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)to, sizeof(*to)) < 0)
				err(1, "sendto");
		}
		times[batches++] = (now() - begin) / BATCH * 1e9;
	}
	qsort(times, batches, sizeof(*times), compare);
	printf("%ld %.0f %.0f\n", sent, times[batches / 2], (now() - start) / sent * 1e9);
}

static void forget(void)
{
	struct {
		struct nlmsghdr head;
		struct nfgenmsg family;
	} request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		},
		.family = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 },
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
	} answer;
	int fd = opened(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);

	if (send(fd, &request, sizeof(request), 0) < 0 || recv(fd, &answer, sizeof(answer), 0) < (ssize_t)sizeof(answer))
		err(1, "netlink");
	if (answer.error.error)
		errx(1, "flows are not forgotten: %s", strerror(-answer.error.error));
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	const char *what = argc > 1 ? argv[1] : "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 2 && !strcmp(what, "forget")) {
		forget();
		return 0;
	}
	if (argc < 4 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		errx(2, "usage: datagrams serve ADDRESS PORT | open ADDRESS PORT SOURCEPORT | send ADDRESS PORT FIRST FLOWS COUNT SECONDS | forget");
	to.sin_port = htons(atoi(argv[3]));
	if (argc == 4 && !strcmp(what, "serve"))
		serve(&to);
	else if (argc == 5 && !strcmp(what, "open"))
		exchange(&to, atoi(argv[4]));
	else if (argc == 8 && !strcmp(what, "send"))
		stream(&to, atoi(argv[4]), atoi(argv[5]), atol(argv[6]), atof(argv[7]));
	else
		errx(2, "usage: see above");
	return 0;
}
