// Address pools: subnets out of the node's own pool or the user's, and addresses out of subnets.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { Cluster, ClusterNode, RemoteEndpoint } from "../../../src/network/cluster.ts";
import { releaseAddress } from "../../../src/network/release-address.ts";
import { releasePool } from "../../../src/network/release-pool.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import { requestPool } from "../../../src/network/request-pool.ts";
import type { State } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { after, cidr, context, ip, made, network, pool, poolId, refusal } from "./world.ts";

const small = { ...context, pool: { ...context.pool, ipv4: cidr("10.44.0.0/24"), ipv6: cidr("fd44::/79") } };
const refused = (change: Parameters<typeof pool>[0], state = emptyState) => refusal(() => requestPool(state, pool(change), context));

/** Pools asked for in turn, as text. */
function pools(count: number, where = context, change: Parameters<typeof pool>[0] = {}, from: State = emptyState): readonly string[] {
  let state = from;
  return Array.from({ length: count }, () => {
    const { next, reply } = requestPool(state, pool(change), where);
    state = next;
    return reply.prefix;
  });
}

const user = (change: Parameters<typeof pool>[0] = {}) => requestPool(emptyState, pool({ pool: "10.50.0.0/29", ...change }), context).next;
const p29 = poolId("10.50.0.0/29");

/** Addresses asked for in turn, as text; "gateway", "" or an address each. */
function addresses(from: State, id: string, ...asked: readonly string[]): readonly string[] {
  let state = from;
  return asked.map((address) => {
    const command = { pool: poolId(id), address: address === "gateway" ? "" : address, purpose: address === "gateway" ? "gateway" : "endpoint" } as const;
    const { next, reply } = requestAddress(state, command, context);
    state = next;
    return reply;
  });
}

test("without a subnet, networks take /26s and /80s from the node's slice, then the next slice", (t) => {
  t.deepEqual(pools(5), ["10.44.0.0/26", "10.44.0.64/26", "10.44.0.128/26", "10.44.0.192/26", "10.44.1.0/26"]);
  t.deepEqual(pools(2, context, { ipv6: true }), ["fd44::/80", "fd44::1:0:0:0/80"]);
});

test("what others hold is stepped over, however large: pools, networks and the host's own", (t) => {
  const held = after(made(network({ ipv4: [{ pool: "10.44.0.64/26", gateway: "10.44.0.65", aux: {} }] })));
  t.deepEqual(pools(2, context, {}, held), ["10.44.0.0/26", "10.44.0.128/26"]);
  const host = { ...context, hostPrefixes: [cidr("10.44.9.9/17"), cidr("fd44::1/64"), cidr("10.44.128.9/32")] };
  t.deepEqual(pools(1, host), ["10.44.128.64/26"]);
  t.deepEqual(pools(1, host, { ipv6: true }), ["fd44:0:0:1::/80"]);
});

test("a released pool is the next one given", (t) => {
  const state = requestPool(requestPool(emptyState, pool(), context).next, pool(), context).next;
  const freed = releasePool(state, poolId("10.44.0.0/26")).next;
  t.deepEqual(pools(2, context, {}, freed), ["10.44.0.0/26", "10.44.0.128/26"]);
  t.is(releasePool(emptyState, poolId("10.99.0.0/24")).next, emptyState);
});

test("slices smaller than a network's usual part are given whole", (t) => {
  t.deepEqual(pools(2, { ...context, pool: { ...context.pool, ipv4NodePrefix: 28 } }), ["10.44.0.0/28", "10.44.0.16/28"]);
});

test("an exhausted pool says so and how to mend it (R80)", (t) => {
  t.regex(t.throws(() => pools(5, small))?.message ?? "", /no free \/26 is left in 10\.44\.0\.0\/24 \(10\.44\.0\.0\/26 is an address pool that Docker holds, .* and 1 more\); enlarge pool\.ipv4 in the configuration, or give --subnet/);
  t.regex(t.throws(() => pools(3, small, { ipv6: true }))?.message ?? "", /no free \/80 is left in fd44::\/79 \(/);
});

test("a subnet of the user's is taken as it is, and its range must lie within", (t) => {
  const { next, reply } = requestPool(emptyState, pool({ pool: "10.50.0.9/24", subPool: "10.50.0.128/25" }), context);
  t.deepEqual(reply, { id: poolId("10.50.0.0/24"), prefix: "10.50.0.0/24" });
  t.like(next.pools.get(reply.id), { range: "10.50.0.128/25", automatic: false, family: 4 });
  t.is(refused({ pool: "10.50.0.0/24", subPool: "10.51.0.0/25" }), "BAD_OPTION: SubPool: the range 10.51.0.0/25 does not lie within the subnet 10.50.0.0/24 (--ip-range)");
});

test("subnets that overlap another pool, a network or the host are refused, naming it", (t) => {
  const held = requestPool(after(made(network())), pool({ pool: "10.60.0.0/16" }), context).next;
  t.deepEqual([refused({ pool: "10.60.9.0/24" }, held), refused({ pool: "10.50.0.0/16" }, held), refused({ pool: "192.0.2.0/28" }), refused({ pool: "10.61.0.0/24" }, held)], [
    "OVERLAP: Pool: 10.60.9.0/24 overlaps 10.60.0.0/16 of an address pool that Docker holds; choose another --subnet",
    "OVERLAP: Pool: 10.50.0.0/16 overlaps 10.50.0.0/24 of network 540900000000; choose another --subnet",
    "OVERLAP: Pool: 192.0.2.0/28 overlaps 192.0.2.10/24 of the host's own address 192.0.2.10; choose another --subnet",
    "accepted",
  ]);
});

test("wrong pools are refused with a sentence", (t) => {
  t.deepEqual([
    refused({ pool: "banana" }), refused({ pool: "10.50.0.0/24", ipv6: true }), refused({ pool: "fd50::/64" }), refused({ pool: "10.50.0.1/32" }), refused({ pool: "ff02::/64", ipv6: true }),
    refusal(() => requestPool(emptyState, pool({ ipv6: true }), { ...context, ipv6: false })),
    refusal(() => requestPool(emptyState, pool({ ipv6: true }), { ...context, pool: { ...context.pool, ipv6: null } })),
  ], [
    'BAD_REQUEST: Pool: "banana" is not an address with a prefix length, such as 10.44.0.0/24',
    "BAD_REQUEST: Pool: 10.50.0.0/24 is not an IPv6 prefix",
    "BAD_REQUEST: Pool: fd50::/64 is not an IPv4 prefix",
    "BAD_OPTION: Pool: 10.50.0.1/32 has one address only; a network needs two or more (--subnet)",
    "BAD_OPTION: Pool: ff02::/64 overlaps ff00::/8 (multicast); choose another --subnet",
    "UNSUPPORTED: this node does not speak IPv6; create the network without --ipv6, or turn IPv6 on (pool.ipv6)",
    "UNSUPPORTED: there is no IPv6 pool to take a subnet from; give --subnet or set pool.ipv6 in the configuration",
  ]);
});

test("the gateway is the first address, containers follow, the network's own and broadcast addresses are never given", (t) => {
  t.deepEqual(addresses(user(), p29, "gateway", "", "", "", "", ""), ["10.50.0.1/29", "10.50.0.2/29", "10.50.0.3/29", "10.50.0.4/29", "10.50.0.5/29", "10.50.0.6/29"]);
  t.deepEqual(addresses(requestPool(emptyState, pool({ ipv6: true }), context).next, "fd44::/80", "gateway", "", ""), ["fd44::1/80", "fd44::2/80", "fd44::3/80"]);
});

test("prefixes of two addresses use both", (t) => {
  t.deepEqual(addresses(user({ pool: "10.50.0.0/31" }), "10.50.0.0/31", "gateway", ""), ["10.50.0.0/31", "10.50.0.1/31"]);
});

test("a freed address rests: the search goes on after the last one given (R58)", (t) => {
  const ask = (state: State) => requestAddress(state, { pool: p29, address: "", purpose: "endpoint" }, context);
  const first = ask(user());
  const second = ask(releaseAddress(first.next, { pool: p29, address: "10.50.0.1" }).next);
  const third = ask(releaseAddress(second.next, { pool: p29, address: "10.50.0.2/29" }).next);
  t.deepEqual([first.reply, second.reply, third.reply], ["10.50.0.1/29", "10.50.0.2/29", "10.50.0.3/29"]);
  const wrapped = [4, 5, 6].reduce((state) => ask(state).next, third.next);
  t.is(ask(wrapped).reply, "10.50.0.1/29");
});

test("a range limits what is given, not what may be asked for", (t) => {
  const state = user({ pool: "10.50.0.0/24", subPool: "10.50.0.252/30" });
  t.deepEqual(addresses(state, "10.50.0.0/24", "gateway", "10.50.0.9", "", ""), ["10.50.0.252/24", "10.50.0.9/24", "10.50.0.253/24", "10.50.0.254/24"]);
  t.is(refusal(() => addresses(state, "10.50.0.0/24", "", "", "", "")), "NO_FREE_ADDRESS: no address of 10.50.0.252/30 is free; remove containers, or create a network with a larger --subnet or --ip-range");
});

test("a full pool, a held address and one outside are refused with a sentence", (t) => {
  t.deepEqual([
    refusal(() => addresses(user(), p29, "", "", "", "", "", "", "")),
    refusal(() => addresses(user(), p29, "gateway", "10.50.0.1")),
    refusal(() => addresses(user(), p29, "10.50.0.8")),
    refusal(() => addresses(user(), p29, "10.50.0.7")),
    refusal(() => addresses(user(), p29, "fd50::1")),
    refusal(() => addresses(user(), "10.99.0.0/24", "")),
  ], [
    "NO_FREE_ADDRESS: no address of 10.50.0.0/29 is free; remove containers, or create a network with a larger --subnet",
    "IN_USE: address 10.50.0.1 of 10.50.0.0/29 is in use already (gateway); choose another",
    "BAD_REQUEST: Address: 10.50.0.8 does not lie in the subnet 10.50.0.0/29",
    "BAD_REQUEST: Address: 10.50.0.7 is the network's own or broadcast address in 10.50.0.0/29; choose another",
    "BAD_REQUEST: Address: fd50::1 does not lie in the subnet 10.50.0.0/29",
    "NOT_FOUND: address pool 10.99.0.0/24 is not known to Hawser; it is taken over from Docker within 30 seconds, try again",
  ]);
});

test("releasing what is not held is fine, and a subnet that our IPAM gave is no obstacle to its own network", (t) => {
  const state = user({ pool: "10.50.0.0/24" });
  t.is(releaseAddress(state, { pool: poolId("10.50.0.0/24"), address: "10.50.0.77" }).next, state);
  t.is(releaseAddress(state, { pool: poolId("10.99.0.0/24"), address: "10.99.0.1" }).next, state);
  t.is(refusal(() => made(network())(state)), "accepted");
});

// ---- With other nodes.

const shared = (change: Partial<Cluster> = {}): State => {
  const b: ClusterNode = { name: "b", addresses: [ip("192.0.2.20")], ipv4: cidr("10.44.2.0/24"), ipv6: null, mtu: 1500, names: [] };
  return { ...emptyState, cluster: { ...noCluster, kind: "etcd", ipv4: cidr("10.44.1.0/24"), nodes: new Map([["b", b]]), ...change } };
};
const far = (address: string): RemoteEndpoint => ({
  node: "b", id: address, containerId: "c", name: "db", names: ["db"], network: "shop", ipv4: ip(address), ipv6: null, mac: "02:42:0a:32:00:03", identity: 300,
  labels: { network: "shop", project: null, service: null, name: null, own: {} },
});
const withFar = (...taken: readonly string[]): State =>
  ({ ...user(), cluster: { ...shared().cluster, endpoints: new Map(taken.map((address) => [`b/${address}`, far(address)])) } });

test("among other nodes a subnet comes out of this node's slice alone, until that is full", (t) => {
  t.deepEqual(pools(4, context, {}, shared()), ["10.44.1.0/26", "10.44.1.64/26", "10.44.1.128/26", "10.44.1.192/26"]);
  const full = [0, 1, 2, 3].reduce((state) => requestPool(state, pool(), context).next, shared());
  t.is(refused({}, full), "NO_FREE_POOL: no free /26 is left in 10.44.1.0/24, this node's slice of 10.44.0.0/16 (10.44.1.0/26 is an address pool that Docker holds, 10.44.1.64/26 is an address pool that Docker holds, 10.44.1.128/26 is an address pool that Docker holds and 1 more); remove a network, let nodes have larger slices (a smaller pool.ipv4NodePrefix), or give --subnet");
  t.regex(refused({}, { ...full, cluster: { ...full.cluster, kind: "static" } }), /remove a network, give this node a larger slice in `peers`, or give --subnet$/);
  const more = { ...full, cluster: { ...full.cluster, more: [cidr("fd44:0:0:9::/64"), cidr("10.44.7.0/24")] } };
  t.deepEqual(pools(2, context, {}, more), ["10.44.7.0/26", "10.44.7.64/26"]);
  t.deepEqual(pools(1, context, { ipv6: true }, more), ["fd44:0:0:9::/80"]);
  t.regex(refused({}, [0, 1, 2, 3].reduce<State>((state) => requestPool(state, pool(), context).next, more)), /is left in 10\.44\.1\.0\/24, 10\.44\.7\.0\/24, this node's slices of/);
});

test("while no slice is known to be this node's none is taken, and the error says why", (t) => {
  t.regex(refused({}, shared({ ipv4: null })), /^NO_FREE_POOL: no slice of 10\.44\.0\.0\/16 is known to be this node's yet; see the store .*--subnet$/);
  t.regex(refused({}, shared({ kind: "static", ipv4: null })), /^NO_FREE_POOL: no slice of 10\.44\.0\.0\/16 is known to be this node's yet; no peer's configuration leaves it one/);
  t.regex(refused({ ipv6: true }, shared()), /^NO_FREE_POOL: no slice of fd44::\/48 /);
});

test("a subnet that the user names may be one of another node's networks, but no part of its slice", (t) => {
  t.is(refused({ pool: "10.50.0.0/29" }, shared({ endpoints: withFar("10.50.0.3").cluster.endpoints })), "accepted");
  t.is(refused({ pool: "10.44.2.64/26" }, shared()), "OVERLAP: Pool: 10.44.2.64/26 overlaps 10.44.2.0/24 of node b's slice of the pool; choose another --subnet");
  t.is(refused({ pool: "10.44.1.64/26" }, shared()), "accepted");
  const b = shared().cluster.nodes.get("b");
  t.regex(refused({ pool: "10.44.9.64/26" }, shared({ nodes: new Map(b === undefined ? [] : [["b", { ...b, more: [cidr("10.44.9.0/24")] }]]) })), /^OVERLAP: .* of node b's slice/);
});

test("an address that a container on another node has is not given out, and refused with the node's name when it is asked for", (t) => {
  t.deepEqual(addresses(withFar("10.50.0.2", "10.50.0.4"), p29, "gateway", "", ""), ["10.50.0.1/29", "10.50.0.3/29", "10.50.0.5/29"]);
  t.is(refusal(() => requestAddress(withFar("10.50.0.3"), { pool: p29, address: "10.50.0.3", purpose: "endpoint" }, context)), "IN_USE: address 10.50.0.3 of 10.50.0.0/29 is container db's on node b; choose another");
});
