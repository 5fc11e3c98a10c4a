// Lists and watches of a real etcd that dies, hangs, forgets, and is not heard.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import test from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { SharedEvent } from "../../../src/store/shared.ts";
import { gated, opened, seen, served, until } from "./etcd-fixture.ts";
import type { EtcdServer } from "./etcd-server.ts";
import { loopback } from "./etcd-server.ts";
import { follow } from "./shared-compliance.ts";

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

test.serial("values too large for one request or one answer go and come in several", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
  await store.write(Array.from({ length: 40 }, (_, i) => ({ key: `large/${i}`, value: String(i % 10).repeat(300_000) })));
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
  const store = opened(t, [server.endpoint], { silence: 1000 });
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
  const store = opened(t, [gate.endpoint], { silence: 800 });
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

test.serial("a member that is down or silent is left for the next one", async (t) => {
  const server = await served(t);
  const gate = await gated(t, server);
  const nobody = `http://${loopback()}:2379`;
  const store = opened(t, [nobody, gate.endpoint, server.endpoint], { callTime: 2000, silence: 1000 });
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

test.serial("a server that is full says so, and what to do", async (t) => {
  const server = await served(t, { quota: 256 * 1024 });
  const store = opened(t, [server.endpoint]);
  const fill = async (): Promise<never> => {
    for (let i = 0; ; i++) await store.write([{ key: `k/${i}`, value: "x".repeat(50_000) }]);
  };
  const error = await t.throwsAsync(fill, { instanceOf: HawserError });
  t.regex(error.message, /cannot be written: mvcc: database space exceeded; if its space is full, compact and defragment it, then run `etcdctl alarm disarm`$/);
  t.true((await store.list("k/")).size > 0);
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
