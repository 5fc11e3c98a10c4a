/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What one program knows of one packet, kept off the stack of 512 bytes. A program is never interrupted by
 * itself on its CPU, so one per CPU is enough; each object has its own, which nobody else reads (no hw_ name).
 */
#pragma once

#include "lib/ct.h"
#include "lib/judgement.h"
#include "lib/packet.h"
#include "lib/route.h"

/* An end of a flow that is no endpoint here (lib/judge.h). Plain numbers, so that no verifier follows pointers through a judgement. */
enum far_kind {
	FAR_ADDRESS = 0,  /* just an address */
	FAR_REMOTE = 1,	  /* a container on another node */
	FAR_STRANGER = 2, /* a container of a static peer: an address with a node */
	FAR_MISSING = 3,  /* of the pool, and nobody's */
};

struct far_end {
	struct hw_ip address; /* asked for */
	__u32 kind;	      /* enum far_kind */
	__u32 identity;
	__u32 network; /* this node's number; 0: it has none of that name */
};

/* Who sent a packet through the tunnel (lib/node.h). */
struct sender {
	struct hw_ip address; /* outer */
	__u32 node;
	__u32 key;
};

/* Who balanced and wants the answers (lib/lbbalancer.h). */
struct balancer {
	__u16 pad;
	__be16 kind; /* LBBALANCER_KIND*; 0: this node, or nobody wants them */
	__u32 name;
};

/* Who is asked in this node's name (lib/lbsnattc.h). */
struct asked {
	__u32 backend; /* its number */
	__u32 frontend; /* lbfrontends_identity */
	__u32 begins;
};

struct scratch {
	struct packet packet;
	struct judgement judgement;
	struct ct_route route;
	struct route_hop hop;
	struct ct_state opening; /* lib/ctopen.h */
	__u32 sender_class;	 /* lib/group.h */
	struct far_end far[2];	 /* lib/judge.h */
	struct sender sender;	 /* lib/node.h */
	struct hw_backend backend; /* lib/lbtc.h, lib/lbnode.h */
	struct asked asked;	   /* lib/lbtc.h */
	__u8 headers[96];	   /* lib/lbtc.h */
	__u64 flow_hash;	   /* lib/lbtc.h: of what is sent */
	__u32 chosen;		   /* lib/lbtc.h: number of the backend that it is sent to */
	__u32 passed;		   /* lib/lbpass.h: how often it was passed on */
	struct balancer balancer;  /* lib/lbnode.h */
	__u32 returns;		   /* lib/lbnode.h: his number; 0: nobody wants the answers */
	__u32 network;		 /* of the container here, to be told of; 0: not known */
	__u16 outer_id;		 /* lib/tunnel.h */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch_map SEC(".maps");

/* As the program's caller left it; for functions that are verified on their own, and take nothing but the packet. */
static __always_inline struct scratch *scratch_same(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&scratch_map, &key);
}

/* Packet and judgement are blank, the rest as the last packet left it. */
static __always_inline struct scratch *scratch_take(void)
{
	struct scratch *scratch = scratch_same();

	if (scratch)
		__builtin_memset(scratch, 0, __builtin_offsetof(struct scratch, judgement) + JUDGEMENT_BLANK);
	return scratch;
}
