// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Service addresses, at an uplink before all else: XDP.
 *
 *   frame ▸ a service's address and port? ─ no ─▸ passed, untouched and uncounted
 *             └ backend (lib/lbchoose.h) ▸ here: passed to netdev
 *                                        ▸ elsewhere: wrapped (lib/lbwrap.h), translated (lib/lbsnat.h) ▸ out by its next hop
 *             └ what a backend answers this node (lib/lbsnat.h) ▸ translated ▸ to the client
 *             └ anything else for the address (lib/lbother.h): errors and fragments go where their flow goes, the rest is answered
 */
#include "lib/lbchoose.h"
#include "lib/lbhop.h"
#include "lib/lbother.h"
#include "lib/lbpacket.h"
#include "lib/lbsnat.h"
#include "lib/lbwrap.h"
#include "lib/metrics.h"
#include "lib/xdp.h"

/* Of a verdict: XDP_TX or XDP_REDIRECT, and nothing that is left to do. */
#define IS_SENT(verdict) ((verdict) == XDP_TX || (verdict) == XDP_REDIRECT)

/* Too long for the way: told to the client, who then sends what fits. */
static __always_inline int refuse_length(const struct lbpacket *p, __u32 mtu)
{
	if (p->kind == LBPACKET_ERROR || p->fragment == PACKET_LATER)
		return -HW_DROP_MTU_EXCEEDED;
	return LBANSWER_TOO_LONG(mtu);
}

/* Longer than the wire allows: segments that somebody has put together before us, which netdev can tell from one packet. */
static __always_inline bool is_several(struct xdp_md *ctx, const struct lbpacket *p)
{
	const struct hw_uplink *uplink = uplinks_find(ctx->ingress_ifindex);

	return uplink && p->size > uplink->mtu;
}

/* `mode` and `outer4`: the backend's, which each caller knows, so that nothing is asked twice. */
static __always_inline int send_wrapped(struct xdp_md *ctx, const struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, __u8 mode,
					int family, bool outer4)
{
	const __u32 bytes = lbwrap_bytes(mode, family, outer4);

	if (p->size + bytes > backend->mtu)
		return is_several(ctx, p) ? LBOTHER_PASS : refuse_length(p, backend->mtu - bytes);
	lbbackends_count(number, p->size, p->kind);
	if (!lbwrap(ctx, backend, number, p, mode, family, outer4))
		return -HW_DROP_REWRITE_FAILED;
	metrics_count(HW_DIRECTION_TO_SERVICE, 0, xdp_length(ctx));
	return backend->ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(backend->ifindex, 0);
}

/* Counts what was translated. */
static __always_inline int translated(struct xdp_md *ctx, int verdict)
{
	if (IS_SENT(verdict))
		metrics_count(HW_DIRECTION_TO_SERVICE, 0, xdp_length(ctx));
	return verdict;
}

static __always_inline int send(struct xdp_md *ctx, struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, int family)
{
	if (backend->mode == HW_LB_LOCAL) {
		lbbackends_count(number, p->size, LBPACKET_GOES_ON);
		return LBOTHER_PASS;
	}
	/* netdev finds neighbours, and says why there is no way. */
	if (!lbhop_is_known(ctx, backend, number))
		return LBOTHER_PASS;
	if (__builtin_expect(backend->mode == HW_LB_IPIP, 1))
		return backend->outer4 ? send_wrapped(ctx, backend, number, p, HW_LB_IPIP, family, true)
				       : send_wrapped(ctx, backend, number, p, HW_LB_IPIP, family, false);
	if (backend->mode == HW_LB_SNAT) {
		struct lbsnat *s = lbsnat_same();

		if (!s)
			return LBOTHER_PASS;
		s->p = *p;
		/* Nobody asks for it from here on, so that it need not be kept until here. */
		s->p.table = (struct lbfrontends_table){ 0 };
		s->backend = number;
		if (p->proto == WIRE_PROTO_SCTP)
			return -HW_DROP_SERVICE_PROTOCOL;
		lbbackends_count(number, p->size, p->kind);
		return translated(ctx, lbsnat_send(ctx, s, backend, family));
	}
	return backend->outer4 ? send_wrapped(ctx, backend, number, p, HW_LB_GENEVE, family, true)
			       : send_wrapped(ctx, backend, number, p, HW_LB_GENEVE, family, false);
}

/* Nobody can take it. */
static __always_inline int refuse(const struct lbpacket *p)
{
	if (p->kind == LBPACKET_ERROR || p->fragment != PACKET_WHOLE)
		return -HW_DROP_SERVICE_EMPTY;
	return lbanswer_refusal(p->proto, HW_DROP_SERVICE_EMPTY);
}

static __always_inline bool load_client(struct xdp_md *ctx, __u32 at, struct hw_ip *client, int family)
{
	*client = (struct hw_ip){ 0 };
	if (family == 6)
		return !bpf_xdp_load_bytes(ctx, at, client, 16);
	client->words[2] = LBFRONTENDS_MAPPED;
	return !bpf_xdp_load_bytes(ctx, at, &client->words[3], 4);
}

/* With whom the client stays, by number; 0: nobody. `at`: the client's address in the frame. Its values apart, so that no packet need lie on the stack. */
static __noinline __u32 choose_stay4(struct xdp_md *ctx, __u32 at, __u64 hash, __u32 frontend, __u32 kind)
{
	struct hw_ip client;

	return load_client(ctx, at, &client, 4) ? lbchoose_stay(&client, hash, frontend, kind) : 0;
}

static __noinline __u32 choose_stay6(struct xdp_md *ctx, __u32 at, __u64 hash, __u32 frontend, __u32 kind)
{
	struct hw_ip client;

	return load_client(ctx, at, &client, 6) ? lbchoose_stay(&client, hash, frontend, kind) : 0;
}

/* Of a plain packet the address is where such packets have it, and no helper is called. */
static __always_inline bool client_may(struct xdp_md *ctx, const struct lbpacket *p, union lbservices_asks asks, int family)
{
	const __u32 plain = family == 4 ? LBPACKET_CLIENT4 : LBPACKET_CLIENT6;
	const struct hw_ip *near = xdp_at(ctx, plain, family == 4 ? 4 : 16);
	struct hw_ip client;

	if (p->client == plain && near)
		return family == 4 ? lbsources_near(asks, 4, 0, bpf_ntohl(*(const __be32 *)near))
				   : lbsources_near(asks, 6, lbsources_high(near), lbsources_low(near));
	return load_client(ctx, p->client, &client, family) && lbsources_may(asks, &client);
}

static __always_inline int carry(struct xdp_md *ctx, const struct lbpacket *p, int family)
{
	struct lbfrontends_table table = p->table;
	struct hw_lb_backend *backend = NULL;
	__u32 number = 0;

	if (__builtin_expect(table.slots == 0, 0)) {
		const struct hw_lb_service *service = lbservices_find((__u16)p->frontend);
		union lbservices_asks asks;

		if (!service)
			return refuse(p);
		asks = lbservices_asks(service);
		if (asks.depth && !client_may(ctx, p, asks, family))
			return -HW_DROP_SERVICE_SOURCE;
		table = lbservices_table(service);
		if (!table.slots)
			return refuse(p);
		if (asks.flags & HW_LB_SERVICE_AFFINITY) {
			number = family == 4 ? choose_stay4(ctx, p->client, p->hash, p->frontend, p->kind) :
					       choose_stay6(ctx, p->client, p->hash, p->frontend, p->kind);
			backend = lbbackends_find(number);
		} else {
			backend = lbchoose_by_slot(p, table, p->hash, &number);
		}
	} else {
		backend = lbchoose_by_slot(p, table, p->hash, &number);
	}
	return backend ? send(ctx, backend, number, p, family) : refuse(p);
}

static __always_inline int balance(struct xdp_md *ctx, int family)
{
	struct lbpacket plain, other;
	int reading, verdict;

	if (__builtin_expect(family == 4 ? lbsnat_may_answer4(ctx) : lbsnat_may_answer6(ctx), 0)) {
		verdict = lbsnat_answer(ctx, family);
		if (verdict != LBOTHER_PASS)
			return translated(ctx, verdict);
	}
	reading = family == 4 ? lbpacket_read4(xdp_start(ctx), xdp_end(ctx), &plain) : lbpacket_read6(xdp_start(ctx), xdp_end(ctx), &plain);
	if (__builtin_expect(reading == LBPACKET_NOT, 1))
		return LBOTHER_PASS;
	/* Twice, because of a plain packet most is known beforehand. */
	if (__builtin_expect(reading == LBPACKET_READ, 1))
		return carry(ctx, &plain, family);
	__builtin_memset(&other, 0, sizeof(other));
	verdict = lbother_read(ctx, family, &other);
	return verdict ? verdict : carry(ctx, &other, family);
}

/* The address family of the frame; 0: none that may be a service's. */
static __always_inline int family_of(struct xdp_md *ctx)
{
	const __be16 *proto = xdp_at(ctx, __builtin_offsetof(struct ethhdr, h_proto), sizeof(*proto));

	if (!proto)
		return 0;
	if (*proto == bpf_htons(ETH_P_IP))
		return 4;
	return *proto == bpf_htons(ETH_P_IPV6) && hw_config.ipv6 ? 6 : 0;
}

static __always_inline int lb(struct xdp_md *ctx)
{
	int family = family_of(ctx), verdict = LBOTHER_PASS, reason = 0;

	if (family == 4)
		verdict = balance(ctx, 4);
	else if (family == 6)
		verdict = balance(ctx, 6);
	/* Counted where it was sent. */
	if (__builtin_expect(IS_SENT(verdict), 1))
		return verdict;
	if (verdict == LBOTHER_PASS)
		return XDP_PASS;
	if (verdict > 0) {
		reason = verdict >> 16 & 0xff;
		verdict = lbanswer_make(ctx, family, verdict);
	}
	if (verdict < 0)
		reason = -verdict;
	metrics_count(HW_DIRECTION_TO_SERVICE, reason & (HW_METRIC_REASONS - 1), xdp_length(ctx));
	return verdict < 0 ? XDP_DROP : verdict;
}

SEC("xdp")
int xdp_lb(struct xdp_md *ctx)
{
	return lb(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
