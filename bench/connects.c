/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a socket call costs in time of the processor: UDP, because its connect sends nothing, so that there is little beside the hooks.
 *
 *   connects connect ADDRESS PORT COUNT      one socket again and again; prints ns of each
 *   connects send    ADDRESS PORT COUNT      without a connection
 *   connects fresh   ADDRESS PORT COUNT      a new socket each time, its making and end included
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static struct sockaddr_storage address_of(const char *text, int port, socklen_t *size)
{
	struct sockaddr_storage at = { 0 };
	struct sockaddr_in *in = (struct sockaddr_in *)&at;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&at;

	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		*size = sizeof(*in);
	} else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		*size = sizeof(*in6);
	} else {
		errx(1, "no address: %s", text);
	}
	return at;
}

int main(int argc, char **argv)
{
	struct sockaddr_storage at;
	socklen_t size;
	long count, i;
	double begin;
	int fd;

	if (argc != 5)
		errx(1, "connects connect|send|fresh ADDRESS PORT COUNT");
	at = address_of(argv[2], atoi(argv[3]), &size);
	count = atol(argv[4]);
	fd = socket(at.ss_family, SOCK_DGRAM, 0);
	if (fd < 0)
		err(1, "socket");
	begin = now();
	for (i = 0; i < count; i++) {
		if (!strcmp(argv[1], "fresh")) {
			close(fd);
			fd = socket(at.ss_family, SOCK_DGRAM, 0);
		}
		if (!strcmp(argv[1], "send") ? sendto(fd, "", 1, 0, (struct sockaddr *)&at, size) < 0 : connect(fd, (struct sockaddr *)&at, size))
			err(1, "%s", argv[1]);
	}
	printf("%.1f\n", (now() - begin) / count);
	return 0;
}
