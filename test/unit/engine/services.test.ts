// The desk and services: who serves, what stays in force when a document is wrong, and what the datapath is told when containers come, stop and die.
import { randomUUID } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import test from "ava";
import { wordsOf } from "../../../src/lb/slots.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { noCluster } from "../../../src/network/cluster.ts";
import type { RemoteEndpoint } from "../../../src/network/cluster.ts";
import type { ServiceSettings } from "../../../src/engine/service-planner.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { desk, endpointCommand, endpointId, fakeHost, joinCommand, memoryStore, network } from "./fake.ts";
import { backendsIn, far, handClock, printed, service, shop, text, web, weightOf } from "./shop.ts";

test("a service that is applied is in force when the answer comes, with who serves", async (t) => {
  const { engine, join, host } = await shop();
  await join(1, 2);
  t.deepEqual(await engine.commands.applyService(service()), { applied: ["web"], warnings: [] });
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active", "web n1/shop/web2:8080 active"]);
  t.deepEqual(engine.queries.services(), [{
    name: "web", frontends: [{ address: "203.0.113.10", port: 80, protocol: "tcp", holder: "" }], mode: "auto", algorithm: "maglev", flows: null, source: "apply web.yaml", nodes: ["n1"], revision: 1, state: "enforced", error: null,
    backends: [1, 2].map((n) => ({ address: `10.50.0.${n + 1}`, port: 8080, weight: 1, node: "n1", state: "active", identity: `n1/shop/web${n}:8080` })),
  }]);
  t.is(engine.queries.service("web").text, text());
  t.throws(() => engine.queries.service("nope"), { message: 'no service is called "nope"; there are web' });
  t.throws(() => engine.queries.service("wed"), { message: 'no service is called "wed"; did you mean "web"?' });
});

test("containers come and go as backends; one whose labels are its image's alone never does (R88)", async (t) => {
  const { engine, join, host } = await shop(memoryStore(), fakeHost(), (id) => web(Number(id.slice(0, 11)), id === endpointId(3) ? { own: {} } : {}));
  await engine.commands.applyService(service());
  t.false(host.services?.[0]?.open);
  await join(1, 3);
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
  t.true(host.services?.[0]?.open);
  await engine.commands.leave({ id: endpointId(1), network });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), []);
});

test("R76: one that was told to stop drains, and is gone when it has; one that was killed is gone at once", async (t) => {
  const { engine, join, host, pass } = await shop();
  await join(1, 2, 3);
  await engine.commands.applyService(service("drain: 30s\n"));
  const two = "n1/shop/web2:8080";
  await engine.commands.containerEnds({ containerId: "c2", ending: "stopping", at: 1_000_001 });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active", `web ${two} draining`, "web n1/shop/web3:8080 active"]);
  t.is(weightOf(host.services?.[0] as ServicePlan, two), 0);
  await engine.commands.containerEnds({ containerId: "c3", ending: "ended", at: 1_000_002 });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active", `web ${two} draining`]);
  pass(30_000);
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
});

test("R76: a drain ends in its time though its timer is early, and within one drain when the clock was set back", async (t) => {
  const { engine, join, host, pass, early } = await shop();
  await join(1, 2, 3);
  await engine.commands.applyService(service("drain: 30s\n"));
  const stop = async (containerId: string, at: number): Promise<void> => {
    await engine.commands.containerEnds({ containerId, ending: "stopping", at });
    await engine.idle();
  };
  const passes = async (ms: number): Promise<readonly string[]> => {
    pass(ms);
    await new Promise(setImmediate);
    await engine.idle();
    return backendsIn(host.services);
  };
  await stop("c2", 1_000_001);
  early(1);
  t.is((await passes(29_999)).length, 3);
  t.is((await passes(1)).length, 2);
  early(0);
  await stop("c3", 1_030_001);
  pass(-3_600_000);
  await engine.heal();
  await engine.idle();
  t.is((await passes(29_999)).length, 2);
  t.deepEqual(await passes(1), ["web n1/shop/web1:8080 active"]);
});

test("R76: what ended before an endpoint was made says nothing about it", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService(service());
  await engine.commands.containerEnds({ containerId: "c1", ending: "ended", at: 999_999 });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
});

test("who applies a service that matches nobody is told, once it is in force", async (t) => {
  const { engine, join } = await shop();
  await join(1);
  const { applied, warnings } = await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text().replace("network: shop", "network: shopp") }] });
  t.deepEqual(applied, ["web"]);
  t.is(warnings.length, 1);
  t.regex(warnings[0] ?? "", /^web\.yaml:3:\d+: no network is called "shopp"; did you mean "shop"\?$/);
});

test("R7: all documents or none, and a wrong one leaves what was in force", async (t) => {
  const { engine, host } = await shop();
  await engine.commands.applyService(service());
  const error = await t.throwsAsync(engine.commands.applyService({ documents: [{ file: "a.yaml", text: text("", "dns", "203.0.113.11:53/udp") }, { file: "b.yaml", text: text("", "web2") }] }), { instanceOf: HawserError });
  t.is((error as HawserError).code, "BAD_SERVICE");
  t.is(error?.message, "b.yaml:2:13: 203.0.113.10:80/tcp is taken: service web has it at web.yaml:2:13; give one of them another address or port");
  t.deepEqual(engine.queries.services().map(({ name }) => name), ["web"]);
  t.deepEqual(host.services?.map(({ name }) => name), ["web"]);
});

test("R79: an address that a container has, may be given or publishes is refused", async (t) => {
  const { engine } = await shop();
  await engine.commands.createEndpoint(endpointCommand(1));
  await engine.commands.join({ ...joinCommand(1), ports: [{ protocol: "tcp", containerPort: 80, hostIp: null, hostPort: 8080, hostPortEnd: 8080 }] });
  await engine.commands.publishPorts({ id: endpointId(1), network, ports: null });
  const refused = async (address: string): Promise<string | undefined> => (await t.throwsAsync(engine.commands.applyService(service("", "web", address))))?.message;
  t.is(await refused("10.50.0.1:80"), "web.yaml:2:13: 10.50.0.1 is the gateway of network shop; a service's address is one that no container can have");
  t.is(await refused("10.50.0.9:80"), "web.yaml:2:13: 10.50.0.9 lies in the subnet of network shop; a service's address is one that no container can have");
  t.is(await refused("10.44.3.4:80"), "web.yaml:2:13: 10.44.3.4 lies in 10.44.0.0/16, of which containers get their addresses; a service's address is one that no container can have");
  t.is(await refused("192.0.2.255:80"), "web.yaml:2:13: 192.0.2.255 is the broadcast address of 192.0.2.0/24, which this host is on; give the service another");
  t.is(await refused("192.0.2.0:80"), "web.yaml:2:13: 192.0.2.0 is the address of 192.0.2.0/24 itself, which this host is on; give the service another");
  t.is(await refused("192.0.2.7:8080"), "web.yaml:2:13: 192.0.2.7:8080/tcp is published already, by container web1; give the service another port, or publish that one on another");
  await t.notThrowsAsync(engine.commands.applyService(service("", "web", "192.0.2.7:8081")));
});

test("what the kernel refuses is taken back, and says why", async (t) => {
  const { engine, host } = await shop();
  await engine.commands.applyService(service());
  host.before = (call) => {
    if (call === "do services: 2") throw new HawserError("TABLE_FULL", "no place is left");
  };
  await t.throwsAsync(engine.commands.applyService(service("", "dns", "203.0.113.11:53/udp")), { message: "no place is left" });
  await engine.idle();
  t.deepEqual(engine.queries.services().map(({ name, state }) => [name, state]), [["web", "enforced"]]);
  t.deepEqual(host.services?.map(({ name }) => name), ["web"]);
});

test("R74: after a restart every number, slot and unfinished drain is as it was", async (t) => {
  const rows = new Map();
  const { engine, join, host } = await shop(memoryStore(rows));
  await engine.commands.applyService(service());
  await engine.commands.applyService(service("", "dns", "203.0.113.11:53/udp"));
  await join(1, 2, 3, 4);
  await engine.commands.containerEnds({ containerId: "c2", ending: "stopping", at: 1_000_001 });
  await engine.commands.leave({ id: endpointId(4), network });
  await engine.idle();
  const before = printed(host.services);
  t.true(host.services?.some(({ slots }) => wordsOf(slots).some((word, i) => i % 2 === 1 && word > 0)));
  const { clock } = handClock(1_000_500);
  const again = desk(host, memoryStore(rows), { clock });
  host.services = null;
  await again.start();
  t.is(printed(host.services), before);

  // As builds wrote it that knew nothing of what rows have in common, and did not deflate.
  const table = rows.get("balancing");
  type Row = { readonly who: readonly object[]; readonly lives: readonly (readonly [number | null, string, number])[]; readonly parts: readonly { readonly remembered: string }[] };
  const row = JSON.parse(table.get("balanced web")) as Row;
  const parts = row.parts.map(({ remembered, ...part }) => ({ ...part, unsettled: inflateRawSync(Buffer.from(remembered, "base64")).toString("base64") }));
  const backends = row.who.map((who, i) => ({ ...who, drainsUntil: row.lives[i]?.[0], health: { state: row.lives[i]?.[1], against: 0, since: row.lives[i]?.[2] } }));
  table.set("service web", JSON.stringify({ backends, parts }));
  table.delete("balanced web");
  host.services = null;
  await desk(host, memoryStore(rows), { clock }).start();
  t.is(printed(host.services), before);
});

test("without services there is no thread, and numbers rest all the same (R109)", async (t) => {
  const rows = new Map();
  const worker = new URL("../../../src/engine/balancer-worker.ts", import.meta.url);
  const started = new BroadcastChannel(randomUUID());
  let threads = 0;
  started.onmessage = () => void threads++;
  t.teardown(() => started.close());
  const thread = new URL(`data:text/javascript,new BroadcastChannel("${started.name}").postMessage(1); (await import("${worker.href}")).runBalancer();`);
  const host = fakeHost();
  const numbers = (): readonly number[] => host.services?.map(({ number }) => number) ?? [];
  const open = () => desk(host, memoryStore(rows), { clock: handClock().clock, services: { mode: "auto", thread } });
  const first = open();
  await first.start();
  t.is(threads, 0);
  for (const n of [1, 2]) {
    await first.commands.applyService(service());
    t.deepEqual([threads, numbers()], [n, [n]]);
    await first.commands.deleteService("web");
    t.deepEqual(numbers(), []);
  }
  const second = open();
  await second.start();
  t.is(threads, 2);
  await second.commands.applyService(service());
  t.deepEqual([threads, numbers()], [3, [3]]);
});

test("what has not changed costs the datapath nothing", async (t) => {
  const { engine, join, host } = await shop();
  await engine.commands.applyService(service());
  await join(1);
  host.calls.length = 0;
  await engine.commands.createEndpoint({ ...endpointCommand(7), id: endpointId(7) });
  await engine.idle();
  t.deepEqual(host.calls.filter((call) => call.includes("services")), []);
});

test("while services are written the host is looked at anew and Docker answered, and services are written again afterwards", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  const gate = Promise.withResolvers<undefined>();
  const [begun, writes] = [Promise.withResolvers<undefined>(), [] as string[]];
  host.before = (call) => {
    if (!call.startsWith("do services")) return;
    writes.push(call);
    begun.resolve(undefined);
    return gate.promise;
  };
  const applying = engine.commands.applyService(service());
  await begun.promise;
  await engine.heal();
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [{ id: endpointId(9), container: web(9) }, { id: endpointId(1), container: web(1) }] }] });
  await engine.commands.createEndpoint(endpointCommand(2));
  t.deepEqual(writes, ["do services: 1"]);
  gate.resolve(undefined);
  await applying;
  await engine.idle();
  t.deepEqual(writes, ["do services: 1", "do services: 1"]);
});

test("a balancer that does not answer is given up, and another plans what there is", async (t) => {
  const mute = new URL('data:text/javascript,(await import("node:worker_threads")).parentPort.on("message", () => {});');
  let starts = 0;
  const host = fakeHost();
  const services: ServiceSettings = {
    mode: "auto",
    get thread() {
      starts++;
      return starts === 1 ? mute : new URL("../../../src/engine/balancer-model.ts", import.meta.url);
    },
    get answerTime() {
      return starts === 1 ? 1000 : 60_000;
    },
  };
  const engine = desk(host, memoryStore(), { services });
  await engine.start();
  // Whether another turn was asked for while that one hung is chance.
  await engine.commands.applyService(service()).catch(() => undefined);
  await engine.commands.applyService(service("drain: 5s\n"));
  t.true(engine.lines.some((line) => line.includes("the thread that plans services has ended: it did not answer within 1000 ms")));
  t.deepEqual(host.services?.map(({ name }) => name), ["web"]);
});

test("containers on other nodes serve, and drain when their node says so", async (t) => {
  const { engine, host } = await shop();
  await engine.commands.applyService(service());
  const cluster = (endpoint: RemoteEndpoint) => ({ ...noCluster, kind: "etcd" as const, endpoints: new Map([[`n2/${endpoint.id}`, endpoint]]) });
  await engine.commands.syncCluster(cluster(far(endpointId(50))));
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n2/shop/web50:8080 active"]);
  await engine.commands.syncCluster(cluster({ ...far(endpointId(50)), stopping: true }));
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n2/shop/web50:8080 draining"]);
});

test("a container of another node, on an internal network and on another, serves on that one", async (t) => {
  const { engine, host } = await shop();
  const inner = (n: number, ipv4: string): RemoteEndpoint => ({ ...far(endpointId(n)), network: "back", labels: { ...far("").labels, network: "back" }, internal: true, ipv4: ipv4 as Ip });
  const places = [far(endpointId(50)), inner(51, "10.44.9.3"), { ...inner(52, "10.44.9.4"), name: "web52" }];
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: 'service: web\nfrontends: ["203.0.113.10:80"]\nbackends: [{ select: { label: app=web }, port: 8080 }]\nhealth: { kind: none }\n' }] });
  await engine.commands.syncCluster({ ...noCluster, kind: "etcd", endpoints: new Map(places.map((place) => [`n2/${place.id}`, place])) });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n2/shop/web50:8080 active", "web n2/back/web52:8080 active"]);
});

test("with mode snat containers of every node serve, and there is nothing to tell of", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService(service("mode: snat\n"));
  await engine.commands.syncCluster({ ...noCluster, kind: "etcd", endpoints: new Map([[`n2/${endpointId(50)}`, far(endpointId(50))]]) });
  await engine.idle();
  const shown = () => engine.queries.services().find(({ name }) => name === "web");
  t.deepEqual([backendsIn(host.services), shown()?.state, shown()?.error], [["web n1/shop/web1:8080 active", "web n2/shop/web50:8080 active"], "enforced", null]);
});

test("the datapath is told where clients are: while there are services, and by which address while one asks", async (t) => {
  const { host, engine, join } = await shop();
  await join(1);
  t.is(host.clients, null, "nobody asks");
  await engine.commands.applyService(service());
  const [where] = host.clients?.namespaces ?? [];
  t.deepEqual(host.clients, { known: false, namespaces: [{ sandbox: joinCommand(1).sandboxKey, ipv4: where?.ipv4 ?? null, ipv6: where?.ipv6 ?? null }] });
  t.is(host.services?.[0]?.backends[0]?.address, where?.ipv4 ?? undefined);
  await engine.commands.applyService(service("sources: { deny: [198.51.100.0/24] }\n"));
  t.true(host.clients?.known);
  await join(2);
  t.is(host.clients?.namespaces.length, 2);
  await engine.commands.applyService(service("affinity: { by: client }\n"));
  t.true(host.clients?.known);
  await engine.commands.deleteService("web");
  t.deepEqual(host.clients, { known: false, namespaces: [] });
});

test("clients are known until the last service is gone, also when that takes a second attempt", async (t) => {
  const { host, engine, join } = await shop();
  await join(1);
  await engine.commands.applyService(service());
  let clients: number | undefined;
  host.before = (call) => {
    if (call === "do services: 0") throw new HawserError("KERNEL", "not now");
  };
  await t.throwsAsync(engine.commands.deleteService("web"), { message: "not now" });
  host.before = (call) => {
    if (call === "do services: 0") clients = host.clients?.namespaces.length;
  };
  await engine.heal();
  await engine.idle();
  t.is(clients, 1, "whose sockets are ended then");
  t.deepEqual(host.clients?.namespaces, []);
});
