/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Copies of packets cannot enter a container by redirect_peer: they leave by the host end of its veth, where to_container
 * looks at all that comes, and knows them by their mark.
 *
 *   handover_give   marks the packet, and sends a copy of it as it is
 *   handover_take   whether one of ours gave it; the mark goes no further
 *
 * No packet keeps a mark when it leaves a namespace, and what the host's own programs may mark they would have to guess.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "lib/config.h"

/* The packet's copies are on their way, and it goes no further itself: tcx knows no other word for that. */
#define HANDOVER_DONE TC_ACT_SHOT

/* False: it was not sent, because the agent gave us no mark or the device is down. */
static __always_inline bool handover_give(struct __sk_buff *skb, __u32 ifindex)
{
	if (!hw_config.mark)
		return false;
	skb->mark = hw_config.mark;
	return !bpf_clone_redirect(skb, ifindex, 0);
}

static __always_inline bool handover_take(struct __sk_buff *skb)
{
	if (!hw_config.mark || skb->mark != hw_config.mark)
		return false;
	skb->mark = 0;
	return true;
}
