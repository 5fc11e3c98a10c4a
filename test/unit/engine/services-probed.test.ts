// The desk and services: whom this node probes, what the answers come to, and what nodes tell each other of their containers.
import test from "ava";
import { noCluster } from "../../../src/network/cluster.ts";
import { desk, endpointId, fakeHost, memoryStore, network, openShop } from "./fake.ts";
import { backendsIn, far, handClock, heard, shop, text, web } from "./shop.ts";

test("of a container on another node that node's word counts at once, and what is not said any more stays", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp") }] });
  const endpoints = new Map([["n2/e", far("e")]]);
  const said = async (...health: readonly (readonly [string, boolean])[]): Promise<readonly string[]> => {
    const lies = new Map([...health, ["web e:8080", false] as const].map(([key, up]) => [key, !up] as const));
    await engine.commands.syncCluster({ ...noCluster, kind: "etcd", endpoints, health: new Map([["n2", new Map(health)], ["n3", lies]]) });
    await engine.idle();
    return backendsIn(host.services).filter((one) => one.includes("n2"));
  };
  t.deepEqual(await said(), ["web n2/shop/web50:8080 down"]);
  t.deepEqual(await said(["web e:8080", true], ["web e:81", false], ["gone e:8080", false]), ["web n2/shop/web50:8080 active"]);
  t.deepEqual(engine.queries.probeTargets().map(({ backend }) => backend), [endpointId(1)], "nobody asks another node's container");
  t.deepEqual(await said(["web e:8080", false]), ["web n2/shop/web50:8080 down"]);
  t.deepEqual(await said(["web e:8080", true]), ["web n2/shop/web50:8080 active"]);
  t.deepEqual(await said(), ["web n2/shop/web50:8080 active"]);
});

test("what probes find of this node's containers is told to the others, and several changes at once in one telling", async (t) => {
  const { engine, join, pass } = await shop();
  await join(1, 2);
  let told = 0;
  using _listening = engine.onOwnChange(() => told++);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp, fall: 1") }] });
  t.is(engine.ownRecords().health, undefined);
  t.is(told, 0);
  await engine.commands.healthHeard([heard(1, true)]);
  t.is(told, 1);
  await engine.commands.healthHeard([heard(2, true)]);
  await engine.commands.healthHeard([heard(2, false)]);
  t.is(told, 1);
  pass(200);
  await new Promise(setImmediate);
  t.is(told, 2);
  t.deepEqual(engine.ownRecords().health, new Map([[`web ${endpointId(1)}:8080`, true], [`web ${endpointId(2)}:8080`, false]]));
});

test("R76: other nodes are told of a container that stops, and hear no more of one that ended", async (t) => {
  const { engine, join } = await shop();
  await join(1);
  const told = () => engine.ownRecords().endpoints.map(({ name, stopping }) => [name, stopping]);
  t.deepEqual(told(), [["web1", undefined]]);
  await engine.commands.containerEnds({ containerId: "c1", ending: "stopping", at: 1_000_001 });
  t.deepEqual(told(), [["web1", true]]);
  await engine.commands.containerEnds({ containerId: "c1", ending: "ended", at: 1_000_002 });
  t.deepEqual(told(), []);
});

test("probes: whom to ask, and what their answers come to", async (t) => {
  const { engine, join, host } = await shop();
  let told = 0;
  using listening = engine.onProbeTargets(() => told++);
  await join(1, 2);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp, rise: 1, fall: 1") }] });
  t.is(told, 1);
  t.deepEqual(engine.queries.probeTargets().map(({ service: name, backend, address, port, health: { kind } }) => [name, backend, address, port, kind]), [
    ["web", endpointId(1), "10.50.0.2", 8080, "tcp"], ["web", endpointId(2), "10.50.0.3", 8080, "tcp"],
  ]);
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 down", "web n1/shop/web2:8080 down"]);
  await engine.commands.healthHeard([heard(1, true), { service: "gone", backend: "x", port: 8080, passed: false, why: "connection refused" }]);
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active", "web n1/shop/web2:8080 down"]);
  await engine.commands.healthHeard([heard(1, true)]);
  t.is(told, 1);
  listening[Symbol.dispose]();
});

test("probes: answers that change nothing cost no turn, and one between two bad ones makes them two first ones", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp, fall: 2") }] });
  await engine.commands.healthHeard([heard(1, true)]);
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
  // All at once, as after a time in which the agent's own thread stood still.
  await Promise.all([false, true, false, true].map((passed) => engine.commands.healthHeard([heard(1, passed)])));
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
  await Promise.all([false, false].map((passed) => engine.commands.healthHeard([heard(1, passed)])));
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 down"]);
});

test("probes: answers that only count towards a change are not written down", async (t) => {
  const { engine, join, store, host } = await shop();
  await join(1);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp, fall: 3") }] });
  await engine.commands.healthHeard([heard(1, true)]);
  let writes = 0;
  store.onWrite = () => void writes++;
  for (let i = 0; i < 5; i++) for (const passed of [false, false, true]) await engine.commands.healthHeard([heard(1, passed)]);
  t.is(writes, 0);
  for (let i = 0; i < 3; i++) await engine.commands.healthHeard([heard(1, false)]);
  t.is(writes, 1);
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 down"]);
});

test("probes: what is known of backends outlives the agent, so that its start takes nobody out and lets nobody in", async (t) => {
  const first = await shop();
  await first.join(1, 2);
  await first.engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("kind: none", "kind: tcp, fall: 1") }] });
  await first.engine.commands.healthHeard([heard(1, true), heard(2, true)]);
  await first.engine.commands.healthHeard([heard(2, false)]);
  const known = ["web n1/shop/web1:8080 active", "web n1/shop/web2:8080 down"];
  t.deepEqual(backendsIn(first.host.services), known);
  await first.engine.close();
  const host = fakeHost();
  const engine = desk(host, first.store, {});
  await engine.start();
  t.deepEqual(backendsIn(host.services), known);
  await engine.commands.healthHeard([heard(1, true)]);
  t.deepEqual(backendsIn(host.services), known);
});

test("a container that is renamed is not down until it is probed anew, keeps its flows, and its answers count", async (t) => {
  const { engine, join, host } = await shop();
  await join(1, 2);
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text("drain: 1d\n").replace("kind: none", "kind: tcp, rise: 1, fall: 1") }] });
  await engine.commands.healthHeard([heard(1, true), heard(2, true)]);
  const called = (...names: readonly string[]) => engine.commands.reconcile({
    networks: [{ id: network, name: "shop", endpoints: names.map((name, i) => ({ id: endpointId(i + 1), container: web(i + 1, { name }) })) }],
  });
  const backends = (): readonly unknown[] => host.services?.flatMap((plan) => plan.backends.map(({ number, identity, state }) => [number, identity, state])) ?? [];
  await called("blue", "web2");
  await engine.idle();
  t.deepEqual(backends(), [[1, "n1/shop/blue:8080", "active"], [2, "n1/shop/web2:8080", "active"]]);
  const moved = [...host.services?.[0]?.slots.words ?? []].filter((word, i, words) => i % 2 === 0 && words[i + 1] !== 0 && word >>> 16 === 0);
  t.deepEqual(moved, [], "a slot that another has by now knows who had it");
  await engine.commands.healthHeard([heard(1, false)]);
  t.deepEqual(backends(), [[1, "n1/shop/blue:8080", "down"], [2, "n1/shop/web2:8080", "active"]]);
  await engine.commands.healthHeard([heard(1, true)]);
  t.deepEqual(backends(), [[1, "n1/shop/blue:8080", "active"], [2, "n1/shop/web2:8080", "active"]]);
});

test("when the thread that plans dies, what is deleted meanwhile is gone, its probes too, and what is there stays once", async (t) => {
  const worker = new URL("../../../src/engine/balancer-worker.ts", import.meta.url);
  const ending = 'parentPort.on("message", ({ services }) => services?.gone?.includes("web") && process.exit(1))';
  const thread = new URL(`data:text/javascript,${encodeURIComponent(`import { parentPort } from "node:worker_threads"; import { runBalancer } from "${worker.href}"; ${ending}; runBalancer();`)}`);
  const host = fakeHost();
  const engine = desk(host, memoryStore(), { whose: async ({ id }) => web(Number(id.slice(0, 11))), clock: handClock().clock, services: { mode: "auto", thread } });
  await engine.start();
  await (await openShop(engine))(1);
  const probing = (name: string, address: string) => ({ file: `${name}.yaml`, text: text("", name, address).replace("kind: none", "kind: tcp") });
  await engine.commands.applyService({ documents: [probing("web", "203.0.113.10:80"), probing("dns", "203.0.113.11:80")] });
  const standing = (): unknown => [host.services?.map(({ name }) => name), engine.queries.probeTargets().map(({ service }) => service), [...engine.queries.serviceAddresses() ?? []]];
  t.deepEqual(standing(), [["dns", "web"], ["dns", "web"], ["203.0.113.11", "203.0.113.10"]]);
  await engine.commands.deleteService("web");
  t.deepEqual(standing(), [["dns"], ["dns"], ["203.0.113.11"]]);
});
