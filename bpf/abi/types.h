/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Words that the kernel programs and the agent share. The agent's TypeScript types and codecs are
 * generated from the BTF of these structs, so a field's type says how it is decoded:
 *
 *   __be16, __be32   a number whose first byte is the most significant (network order)
 *   struct hw_ip     sixteen bytes, network order; IPv4 as ::ffff:a.b.c.d
 *   __u8 x[6] mac    bytes
 *
 * Padding is explicit and must be zero: map keys are compared byte by byte.
 */
#pragma once

#include <linux/types.h>

struct hw_ip {
	union {
		__u8 bytes[16];
		__be32 words[4];
	};
};

/* What may be done by and to an endpoint or a network. A network's flags are copied to its endpoints. */
enum hw_network_flags {
	HW_NETWORK_INTERNAL = 1,	/* no way out and no way in but for the host by the gateway's address */
	HW_NETWORK_NO_ICC = 2,		/* endpoints of the network may not open flows to one another */
	HW_NETWORK_MASQUERADE = 4,	/* flows to the world take the uplink's address */
	HW_NETWORK_IPV6 = 8,		/* endpoints may speak IPv6 at all */
	HW_NETWORK_GUEST = 16,		/* of an endpoint: somebody else's veth, which we judge but do not carry for */
};

/* One container's attachment to one network. Key in hw_endpoints: ifindex; in hw_addresses: its address. */
struct hw_endpoint {
	__u32 ifindex;		/* host end of its veth, in the host's namespace */
	__u32 network;		/* number of its network, 1… */
	__u32 identity;		/* 0: its labels are not known yet */
	__u32 mtu;
	struct hw_ip ipv4;	/* ::ffff:a.b.c.d, all zero: none */
	struct hw_ip ipv6;	/* all zero: none */
	__u8 mac[6];
	__u16 flags;		/* enum hw_network_flags */
};

/* Key: the network's number. */
struct hw_network {
	struct hw_ip gateway4;	/* all zero: none */
	struct hw_ip gateway6;
	struct hw_ip snat4;	/* source of masqueraded flows; all zero: the uplink's own address */
	struct hw_ip snat6;
	__u32 flags;		/* enum hw_network_flags */
	__be32 broadcast4;	/* last address of its IPv4 subnet; 0: none */
	__u32 key;		/* made of its name: the tunnel key among nodes that share nothing else; 0: not known */
	__u32 pad;
};

/* The endpoints of a network that get copies of what is sent to a group. Value: ifindex, the key in hw_endpoints. */
struct hw_member {
	__u32 network;
	__u32 slot;		/* 0…63, each endpoint in one */
};

enum hw_member_layout {
	HW_MEMBERS = 64,	/* of one network; who finds no slot gets no copies */
};

enum hw_host_address_flags {
	HW_HOST_ADDRESS_LOCAL = 1,	/* an address of the host itself */
	HW_HOST_ADDRESS_GATEWAY = 2,	/* the gateway of `network` */
};

/* Key: struct hw_ip, an address that the host answers to. */
struct hw_host_address {
	__u32 flags;
	__u32 network;
};

/* Key: ifindex of a device with a way to the world. */
struct hw_uplink {
	struct hw_ip ipv4;	/* source of masqueraded flows; all zero: none. Of entry 0: of tunnels' packets, by whatever uplink */
	struct hw_ip ipv6;
	__u32 mtu;
	__u8 accelerated;	/* XDP is there too, and may send by it: not 0 */
	__u8 own_ipv4;		/* other nodes know this one by `ipv4`, too: what goes to them by this uplink has it, whatever entry 0 says */
	__u8 own_ipv6;
	__u8 pad;
};

enum hw_node_flags {
	HW_NODE_STATIC = 1,	/* of its containers nothing is known but the slice: their tunnel key is their network's */
};

/* Another node. Key: its number, 1… */
struct hw_node {
	struct hw_ip address;	/* where tunnels to it end */
	__u32 mtu;		/* of the way to its containers, without the tunnel's own headers */
	__u32 flags;		/* enum hw_node_flags */
};

/* A container on another node. Key: its address. */
struct hw_remote {
	__u32 node;
	__u32 identity;
	__u32 network;		/* this node's number of the network with the same name; 0: it has none */
};

/* Key of the longest-prefix table of slices. Value: number of the node whose it is; 0: of the pool, and nobody's. */
struct hw_slice {
	__u32 length;		/* bits, 0…128; IPv4 as ::ffff:a.b.c.d, so 96 more */
	struct hw_ip addr;
};

enum hw_name_layout {
	HW_NAME_BYTES = 128,	/* of a name with its lengths and its end */
	HW_NAME_ADDRESSES = 8,	/* of one family */
	HW_NAME_SCOPES = 16,	/* other networks of one container */
};

/* What containers of a network may ask for and Docker here does not know. Also the key of what stands behind an address in reverse. */
struct hw_name {
	__u32 network;
	__u8 name[HW_NAME_BYTES];	/* as a question has it: labels behind their lengths; in small letters, zeros behind its end */
};

/* The addresses with that name. All zero: none, and none behind it. */
struct hw_name_addresses {
	struct hw_ip ipv4[HW_NAME_ADDRESSES];
	struct hw_ip ipv6[HW_NAME_ADDRESSES];
};

/* The name behind an address. */
struct hw_name_pointer {
	__u8 name[HW_NAME_BYTES];	/* as in hw_name */
};

/* Key: ifindex. The other networks of its container, whose names it may ask for by any of its devices; 0: none, and none behind it. */
struct hw_name_scope {
	__u32 networks[HW_NAME_SCOPES];
};

/* Tunnel keys (24 bits) with a meaning of their own; from 256 on they are identities, or networks' keys. */
enum hw_tunnel_key {
	HW_TUNNEL_HOST = 1,	/* a node's own stack sends */
	HW_TUNNEL_RETURN = 2,	/* what a container answers a service's client, by way of the node that balanced (lib/lbreturn.h) */
	HW_TUNNEL_INTERNAL = 0x800000,	/* in a network's key: it is internal; agreed identities are below it */
};

/*
 * A published port. addr ::ffff:0.0.0.0 (IPv4) or :: (IPv6) stands for every address of the host in
 * that family; an exact address is looked up first.
 */
struct hw_frontend_key {
	struct hw_ip addr;
	__be16 port;
	__u8 proto;		/* 6 TCP, 17 UDP, 132 SCTP */
	__u8 pad;
};

struct hw_backend {
	struct hw_ip addr;	/* the endpoint's address; its family may differ from the frontend's only for sock-lb */
	__be16 port;
	__u16 pad;
	__u32 network;
};

/*
 * Conntrack keys: the packet as seen before any rewrite. For ICMP echo a request has sport = id and dport = 0, a reply the reverse.
 * `node` is 0 in keys. In an entry's `to` it is the number of the node by way of which a service's client is answered; 0: answers go their own way.
 */
struct hw_ct4_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad;
	__u16 node;
};

struct hw_ct6_key {
	struct hw_ip saddr;
	struct hw_ip daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad;
	__u16 node;
};

enum hw_ct_flags {
	HW_CT_REPLY = 1,	/* this entry matches the answering direction */
	HW_CT_SEEN = 2,		/* a packet of this direction has passed */
	HW_CT_FIN = 4,		/* this direction has sent FIN */
	HW_CT_CLOSED = 8,	/* RST seen, or FIN both ways */
	HW_CT_NAT = 16,		/* `to` differs from the key */
	HW_CT_TO_HOST = 32,	/* this direction ends in the host's own stack; none of the TO flags: at a container here */
	HW_CT_TO_UPLINK = 64,	/* this direction leaves for the world */
	HW_CT_FROM_UPLINK = 128,	/* this direction arrives from the world, and from nowhere else */
	HW_CT_TO_NODE = 256,	/* this direction leaves by the tunnel for another node */
	HW_CT_FROM_NODE = 512,	/* this direction arrives by the tunnel, and from nowhere else */
	HW_CT_SAME_NETWORK = 1024,	/* a static peer's container said to be on the network of ours */
	HW_CT_SERVICE = 2048,	/* a container asked a service: judged as if it had asked the backend itself */
	HW_CT_WRAPPED = 4096,	/* answers who is a service's client by way of another node, which wraps what it asks */
	HW_CT_WRAPPED6 = 8192,	/* in IPv6 */
};

/* One direction of one flow: each flow has two entries, and the partner's key is `to` reversed. */
struct hw_ct4 {
	struct hw_ct4_key to;	/* the packet as it leaves: rewrite what differs */
	__u32 expires;		/* low 32 bits of jiffies */
	__u16 flags;		/* enum hw_ct_flags */
	__u16 touched;		/* jiffies / 256 when expires was last moved */
	__u32 network;		/* network of the endpoint that opened or accepted the flow */
	__u32 policy;		/* revision of the policy that last judged the flow */
};

struct hw_ct6 {
	struct hw_ct6_key to;
	__u32 expires;
	__u16 flags;
	__u16 touched;
	__u32 network;
	__u32 policy;
};

/* Ports of a fragmented datagram, learnt from its first fragment. */
struct hw_fragment_key {
	struct hw_ip saddr;
	struct hw_ip daddr;
	__u32 id;
	__u8 proto;
	__u8 pad[3];
};

struct hw_fragment {
	__be16 sport;
	__be16 dport;
	__u32 expires;
};

/* sock-lb: what a socket asked for and what it got instead, so that the program sees the address that it named. */
struct hw_sock_origin {
	struct hw_ip addr;	/* as the program named it */
	struct hw_ip backend;
	__be16 port;
	__be16 backend_port;
	__u32 number;		/* of the backend; 0: a published port's, which has none */
};

enum hw_sock_layout {
	HW_SOCK_SENT = 8,	/* addresses to which a socket that is not connected has sent last; the one before them is forgotten */
};

struct hw_sock_sent {
	struct hw_sock_origin origins[HW_SOCK_SENT];
	__u32 next;		/* place of the next one */
	__u32 last;		/* place of the one that was sent to last */
};

enum hw_direction {
	HW_DIRECTION_FROM_CONTAINER = 0,
	HW_DIRECTION_TO_CONTAINER = 1,
	HW_DIRECTION_FROM_UPLINK = 2,
	HW_DIRECTION_FROM_HOST = 3,
	HW_DIRECTION_FROM_OVERLAY = 4,
	HW_DIRECTION_TO_SERVICE = 5,
};

/* hw_metrics is a per-CPU array indexed by direction * HW_METRIC_REASONS + reason; reason 0 counts what was forwarded. */
enum hw_metric_layout {
	HW_METRIC_REASONS = 128,
	HW_DIRECTIONS = 6,
};

struct hw_counter {
	__u64 packets;
	__u64 bytes;
};

enum hw_event_verdict {
	HW_EVENT_DROPPED = 0,
	HW_EVENT_FORWARDED = 1,	/* the first packet of a flow, or the first after a change of policy */
	HW_EVENT_AUDIT = 2,	/* as FORWARDED, but an audit rule would have it dropped */
};

enum hw_event_layout {
	HW_EVENT_SILENCE = 10,	/* milliseconds: so long after it woke its reader a device may tell without waking it again */
};

/* One packet in the ring hw_events. Lost events are counted in hw_metrics under HW_DROP_EVENT_LOST. */
struct hw_event {
	__u64 time;		/* ns since boot, CLOCK_MONOTONIC */
	__u32 ifindex;		/* device the packet was seen on */
	__u32 network;		/* 0: not known */
	struct hw_ip saddr;	/* as seen, before any rewrite */
	struct hw_ip daddr;
	struct hw_ip backend;	/* where a published port's packet goes; all zero: as daddr */
	__be16 sport;
	__be16 dport;
	__be16 backend_port;
	__u8 proto;
	__u8 reason;		/* enum hw_drop_reason */
	__u8 direction;		/* enum hw_direction */
	__u8 verdict;		/* enum hw_event_verdict */
	__u8 end;		/* enum hw_policy_direction plus 1: which end decided; 0: no policy did */
	__u8 tcp_flags;
	__u32 length;
	__u32 rule;		/* number of the deciding rule in `revision`; 0: none */
	__u32 revision;		/* of the policy that judged; 0: none did */
	__u32 source_identity;	/* 0: no container, or its labels are not known */
	__u32 destination_identity;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 family;		/* 4 or 6; 0: no IP packet */
	__u8 pad;
	__u32 pad2;
};

/* Set once before a program is loaded; the verifier deletes what it turns off. */
struct hw_config {
	__u32 host_ifindex;		/* hwhost: where the host's own traffic with containers enters and leaves */
	__u32 hz;			/* jiffies a second */
	__u8 host_mac[6];		/* MAC of hwhost, of every host-side veth, and of every ARP and ND answer */
	__u8 between_networks;		/* 1: containers on different networks may talk */
	__u8 ipv6;			/* 1: IPv6 is on */
	__u16 ephemeral_low;		/* the host's own ephemeral ports and those of pools, never given to masqueraded flows */
	__u16 ephemeral_high;
	__u8 set_retval;		/* 1: bpf_set_retval exists (Linux 5.18): a refused bind says EADDRINUSE, not EPERM */
	__u8 pad[3];
	__u64 host_netns_cookie;	/* sock-lb acts only on sockets of this namespace; 0: on every one */
	__u32 agent_pid;		/* may bind published ports, to ask whether a host program holds them; 0: nobody */
	__u8 published_deny;		/* 1: nobody reaches the published ports of a container that no policy covers */
	__u8 unidentified_allow;	/* 1: a container whose labels are not known yet is treated as one that no policy covers */
	__u8 pad2[2];
	__u32 mark;			/* chosen at random by each agent: on what our programs hand to to_container; 0: they hand it nothing */
	__u32 tunnel_ifindex;		/* the overlay's device; 0: there is none */
	__be16 tunnel_port;		/* where tunnels end at every node; 0: no other nodes */
	__be16 probe_port;		/* where nodes ask each other whether they are there; 0: nobody does */
	__u8 native;			/* 1: other nodes' containers are reached by routes, not by the tunnel */
	__u8 services;			/* 1: there may be services, whose containers here netdev delivers to */
	__u8 pad3[2];
	__be32 tunnel_header;		/* first word of the tunnel's header: our programs put it on and take it off themselves; 0: the device does */
	__be32 lb_ipv4;			/* source of packets to plain servers, in this node's name or wrapped; 0: there is none */
	struct hw_ip lb_ipv6;		/* the same of IPv6; all zero: there is none */
	struct hw_ip node_ipv6;		/* source of services' packets to other nodes, who know this one by it; all zero: there is none */
	__be32 node_ipv4;		/* the same of IPv4; 0: there is none */
	__u16 snat_first;		/* the ports of pools (hw_lb_pools) at lb_ipv4 and lb_ipv6 */
	__u16 snat_ports;		/* how many, a multiple of 8; 0: none */
};
