/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Records of flows, with another CPU's packet between any two steps: a program that is both CPUs. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/lbflows.h"

#define RECORDS_FRONTEND 1

/* Both in the one bucket, as all of the test's flows. */
static __always_inline int records_other(__u64 flow, __u16 backend)
{
	struct lbflows_place place = lbflows_place(flow, RECORDS_FRONTEND);

	return lbflows_record(&place, flow, RECORDS_FRONTEND, backend);
}

/* What becomes of flow 1 with backend 1 when between its choice of a place and its look there flow `other` is recorded with backend 2. */
static __always_inline int records_chosen(__u64 other)
{
	struct lbflows_asks asks = lbflows_asks(1, RECORDS_FRONTEND);
	struct hw_lb_flows *bucket = lbflows_bucket(1, RECORDS_FRONTEND);
	struct lbflows_place place;
	__u64 best;

	if (!bucket)
		return -1;
	best = lbflows_best(bucket, asks);
	if (records_other(other, 2) != 2)
		return -1;
	place = lbflows_again(bucket, best, asks);
	return lbflows_at(&place, 1, RECORDS_FRONTEND).backend << 8 | lbflows_record(&place, 1, RECORDS_FRONTEND, 1);
}

/* As above, between its look and its record. */
static __always_inline int records_looked(__u64 other)
{
	struct lbflows_place place = lbflows_place(1, RECORDS_FRONTEND);

	return records_other(other, 2) == 2 ? lbflows_record(&place, 1, RECORDS_FRONTEND, 1) : -1;
}

SEC("tc/chosen_other")
int chosen_other(struct __sk_buff *skb)
{
	(void)skb;
	return records_chosen(2);
}

SEC("tc/chosen_same")
int chosen_same(struct __sk_buff *skb)
{
	(void)skb;
	return records_chosen(1);
}

SEC("tc/looked_other")
int looked_other(struct __sk_buff *skb)
{
	(void)skb;
	return records_looked(2);
}

SEC("tc/looked_same")
int looked_same(struct __sk_buff *skb)
{
	(void)skb;
	return records_looked(1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
