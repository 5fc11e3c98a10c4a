/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Lets a veth take what its other end sends back by XDP: the kernel wakes only a device that has a program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
