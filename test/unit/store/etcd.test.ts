// The shared store against a real etcd that dies, hangs, forgets, and answers when nobody listens any more.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import test from "ava";
import type { ExecutionContext } from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEtcd } from "../../../src/store/etcd.ts";
import type { EtcdOptions } from "../../../src/store/etcd.ts";
import type { SharedEvent, SharedStore } from "../../../src/store/shared.ts";
import { EtcdServer, loopback } from "./etcd-server.ts";
import { Gate } from "./gate.ts";
import { follow } from "./shared-compliance.ts";

const holder = fileURLToPath(new URL("lease-holder.ts", import.meta.url));

function opened(t: ExecutionContext, endpoints: readonly string[], options: Partial<EtcdOptions> = {}): SharedStore {
  const store = openEtcd({
    endpoints, prefix: "/hawser/", ttl: 1, silence: 1000, clock: systemClock, log: createLog(() => undefined, () => 0), ...options,
  });
  t.teardown(() => store[Symbol.asyncDispose]());
  return store;
}

async function served(t: ExecutionContext): Promise<EtcdServer> {
  const server = await EtcdServer.started();
  t.teardown(() => server.remove());
  return server;
}

async function gated(t: ExecutionContext, server: EtcdServer): Promise<Gate> {
  const gate = await Gate.opened(server.endpoint);
  t.teardown(() => gate.remove());
  return gate;
}

/** Reads on until the view is so. */
async function until(watched: ReturnType<typeof follow>, holds: (view: ReadonlyMap<string, string>) => boolean): Promise<void> {
  while (!holds(watched.view)) await watched.next();
}

/** Asks again and again until the answer is so. */
async function seen<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
  }
}

const many = (value: string) => Array.from({ length: 1200 }, (_, i) => ({ key: `k/${String(i).padStart(4, "0")}`, value: i === 0 ? "the first of all" : value }));

test.serial("a list that takes several pages is of one moment", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const [store, other] = [opened(t, [gate.endpoint]), opened(t, [server.endpoint])];
  await other.write(many("old"));
  const first = gate.shutAfter("the first of all");
  const listed = store.list("k/");
  await first;
  await other.write([{ key: "k/1199", value: "new" }, { key: "k/1100", value: undefined }, { key: "k/9999", value: "more" }]);
  gate.open();
  const list = await listed;
  t.deepEqual([list.size, list.get("k/1199"), list.get("k/1100")], [1200, "old", "old"]);
  t.is((await store.list("k/")).get("k/1199"), "new");
});

test.serial("a list whose moment is compacted between two pages is read anew", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const [store, other] = [opened(t, [gate.endpoint]), opened(t, [server.endpoint])];
  await other.write(many("old"));
  const first = gate.shutAfter("the first of all");
  const listed = store.list("k/");
  await first;
  await other.write([{ key: "k/1199", value: "new" }]);
  await compact(server);
  gate.open();
  t.is((await listed).get("k/1199"), "new");
});

test.serial("values that make a page too large for one answer come in smaller ones", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  for (let i = 0; i < 40; i++) await store.write([{ key: `large/${i}`, value: String(i % 10).repeat(300_000) }]);
  const list = await store.list("large/");
  t.is(list.size, 40);
  t.is(list.get("large/37"), "7".repeat(300_000));
});

test.serial("a watch whose beginning is compacted away gets everything anew, and nobody says lost", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const [store, other] = [opened(t, [gate.endpoint]), opened(t, [server.endpoint])];
  await other.write([{ key: "a", value: "the first of all" }]);
  const watched = follow(store, "");
  const first = gate.shutAfter("the first of all");
  const event = watched.next();
  await first;
  await other.write([{ key: "b", value: "1" }]);
  await other.write([{ key: "b", value: undefined }, { key: "c", value: "1" }]);
  await compact(server);
  gate.open();
  // etcd says first that it watches, and then that it cannot.
  t.deepEqual(await event, { kind: "snapshot", entries: new Map([["a", "the first of all"]]) });
  t.deepEqual(await watched.next(), { kind: "snapshot", entries: new Map([["a", "the first of all"], ["c", "1"]]) });
  await other.write([{ key: "d", value: "1" }]);
  t.deepEqual(await watched.next(), { kind: "changes", changes: [{ key: "d", value: "1" }] });
  await watched.stop();
});

test.serial("a server that is killed is said to be lost, naming it and what to look at; when it is back, everything is told", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  await store.write([{ key: "a", value: "1" }]);
  const watched = follow(store, "");
  await watched.next();
  await server.kill();
  const event = await watched.next();
  t.is(event.kind, "lost");
  t.regex(event.kind === "lost" ? event.why : "", new RegExp(`^etcd at ${server.endpoint} cannot be heard: .*; check that it runs, has a majority and is reached from here$`));
  t.is(store.health().state, "degraded");
  const error = await t.throwsAsync(store.write([{ key: "b", value: "1" }]), { instanceOf: HawserError });
  t.is(error.code, "STORE");
  t.regex(error.message, new RegExp(`^etcd at ${server.endpoint} cannot be written: .*ECONNREFUSED.*; check that it runs`));
  await server.start();
  const other = opened(t, [server.endpoint]);
  await other.write([{ key: "c", value: "1" }]);
  await until(watched, (view) => view.has("c"));
  t.deepEqual([...watched.view].toSorted(), [["a", "1"], ["c", "1"]]);
  t.deepEqual(store.health(), { state: "ok", detail: `etcd at ${server.endpoint}` });
  await watched.stop();
});

test.serial("a server that stands still is noticed though nothing breaks, and heard again when it goes on", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  const watched = follow(store, "");
  await watched.next();
  server.signal("SIGSTOP");
  t.teardown(() => server.signal("SIGCONT"));
  const event = await watched.next();
  t.regex(event.kind === "lost" ? event.why : "", /no sign of it for 1 s/);
  server.signal("SIGCONT");
  const other = opened(t, [server.endpoint]);
  await seen(() => other.write([{ key: "a", value: "1" }]).then(() => true, () => false), (done) => done);
  await until(watched, (view) => view.has("a"));
  t.is(store.health().state, "ok");
  await watched.stop();
});

test.serial("a quiet watch of a server that is well is never said to be lost", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const store = opened(t, [gate.endpoint], { silence: 400 });
  const watched = follow(store, "");
  await watched.next();
  const event = watched.next();
  const before = gate.answers;
  // Four signs come in the time of silence: three times as long as it may last.
  await seen(() => systemClock.sleep(50), () => gate.answers >= before + 12);
  await store.write([{ key: "a", value: "1" }]);
  t.deepEqual(await event, { kind: "changes", changes: [{ key: "a", value: "1" }] });
  t.is(gate.connections, 1);
  await watched.stop();
});

test.serial("a server that comes back empty: an empty snapshot, and what was leased is asked for again", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  const records = [{ key: "live/a", value: "1", leased: true }, { key: "kept", value: "1" }];
  for (let i = 0; i < 20; i++) await store.write(records);
  const called = Promise.withResolvers<void>();
  t.teardown(() => held[Symbol.dispose]());
  const held = store.onLeaseLost(() => called.resolve());
  const watched = follow(store, "");
  await watched.next();
  await server.startEmpty();
  t.is((await watched.next()).kind, "lost");
  t.deepEqual(await watched.next(), { kind: "snapshot", entries: new Map() });
  await called.promise;
  await store.write(records);
  await until(watched, (view) => view.size === 2);
  await watched.stop();
});

test.serial("a lease that is revoked is replaced before anybody is told, and what is written then stays", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  await store.write([{ key: "live/a", value: "1", leased: true }]);
  const watched = follow(store, "live/");
  await watched.next();
  const written = Promise.withResolvers<void>();
  t.teardown(() => held[Symbol.dispose]());
  const held = store.onLeaseLost(() => store.write([{ key: "live/a", value: "2", leased: true }]).then(written.resolve, written.reject));
  await server.ctl("lease", "revoke", await onlyLease(server));
  t.deepEqual(await watched.next(), { kind: "changes", changes: [{ key: "live/a", value: undefined }] });
  await written.promise;
  await until(watched, (view) => view.get("live/a") === "2");
  t.regex(await onlyLease(server), /^[0-9a-f]+$/);
  await watched.stop();
});

test.serial("a leased write that finds the lease gone takes another and succeeds", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint], { ttl: 600 });
  await store.write([{ key: "live/a", value: "1", leased: true }]);
  let told = 0;
  t.teardown(() => held[Symbol.dispose]());
  const held = store.onLeaseLost(() => void told++);
  await server.ctl("lease", "revoke", await onlyLease(server));
  await store.write([{ key: "live/b", value: "1", leased: true }]);
  t.is(told, 1);
  t.deepEqual([...(await store.list("live/"))], [["live/b", "1"]]);
});

test.serial("an older copy of the data: the lease may stand there, yet what is leased is asked for again", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint], { ttl: 600 });
  await store.write([{ key: "live/a", value: "1", leased: true }]);
  const copy = join(server.folder, "copy.db");
  await server.ctl("snapshot", "save", copy);
  await store.write([{ key: "live/b", value: "1", leased: true }]);
  const called = Promise.withResolvers<void>();
  t.teardown(() => held[Symbol.dispose]());
  const held = store.onLeaseLost(() => called.resolve());
  const watched = follow(store, "");
  await watched.next();
  await server.startFrom(copy);
  await until(watched, (view) => !view.has("live/b"));
  await called.promise;
  t.deepEqual([...watched.view], [["live/a", "1"]]);
  await watched.stop();
});

test.serial("what a process held under its lease goes when it is killed, and only that", async (t) => {
  const server = await served(t);
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", holder, server.endpoint, "/hawser/", "live/child"], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const watched = follow(opened(t, [server.endpoint]), "live/");
  await watched.next();
  t.is(watched.view.get("live/child"), String(child.pid));
  child.kill("SIGKILL");
  await until(watched, (view) => view.size === 1);
  t.deepEqual([...watched.view], [["live/child-kept", "1"]]);
  await watched.stop();
});

test.serial("a node that starts anew takes over its leased records before they go", async (t) => {
  const server = await served(t);
  const before = opened(t, [server.endpoint], { ttl: 2 });
  await before.write([{ key: "live/a", value: "1", leased: true }]);
  await before.claim("live/b", "1", { leased: true });
  await before[Symbol.asyncDispose]();
  const after = opened(t, [server.endpoint], { ttl: 600 });
  await after.write([{ key: "live/a", value: "1", leased: true }]);
  t.is(await after.claim("live/b", "1", { leased: true }), "1");
  await seen(() => server.ctl("lease", "list"), (said) => said.trim().split("\n").length === 2);
  t.deepEqual([...(await after.list("live/"))].toSorted(), [["live/a", "1"], ["live/b", "1"]]);
});

test.serial("a claim whose answer is lost is known to be ours when asked again", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const [store, other] = [opened(t, [gate.endpoint]), opened(t, [server.endpoint])];
  await store.list("");
  gate.shut("answers");
  const claimed = store.claim("slices/a", "me");
  await seen(() => other.list("slices/"), (list) => list.has("slices/a"));
  gate.cut();
  gate.open();
  t.is(await claimed, "me");
  t.is(gate.connections, 2);
  t.is(await other.claim("slices/a", "you"), "me");
});

test.serial("a member that is down or silent is left for the next one", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const nobody = `http://${loopback()}:2379`;
  const store = opened(t, [nobody, gate.endpoint, server.endpoint], { callTime: 2000 });
  await store.write([{ key: "a", value: "1" }]);
  t.is(gate.connections, 1);
  const watched = follow(store, "");
  await watched.next();
  gate.shut("questions", "answers");
  await store.write([{ key: "b", value: "1" }]);
  await until(watched, (view) => view.has("b"));
  t.deepEqual(store.health(), { state: "ok", detail: `etcd at ${server.endpoint}` });
  await watched.stop();
});

test.serial("what a watch gave is not kept in memory by it", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  await store.write([{ key: "a", value: "1" }]);
  const ended = new AbortController();
  const events = store.watch("", ended.signal)[Symbol.asyncIterator]();
  const given = await firstOf(events);
  const waiting = events.next();
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const turn = () => new Promise<void>((resolve) => void setImmediate(resolve));
  // What a weak reference gave stays until the turn is over.
  do {
    await turn();
    collect();
    await turn();
  } while (given.deref() !== undefined);
  ended.abort();
  t.true((await waiting).done);
});

/** Apart from the test, whose frame would keep what it awaits. */
async function firstOf(events: AsyncIterator<SharedEvent>): Promise<WeakRef<object>> {
  const { value } = await events.next();
  return new WeakRef((value as Extract<SharedEvent, { kind: "snapshot" }>).entries);
}

async function compact(server: EtcdServer): Promise<void> {
  const [status] = JSON.parse(await server.ctl("endpoint", "status", "--write-out=json")) as [{ Status: { header: { revision: number } } }];
  await server.ctl("compact", String(status.Status.header.revision));
}

async function onlyLease(server: EtcdServer): Promise<string> {
  const [, ...leases] = (await server.ctl("lease", "list")).trim().split("\n");
  if (leases.length !== 1 || leases[0] === undefined) throw new Error(`one lease was expected: ${leases.join(", ")}`);
  return leases[0];
}
