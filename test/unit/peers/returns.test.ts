// Nodes that end, return, move and start again: what the others keep of them, and whose a name is.
import test from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { scratchFolder } from "../../scratch.ts";
import { Server } from "./server.ts";
import { freshPort, node, patient, until } from "./world.ts";

test("a node whose lease ended but that answers stays as it was, and the status says so, until it answers no more", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("b");
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  const b = node({ name: "b", address: "127.0.1.2", port, store });
  await Promise.all([a.start(), b.start()]);
  b.run("db");
  await until(() => a.seen().join() === "db" && (a.door.nodes()[1]?.lastSeen ?? 0) > 0);
  store.cut();
  store.expire();
  await until(() => a.door.status().detail.includes("kept although their leases have ended, because they answer: b"));
  t.is(a.door.status().state, "ok");
  t.deepEqual(server.keys("endpoints/"), []);
  t.deepEqual(a.seen(), ["db"]);
  t.like(a.door.nodes()[1], { name: "b", state: "ready", endpoints: 1 });
  await b[Symbol.asyncDispose]();
  await until(() => a.seen().length === 0 && a.last().nodes.size === 0);
  await using again = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b2") });
  await again.start();
  again.run("db");
  await until(() => a.seen().join() === "db");
});

test("a node that is dead goes when its lease ends, and has its slices again when it returns", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const folder = scratchFolder("peers");
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  const store = server.connect("b");
  const b = node({ name: "b", address: "127.0.1.2", port, store });
  await Promise.all([a.start(), b.start()]);
  b.run("db");
  await until(() => a.seen().join() === "db" && (a.door.nodes()[1]?.lastSeen ?? 0) > 0);
  const slice = b.last().ipv4;
  await b[Symbol.asyncDispose]();
  await until(() => a.door.nodes()[1]?.state === "unreachable");
  t.deepEqual(a.seen(), ["db"], "its lease lives");
  t.regex(a.door.status().detail, /without an answer: b \(last 20/);
  store.expire();
  await until(() => a.last().nodes.size === 0 && a.seen().length === 0);
  await using again = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b2"), folder });
  await again.start();
  t.is(again.last().ipv4, slice);
});

test("R102: a new address of a node is told to the others at once", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  await Promise.all([a.start(), b.start()]);
  await until(() => a.last().nodes.has("b"));
  b.addresses = [parseIp("127.0.1.77")];
  b.door.changed();
  await until(() => a.last().nodes.get("b")?.addresses.join() === "127.0.1.77");
  const told = Date.now();
  await until(() => (a.door.nodes()[1]?.lastSeen ?? 0) > told);
  t.is(a.door.nodes()[1]?.address, "127.0.1.77");
});

test("a name that another living node has keeps a node from starting, and leaves that one alone", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), options: { clock: patient } });
  await a.start();
  await a.door.announced(new AbortController().signal);
  const record = server.get("nodes/a");
  await using thief = node({ name: "a", address: "127.0.1.9", port, store: server.connect("thief"), options: { clock: patient } });
  await t.throwsAsync(thief.start(), { code: "ALREADY_EXISTS", message: /another node is called "a": the one at 127\.0\.1\.1, started .*give this one another node\.name/ });
  t.is(server.get("nodes/a"), record);
});

test("a node that finds its name taken while it runs says so and does not fight", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a") });
  await a.start();
  a.run("web");
  // Numbers and slices are agreed, and what depends on them is written.
  await until(() => server.get("endpoints/a/web") !== undefined && server.get("nodes/a")?.includes('"ipv4":null') === false);
  await until(() => a.door.status().state === "ok");
  const taken = JSON.stringify({ ...JSON.parse(server.get("nodes/a") ?? ""), startedAt: Date.now() + 1000, addresses: ["127.0.1.9"] });
  server.put({ "nodes/a": taken });
  await until(() => a.door.status().state === "degraded");
  t.regex(a.door.status().detail, /another node is called "a": the one at 127\.0\.1\.9/);
  a.run("db");
  await a.door.announced(new AbortController().signal);
  t.is(server.get("nodes/a"), taken);
  t.is(server.get("endpoints/a/db"), undefined);
  server.put({ "nodes/a": undefined });
  await until(() => server.get("endpoints/a/db") !== undefined && server.get("nodes/a") !== undefined);
});

test("a node that starts again in a moment is the same node, and takes away what is not any more", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), options: { clock: patient } });
  const old = server.connect("b");
  const b = node({ name: "b", address: "127.0.1.2", port, store: old });
  await Promise.all([a.start(), b.start()]);
  b.run("db");
  b.run("cache");
  await until(() => a.seen().join() === "cache,db");
  await b[Symbol.asyncDispose]();
  await using again = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b2"), options: { clock: patient } });
  await again.start();
  again.run("db");
  await until(() => a.seen().join() === "db");
  await again.door.announced(new AbortController().signal);
  old.expire();
  t.deepEqual(server.keys("endpoints/"), ["endpoints/b/db"], "what stands is under the new lease");
  t.true(server.keys("nodes/").includes("nodes/b"));
});

test("without the store a node starts with what it remembers, and heals when the store is there", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const folder = scratchFolder("peers");
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  {
    const a = node({ name: "a", address: "127.0.1.1", port, store: server.connect("a"), folder });
    await Promise.all([a.start(), b.start()]);
    b.run("db");
    await until(() => a.seen().join() === "db");
    await a.door[Symbol.asyncDispose]();
  }
  const store = server.connect("a2");
  store.cut();
  await using a = node({ name: "a", address: "127.0.1.1", port, store, folder });
  await a.start(AbortSignal.timeout(50));
  t.deepEqual(a.seen(), ["db"]);
  t.truthy(a.last().ipv4);
  t.truthy(a.last().nodes.get("b"));
  a.run("web", { app: "db" });
  b.run("cache");
  store.heal();
  await until(() => a.seen().join() === "cache,db" && b.seen().join() === "web");
});

test("before it touches anything a node knows what the store says, without the store what it remembered, and neither writes nor tells", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const folder = scratchFolder("peers");
  await using b = node({ name: "b", address: "127.0.1.2", port, store: server.connect("b") });
  await b.start();
  b.run("db");
  await until(() => server.keys("endpoints/").length === 1);
  const ids = async (one: typeof b): Promise<readonly string[]> => [...(await one.door.known(new AbortController().signal)).endpoints.values()].map(({ id }) => id);
  {
    const store = server.connect("a");
    const a = node({ name: "a", address: "127.0.1.1", port, store, folder });
    t.deepEqual(await ids(a), ["db"]);
    t.deepEqual([a.told, store.asked, server.keys("nodes/")], [[], [], ["nodes/b"]]);
    await a.start();
    t.deepEqual(a.seen(), ["db"]);
    await a.door[Symbol.asyncDispose]();
  }
  const store = server.connect("a2");
  store.cut();
  await using again = node({ name: "a", address: "127.0.1.1", port, store, folder });
  t.deepEqual(await ids(again), ["db"]);
  t.deepEqual(again.told, []);
});
