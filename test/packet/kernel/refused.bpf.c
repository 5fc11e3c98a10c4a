/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What no verifier lets pass: a packet read without looking at its end. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int reads_beyond(struct __sk_buff *skb)
{
	return *(__u32 *)(long)skb->data;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
