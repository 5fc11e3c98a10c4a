// What the datapath is to know of other nodes: their numbers, who has which address, what may be asked for; and only what changed is new.
import test from "ava";
import fc from "fast-check";
import { noCluster } from "../../../src/network/cluster.ts";
import type { Cluster, ClusterNode, ClusterPlan, RemoteEndpoint } from "../../../src/network/cluster.ts";
import { createClusterPlanner, mostNodes, remoteOwners } from "../../../src/network/cluster-plan.ts";
import type { Network, NetworkId, State } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { cidr, ip, made, network, networkId } from "./world.ts";

const pools = [cidr("10.44.0.0/16")];

function node(name: string, change: Partial<ClusterNode> = {}): ClusterNode {
  return { name, addresses: [ip("192.0.2.20")], ipv4: cidr("10.44.2.0/24"), ipv6: null, mtu: 1500, names: [], ...change };
}

function remote(id: string, on: string, address: string | null, change: Partial<RemoteEndpoint> = {}): RemoteEndpoint {
  return {
    node: on, id, containerId: `c${id}`, name: id, names: [id], network: "shop", ipv4: address === null ? null : ip(address), ipv6: null, mac: "02:42:0a:2c:02:02", identity: 300,
    labels: { network: "shop", project: null, service: id, name: null, own: {} }, ...change,
  };
}

function cluster(nodes: readonly ClusterNode[], endpoints: readonly RemoteEndpoint[] = []): Cluster {
  return {
    ...noCluster, kind: "etcd", nodes: new Map(nodes.map((one) => [one.name, one])), endpoints: new Map(endpoints.map((one) => [`${one.node}/${one.id}`, one])),
  };
}

const networks = (...names: readonly (string | null)[]): State["networks"] => new Map(names.map((name, i) => {
  const id = networkId(`a${i}`);
  const plain = made(network({ id }))(emptyState).next.networks.get(id) as Network;
  return [id as NetworkId, { ...plain, name, number: i + 1 }];
}));

const show = (plan: ClusterPlan): readonly string[] => [
  ...plan.nodes.map(({ name, addresses, slices }) => `${name} at ${addresses.join(",")} has ${slices.join(",")}`),
  ...[...plan.remotes].map(([address, { node: number, identity, network: on }]) => `${address} is ${identity} on ${plan.nodes.find((one) => one.number === number)?.name} in ${on}`),
  ...[...plan.names].map(([name, addresses]) => `${name} = ${addresses.join(",")}`),
].toSorted();

test("an address leads to its node, with this node's number of the network by that name, and none where there is no such network", (t) => {
  const plan = createClusterPlanner(pools).plan({ networks: networks("shop"), cluster: cluster([node("b")], [remote("db", "b", "10.44.2.2"), remote("job", "b", "10.44.2.3", { network: "back" })]) });
  t.deepEqual(show(plan), ["10.44.2.2 is 300 on b in 1", "10.44.2.3 is 300 on b in 0", "1/db = 10.44.2.2", "1/db.shop = 10.44.2.2", "b at 192.0.2.20 has 10.44.2.0/24"].toSorted());
  t.deepEqual([plan.kind, plan.pools], ["etcd", pools]);
});

test("a node has all slices that it claimed", (t) => {
  const { nodes } = createClusterPlanner(pools).plan({ networks: networks("shop"), cluster: cluster([node("b", { ipv6: cidr("fd44:0:0:2::/64"), more: [cidr("10.44.7.0/24")] })]) });
  t.deepEqual(nodes.map(({ slices }) => slices), [["10.44.2.0/24", "fd44:0:0:2::/64", "10.44.7.0/24"].map((text) => cidr(text))]);
});

test("names are asked for in small letters, alone and with their network's, and several containers of one name are all told", (t) => {
  const both = [remote("x", "b", "10.44.2.9", { names: ["DB", "data"], ipv6: ip("fd44::9") }), remote("y", "c", "10.44.3.2", { names: ["db"] })];
  const { names } = createClusterPlanner(pools).plan({ networks: networks("Shop", "shop"), cluster: cluster([node("b"), node("c")], both) });
  t.deepEqual([...names].toSorted(), [
    ["2/data", ["10.44.2.9", "fd44::9"]], ["2/data.shop", ["10.44.2.9", "fd44::9"]], ["2/db", ["10.44.2.9", "10.44.3.2", "fd44::9"]], ["2/db.shop", ["10.44.2.9", "10.44.3.2", "fd44::9"]],
  ] as unknown as [string, Ip[]][]);
});

test("a node keeps its number as long as it is known, and an agent that starts again most likely gives it the same", (t) => {
  const planner = createClusterPlanner(pools);
  const numbers = (...names: readonly string[]) => Object.fromEntries(planner.plan({ networks: new Map(), cluster: cluster(names.map((name) => node(name))) }).nodes.map(({ name, number }) => [name, number]));
  const before = numbers("a", "b", "c");
  t.like(numbers("b", "c", "d", "aa"), { b: before["b"], c: before["c"] });
  t.deepEqual(numbers("a", "b", "c"), before);
  const crowd = Array.from({ length: mostNodes + 5 }, (_, i) => node(`n${i}`));
  const all = createClusterPlanner(pools).plan({ networks: new Map(), cluster: cluster(crowd) }).nodes.map(({ number }) => number);
  t.deepEqual([all.length, new Set(all).size, Math.min(...all), Math.max(...all)], [mostNodes, mostNodes, 1, mostNodes]);
});

test("nothing new is the same plan; what did not change in a new one is the same object", (t) => {
  const planner = createClusterPlanner(pools);
  const [shop, known] = [networks("shop"), cluster([node("b")], [remote("db", "b", "10.44.2.2")])];
  const first = planner.plan({ networks: shop, cluster: known });
  t.is(planner.plan({ networks: shop, cluster: known }), first);
  t.is(planner.plan({ networks: networks("shop"), cluster: { ...known, numbers: new Map([["x", 256]]) } }), first);
  const relabelled = planner.plan({ networks: shop, cluster: cluster([...known.nodes.values()], [remote("db", "b", "10.44.2.2", { identity: 301 })]) });
  t.is(relabelled.names, first.names);
  t.deepEqual(relabelled.remotes.get(ip("10.44.2.2")), { node: first.nodes[0]?.number ?? 0, identity: 301, network: 1 });
  const moved = planner.plan({ networks: shop, cluster: { ...known, nodes: new Map([["b", node("b", { addresses: [ip("192.0.2.77")] })]]) } });
  t.is(moved.names, first.names);
  t.deepEqual(moved.nodes[0]?.addresses, ["192.0.2.77" as Ip]);
});

test("a network that is made, named or removed here changes what containers elsewhere are to it", (t) => {
  const planner = createClusterPlanner(pools);
  const known = cluster([node("b")], [remote("db", "b", "10.44.2.2")]);
  const seen = (...names: readonly (string | null)[]) => show(planner.plan({ networks: networks(...names), cluster: known })).filter((line) => !line.startsWith("b at"));
  const without = ["10.44.2.2 is 300 on b in 0"];
  t.deepEqual(seen(), without);
  t.deepEqual(seen(null), without);
  t.deepEqual(seen("shop"), ["1/db = 10.44.2.2", "1/db.shop = 10.44.2.2", "10.44.2.2 is 300 on b in 1"]);
  t.deepEqual(seen("back", "shop"), ["10.44.2.2 is 300 on b in 2", "2/db = 10.44.2.2", "2/db.shop = 10.44.2.2"]);
  t.deepEqual(seen("back"), without);
});

test("of two containers that say to have one address the first by node and id has it, and the other once that is gone", (t) => {
  const planner = createClusterPlanner(pools);
  const [old, fresh] = [remote("db", "b", "10.44.2.2"), remote("db", "a", "10.44.2.2", { identity: 301 })];
  const owner = (...all: readonly RemoteEndpoint[]) => planner.plan({ networks: networks("shop"), cluster: cluster([node("a"), node("b")], all) });
  t.is(owner(old, fresh).remotes.get(ip("10.44.2.2"))?.identity, 301);
  t.is(remoteOwners(cluster([], [old, fresh]).endpoints).get(ip("10.44.2.2")), fresh);
  const left = owner(old);
  t.is(left.remotes.get(ip("10.44.2.2"))?.identity, 300);
  t.deepEqual(left.names.get("1/db"), ["10.44.2.2" as Ip]);
});

test("a container of a node that is not known yet is nowhere, until the node is", (t) => {
  const planner = createClusterPlanner(pools);
  const db = remote("db", "b", "10.44.2.2");
  t.deepEqual(show(planner.plan({ networks: networks("shop"), cluster: cluster([], [db]) })), []);
  t.is(planner.plan({ networks: networks("shop"), cluster: cluster([node("b")], [db]) }).remotes.size, 1);
  t.deepEqual(show(planner.plan({ networks: networks("shop"), cluster: cluster([], [db]) })), []);
});

test("whatever changes in whatever order, the plan is the one that a planner without a past makes", (t) => {
  const address = fc.constantFrom("10.44.2.2", "10.44.2.3", "10.44.3.2", null);
  const one = fc.tuple(fc.constantFrom("x", "y", "z", "w"), fc.constantFrom("b", "c", "d"), address, fc.constantFrom(300, 301), fc.subarray(["db", "DB", "web"], { minLength: 1 }), fc.constantFrom("shop", "back"))
    .map(([id, on, at, identity, names, home]) => remote(id, on, at, { identity, names, network: home }));
  const scene = fc.tuple(fc.subarray(["b", "c", "d"]), fc.array(one, { maxLength: 8 }), fc.constantFrom(["shop"], ["back", "shop"], [null], []));
  const property = fc.property(fc.array(scene, { minLength: 1, maxLength: 8 }), (scenes) => {
    const planner = createClusterPlanner(pools);
    const kept = new Map<string, RemoteEndpoint>();
    for (const [names, told, local] of scenes) {
      // An endpoint that did not change is the same object, as whoever tells it keeps it.
      const endpoints = told.map((each) => {
        const text = JSON.stringify(each);
        const same = kept.get(text) ?? each;
        kept.set(text, same);
        return same;
      });
      const state = { networks: networks(...local), cluster: cluster(names.map((name) => node(name)), endpoints) };
      const [after, fresh] = [show(planner.plan(state)), show(createClusterPlanner(pools).plan(state))];
      if (after.join("\n") !== fresh.join("\n")) throw new Error(`${after.join("\n")}\n--\n${fresh.join("\n")}`);
    }
  });
  t.notThrows(() => fc.assert(property, { numRuns: 500 }));
});
