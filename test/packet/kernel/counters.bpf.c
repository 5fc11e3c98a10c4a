/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs that tell that they ran: each adds to its own entry of `counts`. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

const volatile __u32 answer = 7;
const volatile __u64 step = 1;

static __always_inline void count(__u32 who)
{
	__u64 first = step, *now = bpf_map_lookup_elem(&counts, &who);
	__u32 zero = 0, *ran = bpf_map_lookup_elem(&runs, &zero);

	if (now)
		__sync_fetch_and_add(now, step);
	else
		bpf_map_update_elem(&counts, &who, &first, BPF_ANY);
	if (ran)
		*ran += 1;
}

SEC("tc/first")
int first(struct __sk_buff *skb)
{
	(void)skb;
	count(1);
	return -1; /* TC_ACT_UNSPEC: the next one decides */
}

SEC("tc/second")
int second(struct __sk_buff *skb)
{
	(void)skb;
	count(2);
	return -1;
}

SEC("tc/answers")
int answers(struct __sk_buff *skb)
{
	__u32 sent = skb->len;

	bpf_ringbuf_output(&events, &sent, sizeof(sent), 0);
	skb->mark = answer;
	return answer;
}

SEC("tc/whispers")
int whispers(struct __sk_buff *skb)
{
	__u32 sent = skb->len;

	bpf_ringbuf_output(&events, &sent, sizeof(sent), BPF_RB_NO_WAKEUP);
	return -1;
}

SEC("xdp")
int passes(struct xdp_md *xdp)
{
	(void)xdp;
	count(3);
	return XDP_PASS;
}

SEC("cgroup/connect4")
int refuses(struct bpf_sock_addr *address)
{
	(void)address;
	count(4);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
