// The desk and services: who serves, what stays in force when a document is wrong, and what the datapath is told when containers come, stop and die.
import { createHash } from "node:crypto";
import test from "ava";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { ContainerIdentity } from "../../../src/network/types.ts";
import { noCluster } from "../../../src/network/cluster.ts";
import type { RemoteEndpoint } from "../../../src/network/cluster.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { Clock } from "../../../src/std/clock.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { desk, endpointCommand, endpointId, fakeHost, joinCommand, memoryStore, network, networkCommand } from "./fake.ts";
import type { FakeHost, MemoryStore } from "./fake.ts";

const web = (n: number, more: Partial<ContainerIdentity> = {}): ContainerIdentity => ({ id: `c${n}`, name: `web${n}`, labels: { app: "web", image: "x" }, own: { app: "web" }, ...more });

/** A clock that a test moves. */
function handClock(start = 1_000_000) {
  let now = start;
  const sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  const clock: Clock = {
    now: () => now,
    deadline: () => new AbortController().signal,
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      const sleeper = { at: now + ms, wake: resolve };
      sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        sleepers.delete(sleeper);
        reject(signal.reason);
      }, { once: true });
    }),
  };
  const pass = (ms: number): void => {
    now += ms;
    for (const sleeper of [...sleepers].filter(({ at }) => at <= now)) {
      sleepers.delete(sleeper);
      sleeper.wake();
    }
  };
  return { clock, pass };
}

async function shop(store: MemoryStore = memoryStore(), host: FakeHost = fakeHost(), people: (n: string) => ContainerIdentity | null = (id) => web(Number(id.slice(0, 11)))) {
  const { clock, pass } = handClock();
  const engine = desk(host, store, { whose: async ({ id }) => people(id), clock });
  await engine.start();
  await engine.commands.createNetwork(networkCommand());
  await engine.commands.reconcile({ networks: [{ id: network, name: "shop", endpoints: [] }] });
  const join = async (...which: readonly number[]): Promise<void> => {
    for (const n of which) {
      await engine.commands.createEndpoint(endpointCommand(n));
      await engine.commands.join(joinCommand(n));
    }
    await engine.idle();
  };
  return { host, store, engine, join, pass };
}

const text = (lines = "", name = "web", address = "203.0.113.10:80"): string =>
  `service: ${name}\nfrontends: ["${address}"]\nbackends: [{ select: { network: shop, label: app=web }, port: 8080 }]\nhealth: { kind: none }\n${lines}`;
const far = (id: string): RemoteEndpoint => ({
  node: "n2", id, containerId: "c50", name: "web50", names: ["web50"], network: "shop", ipv4: "10.44.9.2" as Ip, ipv6: null, mac: "02:42:0a:2c:09:02",
  identity: 300, labels: { network: "shop", project: null, service: null, name: null, own: { app: "web" } },
});
const heard = (n: number, passed: boolean) => ({ service: "web", backend: endpointId(n), port: 8080, passed, why: passed ? "connected" : "connection refused" });
const service = (...args: Parameters<typeof text>) => ({ documents: [{ file: `${args[1] ?? "web"}.yaml`, text: text(...args) }] });
const backendsIn = (plans: readonly ServicePlan[] | null): readonly string[] => (plans ?? []).flatMap(({ name, backends }) => backends.map(({ identity, state }) => `${name} ${identity} ${state}`));
const weightOf = ({ slots, backends }: ServicePlan, identity: string): number => {
  const number = backends.find((one) => one.identity === identity)?.number;
  return [...slots.words].filter((word, i) => i % 2 === 0 && (word & 0xffff) === number).length;
};

/** Everything of the plans; slots as a hash, because nobody reads thousands of them. */
const printed = (plans: readonly ServicePlan[] | null): string => JSON.stringify(plans, (_, value: unknown) =>
  value instanceof Uint32Array ? createHash("sha256").update(value).digest("hex") : value instanceof Map ? createHash("sha256").update(JSON.stringify([...value])).digest("hex") : value);

test("a service that is applied is in force when the answer comes, with who serves", async (t) => {
  const { engine, join, host } = await shop();
  await join(1, 2);
  t.deepEqual(await engine.commands.applyService(service()), { applied: ["web"] });
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active", "web n1/shop/web2:8080 active"]);
  t.deepEqual(engine.queries.services(), [{
    name: "web", frontends: [{ address: "203.0.113.10", port: 80, protocol: "tcp", holder: "" }], mode: "auto", algorithm: "maglev", flows: null, source: "apply web.yaml", nodes: ["n1"], revision: 1, state: "enforced", error: null,
    backends: [1, 2].map((n) => ({ address: `10.50.0.${n + 1}`, port: 8080, weight: 1, node: "n1", state: "active", identity: `n1/shop/web${n}:8080` })),
  }]);
  t.is(engine.queries.service("web").text, text());
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

test("R76: what ended before an endpoint was made says nothing about it", async (t) => {
  const { engine, join, host } = await shop();
  await join(1);
  await engine.commands.applyService(service());
  await engine.commands.containerEnds({ containerId: "c1", ending: "ended", at: 999_999 });
  await engine.idle();
  t.deepEqual(backendsIn(host.services), ["web n1/shop/web1:8080 active"]);
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

test("R7: a file that becomes wrong keeps what it said, and is seen to be wrong; one that goes takes its service along", async (t) => {
  const { engine, host } = await shop();
  const sync = (files: Readonly<Record<string, string>>): Promise<void> => engine.commands.syncServiceDirectory({
    directory: "/etc/hawser/service.d", unreadable: {}, documents: Object.entries(files).map(([name, one]) => ({ file: `/etc/hawser/service.d/${name}`, text: one })),
  });
  await sync({ "web.yaml": text(), "dns.yaml": text("", "dns", "203.0.113.11:53/udp") });
  t.deepEqual(host.services?.map(({ name }) => name), ["dns", "web"]);
  await sync({ "web.yaml": text("drain: long\n"), "dns.yaml": text("", "dns", "203.0.113.11:53/udp"), "new.yaml": "service: new\n" });
  t.deepEqual(host.services?.map(({ name }) => name), ["dns", "web"]);
  t.deepEqual(engine.queries.services().map(({ name, state, source }) => [name, state, source]), [
    ["dns", "enforced", "directory /etc/hawser/service.d/dns.yaml"], ["web", "rejected", "directory /etc/hawser/service.d/web.yaml"], ["new.yaml", "rejected", "directory /etc/hawser/service.d/new.yaml"],
  ]);
  t.regex(engine.queries.services()[1]?.error ?? "", /web\.yaml:5:8: "long" is no time/);
  const part = (await engine.queries.status()).parts.find(({ part: name }) => name === "services");
  t.is(part?.state, "degraded");
  await t.throwsAsync(engine.commands.deleteService("dns"), { code: "IN_USE" });
  await sync({ "web.yaml": text() });
  t.deepEqual(host.services?.map(({ name }) => name), ["web"]);
  t.like((await engine.queries.status()).parts.find(({ part: name }) => name === "services"), { state: "ok", detail: "1 service; nobody serves 203.0.113.10:80/tcp" });
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
  t.true(host.services?.some(({ slots }) => slots.words.some((word, i) => i % 2 === 1 && word > 0)));
  const { clock } = handClock(1_000_500);
  const again = desk(host, memoryStore(rows), { clock });
  host.services = null;
  await again.start();
  t.is(printed(host.services), before);
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
