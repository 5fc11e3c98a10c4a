// The door to nodes that share a store: what each writes, what the others see, and what stays when the store fails.
import test from "ava";
import { identityKey } from "../../../src/engine/shared.ts";
import { identityHashKey } from "../../../src/peers/keys.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { addressOf, parseCidr, parseIp } from "../../../src/std/ip.ts";
import type { Cidr } from "../../../src/std/ip.ts";
import { scratchFolder } from "../../scratch.ts";
import { Server } from "./server.ts";
import { freshPort, node, patient, until } from "./world.ts";

test("two nodes see one another's containers, with slices and numbers that no other has", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  b.run("db");
  b.run("web-2", { app: "web" });
  await until(() => a.seen().join() === "db,web-2" && b.seen().join() === "web");
  t.truthy(a.last().ipv4);
  t.not(a.last().ipv4, b.last().ipv4);
  t.not(a.last().ipv6, b.last().ipv6);
  t.is(a.last().nodes.get("b")?.ipv4, b.last().ipv4);
  t.deepEqual(a.last().nodes.get("b")?.addresses, [parseIp("127.0.1.2")]);
  const [web, web2] = [b.last().endpoints.get("a/web"), a.last().endpoints.get("b/web-2")];
  t.is(web?.identity, web2?.identity, "equal labels are one identity on every node");
  t.not(web?.identity, a.last().endpoints.get("b/db")?.identity);
  t.deepEqual(server.keys("endpoints/"), ["endpoints/a/web", "endpoints/b/db", "endpoints/b/web-2"]);
  b.stop("db");
  await until(() => a.seen().join() === "web-2");
});

test("a node's networks are known to the others, and what changes of them makes nobody new", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  await Promise.all([a.start(), b.start()]);
  await until(() => a.last().nodes.get("b")?.ipv4 !== null && b.last().ipv4 !== null && a.last().nodes.size === 1);
  const nodes = a.last().nodes;
  const part = parseCidr(`${addressOf(b.last().ipv4 as Cidr)}/26`);
  b.networks = [{ name: "shop", ipv4: part, ipv6: null }, { name: "user", ipv4: parseCidr("172.30.5.0/24"), ipv6: parseCidr("fd99::/64") }, { name: "n".repeat(300), ipv4: null, ipv6: null }];
  b.door.changed();
  await until(() => a.last().networks.get("b")?.length === 2);
  t.deepEqual(a.last().networks.get("b"), b.networks.slice(0, 2));
  t.is(a.last().nodes, nodes, "policy has nothing to do");
  b.networks = [];
  b.door.changed();
  await until(() => a.last().networks.size === 0);
  t.is(a.last().nodes, nodes);
});

test("a node that claims one more slice has it at once, and the others believe what it has there", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const [storeA, folder] = [server.connect("a"), scratchFolder("peers")];
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  let more: readonly Cidr[] = [];
  {
    await using a = node({ name: "a", address: "127.0.1.1", port, store: storeA, folder });
    await Promise.all([a.start(), b.start()]);
    await a.door.claimSlice?.(4, new AbortController().signal);
    more = a.last().more ?? [];
    t.is(more.length, 1);
    a.networks = [{ name: "shop", ipv4: parseCidr(`${addressOf(more[0] as Cidr)}/26`), ipv6: null }];
    a.door.changed();
    await until(() => b.last().networks.get("a")?.length === 1);
    t.deepEqual(b.last().nodes.get("a")?.more, more);
    t.is(a.door.nodes()[0]?.ipv4, `${a.last().ipv4}, ${more[0]}`);
    t.is(b.door.nodes()[1]?.ipv4, `${a.last().ipv4}, ${more[0]}`);
    storeA.cut("etcd at 192.0.2.1:2379 does not answer");
    await until(() => a.door.status().state === "degraded");
    await t.throwsAsync(a.door.claimSlice?.(4, new AbortController().signal) ?? Promise.resolve(), { code: "STORE", message: /the store is not heard: etcd at 192/ });
    storeA.heal();
  }
  await using again = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), folder });
  await again.start();
  t.deepEqual(again.last().more, more);
  t.is(server.keys("slices/4").length, 3);
});

test("only what changed is written, and nothing when nothing did", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  await using a = node({ name: "a", address: "127.0.1.1", port, store, options: { clock: patient } });
  await a.start();
  a.run("web");
  await until(() => server.get("endpoints/a/web") !== undefined);
  await a.door.announced(new AbortController().signal);
  const before = store.asked.length;
  a.door.changed();
  await a.door.announced(new AbortController().signal);
  t.deepEqual(store.asked.slice(before), []);
  a.run("web-2", { app: "web" });
  await a.door.announced(new AbortController().signal);
  t.deepEqual(store.asked.slice(before), ["write endpoints/a/web-2"]);
});

test("announced waits until the others can know, and not when nobody can be told", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  await using a = node({ name: "a", address: "127.0.1.1", port, store, options: { clock: patient } });
  await a.start();
  a.run("web");
  await a.door.announced(new AbortController().signal);
  t.truthy(server.get("endpoints/a/web"), "with a number that had to be agreed first");
  store.cut();
  await until(() => a.door.status().state === "degraded");
  a.run("db");
  await a.door.announced(new AbortController().signal);
  t.is(server.get("endpoints/a/db"), undefined);
});

test("announced gives up when the store takes too long", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  const waits: number[] = [];
  const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => (waits.push(ms), systemClock.sleep(ms, signal)) };
  await using a = node({ name: "a", address: "127.0.1.1", port, store, options: { clock } });
  await a.start();
  await until(() => a.door.status().state === "ok");
  store.hold();
  a.run("web");
  await a.door.announced(new AbortController().signal);
  t.is(server.get("endpoints/a/web"), undefined);
  t.true(waits.includes(300));
  store.release();
  await until(() => server.get("endpoints/a/web") !== undefined);
});

test("an identity without an agreed number is told to nobody", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  await using a = node({ name: "a", address: "127.0.1.1", port, store });
  await a.start();
  const key = identityKey({ network: "shop", project: null, service: null, name: null, own: { app: "web" } });
  server.put({ [identityHashKey(key)]: "nonsense" });
  a.run("web");
  a.run("db");
  await until(() => server.get("endpoints/a/db") !== undefined);
  await until(() => a.door.status().detail.includes("holds a value that is no record"));
  t.is(server.get("endpoints/a/web"), undefined, "and the others' numbers do not wait for it");
  server.put({ [identityHashKey(key)]: undefined });
  await until(() => server.get("endpoints/a/web") !== undefined);
  await until(() => a.door.status().state === "ok");
});

test("R113: with the store away everything known stays, changes wait, and only the newest is written when it is back", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const [storeA, storeB] = [server.connect("a"), server.connect("b")];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: storeA });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: storeB });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  b.run("db");
  await until(() => a.seen().join() === "db" && b.seen().join() === "web");
  storeA.cut("etcd at 192.0.2.1:2379 does not answer");
  await until(() => a.door.status().state === "degraded");
  t.regex(a.door.status().detail, /the store is not heard since 20.*: etcd at 192\.0\.2\.1:2379 does not answer; what is known stays, changes wait/);
  a.stop("web");
  for (let i = 0; i < 5; i++) {
    a.run(`short-${i}`);
    a.stop(`short-${i}`);
  }
  a.run("late");
  b.run("cache");
  await until(() => server.get("endpoints/b/cache") !== undefined);
  t.deepEqual(a.seen(), ["db"]);
  const before = storeA.asked.length;
  storeA.heal();
  await until(() => a.seen().join() === "cache,db" && b.seen().join() === "late");
  t.deepEqual(storeA.asked.slice(before).filter((what) => what.includes("short-")), []);
  await until(() => a.door.status().state === "ok");
});

test("R113: nodes that were apart for long both keep everything, and become one again without a conflict", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const stores = { a: server.connect("a"), b: server.connect("b"), c: server.connect("c") };
  await using a = node({ name: "a", address: "127.0.1.1", port, store: stores.a });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: stores.b });
  await using c = node({ name: "c", address: "127.0.1.3", port, store: stores.c });
  await Promise.all([a.start(), b.start(), c.start()]);
  a.run("a1");
  b.run("b1");
  c.run("c1");
  await until(() => a.seen().join() === "b1,c1" && b.seen().join() === "a1,c1" && c.seen().join() === "a1,b1");
  const slices = [a, b].map((one) => one.last().ipv4);
  // Until its lease ends, and for as long afterwards as anybody likes.
  stores.a.cut();
  await until(() => [b, c].every(({ door }) => door.nodes().some(({ name, lastSeen }) => name === "a" && lastSeen > 0)));
  await until(() => a.door.status().state === "degraded");
  stores.a.expire();
  a.run("a2", { app: "both" });
  b.run("b2", { app: "both" });
  b.stop("b1");
  await until(() => c.seen().join() === "a1,b2");
  t.deepEqual(a.seen(), ["b1", "c1"]);
  stores.a.heal();
  await until(() => a.seen().join() === "b2,c1" && b.seen().join() === "a1,a2,c1" && c.seen().join() === "a1,a2,b2");
  t.deepEqual([a, b].map((one) => one.last().ipv4), slices);
  t.is(b.last().endpoints.get("a/a2")?.identity, a.last().endpoints.get("b/b2")?.identity, "what both named alike meanwhile is one identity");
});

test("a server that comes back empty is filled again with the same numbers and slices", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), options: { random: () => 0.001 } });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b"), options: { random: () => 0.001 } });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  b.run("db");
  await until(() => a.seen().join() === "db" && b.seen().join() === "web");
  await until(() => [a, b].every(({ door }) => door.nodes().every(({ state, lastSeen }) => state === "self" || lastSeen > 0)));
  // Of a node that is off at the time: its slice and its numbers must not be given to others.
  server.put({ "slices/4/10.44.200.0": JSON.stringify({ v: 1, slice: "10.44.200.0/24", node: "off" }) });
  await until(() => a.told.length > 0 && b.door.status().state === "ok");
  const lasting = (): string => [...server.keys("slices/"), ...server.keys("identit")].map((key) => `${key} ${server.get(key)}`).join("\n");
  const before = lasting();
  const [toldA, toldB] = [a.told.length, b.told.length];
  server.wipe();
  await until(() => lasting() === before && server.keys("endpoints/").length === 2 && server.keys("nodes/").length === 2);
  t.true([...a.told.slice(toldA), ...b.told.slice(toldB)].every(({ endpoints }) => endpoints.size === 1), "and meanwhile nobody lost anybody");
});

test("what stands in the store wins: a node that comes back to a refilled server takes the numbers and slices that are free", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  await using a = node({ name: "a", address: "127.0.1.1", port, store });
  await a.start();
  a.run("web");
  await until(() => server.get("endpoints/a/web") !== undefined);
  const [slice, number] = [a.last().ipv4 ?? "", [...a.last().numbers.values()][0] ?? 0];
  store.cut();
  server.wipe();
  const other = identityKey({ network: "shop", project: null, service: null, name: null, own: { app: "other" } });
  server.put({
    [`slices/4/${slice.replace("/24", "")}`]: JSON.stringify({ v: 1, slice, node: "b" }),
    [`identities/${number}`]: JSON.stringify({ v: 1, key: other }), [identityHashKey(other)]: JSON.stringify({ v: 1, key: other, number }),
  });
  store.heal();
  await until(() => a.last().ipv4 !== slice && a.last().numbers.get(other) === number);
  await until(() => server.get("endpoints/a/web")?.includes(`"identity":${number},`) === false);
  t.not([...a.last().numbers].find(([key]) => key !== other)?.[1], number);
});

test("a slice that somebody takes away is claimed again by the node that lives, and given back by the one that is gone", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const gone = { "slices/4/10.44.200.0": JSON.stringify({ v: 1, slice: "10.44.200.0/24", node: "gone" }) };
  server.put(gone);
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), options: { random: () => 0.001 } });
  const store = server.connect("b");
  await using b = node({ name: "b", address: "127.0.1.2", port, store, options: { random: () => 0.001 } });
  await Promise.all([a.start(), b.start()]);
  const own = `slices/4/${a.last().ipv4?.replace("/24", "")}`;
  await until(() => a.last().nodes.has("b") && b.last().nodes.has("a"));
  store.cut();
  server.put({ "slices/4/10.44.200.0": undefined, [own]: undefined });
  await until(() => server.get(own) !== undefined);
  store.heal();
  await until(() => b.door.status().state === "ok");
  b.run("web");
  await until(() => a.seen().join() === "web");
  t.is(server.get("slices/4/10.44.200.0"), undefined, "nobody restores what was given back, whoever was away meanwhile");
  t.deepEqual(JSON.parse(server.get(own) ?? "null"), { v: 1, slice: a.last().ipv4, node: "a" });
});

test("a pool without a free slice is told in the status, and what there is goes on", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  server.put({ "slices/4/10.44.0.0": JSON.stringify({ v: 1, slice: "10.44.0.0/16", node: "greedy" }) });
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await a.start();
  t.is(a.last().ipv4, null);
  t.truthy(a.last().ipv6);
  await until(() => a.door.status().detail.includes("every slice of 10.44.0.0/16 has a node"));
  t.truthy(server.get("nodes/a"));
});

test("a lease that ends between a write and its answer loses nothing", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  await using a = node({ name: "a", address: "127.0.1.1", port, store, options: { clock: patient } });
  await a.start();
  a.run("web");
  await a.door.announced(new AbortController().signal);
  store.hold("answers");
  a.run("web-2", { app: "web" });
  await until(() => server.get("endpoints/a/web-2") !== undefined);
  store.expire();
  t.deepEqual(server.keys("endpoints/"), []);
  store.release();
  await until(() => server.keys("endpoints/").length === 2 && server.get("nodes/a") !== undefined);
  t.pass();
});

test("what others would refuse is not written, and that is told", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), options: { clock: patient } });
  await a.start();
  a.names = ["n".repeat(300), "db"];
  a.run("x".repeat(300), { app: "web" });
  a.run("web");
  await a.door.announced(new AbortController().signal);
  t.deepEqual(server.keys("endpoints/"), ["endpoints/a/web"]);
  t.deepEqual((JSON.parse(server.get("nodes/a") ?? "{}") as { names: unknown }).names, ["db"]);
  t.is(a.lines.filter((line) => line.includes("the other nodes will not know this container")).length, 1);
  t.is(a.lines.filter((line) => line.includes("1 of the names that policies here refer to")).length, 1);
});

test("records that are written again as they were, by a node that lost its lease, change nothing for the others", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("b");
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await using b = node({ name: "b", address: "127.0.1.2", port, store });
  await Promise.all([a.start(), b.start()]);
  b.run("db");
  await until(() => a.seen().join() === "db" && (a.door.nodes()[1]?.lastSeen ?? 0) > 0);
  const before = a.last();
  store.expire();
  await until(() => server.get("endpoints/b/db") !== undefined && server.get("nodes/b") !== undefined);
  b.run("cache");
  await until(() => a.seen().join() === "cache,db");
  t.is(a.last().endpoints.get("b/db"), before.endpoints.get("b/db"));
  t.is(a.last().nodes.get("b"), before.nodes.get("b"));
});
