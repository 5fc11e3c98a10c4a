/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Later fragments from the wire that overtook their first (R47). Whose they are only the first can tell:
 *
 *   held_keep     a copy is kept for a second, and the packet itself passes to the host, whose own it may be
 *   held_release  the first was carried: it goes on, and after it what was kept, its addresses rewritten as the first's
 *
 * What is kept for nobody is forgotten, and nobody counts it as lost: the host had the packet. Eight of one datagram at
 * most, each of up to 2048 bytes, 512 in all. A first fragment that is refused, or is the host's own, releases nothing.
 */
#pragma once

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/endpoints.h"
#include "lib/eth.h"
#include "lib/fragments.h"
#include "lib/handover.h"
#include "lib/hostaddrs.h"
#include "lib/metrics.h"
#include "lib/nat.h"
#include "lib/scratch.h"

#define HELD_PACKETS 512
#define HELD_SLOTS   8
#define HELD_BYTES   2048
#define HELD_SECONDS 1

struct held_key {
	struct hw_fragment_key datagram;
	__u32 slot;
};

struct held {
	__u64 stamp; /* no two are alike */
	__u32 expires;
	__u32 length;
	__u8 frame[HELD_BYTES];
};

/* Of this object alone, which nobody else reads (no hw_ name). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HELD_PACKETS);
	__type(key, struct held_key);
	__type(value, struct held);
} held_map SEC(".maps");

/* Where the next copy is put together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct held);
} held_desk SEC(".maps");

static __always_inline struct held_key held_key(const struct packet *p, __u32 slot)
{
	struct held_key key = { .datagram = fragments_key(p), .slot = slot };

	return key;
}

/* Between the checks of a length and its use: older verifiers know only of the register that was compared. */
#define HELD_AS_IT_IS(length) asm volatile("" : "+r"(length))

static __always_inline bool held_load(const struct __sk_buff *skb, struct held *held, __u64 length)
{
	HELD_AS_IT_IS(length);
	if (length > HELD_BYTES)
		return false;
	HELD_AS_IT_IS(length);
	if (length < ETH_HLEN)
		return false;
	HELD_AS_IT_IS(length);
	return !bpf_skb_load_bytes(skb, 0, held->frame, length);
}

static __always_inline bool held_store(struct __sk_buff *skb, const struct held *held, __u64 length)
{
	HELD_AS_IT_IS(length);
	if (length > HELD_BYTES)
		return false;
	HELD_AS_IT_IS(length);
	if (length < ETH_HLEN)
		return false;
	HELD_AS_IT_IS(length);
	return !bpf_skb_store_bytes(skb, 0, held->frame, length, BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH);
}

/* Keeps a copy of scratch->packet, a later fragment to an address of the host. Not static, so that the verifier walks it once. */
__noinline int held_keep(struct __sk_buff *skb)
{
	__u32 zero = 0, now = (__u32)bpf_jiffies64(), length = skb->len, slot;
	const struct scratch *scratch = scratch_same();
	struct held *held = bpf_map_lookup_elem(&held_desk, &zero);
	const struct hw_host_address *host;
	const struct held *other;
	struct held_key key;

	if (!scratch || !held || !hw_config.mark || length > HELD_BYTES)
		return 0;
	host = hostaddrs_find(&scratch->packet.flow.daddr);
	if (!host || host->flags & HW_HOST_ADDRESS_GATEWAY)
		return 0;
	key = held_key(&scratch->packet, 0);
	for (slot = 0; slot < HELD_SLOTS; slot++) {
		key.slot = slot;
		other = bpf_map_lookup_elem(&held_map, &key);
		if (!other || clock_expired(other->expires, now))
			break;
	}
	if (slot == HELD_SLOTS || !held_load(skb, held, length))
		return 0;
	held->stamp = bpf_ktime_get_ns() << 10 | (bpf_get_smp_processor_id() & 1023);
	held->expires = now + HELD_SECONDS * hw_config.hz;
	held->length = length;
	return bpf_map_update_elem(&held_map, &key, held, BPF_ANY);
}

/* The packet becomes the one that was kept in this slot, as the container is to see it. False: there is none. */
static __always_inline bool held_restore(struct __sk_buff *skb, struct scratch *scratch, const struct hw_endpoint *ep,
					 struct held_key *key)
{
	const struct packet *p = &scratch->packet;
	const struct hw_ct6_key *to = &scratch->route.to;
	const struct held *held = bpf_map_lookup_elem(&held_map, key), *same;
	__u64 difference, stamp;
	__u32 length;

	if (!held)
		return false;
	length = held->length;
	stamp = held->stamp;
	if (length > ep->mtu + ETH_HLEN || clock_expired(held->expires, (__u32)bpf_jiffies64()) ||
	    bpf_skb_change_tail(skb, length, 0) < 0 || !held_store(skb, held, length))
		return false;
	/* The place may have been taken for another packet meanwhile. */
	same = bpf_map_lookup_elem(&held_map, key);
	if (same != held || same->stamp != stamp)
		return false;
	bpf_map_delete_elem(&held_map, key);
	difference = nat_addresses(&p->flow, to);
	if (p->family == 6)
		bpf_csum_update(skb, checksum_fold32(difference));
	return nat_header(skb, p, &to->saddr, &to->daddr, difference) >= 0 && eth_address(skb, ep->mac) >= 0;
}

/* After a first fragment was made ready for its container: TC_ACT_REDIRECT as it was, or the packets are all on their way. */
__noinline int held_release(struct __sk_buff *skb)
{
	struct scratch *scratch = scratch_same();
	const struct hw_endpoint *ep;
	struct held_key key;
	__u32 slot;

	if (!scratch || !hw_config.mark)
		return TC_ACT_REDIRECT;
	key = held_key(&scratch->packet, 0);
	if (!bpf_map_lookup_elem(&held_map, &key))
		return TC_ACT_REDIRECT;
	ep = endpoints_by_address(&scratch->route.to.daddr);
	if (!ep || !handover_give(skb, ep->ifindex))
		return TC_ACT_REDIRECT;
	for (slot = 0; slot < HELD_SLOTS; slot++) {
		key.slot = slot;
		if (!held_restore(skb, scratch, ep, &key) || !handover_give(skb, ep->ifindex))
			break;
		metrics_count(HW_DIRECTION_FROM_UPLINK, 0, skb->len);
	}
	return HANDOVER_DONE;
}
