// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Sockets to services and to published ports, translated before a packet exists.
 *
 *   connect, sendmsg      a service's address, of every socket ▸ backend (lib/lbsocket.h), or refused
 *                         a published port, of the host's      ▸ backend (lib/frontends.h)
 *                         and what was asked for is remembered with the socket
 *   getpeername, recvmsg  backend ▸ what was asked for
 *   bind                  a published port is taken: EADDRINUSE
 *
 * Published ports are for the sockets of the host's network namespace only: containers below the same cgroup go their own way to them.
 * A v4-mapped destination of an IPv6 socket is IPv4 here. An IPv6 connect may end at an IPv4 backend, as a
 * v4-mapped address; an IPv6 datagram without connect may not, because the kernel refuses that rewrite.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/types.h"
#include "lib/config.h"
#include "lib/frontends.h"
#include "lib/hostaddrs.h"
#include "lib/lbsocket.h"
#include "lib/metrics.h"
#include "lib/sockaddr.h"
#include "lib/sockorigins.h"

enum { REFUSE = 0, PROCEED = 1 };
enum { TO_V4 = 1, TO_V6 = 2 };
enum call { CONNECT, SENDMSG };

static __always_inline bool is_balanced(const struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP;
}

static __always_inline bool of_the_host(struct bpf_sock_addr *ctx)
{
	if (!is_balanced(ctx))
		return false;
	return hw_config.host_netns_cookie == 0 || bpf_get_netns_cookie(ctx) == hw_config.host_netns_cookie;
}

/* The published port that `to` names, if its backend is of a family that the call can be rewritten to. */
static __always_inline bool ask_ports(struct bpf_sock_addr *ctx, struct sockaddr_value *to, int families, struct hw_sock_origin *origin)
{
	const struct hw_backend *backend;

	if (!of_the_host(ctx))
		return false;
	if (sockaddr_is_any(&to->addr))
		to->addr = sockaddr_loopback(&to->addr);
	else if (!sockaddr_is_loopback(&to->addr) && !hostaddrs_find(&to->addr))
		return false;
	backend = frontends_find(&to->addr, to->port, ctx->protocol);
	if (!backend || !(families & (sockaddr_is_v4(&backend->addr) ? TO_V4 : TO_V6)))
		return false;
	origin->backend = backend->addr;
	origin->backend_port = backend->port;
	return true;
}

/* A client that may not come hears EPERM, what a firewall says; everybody else what an address says where nobody listens. */
static __always_inline int refuse_service(int reason)
{
	metrics_count(HW_DIRECTION_TO_SERVICE, reason & (HW_METRIC_REASONS - 1), 0);
	if (hw_config.set_retval && reason != HW_DROP_SERVICE_SOURCE)
		bpf_set_retval(-ECONNREFUSED);
	return REFUSE;
}

/* `origin->backend_port` 0 afterwards: the call goes where the program said. */
static __always_inline int ask(struct bpf_sock_addr *ctx, struct sockaddr_value *to, int families, enum call call, struct hw_sock_origin *origin)
{
	int found;

	if (!is_balanced(ctx))
		return PROCEED;
	found = lbsocket_find(ctx, &to->addr, to->port, call == SENDMSG, origin);
	if (found < 0)
		return refuse_service(-found);
	if (found == LBSOCKET_NOT && !ask_ports(ctx, to, families, origin)) {
		if (call == CONNECT)
			sockorigins_forget(ctx);
		return PROCEED;
	}
	origin->addr = to->addr;
	origin->port = to->port;
	if (call == CONNECT)
		sockorigins_connected(ctx, origin);
	else
		sockorigins_sent(ctx, origin);
	return PROCEED;
}

static __always_inline int translate4(struct bpf_sock_addr *ctx, enum call call)
{
	struct sockaddr_value to = sockaddr_read4(ctx);
	struct hw_sock_origin origin = { 0 };
	int verdict = ask(ctx, &to, TO_V4, call, &origin);

	if (verdict == PROCEED && origin.backend_port)
		sockaddr_write4(ctx, &origin.backend, origin.backend_port);
	return verdict;
}

static __always_inline int translate6(struct bpf_sock_addr *ctx, int families, enum call call)
{
	struct sockaddr_value to = sockaddr_read6(ctx);
	struct hw_sock_origin origin = { 0 };
	int verdict = ask(ctx, &to, families, call, &origin);

	if (verdict == PROCEED && origin.backend_port)
		sockaddr_write6(ctx, &origin.backend, origin.backend_port);
	return verdict;
}

static __always_inline int restore4(struct bpf_sock_addr *ctx)
{
	struct sockaddr_value from = sockaddr_read4(ctx);
	const struct hw_sock_origin *origin = sockorigins_recall(ctx, &from.addr, from.port);

	if (origin && sockaddr_is_v4(&origin->addr))
		sockaddr_write4(ctx, &origin->addr, origin->port);
	return PROCEED;
}

static __always_inline int restore6(struct bpf_sock_addr *ctx)
{
	struct sockaddr_value from = sockaddr_read6(ctx);
	const struct hw_sock_origin *origin = sockorigins_recall(ctx, &from.addr, from.port);

	if (origin)
		sockaddr_write6(ctx, &origin->addr, origin->port);
	return PROCEED;
}

/*
 * The agent binds a port before it publishes it, to learn whether a host program holds it. What is published it knows
 * itself, so its bind must meet other programs' sockets only.
 */
static __always_inline bool is_agent(void)
{
	return hw_config.agent_pid != 0 && bpf_get_current_pid_tgid() >> 32 == hw_config.agent_pid;
}

/*
 * Whether some published port answers where a bind to `at` would listen. A bind to every address is held against ports published
 * everywhere or at loopback; one published at another single address keeps that address and leaves the rest to the program.
 */
static __always_inline bool is_published(const struct sockaddr_value *at, __u8 proto)
{
	struct hw_ip loopback = sockaddr_loopback(&at->addr);
	const struct hw_ip *addr = sockaddr_is_any(&at->addr) ? &loopback : &at->addr;

	return frontends_find(addr, at->port, proto) != NULL;
}

static __always_inline int refuse_published(struct bpf_sock_addr *ctx, const struct sockaddr_value *at)
{
	struct sockaddr_value at4 = { .port = at->port };
	bool published;

	if (at->port == 0 || !of_the_host(ctx) || is_agent())
		return PROCEED;
	published = is_published(at, ctx->protocol);
	/* A bind to :: listens for IPv4 as well, unless IPV6_V6ONLY is set, which no helper tells. */
	if (!published && sockaddr_is_any(&at->addr) && !sockaddr_is_v4(&at->addr)) {
		at4.addr.words[2] = bpf_htonl(0xffff);
		published = is_published(&at4, ctx->protocol);
	}
	if (!published)
		return PROCEED;
	if (hw_config.set_retval)
		bpf_set_retval(-EADDRINUSE);
	return REFUSE;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return translate4(ctx, CONNECT);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return translate6(ctx, TO_V4 | TO_V6, CONNECT);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return translate4(ctx, SENDMSG);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return translate6(ctx, TO_V6, SENDMSG);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	struct sockaddr_value at = sockaddr_read4(ctx);

	return refuse_published(ctx, &at);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	struct sockaddr_value at = sockaddr_read6(ctx);

	return refuse_published(ctx, &at);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
