// This node's lease in a real etcd, and the claims that must be right whatever happens to an answer.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { gated, opened, seen, served, until } from "./etcd-fixture.ts";
import type { EtcdServer } from "./etcd-server.ts";
import { follow } from "./shared-compliance.ts";

const holder = fileURLToPath(new URL("lease-holder.ts", import.meta.url));

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
  const store = opened(t, [server.endpoint], { ttl: 1 });
  await store.write([{ key: "live/a", value: "1", leased: true }]);
  const watched = follow(store, "live/");
  await watched.next();
  const written = Promise.withResolvers<void>();
  t.teardown(() => held[Symbol.dispose]());
  const held = store.onLeaseLost(() => store.write([{ key: "live/a", value: "2", leased: true }]).then(written.resolve, written.reject));
  await server.ctl("lease", "revoke", await onlyLease(server));
  await written.promise;
  await until(watched, (view) => view.get("live/a") === "2");
  t.regex(await onlyLease(server), /^[0-9a-f]+$/);
  await watched.stop();
});

test.serial("until when the lease stands is known, put off while the server answers, and not after it is away", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint], { ttl: 3 });
  t.is(store.leasedUntil(), null);
  const before = Date.now();
  await store.write([{ key: "live/a", value: "1", leased: true }]);
  const first = store.leasedUntil() ?? 0;
  t.true(first >= before + 3000 && first <= Date.now() + 3000);
  const later = async (): Promise<number> => {
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    return store.leasedUntil() ?? 0;
  };
  await seen(later, (end) => end > first);
  await server.kill();
  const last = store.leasedUntil() ?? 0;
  await seen(later, () => Date.now() > last);
  t.is(store.leasedUntil(), last);
});

test.serial("a leased write that finds the lease gone takes another and succeeds", async (t) => {
  const server = await served(t);
  const store = opened(t, [server.endpoint]);
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
  const store = opened(t, [server.endpoint]);
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
  const after = opened(t, [server.endpoint]);
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

async function onlyLease(server: EtcdServer): Promise<string> {
  const [, ...leases] = (await server.ctl("lease", "list")).trim().split("\n");
  if (leases.length !== 1 || leases[0] === undefined) throw new Error(`one lease was expected: ${leases.join(", ")}`);
  return leases[0];
}
