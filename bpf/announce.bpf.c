// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Sends a frame of the agent's own: it is attached nowhere, and run by the agent (BPF_PROG_RUN) with the frame as its packet. So the agent needs
 * no packet socket.
 *
 *   frame, and in its mark an uplink ▸ a copy goes out there
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* 0, or a negated errno. */
SEC("tc")
int announce(struct __sk_buff *skb)
{
	__u32 ifindex = skb->mark;

	skb->mark = 0;
	return bpf_clone_redirect(skb, ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
