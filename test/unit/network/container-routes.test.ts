// Which containers are given routes to other nodes' subnets, which of them, and what Docker is told of it.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { Cluster, ClusterNode, NodeNetwork } from "../../../src/network/cluster.ts";
import { createRoutePlanner } from "../../../src/network/container-routes.ts";
import { join as decide } from "../../../src/network/join.ts";
import type { Join } from "../../../src/network/commands.ts";
import { leave } from "../../../src/network/leave.ts";
import type { ContainerIdentity, ContainerRoutesPlan, EndpointId, NetworkId, Route, State } from "../../../src/network/types.ts";
import { after, cidr, context, db, dual, endpoint, joined, joining, made, network, networkId, plugged, shop, web } from "./world.ts";

const join = (state: State, command: Join) => decide(state, command, context);
const yard = networkId("9a4d");
const netns = "/run/docker/netns/aaaaaaaaaaaa";

const slices: Readonly<Record<string, string>> = { b: "10.44.2.0/24", c: "10.44.3.0/24" };

function node(name: string): ClusterNode {
  return { name, addresses: [], ipv4: cidr(slices[name] ?? ""), ipv6: null, mtu: 1500, names: [] };
}

const has = (name: string, ipv4: string | null, ipv6: string | null = null): NodeNetwork => ({ name, ipv4: ipv4 === null ? null : cidr(ipv4), ipv6: ipv6 === null ? null : cidr(ipv6) });

function among(networks: Readonly<Record<string, readonly NodeNetwork[]>>, kind: Cluster["kind"] = "etcd"): Cluster {
  return { ...noCluster, kind, nodes: new Map(Object.keys(slices).map((name) => [name, node(name)])), networks: new Map(Object.entries(networks)) };
}

const both = { b: [has("shop", "10.44.2.0/26"), has("yard", "10.44.2.64/26")], c: [has("shop", "10.44.3.0/26")] };

/** The networks get their names as from Docker, and other nodes are there. */
function within(state: State, cluster: Cluster): State {
  const names = new Map<NetworkId, string>([[shop, "shop"], [yard, "yard"]]);
  return { ...state, cluster, networks: new Map([...state.networks].map(([id, one]) => [id, { ...one, name: names.get(id) ?? null }])) };
}

const show = (routes: readonly Route[]): string => routes.map(({ destination, gateway }) => `${destination} via ${gateway}`).join(", ");
const plansOf = (state: State): ReadonlyMap<EndpointId, ContainerRoutesPlan> => createRoutePlanner().plan(state);
const shown = (state: State): Readonly<Record<string, string>> => Object.fromEntries([...plansOf(state)].map(([id, { address, routes }]) => [id.slice(0, 2), `${address}: ${show(routes)}`]));

const yards = network({ id: yard, ipv4: [{ pool: "10.60.0.0/24", gateway: "10.60.0.1/24", aux: {} }] });
const inYard = endpoint({ id: web, network: yard, ipv4: "10.60.0.2/24" });

test("a container with a default route by its only network needs no other", (t) => {
  const state = within(after(made(network()), plugged(endpoint()), joined(joining())), among(both));
  t.deepEqual(shown(state), {});
  const ready = within(after(made(network()), plugged(endpoint())), among(both));
  t.deepEqual(join(ready, joining()).reply.routes, []);
});

test("on an internal network it is given a way to the network's subnets on other nodes, at Join and ever after", (t) => {
  const before = within(after(made(network({ ...dual, internal: true })), plugged(endpoint({ ipv6: "fd50::2/64" }))), among({ b: [has("shop", "10.44.2.0/26", "fd60::/64")] }));
  const { next, reply } = join(before, joining());
  t.is(show(reply.routes), "10.44.2.0/26 via 10.50.0.1");
  t.deepEqual(next.endpoints.get(db)?.routes, [cidr("10.44.2.0/26")]);
  t.deepEqual(plansOf(next).get(db), {
    sandbox: netns, address: cidr("10.50.0.2/24"), given: [cidr("10.44.2.0/26")],
    routes: [{ destination: cidr("10.44.2.0/26"), gateway: "10.50.0.1" as never }, { destination: cidr("fd60::/64"), gateway: "fd50::1" as never }],
  });
  const again = join(within(next, among(both)), joining());
  t.is(show(again.reply.routes), "10.44.2.0/26 via 10.50.0.1, 10.44.3.0/26 via 10.50.0.1", "asked again, Docker hears what is known by now");
  t.deepEqual(again.next.endpoints.get(db)?.routes, [cidr("10.44.2.0/26"), cidr("10.44.3.0/26")]);
  t.deepEqual(leave(next, { id: db, network: shop }).next.endpoints.get(db)?.routes, []);
  t.deepEqual(shown(leave(next, { id: db, network: shop }).next), {});
});

test("Docker fails a start over a route that is there already, so it is told of none that another network here may have", (t) => {
  const before = within(after(made(network({ internal: true })), plugged(endpoint())), among({ b: [has("shop", "172.30.0.0/24")] }));
  const { next, reply } = join(before, joining());
  t.deepEqual(reply.routes, []);
  t.deepEqual(shown(next), { db: "10.50.0.2/24: 172.30.0.0/24 via 10.50.0.1" });
  const bridged = { ...context, hostPrefixes: [cidr("10.44.2.1/26")] };
  const inSlices = within(before, among({ b: [has("shop", "10.44.2.0/26")], c: [has("shop", "10.44.3.0/26")] }));
  t.is(show(decide(inSlices, joining(), bridged).reply.routes), "10.44.3.0/26 via 10.50.0.1", "nor of one that a bridge of Docker's has");
});

test("a container that is put on a second network gets the routes of both, each by its own gateway", (t) => {
  const first = after(made(network()), made(yards), plugged(endpoint()), joined(joining()), plugged(inYard));
  const { next, reply } = join(within(first, among(both)), joining({ id: web, network: yard }));
  t.is(show(reply.routes), "10.44.2.64/26 via 10.60.0.1");
  t.deepEqual(shown(next), { db: "10.50.0.2/24: 10.44.2.0/26 via 10.50.0.1, 10.44.3.0/26 via 10.50.0.1", "3e": "10.60.0.2/24: 10.44.2.64/26 via 10.60.0.1" });
  t.deepEqual(shown(leave(next, { id: web, network: yard }).next), {}, "and loses them with it");
  const apart = join(within(first, among(both)), joining({ id: web, network: yard, sandboxKey: "/run/docker/netns/other" }));
  t.deepEqual(shown(apart.next), {}, "two containers are not one");
});

test("what Docker put into a container for one network it is not told of for another, even when the subnet is that one's by now", (t) => {
  const inside = after(made(network({ internal: true })), made(yards), plugged(endpoint()), plugged(inYard));
  const first = join(within(inside, among(both)), joining()).next;
  const moved = among({ b: [has("yard", "10.44.2.0/26")] });
  const { next, reply } = join(within(first, moved), joining({ id: web, network: yard }));
  t.deepEqual(reply.routes, []);
  t.deepEqual(shown(next), { db: "10.50.0.2/24: ", "3e": "10.60.0.2/24: 10.44.2.0/26 via 10.60.0.1" });
  t.deepEqual(plansOf(next).get(db)?.given, [cidr("10.44.2.0/26"), cidr("10.44.3.0/26")], "which is how it is found and taken away");
});

test("so does one that Docker says is on a network of another driver as well", (t) => {
  const state = within(after(made(network()), plugged(endpoint()), joined(joining())), among(both));
  const known = state.endpoints.get(db);
  const container: ContainerIdentity = { id: "c", name: "db", labels: {}, several: true };
  const several: State = { ...state, endpoints: new Map(known ? [[db, { ...known, container }]] : []) };
  t.deepEqual(shown(several), { db: "10.50.0.2/24: 10.44.2.0/26 via 10.50.0.1, 10.44.3.0/26 via 10.50.0.1" });
});

test("a subnet that a network here has itself, or a part of it, needs no route and gets none", (t) => {
  const inside = after(made(network({ internal: true })), made(yards), plugged(endpoint()), joined(joining()));
  t.deepEqual(shown(within(inside, among({ b: [has("shop", "10.50.0.0/24")], c: [has("shop", "10.60.0.128/25")] }))), { db: "10.50.0.2/24: " });
  t.deepEqual(shown(within(inside, among({ b: [has("shop", "10.50.0.0/16")] }))), { db: "10.50.0.2/24: 10.50.0.0/16 via 10.50.0.1" }, "its own is the more exact one");
});

test("of two networks with one name the one made first meets the other nodes'; one without a name meets nobody", (t) => {
  const two = after(made(network({ internal: true })), made({ ...yards, internal: true }), plugged(endpoint()), joined(joining()), plugged(inYard), joined(joining({ id: web, network: yard, sandboxKey: "/other" })));
  const twins = { ...two, cluster: among(both), networks: new Map([...two.networks].map(([id, one], i) => [id, { ...one, name: "shop", createdAt: i }])) };
  t.deepEqual(shown(twins), { db: "10.50.0.2/24: 10.44.2.0/26 via 10.50.0.1, 10.44.3.0/26 via 10.50.0.1", "3e": "10.60.0.2/24: " });
  t.deepEqual(shown({ ...two, cluster: among(both) }), { db: "10.50.0.2/24: ", "3e": "10.60.0.2/24: " });
});

test("where nodes tell nothing, the ways to all their slices are of the container's first network", (t) => {
  const known = among({}, "static");
  const slicesBy = (gateway: string): string => `10.44.2.0/24 via ${gateway}, 10.44.3.0/24 via ${gateway}`;
  const before = within(after(made(network({ internal: true })), made({ ...yards, internal: true }), plugged(endpoint()), plugged(inYard)), known);
  const first = join(before, joining());
  t.is(show(first.reply.routes), slicesBy("10.50.0.1"));
  const second = join(first.next, joining({ id: web, network: yard }));
  t.deepEqual(second.reply.routes, []);
  t.deepEqual(shown(second.next), { db: `10.50.0.2/24: ${slicesBy("10.50.0.1")}`, "3e": "10.60.0.2/24: " });
  t.deepEqual(shown(leave(second.next, { id: db, network: shop }).next), { "3e": `10.60.0.2/24: ${slicesBy("10.60.0.1")}` });
});

test("on one node alone nobody needs a route", (t) => {
  const state = after(made(network({ internal: true })), plugged(endpoint()), joined(joining()));
  t.deepEqual(shown(within(state, noCluster)), {});
});

test("what does not change stays the same object, and one container's change leaves the others' alone", (t) => {
  const planner = createRoutePlanner();
  const state = within(after(made(network({ internal: true })), plugged(endpoint()), joined(joining())), among(both));
  const plans = planner.plan(state);
  t.is(planner.plan({ ...state, cluster: { ...state.cluster, numbers: new Map([["x", 256]]) } }), plans);
  t.is(planner.plan({ ...state, cluster: among(both) }), plans, "told again");
  t.is(planner.plan({ ...state, endpoints: new Map(state.endpoints) }), plans);
  const other = { ...plugged(endpoint({ id: web, ipv4: "10.50.0.3/24" }))(state).next };
  const more = planner.plan(join(other, joining({ id: web, sandboxKey: "/other" })).next);
  t.is(more.size, 2);
  t.is(more.get(db), plans.get(db));
  const fewer = planner.plan({ ...state, cluster: among({ b: both.b }) });
  t.is(show(fewer.get(db)?.routes ?? []), "10.44.2.0/26 via 10.50.0.1");
});
