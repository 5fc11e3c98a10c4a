/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The one way out of every program: counts, tells, and turns a verdict into what the kernel wants.
 *
 *   >= 0  TC_ACT_* or HW_PASS     ▸ counted as forwarded; told in the ring when its flow was judged
 *   <  0  a negated drop reason   ▸ counted under it, told in the ring, TC_ACT_SHOT
 *
 * A packet of the host's own that netdev lets pass is nobody's business: it goes by exit_untouched.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include "lib/events.h"
#include "lib/metrics.h"

/* `judgement` NULL: of a program that asks no policy. `quiet`: a drop that nobody need be told of. */
static __always_inline int exit_with(const struct __sk_buff *skb, const struct packet *p, const struct judgement *judgement,
				     __u32 network, __u8 direction, bool quiet, int verdict)
{
	__u32 reason = verdict < 0 ? -verdict & (HW_METRIC_REASONS - 1) : 0;
	bool telling = reason ? !quiet : judgement && judgement->verdict;

	metrics_count(direction, reason, skb->len);
	if (__builtin_expect(telling, false) && !events_tell(skb, p, judgement, network, direction, reason))
		metrics_count(direction, HW_DROP_EVENT_LOST, skb->len);
	if (reason)
		return TC_ACT_SHOT;
	return verdict == HW_PASS ? TC_ACT_UNSPEC : verdict;
}

static __always_inline int exit_untouched(void)
{
	return TC_ACT_UNSPEC;
}
