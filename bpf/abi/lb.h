/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Load balancing. A packet's address, port and protocol name a frontend, the frontend a service, and the hash of the client's end one slot
 * of the service's table; the slot names a backend. Services, backends and frontends have numbers, which the agent gives: 1…, 0 is none.
 *
 *   hw_lb_frontends ▸ hw_lb_services ▸ hw_lb_slots ─ settled ──────────────────────▸ hw_lb_backends ─ SNAT ▸ hw_lb_pools
 *                                                  └ changed ▸ hw_lb_flows, or previous ┘       └ but IPIP in IPv4 ▸ hw_lb_places
 */
#pragma once

#include "abi/types.h"

enum hw_lb_layout {
	HW_LB_BUCKET = 2,		/* frontends in one bucket */
	HW_LB_FLOW_BUCKET = 8,		/* flows in one */
	HW_LB_PAGE_BITS = 16,		/* of hw_lb_slots: tables lie in one long row of words of 8 bytes, cut into pages of 2^16, and may lie across pages */
	HW_LB_FORM_BITS = 28,		/* of a table's `slots`: below them is how many there are, from there on enum hw_lb_form */
	HW_LB_COUNTERS = 256,		/* backends in one block of counters */
};

/*
 * How a table lies in its words; the number says how many slots are in one. A short table takes a quarter of the memory and a listed one a thirtieth, which is what
 * packets of many services and flows wait for; but no slot of these remembers anything, and nothing of them is changed: then the service gets another table.
 */
enum hw_lb_form {
	HW_LB_FORM_FULL = 0,		/* each word is a struct hw_lb_slot */
	HW_LB_FORM_SHORT = 2,		/* each is 2^2 slots of 16 bits, the first lowest: the backend */
	HW_LB_FORM_LISTED = 5,		/* each is 2^5 slots of 2 bits, and 4 backends of 16 bits are word how many / 2^5 + 1: which of those */
};

enum hw_lb_pool_layout {
	HW_LB_POOL_PORTS = 16384,	/* of a pool, at most; config says how many there are */
	HW_LB_POOL_BLOCK = 8,		/* ports in one block */
	HW_LB_POOL_PROTOCOL = 255,	/* of a frontend: it is where the backend `number` listens, whose answers come to this node (IANA: reserved) */
};

enum hw_lb_frontend_flags {
	HW_LB_FRONTEND_SPILLED = 1,	/* of a bucket's first: a frontend whose first choice the bucket was lies in its second */
	HW_LB_FRONTEND_SHARED = 2,	/* of an address: it is the host's own as well, whose is what no service has; otherwise that is refused */
};

/*
 * Port and protocol 0: the address is a service's, whatever the port; there is such an entry for every address. A frontend lies in one of
 * two buckets: h is the end of MurmurHash3 (32 bits) on the sum of the address's four words as they lie in memory and the word whose bytes are port
 * (network order), protocol and 0, each times a constant; the buckets are h and h / 2^16 ^ h * 5, modulo their number (lib/pure/lbhash.h).
 * Written with service 0 first and last of all with its own, so that no packet sees half of one.
 * `table` and `slots` are a copy of the service's, which spares most packets a look at it: one cache line less of ten thousand services.
 */
struct hw_lb_frontend {
	struct hw_ip addr;
	__be16 port;
	__u8 proto;
	__u8 flags;		/* enum hw_lb_frontend_flags */
	__u16 service;		/* 0: the place is free; of an entry without a port: any number */
	__u16 number;		/* tells a service's frontends apart where flows are remembered */
	__u32 table;		/* read together with `slots`, at once */
	__u32 slots;		/* as the service's; 0: only the service says, which has none, or asks something of its clients */
};

struct hw_lb_bucket {
	struct hw_lb_frontend frontends[HW_LB_BUCKET];
};

enum hw_lb_service_flags {
	HW_LB_SERVICE_AFFINITY = 1,	/* the client's address alone chooses, and stays with its backend for `affinity` */
};

/* Key: the service's number. */
struct hw_lb_service {
	__u32 table;		/* its first word in hw_lb_slots; read together with `slots`, at once */
	__u32 slots;		/* how many, and HW_LB_FORM_BITS; 0: there is no backend. A flow's slot is hash * how many / 2^32, so another number moves flows */
	__u8 flags;		/* enum hw_lb_service_flags; from here on read at once */
	__u8 depth;		/* of its list in hw_lb_sources; 0: all may */
	__u16 sources;		/* the list's first line */
	__u32 affinity;		/* seconds */
};

/*
 * A slot remembers whose flows it may still have. It is settled (`changed` 0) when every flow of it that comes by this node is its current
 * backend's: then nothing is remembered of any flow. From its first change until it settles again, `previous` is the backend of the time when
 * it was settled, however often `current` changes in between, because:
 *
 *   a flow that begins (SYN, INIT) ▸ current, and is recorded in hw_lb_flows unless that is `previous`
 *   a recorded flow              ▸ its backend; a SYN too if it is the same within seconds, sent again
 *   any other flow               ▸ previous: it began before the first change. 0: current
 *   UDP, which has no beginning  ▸ previous, recorded as such, until HW_LB_UDP_SECONDS after the change, then current
 *   the backend found is down    ▸ current
 *
 * Written with one store of 8 bytes. The agent settles it when for long no packet went to another than the current one (struct
 * hw_lb_elsewhere). Flows that come by other nodes may be left then: of a settled slot `previous` is whom lib/lbpass.h asks, and nobody else.
 */
struct hw_lb_slot {
	__u16 current;		/* backend; 0: nobody takes what begins */
	__u16 previous;		/* backend when it was last settled; settled: the one before; 0: none, or gone */
	__u32 changed;		/* low 32 bits of jiffies when `current` was last changed, never 0; 0: settled */
};

enum hw_lb_elsewhere_layout {
	HW_LB_ELSEWHERE = 64,		/* slots in one line of hw_lb_elsewhere */
};

/* Key: a slot's place in the row of all / HW_LB_ELSEWHERE, modulo the number of lines: slots may share a place. */
struct hw_lb_elsewhere {
	__u8 epochs[HW_LB_ELSEWHERE];	/* jiffies / 2^HW_LB_EPOCH_BITS when a packet of a changed slot last went to another than its current backend */
};

enum hw_lb_times {
	HW_LB_UDP_SECONDS = 60,
	HW_LB_EPOCH_BITS = 16,
	HW_LB_QUIET_SECONDS = 7800,	/* so long nothing may have gone elsewhere from a slot that is settled; no silent flow is remembered for longer */
	HW_LB_HOP_JIFFIES = 256,	/* how long a backend's next hop is believed */
};

enum hw_lb_flow_seen {
	HW_LB_FLOW_AGES = 0x3fffff,	/* jiffies / 1024 of its last packet, counted on from 0 after so many: 49 days of 1000 Hz */
	HW_LB_FLOW_ENDED = 0x400000,	/* the client has sent FIN or RST, ABORT or SHUTDOWN COMPLETE */
	HW_LB_FLOW_WENT_ON = 0x800000,	/* something came after its first packet. Those make no room for ones without, while they live */
	HW_LB_FLOW_TAG_BITS = 24,	/* from here on, up to the backend: of the flow's hash; 0: free */
};

/*
 * One flow on a changed slot, in one word of 8 bytes. Its bucket is bits of the flow's hash that are not in the tag. After HW_LB_QUIET_SECONDS without a
 * packet it is believed no more: its slot may have settled meanwhile, and the backend's number stand for another.
 */
struct hw_lb_flow {
	__u32 seen;		/* enum hw_lb_flow_seen; above it the tag's low 8 bits */
	__u16 tag;		/* its high 16 */
	__u16 backend;
};

struct hw_lb_flows {
	struct hw_lb_flow flows[HW_LB_FLOW_BUCKET];
};

enum hw_lb_mode {
	HW_LB_LOCAL = 0,	/* a container here: netdev translates and delivers */
	HW_LB_IPIP = 1,		/* a plain server with the service's address on its loopback: wrapped in IPv4 or IPv6, unchanged */
	HW_LB_GENEVE = 2,	/* a container on another node: wrapped, unchanged, with the container's address and port in an option */
	HW_LB_SNAT = 3,		/* a plain server that knows nothing of services: it is asked in this node's name, from a port of its pool, and answers this node */
};

enum hw_lb_backend_flags {
	HW_LB_BACKEND_DOWN = 1,	/* gets nothing any more, not even what it has */
	HW_LB_BACKEND_RETURNS = 2,	/* of GENEVE: answers by way of this node */
};

/*
 * Key: the backend's number. All that a packet in IPIP over IPv4 needs, in half a cache line: with many backends the cost of a packet is that of the
 * memory which they lie in.
 */
struct hw_lb_backend {
	__be32 outer4;		/* where outer packets go, if that is IPv4; 0: hw_lb_places tells */
	__be16 port;		/* where it listens; 0: there is none of that number */
	__u8 mode;		/* enum hw_lb_mode */
	__u8 flags;		/* enum hw_lb_backend_flags */
	__u32 ifindex;		/* from here on what the programs find and keep fresh: of the next hop; 0: nothing is known yet */
	__u32 found;		/* low 32 bits of jiffies */
	__u8 destination_mac[6];
	__u8 source_mac[6];
	__u32 mtu;		/* of the way, for the outer packet */
};

/* Key: the backend's number. */
struct hw_lb_place {
	struct hw_ip address;	/* where it listens */
	struct hw_ip outer;	/* where the outer packet goes: of GENEVE the node's end of tunnels, of all others the same */
};

/* What was sent to a backend. Packets and bytes: of containers here only those by XDP, the others' are conntrack's. */
struct hw_lb_sent {
	__u64 packets;
	__u64 bytes;
};

struct hw_lb_seen {
	__u64 begun;		/* flows: SYN, INIT; of containers here whatever opened one */
	__u64 ended;		/* FIN or RST, ABORT or SHUTDOWN COMPLETE, of the client's; never of containers here */
};

/* Key: backend / HW_LB_COUNTERS. On one CPU. What every packet counts lies by itself, in half as many pages of memory. */
struct hw_lb_counters {
	struct hw_lb_sent sent[HW_LB_COUNTERS];
	struct hw_lb_seen seen[HW_LB_COUNTERS];
};

/*
 * A pool: the ports from which one backend is asked in this node's name, config's snat_first and on. It has the backend's number. A flow's two directions find it at once:
 *
 *   from the client   ▸ hash of client and frontend ▸ a block, or its references ▸ the port
 *   from the backend  ▸ the port it answers to
 */
enum hw_lb_reference_bits {
	HW_LB_REFERENCE = 0x8000,	/* there is one: below it the port's number in the pool, above it 16 bits of the flow's hash */
	HW_LB_REFERENCE_SPILLED = 0x4000,	/* of a block's first: it once had no room for a reference, which lies in the flow's next choice */
	HW_LB_REFERENCE_PORT = 0x3fff,
};

enum hw_lb_translated_flags {
	HW_LB_TRANSLATED_USED = 1,		/* somebody has the port; last written of a new flow */
	HW_LB_TRANSLATED_WENT_ON = 2,	/* the client has sent more than a beginning, or of datagrams somebody has answered; others make room in a flood */
	HW_LB_TRANSLATED_DATAGRAM = 4,
	HW_LB_TRANSLATED_CLIENT_OVER = 8,	/* FIN or RST */
	HW_LB_TRANSLATED_BACKEND_OVER = 16,
};

/* A port of a pool: whose it is. `port` to `frontend` are one word of 8 bytes. */
struct hw_lb_translated {
	struct hw_ip client;
	__be16 port;		/* the client's */
	__u16 flags;		/* enum hw_lb_translated_flags; 0: the port is free */
	__u32 frontend;		/* which it asked: key of hw_lb_origins */
	__u32 expires;		/* low 32 bits of jiffies */
	__u32 reference;	/* enum hw_lb_reference_bits; the block's, to a flow that is at home in it and has a port elsewhere. 0: room for one */
};

/* One of HW_LB_POOL_PORTS / 8, key: port / 8. Four cache lines. */
struct hw_lb_pool_block {
	struct hw_lb_translated ports[HW_LB_POOL_BLOCK];
};

/* What is known of a pool, whichever CPU; pools whose numbers are the same modulo 1024 take it from each other. All of it are hints. */
struct hw_lb_pool_state {
	__u32 pool;		/* whose it is */
	__u32 since;		/* low 32 bits of jiffies when `barren` was last emptied: once a second */
	__u32 searched;		/* when all of the pool was last looked through for a port */
	__u32 flooded;		/* when a flow that began a moment ago made room */
	__u64 barren[HW_LB_POOL_PORTS / HW_LB_POOL_BLOCK / 64];	/* a bit for each block: no port of it could be taken */
};

/* As whom answers go to clients. Key: the frontend's number * 2^16 + its service. */
struct hw_lb_origin {
	struct hw_ip addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};

enum hw_lb_source_layout {
	HW_LB_SOURCES_LINES = 32768,	/* of 8 words */
	HW_LB_SOURCES_BEYOND = 64,	/* behind them, nobody's: so much further a program may look, as far as the verifier knows */
	HW_LB_SOURCES_NEAR = 5,		/* beginnings are 2^5 at least */
	HW_LB_SOURCES_DEEPEST = 15,	/* and 2^15 at most */
};

/*
 * Whose clients may, list after list, each in lines of 64 bytes. A list is of starts of ranges, ascending: those of ranges that may not and that may in turns.
 * Those up to a client's address are counted; even: it may. Starts lie in lines, 16 of IPv4 and 8 of IPv6, of which the upper half alone: each line is some part of the addresses
 * from its beginning on, and an odd number of starts lies before it if it has one at its beginning that none of the list's is.
 *
 *   depth 1       ▸ two lines: of addresses whose first bit is 0, and 1
 *   depth n + 1   ▸ 2^n beginnings ▸ as many lines as there are ▸ IPv6: starts of longer prefixes
 *
 * No line has addresses of both first bits, which is left out of starts: one lies there plus all ones but the first. So a start less an address has its first bit
 * exactly if the start is greater, which is counted as well, because a line's places are even. Places that are left over are all ones.
 * A beginning lies there less 1, of IPv6 without its last bit, which is 0; those left over are greater than all. Instead of the first, which nobody asks,
 * stands how many lines these and the starts are.
 *
 * Where a prefix of more than 64 bits begins or ends, its 2^64 addresses may not by the upper half, and starts of all 128 bits lie behind, the upper word first, from one that
 * may on: an odd number of them up to the address lets it in. How many there are stands in the upper half of the first beginning.
 */
struct hw_lb_sources {
	__u64 words[(HW_LB_SOURCES_LINES + HW_LB_SOURCES_BEYOND) * 8];
};

/* A client of a service with affinity. */
struct hw_lb_client {
	struct hw_ip addr;
	__u32 service;
};

/*
 * With whom it stays: a slot of its own, as one of the service's table, but that it changes when something begins and its current backend takes no more
 * (struct hw_lb_closed), is down, or the client's time is over; and that it settles by itself.
 */
struct hw_lb_stay {
	struct hw_lb_slot slot;
	__u64 expires;		/* jiffies */
	__u64 elsewhere;	/* jiffies when a packet last went to another than the current backend; of a slot that is settled: anything */
};

/* A backend that takes nothing new of a service with affinity: it drains, fails its probes, or has weight 0. Value: low 32 bits of jiffies, since when; never 0. */
struct hw_lb_closed {
	__u16 service;
	__u16 backend;
};

/* Key: SO_NETNS_COOKIE. As whom the sockets of a network namespace come to a service, unless they are bound to an address. */
struct hw_lb_home {
	struct hw_ip ipv4;	/* by which it reaches the world; all zero: none */
	struct hw_ip ipv6;
};

/* Key: an address of a service, and an uplink by which it is asked for. */
struct hw_lb_held_key {
	struct hw_ip addr;
	__u32 ifindex;
};

enum hw_lb_held_state {
	HW_LB_HELD_ANSWERED = 0,
	HW_LB_HELD_YIELDED = 1,	/* not any more: somebody else has announced the address */
	HW_LB_HELD_ASKED = 2,	/* not yet: the link is being asked who has it */
	HW_LB_HELD_TAKEN = 3,	/* somebody said then that he has it */
};

/* Key: the MAC of an uplink. Value: 1. */
struct hw_uplink_mac {
	__u8 mac[6];
	__u16 pad;
};

/* Key: as hw_lb_held's. A machine that has said that it has the address while it was certainly this node's. */
struct hw_lb_rival {
	__u8 mac[6];		/* the last one's; never an uplink's of this node */
	__u16 pad;
	__u32 frames;		/* in which that was said */
};

/* Whoever asks there is told this. */
struct hw_lb_held {
	__u8 mac[6];		/* the uplink's; of an address that is taken, of who has it */
	__u16 state;		/* enum hw_lb_held_state */
	__u32 until;		/* nobody else may have it before: seconds since boot, with those asleep; all ones: for good */
};
