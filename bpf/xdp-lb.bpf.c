// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Service addresses, at an uplink before all else: XDP.
 *
 *   frame ▸ a service's address and port? ─ no ─▸ passed, untouched and uncounted
 *             └ backend (lib/lbchoose.h) ▸ here: passed to netdev
 *                                        ▸ elsewhere: wrapped (lib/lbwrap.h) ▸ out by its next hop
 *             └ anything else for the address (lib/lbother.h): errors and fragments go where their flow goes, the rest is answered
 */
#include "lib/lbchoose.h"
#include "lib/lbhop.h"
#include "lib/lbpacket.h"
#include "lib/lbwrap.h"
#include "lib/metrics.h"
#include "lib/xdp.h"

/* Not ours: beside XDP_*, and beside LB_ANSWERED. */
#define LB_PASS 0x100

/* The answer is in the packet's place, and is counted under the reason why it went no further. */
#define LB_ANSWERED(reason) ((int)(reason) << 16 | XDP_TX)

static __always_inline int send(struct xdp_md *ctx, struct hw_lb_backend *backend, __u32 number, const struct lbpacket *p, int family)
{
	if (backend->mode == HW_LB_LOCAL)
		return LB_PASS;
	if (!lbhop_is_known(ctx, backend))
		return -HW_DROP_NO_ROUTE;
	if (p->size + lbwrap_ipip_bytes(backend) > backend->mtu)
		return -HW_DROP_MTU_EXCEEDED;
	lbbackends_count(number, p->size);
	if (!lbwrap_ipip(ctx, backend, p, family))
		return -HW_DROP_REWRITE_FAILED;
	return backend->ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(backend->ifindex, 0);
}

static __always_inline int balance(struct xdp_md *ctx, int family)
{
	const struct hw_lb_service *service;
	struct lbservices_table table;
	struct hw_lb_backend *backend;
	struct lbpacket p;
	__u32 number;
	int reading;

	reading = family == 4 ? lbpacket_read4(xdp_start(ctx), xdp_end(ctx), &p) : lbpacket_read6(xdp_start(ctx), xdp_end(ctx), &p);
	if (reading != LBPACKET_READ)
		return reading == LBPACKET_NOT ? LB_PASS : -HW_DROP_SERVICE_PORT;
	service = lbservices_find(p.service);
	if (!service)
		return -HW_DROP_SERVICE_EMPTY;
	table = lbservices_table(service);
	if (!table.slots)
		return -HW_DROP_SERVICE_EMPTY;
	backend = lbchoose_by_slot(&p, table, p.hash, &number);
	if (!backend)
		return -HW_DROP_SERVICE_EMPTY;
	return send(ctx, backend, number, &p, family);
}

static __always_inline int judge(struct xdp_md *ctx)
{
	const struct ethhdr *eth = xdp_at(ctx, 0, sizeof(*eth));

	if (!eth)
		return LB_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return balance(ctx, 4);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6) && hw_config.ipv6)
		return balance(ctx, 6);
	return LB_PASS;
}

static __always_inline int lb(struct xdp_md *ctx)
{
	int verdict = judge(ctx);
	__u32 reason;

	if (verdict == LB_PASS)
		return XDP_PASS;
	reason = verdict < 0 ? -verdict : verdict >> 16;
	metrics_count(HW_DIRECTION_TO_SERVICE, reason & (HW_METRIC_REASONS - 1), xdp_length(ctx));
	return verdict < 0 ? XDP_DROP : verdict & 0xff;
}

SEC("xdp")
int xdp_lb(struct xdp_md *ctx)
{
	return lb(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
