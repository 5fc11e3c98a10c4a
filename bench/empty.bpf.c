/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Does nothing: the floor under what a program costs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return skb->len ? 0 : 2;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
