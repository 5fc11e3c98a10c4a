/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Tables in two slots, one of them in force: what a program reads through a map of maps. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} hwt_long_table_name SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} in_force SEC(".maps");

/* The value of key 1 in the slot in force; 100: the slot is empty, 101: it has no such key. */
SEC("tc/reads")
int reads(struct __sk_buff *skb)
{
	__u32 zero = 0, one = 1, *slot = bpf_map_lookup_elem(&in_force, &zero), *found;
	void *table = slot ? bpf_map_lookup_elem(&hwt_long_table_name, slot) : NULL;

	(void)skb;
	if (!table)
		return 100;
	found = bpf_map_lookup_elem(table, &one);
	return found ? (int)*found : 101;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
