/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of the benchmarks: a server that does what each connection's first byte asks, and three clients.
 *
 *   traffic serve PORT
 *   traffic stream ADDRESS PORT SECONDS    one TCP stream, prints bit/s
 *   traffic rr     ADDRESS PORT SECONDS    one byte there and back over one connection, prints exchanges/s
 *   traffic crr    ADDRESS PORT SECONDS    connect, one byte there and back, close; prints exchanges/s
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char buffer[256 * 1024];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int tcp(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		err(1, "socket");
	return fd;
}

static int dial(const struct sockaddr_in *to)
{
	/* Closing with a reset leaves no TIME_WAIT, so that source ports do not run out. */
	struct linger reset = { 1, 0 };
	int fd = tcp();

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		err(1, "connect");
	return fd;
}

static void answer(int fd)
{
	int one = 1;
	ssize_t n;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (read(fd, buffer, 1) != 1)
		return;
	if (buffer[0] == 's') {
		while (read(fd, buffer, sizeof(buffer)) > 0)
			;
		return;
	}
	do {
		if (write(fd, buffer, 1) != 1)
			return;
		n = read(fd, buffer, 1);
	} while (n == 1);
}

static void serve(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, fd = tcp(), peer;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1024))
		err(1, "listen");
	/* Connections come one after the other: answering in this process keeps fork out of the measurement. */
	while ((peer = accept(fd, NULL, NULL)) >= 0) {
		answer(peer);
		close(peer);
	}
}

static void exchange(int fd, char byte)
{
	if (write(fd, &byte, 1) != 1 || read(fd, buffer, 1) != 1)
		err(1, "exchange");
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	double start, seconds, count = 0;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc == 3 && !strcmp(argv[1], "serve")) {
		serve(atoi(argv[2]));
		return 1;
	}
	if (argc != 5 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1)
		errx(2, "usage: traffic serve PORT | stream|rr|crr ADDRESS PORT SECONDS");
	to.sin_port = htons(atoi(argv[3]));
	seconds = atof(argv[4]);
	start = now();
	if (!strcmp(argv[1], "crr")) {
		for (; now() - start < seconds; count++) {
			fd = dial(&to);
			exchange(fd, 'c');
			close(fd);
		}
	} else {
		fd = dial(&to);
		if (!strcmp(argv[1], "stream")) {
			memset(buffer, 's', sizeof(buffer));
			while (now() - start < seconds) {
				ssize_t n = write(fd, buffer, sizeof(buffer));

				if (n <= 0)
					err(1, "write");
				count += n * 8.0;
			}
		} else {
			for (; now() - start < seconds; count++)
				exchange(fd, 'r');
		}
	}
	printf("%.0f\n", count / (now() - start));
	return 0;
}
