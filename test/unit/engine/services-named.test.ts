// The desk and services whose backends are containers that are named by their addresses: here, on nodes that tell of theirs, and on those that do not.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import type { Cluster, ClusterNode } from "../../../src/network/cluster.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { endpointId } from "./fake.ts";
import { far, shop } from "./shop.ts";

const naming = (addresses: readonly string[], health = "none") => ({
  documents: [{
    file: "web.yaml",
    text: `service: web\nfrontends: ["203.0.113.10:80"]\nbackends: [${addresses.map((address) => `{ address: "${address}:8080" }`).join(", ")}]\nhealth: { kind: ${health} }\ndrain: 30s\n`,
  }],
});
const peer: ClusterNode = { name: "n2", addresses: ["192.0.2.8" as Ip], ipv4: "10.44.9.0/24" as Cidr, ipv6: null, mtu: 1500, names: [] };
const peers: Cluster = { ...noCluster, kind: "static", ipv4: "10.44.1.0/24" as Cidr, nodes: new Map([["n2", peer]]) };

/** `address node way state` */
const backendsIn = (plans: readonly ServicePlan[] | null): readonly string[] => (plans ?? []).flatMap(({ backends }) => backends.map(({ address, node, way, state }) => `${address} ${node} ${way} ${state}`));

test("R76: a container of this node that is named by its address serves as one that is selected: it drains when it stops, and is gone when it is killed", async (t) => {
  const { engine, join, host, pass } = await shop();
  await join(1, 2);
  await engine.commands.applyService(naming(["10.50.0.2", "10.50.0.3", "10.50.0.9", "10.44.7.7", "10.50.0.1", "192.0.2.99"]));
  const servers = ["10.50.0.1 null snat active", "192.0.2.99 null snat active"];
  t.deepEqual(backendsIn(host.services), ["10.50.0.2 n1 container active", "10.50.0.3 n1 container active", ...servers], "the gateway is this node; at the others' addresses nobody is");
  await engine.commands.containerEnds({ containerId: "c1", ending: "stopping", at: 1_000_001 });
  await engine.commands.containerEnds({ containerId: "c2", ending: "ended", at: 1_000_001 });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["10.50.0.2 n1 container draining", ...servers]);
  pass(30_000);
  await engine.idle();
  t.deepEqual(backendsIn(host.services), servers);
  await join(8);
  t.deepEqual(backendsIn(host.services), [...servers, "10.50.0.9 n1 container active"]);
});

test("its own node asks it, and tells the others what it found", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService(naming(["10.50.0.2"], "tcp"));
  const backend = `${endpointId(1)}@10.50.0.2`;
  t.deepEqual(engine.queries.probeTargets().map((target) => [target.backend, target.address]), [[backend, "10.50.0.2"]]);
  await engine.commands.healthHeard([{ service: "web", backend, port: 8080, passed: true, why: "connected" }]);
  t.deepEqual(backendsIn(host.services), ["10.50.0.2 n1 container active"]);
  t.deepEqual(engine.ownRecords().health, new Map([[`web ${backend}:8080`, true]]));
});

test("with etcd a container of another node is reached by way of it, as healthy as it says, and is gone with its record and with its node", async (t) => {
  const { engine, host } = await shop();
  await engine.commands.applyService(naming(["10.44.9.2"], "tcp"));
  t.deepEqual(backendsIn(host.services), []);
  const seen = async (cluster: Partial<Cluster>): Promise<readonly string[]> => {
    await engine.commands.syncCluster({ ...noCluster, kind: "etcd", ...cluster });
    await engine.idle();
    return backendsIn(host.services);
  };
  const [nodes, endpoints] = [new Map([["n2", peer]]), new Map([["n2/e", far("e")]])];
  t.deepEqual(await seen({ nodes, endpoints }), ["10.44.9.2 n2 container down"]);
  t.deepEqual(await seen({ nodes, endpoints, health: new Map([["n2", new Map([["web e@10.44.9.2:8080", true]])]]) }), ["10.44.9.2 n2 container active"]);
  t.deepEqual(engine.queries.probeTargets(), []);
  t.deepEqual(await seen({ nodes }), []);
  t.deepEqual(await seen({ nodes, endpoints }), ["10.44.9.2 n2 container down"]);
  t.deepEqual(await seen({}), []);
});

test("with static peers it is on the node whose slice has the address, and every node asks for itself whether it is there", async (t) => {
  const { engine, host } = await shop();
  await engine.commands.applyService(naming(["10.44.9.2", "10.44.1.2"], "tcp"));
  t.deepEqual(backendsIn(host.services), []);
  await engine.commands.syncCluster(peers);
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["10.44.9.2 n2 container down"]);
  t.deepEqual(engine.queries.probeTargets().map(({ backend, address }) => [backend, address]), [["10.44.9.2:8080", "10.44.9.2"]]);
  await engine.commands.healthHeard([{ service: "web", backend: "10.44.9.2:8080", port: 8080, passed: true, why: "connected" }]);
  t.deepEqual(backendsIn(host.services), ["10.44.9.2 n2 container active"]);
  t.is(engine.ownRecords().health, undefined, "what it found there is nobody else's");
});
