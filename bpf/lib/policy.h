/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tables of policy: who is of which class, and what the rules say between two classes.
 *
 *   revision ▸ slot (its lowest bit)
 *   identity ▸ class             address that is no container's ▸ class, by its longest prefix
 *   (subject, peer, direction) or (subject, everyone, direction) ▸ ruleset ▸ (ruleset, protocol, port) ▸ verdict and rule
 *
 * The agent makes inner maps of the size it needs; what is declared of them here is their shape.
 */
#pragma once

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/policy.h"
#include "abi/reasons.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hw_policy_state);
} hw_policy_state SEC(".maps");

struct policy_classes {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hw_policy_class);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct policy_classes);
} hw_policy_classes SEC(".maps");

struct policy_prefixes {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_policy_prefix);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct policy_prefixes);
} hw_policy_prefixes SEC(".maps");

struct policy_pairs {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct hw_policy_pair);
	__type(value, __u32);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct policy_pairs);
} hw_policy_pairs SEC(".maps");

struct policy_ports {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hw_policy_port);
	__type(value, struct hw_policy_entry);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct policy_ports);
} hw_policy_ports SEC(".maps");

/* The revision in force; 0: none was ever written. */
static __always_inline __u32 policy_revision(void)
{
	__u32 key = 0;
	const struct hw_policy_state *state = bpf_map_lookup_elem(&hw_policy_state, &key);

	return state ? *(const volatile __u32 *)&state->revision : 0;
}

/*
 * Not inline, what follows: the compiler describes a structure in full only where a function or a map names it, and the
 * loader asks how large the inner maps' keys and values are.
 */

/* NULL: the tables are missing, or do not know the identity. */
static __noinline const struct hw_policy_class *policy_class(__u32 slot, __u32 identity)
{
	void *table = bpf_map_lookup_elem(&hw_policy_classes, &slot);

	return table ? bpf_map_lookup_elem(table, &identity) : NULL;
}

/* The class of an address that is no container's: 0 when no rule tells it from others. < 0: a negated drop reason. */
static __noinline int policy_prefix(__u32 slot, const struct hw_policy_prefix *key, __u32 *class)
{
	void *table = bpf_map_lookup_elem(&hw_policy_prefixes, &slot);
	const __u32 *found;

	if (!table)
		return -HW_DROP_POLICY_MISSING;
	found = bpf_map_lookup_elem(table, key);
	*class = found ? *found : 0;
	return 0;
}

/* What the rules of `pair` say of a port, whose ruleset is filled in here: `said`, which may be nothing. < 0: a negated drop reason. */
static __noinline int policy_rule(__u32 slot, struct hw_policy_pair *pair, struct hw_policy_port *port,
				  struct hw_policy_entry *said)
{
	void *pairs = bpf_map_lookup_elem(&hw_policy_pairs, &slot), *ports = bpf_map_lookup_elem(&hw_policy_ports, &slot);
	const struct hw_policy_entry *entry;
	const __u32 *ruleset;

	if (!pairs || !ports)
		return -HW_DROP_POLICY_MISSING;
	ruleset = bpf_map_lookup_elem(pairs, pair);
	if (!ruleset && pair->peer) {
		pair->peer = 0;
		ruleset = bpf_map_lookup_elem(pairs, pair);
	}
	if (!ruleset || !*ruleset)
		return 0;
	port->ruleset = *ruleset;
	entry = bpf_map_lookup_elem(ports, port);
	if (entry)
		*said = *entry;
	return 0;
}
