// What a lost state takes with it comes back from Docker's truth and from what the kernel still knows (R24).
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { ClusterNode } from "../../../src/network/cluster.ts";
import type { DockerTruth, EndpointTruth, NetworkTruth } from "../../../src/network/commands.ts";
import { createEndpoint } from "../../../src/network/create-endpoint.ts";
import { publishPorts } from "../../../src/network/publish-ports.ts";
import { reconcile } from "../../../src/network/reconcile.ts";
import { requestAddress } from "../../../src/network/request-address.ts";
import type { Context, Standing } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { after, cidr, context, db, endpoint, ip, joined, joining, laterBy, made, network, plugged, poolId, port, printPorts, printSteps, published, refusal, shop, web } from "./world.ts";

const container = { id: "c0ffee", name: "db", labels: {} };
const running: EndpointTruth = { id: db, container, running: { ipv4: "10.50.0.2/24", ipv6: null, mac: "02:42:0a:32:00:02" } };
const shopTruth = (change: Partial<NetworkTruth> = {}): NetworkTruth => ({ id: shop, name: "shop", made: network(), endpoints: [running], ...change });
const truthOf = (...networks: readonly NetworkTruth[]): DockerTruth => ({ askedAt: context.now, networks, pools: [] });
const standing = (change: Partial<Standing> = {}): Context => ({
  ...context, standing: () => ({ cables: new Set(["hwdb010000000"]), gateways: new Map(), ports: [], ...change }),
});

test("a network and a running container that the state lost are as they were, without a step", (t) => {
  const before = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"));
  const ports = [{ protocol: "tcp" as const, hostIp: ip("0.0.0.0"), hostPort: 8080, address: ip("10.50.0.2"), containerPort: 80, network: 0x540900 }];
  const { next, steps, reply } = reconcile(emptyState, truthOf(shopTruth()), standing({ ports }));
  t.deepEqual([steps, reply.restored, reply.refused], [[], [shop, db], []]);
  t.deepEqual(next.networks.get(shop), { ...before.networks.get(shop), name: "shop" } as never);
  t.like(next.endpoints.get(db), { state: "init", joined: true, hostInterface: "hwdb010000000", mac: "02:42:0a:32:00:02", container } as never);
  t.deepEqual(printPorts(next, db), printPorts(before, db));
  t.is(reconcile(next, truthOf(shopTruth()), standing({ ports })).next, next, "once");
});

test("a gateway that Docker does not tell is the kernel's, else the one that our address management gives first", (t) => {
  const silent = shopTruth({ endpoints: [], made: network({ ipv4: [{ pool: "10.50.0.0/24", gateway: null, aux: {} }] }) });
  const gatewayOf = (truth: DockerTruth, when: Context) => reconcile(emptyState, truth, when).next.networks.get(shop)?.ipv4?.gateway as string | undefined;
  t.is(gatewayOf(truthOf(silent), standing({ gateways: new Map([[0x540900, { ipv4: ip("10.50.0.77"), ipv6: null }]]) })), "10.50.0.77");
  const pools = [{ prefix: "10.50.0.0/24", range: "10.50.0.64/26", gateway: null, aux: ["10.50.0.65"], addresses: ["10.50.0.66/24"] }];
  t.is(gatewayOf({ ...truthOf(silent), pools }, standing()), "10.50.0.64");
});

test("the pool comes back with what it has given out, so that no address is given twice (R58)", (t) => {
  const pools = [{ prefix: "10.50.0.0/24", range: null, gateway: "10.50.0.1", aux: ["10.50.0.5"], addresses: ["10.50.0.2/24", "10.50.0.3/24"] }];
  const { next } = reconcile(emptyState, { ...truthOf(shopTruth()), pools }, standing());
  const id = poolId("10.50.0.0/24");
  t.deepEqual(Object.entries(next.pools.get(id)?.allocated ?? {}).map(([address, { purpose }]) => `${address} ${purpose}`).toSorted(),
    ["10.50.0.1 gateway", "10.50.0.2 endpoint", "10.50.0.3 endpoint", "10.50.0.5 aux"]);
  t.is(requestAddress(next, { pool: id, address: "", purpose: "endpoint" }, context).reply, "10.50.0.4/24");
});

test("a container that still starts, or whose cable is gone, is not taken back", (t) => {
  const starting = { id: db, container };
  for (const [one, when] of [[starting, standing()], [running, standing({ cables: new Set() })]] as const) {
    t.deepEqual([...reconcile(emptyState, truthOf(shopTruth({ endpoints: [one] })), when).next.endpoints.keys()], []);
  }
});

test("what was removed while Docker was asked is not taken back, and a pool named again later is", (t) => {
  const removed = new Map<string, number>([[shop, context.now + 1], ["10.50.0.0/24", context.now + 1]]);
  const pools = [{ prefix: "10.50.0.0/24", range: null, gateway: null, aux: [], addresses: [] }];
  const truth = { ...truthOf(shopTruth()), pools };
  t.is(reconcile(emptyState, truth, { ...standing(), removed }).next, emptyState);
  t.deepEqual([...reconcile(emptyState, { ...truth, askedAt: context.now + 2 }, { ...standing(), removed }).next.pools.keys()], [poolId("10.50.0.0/24")]);
});

test("what cannot be taken back is said and keeps nothing else from it", (t) => {
  const odd: NetworkTruth = { id: web as never, name: "odd", made: network({ id: web as never, options: { "hawser.mtu": "1" }, ipv4: [{ pool: "10.60.0.0/24", gateway: null, aux: {} }] }), endpoints: [] };
  const { next, reply } = reconcile(emptyState, truthOf(odd, shopTruth()), standing());
  t.deepEqual([...next.networks.keys()], [shop]);
  t.deepEqual(reply.refused, ['network odd: option hawser.mtu: "1" is not a whole number from 576 to 65535']);
});

const dead: Context = { ...laterBy(5000), standing: () => ({ cables: new Set(), gateways: new Map(), ports: [] }) };

test("what a dead endpoint holds goes to whom Docker names next: address, MAC and ports (R20, R21)", (t) => {
  const full = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"));
  const { next, steps } = createEndpoint(full, endpoint({ id: web }), dead);
  t.deepEqual([...next.endpoints.keys()], [web]);
  t.deepEqual(printSteps(steps), [
    "removePort tcp 0.0.0.0 8080 -> 10.50.0.2 80", "removeEndpoint hwdb010000000 540900 10.50.0.2 02:42:0a:32:00:02", "detach hwdb010000000",
    "removeCable hwdb010000000 hwdb010000000c 02:42:0a:32:00:02 1500", "cable hw3eb10000000 hw3eb10000000c 02:42:0a:32:00:02 1500", "attach hw3eb10000000",
  ]);
  t.regex(refusal(() => createEndpoint(full, endpoint({ id: web }), laterBy(5000))), /is taken by/, "while it lives it is its own");
  const other = after(made(network()), plugged(endpoint()), joined(joining()), published(db, "8080:80"), plugged(endpoint({ id: web, ipv4: "10.50.0.3/24" })), joined(joining({ id: web, sandboxKey: "/run/docker/netns/b" })));
  const publish = (when: Context) => publishPorts(other, { id: web, network: shop, ports: [port("8080:80")] }, when);
  t.deepEqual(printPorts(publish(dead).next, web), ["tcp 0.0.0.0 8080 -> 80"]);
  t.deepEqual(printPorts(publish(dead).next, db), []);
  t.regex(refusal(() => publish(laterBy(5000))), /PORT_IN_USE/);
});

test("an endpoint whose CreateEndpoint's answer was lost gives way to the next with its address (facts 0.7)", (t) => {
  const half = after(made(network()), plugged(endpoint()));
  t.deepEqual([...createEndpoint(half, endpoint({ id: web }), context).next.endpoints.keys()], [web]);
});

test("Docker forgets a dead endpoint and so does Hawser, at once and with its address", (t) => {
  const id = poolId("10.50.0.0/24");
  const held = after(() => requestAddress(reconcile(emptyState, { ...truthOf(), pools: [{ prefix: id, range: null, gateway: "10.50.0.1", aux: [], addresses: ["10.50.0.2/24"] }] }, context).next, { pool: id, address: "", purpose: "endpoint" }, context), made(network()), plugged(endpoint()), joined(joining()));
  t.is(requestAddress(held, { pool: id, address: "10.50.0.2", purpose: "endpoint" }, dead).reply, "10.50.0.2/24");
  t.regex(refusal(() => requestAddress(held, { pool: id, address: "10.50.0.2", purpose: "endpoint" }, laterBy(5000))), /IN_USE/);
  t.deepEqual(reconcile(held, truthOf(shopTruth({ endpoints: [] })), dead).reply.removedEndpoints, [db]);
  t.deepEqual(reconcile(held, truthOf(shopTruth({ endpoints: [] })), laterBy(5000)).reply.removedEndpoints, []);
});

test("what runs here is known again although its subnet lies in what is another node's slice by now", (t) => {
  const b: ClusterNode = { name: "b", addresses: [ip("192.0.2.20")], ipv4: cidr("10.50.0.0/24"), ipv6: null, mtu: 1500, names: [] };
  const state = { ...emptyState, cluster: { ...noCluster, kind: "etcd" as const, nodes: new Map([["b", b]]) } };
  const { next, reply } = reconcile(state, truthOf(shopTruth()), standing());
  t.deepEqual([reply.restored, reply.refused, next.cluster === state.cluster], [[shop, db], [], true]);
});
