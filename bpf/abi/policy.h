/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Policy. Every table is there twice; the revision's lowest bit says which is in force, so that one write of
 * four bytes changes all of them at once. The agent fills the other and never one that is in force, but for
 * adding what no packet can ask for yet (DESIGN.md, Policy).
 */
#pragma once

#include "abi/types.h"

struct hw_policy_state {
	__u32 revision;		/* 0: none yet */
};

enum hw_policy_class_flags {
	HW_POLICY_DENY_IN = 1,	/* what no rule speaks of may not come in */
	HW_POLICY_DENY_OUT = 2,
	HW_POLICY_COVERED = 4,	/* some policy is for it */
};

/* Key: an identity. Identities that every rule treats alike are one class. */
struct hw_policy_class {
	__u32 class;		/* 1… */
	__u32 flags;		/* enum hw_policy_class_flags */
};

/* Key of the longest-prefix table: an address that is no container's. Value: its class. */
struct hw_policy_prefix {
	__u32 length;		/* bits, 0…128; IPv4 as ::ffff:a.b.c.d, so 96 more */
	struct hw_ip addr;
};

enum hw_policy_direction {
	HW_POLICY_OUT = 0,	/* the subject sends */
	HW_POLICY_IN = 1,
};

/* The rules between a container and a peer. Value: number of a ruleset; 0: none speaks of them. */
struct hw_policy_pair {
	__u32 subject;		/* class */
	__u32 peer;		/* class; 0: every one without an entry of its own */
	__u32 direction;	/* enum hw_policy_direction */
};

/* A ruleset's verdict for a port: the longest prefix that matches decides. */
struct hw_policy_port {
	__u32 length;		/* bits: 32 every protocol, 48 every port of one, 49…64 ports */
	__u32 ruleset;
	__be16 proto;		/* IPPROTO_*; two bytes, so that no padding lies between the bits */
	__be16 port;		/* ICMP: type × 256 + code */
};

enum hw_policy_verdict {
	HW_POLICY_NONE = 0,	/* the defaults decide */
	HW_POLICY_ALLOW = 1,
	HW_POLICY_DENY = 2,
	HW_POLICY_AUDIT = 3,	/* passes, and is told as if denied */
};

struct hw_policy_entry {
	__u32 rule;		/* number of the deciding rule in its revision, 1… */
	__u16 verdict;		/* enum hw_policy_verdict */
	__u16 wide;		/* 1: the rule speaks of every port, and of no ICMP type in particular */
};
