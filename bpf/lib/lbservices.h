/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Services by number, and the slots of their tables: one long row of words in pages, of which the agent makes as many as it needs. */
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

/* The word as it was at one moment; 0: there is none. */
static __always_inline __u64 lbservices_word_at(__u32 index)
{
	__u32 page = index >> HW_LB_PAGE_BITS, place = index & ((1 << HW_LB_PAGE_BITS) - 1);
	void *words = bpf_map_lookup_elem(&hw_lb_slots, &page);
	const __u64 *found = words ? bpf_map_lookup_elem(words, &place) : NULL;

	return found ? *(const volatile __u64 *)found : 0;
}

/* How many slots it has. */
static __always_inline __u32 lbservices_size(struct lbfrontends_table table)
{
	return table.slots & ((1U << HW_LB_FORM_BITS) - 1);
}

/* Which of them a flow has. */
static __always_inline __u32 lbservices_place(struct lbfrontends_table table, __u64 hash)
{
	return lbhash_slot(hash, lbservices_size(table));
}

/* Of the 2^form numbers in a word that one which the last bits of `place` say. */
static __always_inline __u32 lbservices_part(__u64 word, __u32 place, __u32 form)
{
	return word >> ((place << (6 - form)) & 63) & ((1U << (64 >> form)) - 1);
}

/* The slot as it was at one moment; all 0: there is none. */
static __always_inline union lbservices_word lbservices_slot(struct lbfrontends_table table, __u32 slot)
{
	const __u32 form = table.slots >> HW_LB_FORM_BITS;
	union lbservices_word at = { .word = lbservices_word_at(table.first + (slot >> form)) };
	__u64 numbers = at.word;

	if (form == HW_LB_FORM_FULL)
		return at;
	/* Asked for whatever the slot says, so that neither waits for the other. */
	if (form == HW_LB_FORM_LISTED) {
		numbers = lbservices_word_at(table.first + (lbservices_size(table) >> HW_LB_FORM_LISTED) + 1);
		slot = lbservices_part(at.word, slot, HW_LB_FORM_LISTED);
	}
	return (union lbservices_word){ .slot = { .current = lbservices_part(numbers, slot, HW_LB_FORM_SHORT) } };
}
