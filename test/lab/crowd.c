/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many TCP connections that talk all the time, and every byte of them checked.
 *
 *   crowd serve PORT NAME PROCESSES                        greets with `NAME CLIENT PORT`, then echoes
 *   crowd ask SOURCE PERIOD ADDRESS PORT                   asks such servers; commands come on standard input, a line each:
 *       open N     N more connections; prints `opened` when each is greeted or has failed
 *       report     prints one line of JSON: of each server's name its connections
 *
 * Each connection comes from a port of its own of SOURCE, and sends some bytes every PERIOD ms, of which the echo must be the same.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PORT = 10000, MOST_NAMES = 64, AT_ONCE = 256, EVENTS = 512, STALE_MS = 1000, ERRORS = 256 };
enum state { CONNECTING, READY, WAITING, LOST };

struct connection {
	int fd;
	uint8_t state;
	uint8_t name;
	uint16_t got; /* of the greeting, or of an echo */
	uint32_t exchanges;
	int64_t since;
	char greeting[48];
};

struct name {
	char text[32];
	long lost;
};

static struct connection *all;
static struct name names[MOST_NAMES];
static int known = 1; /* names[0]: of those that were never greeted */
static long count, wanted, pending, exchanges, wrong, longest, errors[ERRORS];
static int poll_fd;
static struct sockaddr_storage target, source;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void watch(int fd, uint64_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };

	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
}

static socklen_t address_of(struct sockaddr_storage *address, const char *text, int port)
{
	struct sockaddr_in *four = (void *)address;
	struct sockaddr_in6 *six = (void *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		fail(text);
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(port);
	return sizeof(*six);
}

/* `ADDRESS PORT`; of IPv4 that came to an IPv6 socket, IPv4's. */
static void text_of(const struct sockaddr_storage *address, char *text, size_t size)
{
	const struct sockaddr_in *four = (const void *)address;
	const struct sockaddr_in6 *six = (const void *)address;
	char host[INET6_ADDRSTRLEN];

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
	snprintf(text, size, "%s %d", strncmp(host, "::ffff:", 7) ? host : host + 7, ntohs(four->sin_port));
}

/* In so many processes, of which each may have as many files as one may. */
static _Noreturn void serve(int port, const char *name, int processes)
{
	int listener, off = 0, on = 1;
	struct epoll_event events[EVENTS];
	struct sockaddr_storage address;

	while (--processes > 0 && fork())
		;
	poll_fd = epoll_create1(0);
	listener = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(listener, (void *)&address, address_of(&address, "::", port)) || listen(listener, 4096))
		fail("listen");
	watch(listener, (uint64_t)listener);
	puts("ready");
	fflush(stdout);
	for (;;) {
		int ready = epoll_wait(poll_fd, events, EVENTS, -1);

		for (int i = 0; i < ready; i++) {
			int fd = (int)events[i].data.u64;
			char text[4096], client[64];
			ssize_t size;

			if (fd == listener) {
				socklen_t length = sizeof(address);
				int peer = accept4(listener, (void *)&address, &length, SOCK_NONBLOCK);

				if (peer < 0)
					continue;
				text_of(&address, client, sizeof(client));
				size = snprintf(text, sizeof(text), "%s %s\n", name, client);
				setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
				watch(peer, (uint64_t)peer);
				fd = peer;
			} else {
				size = recv(fd, text, sizeof(text), 0);
			}
			if (size < 0 && errno == EAGAIN)
				continue;
			if (size <= 0 || send(fd, text, (size_t)size, MSG_NOSIGNAL) != size)
				close(fd);
		}
	}
}

static uint32_t mixed(uint32_t word)
{
	word = (word ^ (word >> 16)) * 0x85ebca6b;
	word = (word ^ (word >> 13)) * 0xc2b2ae35;
	return word ^ (word >> 16);
}

/* What a connection sends in its N-th exchange. */
static size_t message_of(uint32_t index, uint32_t number, unsigned char *bytes)
{
	uint32_t seed = mixed(index * 2654435761u + number);
	size_t size = 16 + seed % 200;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)mixed(seed + i);
	return size;
}

static void lose(long index, int error)
{
	struct connection *one = &all[index];

	if (one->state == CONNECTING)
		pending--;
	errors[error < ERRORS ? error : 0]++;
	names[one->name].lost++;
	one->state = LOST;
	close(one->fd);
}

static void begin(long index)
{
	struct connection *one = &all[index];
	struct sockaddr_storage from = source;
	socklen_t length = source.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int on = 1;

	((struct sockaddr_in *)&from)->sin_port = htons((uint16_t)(FIRST_PORT + index));
	one->fd = socket(source.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (one->fd < 0 || FIRST_PORT + index > 65535)
		fail("socket");
	setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(one->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	one->state = CONNECTING;
	one->since = now_ms();
	pending++;
	if (bind(one->fd, (void *)&from, length))
		fail("bind");
	if (connect(one->fd, (void *)&target, length) && errno != EINPROGRESS)
		lose(index, errno);
	else
		watch(one->fd, (uint64_t)index);
}

/* `NAME CLIENT PORT`, of which the client must be us. */
static void greeted(long index)
{
	struct connection *one = &all[index];
	struct sockaddr_storage own;
	socklen_t length = sizeof(own);
	char expected[64], *rest = strchr(one->greeting, ' ');
	int name = 1;

	getsockname(one->fd, (void *)&own, &length);
	text_of(&own, expected, sizeof(expected));
	if (!rest || strcmp(rest + 1, expected)) {
		fprintf(stderr, "connection %ld is %s, and was greeted with %s\n", index, expected, one->greeting);
		wrong++;
	}
	one->greeting[strcspn(one->greeting, " ")] = 0;
	while (name < known && strcmp(names[name].text, one->greeting))
		name++;
	if (name == known) {
		if (known++ == MOST_NAMES)
			exit(3);
		snprintf(names[name].text, sizeof(names[name].text), "%.31s", one->greeting);
	}
	one->name = (uint8_t)name;
	one->state = READY;
	one->got = 0;
	pending--;
}

static void receive(long index)
{
	struct connection *one = &all[index];
	unsigned char expected[256], bytes[256];
	size_t whole;
	ssize_t size;

	if (one->state == LOST)
		return;
	size = recv(one->fd, bytes, sizeof(bytes), 0);
	if (size < 0 && errno == EAGAIN)
		return;
	if (size <= 0)
		return lose(index, size < 0 ? errno : 0);
	if (one->state == CONNECTING) {
		for (ssize_t i = 0; i < size && one->state == CONNECTING; i++) {
			if (one->got == sizeof(one->greeting))
				return lose(index, EPROTO);
			one->greeting[one->got++] = (char)bytes[i];
			if (bytes[i] == '\n') {
				one->greeting[one->got - 1] = 0;
				greeted(index);
			}
		}
		return;
	}
	whole = message_of((uint32_t)index, one->exchanges, expected);
	if (one->state != WAITING || one->got + (size_t)size > whole || memcmp(expected + one->got, bytes, (size_t)size)) {
		wrong++;
		return lose(index, EPROTO);
	}
	one->got += (uint16_t)size;
	if (one->got < whole)
		return;
	if (now_ms() - one->since > longest)
		longest = now_ms() - one->since;
	one->state = READY;
	one->got = 0;
	one->exchanges++;
	exchanges++;
}

static void speak(long index)
{
	struct connection *one = &all[index];
	unsigned char bytes[256];
	size_t size;

	if (one->state != READY)
		return;
	size = message_of((uint32_t)index, one->exchanges, bytes);
	one->since = now_ms();
	one->state = WAITING;
	if (send(one->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
		lose(index, errno);
}

static void report(void)
{
	printf("{\"servers\":{");
	for (int name = 1; name < known; name++) {
		long open = 0, stale = 0;

		for (long i = 0; i < count; i++) {
			if (all[i].name != name || all[i].state == LOST)
				continue;
			open++;
			stale += all[i].state == WAITING && now_ms() - all[i].since > STALE_MS;
		}
		printf("%s\"%s\":{\"open\":%ld,\"stale\":%ld,\"lost\":%ld}", name > 1 ? "," : "", names[name].text, open, stale, names[name].lost);
	}
	printf("},\"refused\":%ld,\"wrong\":%ld,\"exchanges\":%ld,\"longestMs\":%ld,\"errors\":{", names[0].lost, wrong, exchanges, longest);
	for (int error = 0, told = 0; error < ERRORS; error++)
		if (errors[error])
			printf("%s\"%s\":%ld", told++ ? "," : "", error ? strerrorname_np(error) : "CLOSED", errors[error]);
	puts("}}");
	fflush(stdout);
	longest = 0;
}

static void obey(char *line)
{
	long more;

	if (!strcmp(line, "report"))
		return report();
	if (sscanf(line, "open %ld", &more) != 1)
		return;
	wanted += more;
	all = realloc(all, (size_t)wanted * sizeof(*all));
	if (!all)
		fail("realloc");
	memset(all + (wanted - more), 0, (size_t)more * sizeof(*all));
}

static int ask(int64_t period)
{
	struct epoll_event events[EVENTS];
	char commands[256];
	size_t typed = 0;
	int64_t turn = now_ms();
	long next = 0;
	bool told = true;

	watch(0, UINT64_MAX);
	for (;;) {
		int ready = epoll_wait(poll_fd, events, EVENTS, 5);

		for (int i = 0; i < ready; i++) {
			if (events[i].data.u64 != UINT64_MAX) {
				receive((long)events[i].data.u64);
				continue;
			}
			ssize_t size = read(0, commands + typed, sizeof(commands) - 1 - typed);
			char *end;

			if (size == 0)
				return 0;
			typed += size > 0 ? (size_t)size : 0;
			commands[typed] = 0;
			while ((end = strchr(commands, '\n'))) {
				*end = 0;
				told = told && strncmp(commands, "open", 4);
				obey(commands);
				typed -= (size_t)(end + 1 - commands);
				memmove(commands, end + 1, typed + 1);
			}
		}
		while (count < wanted && pending < AT_ONCE)
			begin(count++);
		if (!told && count == wanted && pending == 0) {
			puts("opened");
			fflush(stdout);
			told = true;
		}
		/* Everyone speaks once a period, spread over it. */
		int64_t passed = now_ms() - turn;
		long due = count * (passed < period ? passed : period) / period;

		if (due > 0) {
			turn += passed;
			for (long i = 0; i < due; i++)
				speak(next++ % count);
		}
	}
}

int main(int argc, char **argv)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ files.rlim_max, files.rlim_max });
	poll_fd = epoll_create1(0);
	if (argc == 5 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]), argv[3], atoi(argv[4]));
	if (argc == 6 && !strcmp(argv[1], "ask")) {
		address_of(&source, argv[2], 0);
		address_of(&target, argv[4], atoi(argv[5]));
		return ask(atol(argv[3]));
	}
	fputs("crowd serve PORT NAME PROCESSES | crowd ask SOURCE PERIOD ADDRESS PORT\n", stderr);
	return 2;
}
