/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Services by number, and the slots of their tables: one long row in pages, of which the agent makes as many as it needs. */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/lb.h"
#include "lib/lbfrontends.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct hw_lb_service);
} hw_lb_services SEC(".maps");

struct lbservices_page {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << HW_LB_PAGE_BITS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct hw_lb_slot);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__array(values, struct lbservices_page);
} hw_lb_slots SEC(".maps");

static __always_inline const struct hw_lb_service *lbservices_find(__u32 number)
{
	return bpf_map_lookup_elem(&hw_lb_services, &number);
}

static __always_inline struct lbfrontends_table lbservices_table(const struct hw_lb_service *service)
{
	return lbfrontends_table_at(service);
}

/* What a service asks of its clients, as it was at one moment. */
union lbservices_asks {
	__u64 word;
	struct {
		__u8 flags;
		__u8 depth;
		__u16 sources;
		__u32 affinity;
	};
};

static __always_inline union lbservices_asks lbservices_asks(const struct hw_lb_service *service)
{
	union lbservices_asks asks = { .word = *(const volatile __u64 *)&service->flags };

	return asks;
}

union lbservices_word {
	__u64 word;
	struct hw_lb_slot slot;
};

/* The slot as it was at one moment; all 0: there is none. */
static __always_inline union lbservices_word lbservices_slot(__u32 index)
{
	__u32 page = index >> HW_LB_PAGE_BITS, place = index & ((1 << HW_LB_PAGE_BITS) - 1);
	void *slots = bpf_map_lookup_elem(&hw_lb_slots, &page);
	const struct hw_lb_slot *found = slots ? bpf_map_lookup_elem(slots, &place) : NULL;
	union lbservices_word at = { .word = found ? *(const volatile __u64 *)found : 0 };

	return at;
}
