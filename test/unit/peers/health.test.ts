// What nodes find of their own containers when they probe them, as the others hear it.
import test from "ava";
import type { NodeHealth } from "../../../src/network/cluster.ts";
import { openView } from "../../../src/peers/view.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import type { SharedStore } from "../../../src/store/shared.ts";
import { Server } from "./server.ts";
import { freshPort, node, pool, until } from "./world.ts";

test("what a node finds of its own backends is known to the others in one record, which goes with the node or when nobody is asked", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const [storeA, storeB] = [server.connect("a"), server.connect("b")];
  await using a = node({ name: "a", address: "127.0.1.1", port, store: storeA });
  await using b = node({ name: "b", address: "127.0.1.2", port, store: storeB });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  await until(() => b.seen().join() === "web");
  const heard = () => JSON.stringify([...b.last().health ?? []].map(([name, those]) => [name, [...those]]));
  a.health = new Map([["shop web:80", true], ["shop web:81", false]]);
  a.door.changed();
  await until(() => heard() === '[["a",[["shop web:80",true],["shop web:81",false]]]]');
  t.is(server.get("health/a"), '{"v":1,"node":"a","up":["shop web:80"],"down":["shop web:81"]}');
  t.deepEqual(a.last().health, new Map(), "nobody is told of himself");
  // A lease that ended and a store that is away: what was known holds, and is written again.
  storeA.expire();
  await until(() => server.get("health/a") !== undefined && heard().includes("web:81"));
  const asked = storeA.asked.length;
  storeB.cut();
  t.true(heard().includes("web:81"));
  a.health = new Map([["shop web:80", false]]);
  a.door.changed();
  await until(() => storeA.asked.length > asked);
  storeB.heal();
  await until(() => heard() === '[["a",[["shop web:80",false]]]]');
  const { endpoints } = b.last();
  a.health = new Map();
  a.door.changed();
  await until(() => heard() === "[]");
  t.is(b.last().endpoints, endpoints, "who is there has nothing to do with it");
  t.is(server.get("health/a"), undefined);
  t.deepEqual(storeA.asked.slice(asked).filter((one) => one.includes("health")), ["write health/a", "write health/a"]);
});

const many = (count: number, up: boolean): NodeHealth => new Map(Array.from({ length: count }, (_, i) => [`svc-${i} ${"a".repeat(64)}:8080`, up]));
const longest = (server: Server): number => Math.max(...server.keys("health/").map((key) => server.get(key)?.length ?? 0));

test("of many backends the others know everything, in records that are far from too long, and in one again when they have become few", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const [storeA, storeB] = [server.connect("a"), server.connect("b")];
  await using a = node({ name: "a", address: "127.0.1.3", port, store: storeA });
  await using b = node({ name: "b", address: "127.0.1.4", port, store: storeB });
  await Promise.all([a.start(), b.start()]);
  a.run("web");
  const heard = (): NodeHealth => b.last().health?.get("a") ?? new Map();
  a.health = many(14_000, true);
  a.door.changed();
  await until(() => heard().size === 14_000);
  t.deepEqual([server.get("health/a"), server.keys("health/").length], [undefined, 32]);
  t.true(longest(server) < 64 * 1024, `${longest(server)}`);
  const asked = storeA.asked.length;
  a.health = new Map(a.health).set([...a.health.keys()][5] ?? "", false);
  a.door.changed();
  await until(() => [...heard().values()].includes(false));
  t.deepEqual(storeA.asked.slice(asked).map((one) => one.replace(/\d+$/, "N")), ["write health/a/N"], "what did not change is not written");
  // Nobody hears of it when it is back with fewer than it had.
  storeB.cut();
  storeA.expire();
  a.health = many(2, false);
  a.door.changed();
  await until(() => server.get("health/a") !== undefined);
  storeB.heal();
  await until(() => heard().size === 2);
  t.deepEqual(server.keys("health/"), ["health/a"]);
});

test("pieces that a node did not write again when it came back are no more, and its record of all counts beside none", (t) => {
  const record = (up: readonly string[], down: readonly string[] = []): string => JSON.stringify({ v: 1, node: "b", up, down });
  const own = JSON.stringify({ v: 1, name: "b", addresses: ["192.0.2.8"], ipv4: null, ipv6: null, mtu: 1500, names: [], networks: [], version: "0.1.0", machine: "m", startedAt: 1 });
  const view = openView({ self: "a", pool, addresses: () => [], answers: () => true, log: createLog(() => {}, () => 0) });
  const heard = () => Object.fromEntries(view.cluster().health?.get("b") ?? []);
  view.take([["nodes/b", own], ["health/b", record(["web 1:80", "web 2:80"])]]);
  t.deepEqual(heard(), { "web 1:80": true, "web 2:80": true }, "as builds write it that know no pieces");
  view.take([["health/b/3", record([], ["web 1:80"])], ["health/b/31", record(["web 3:80"])]]);
  t.deepEqual(heard(), { "web 1:80": false, "web 2:80": true, "web 3:80": true });
  view.take([["health/b", undefined], ["health/b/32", record(["web 4:80"])]]);
  t.deepEqual(heard(), { "web 1:80": false, "web 3:80": true });
  view.take([["nodes/b", undefined], ["health/b/3", undefined], ["health/b/31", undefined]]);
  t.deepEqual(heard(), { "web 1:80": false, "web 3:80": true }, "its lease has ended, but it answers");
  view.take([["health/b/31", record([], ["web 3:80"])], ["nodes/b", own]]);
  t.deepEqual(heard(), { "web 3:80": false });
});

test("a node is there for the others although what it found of its backends cannot be written, and says that it cannot", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  let refused = true;
  const choosy: SharedStore = { ...store, write: async (changes, signal) => {
    if (refused && changes.some(({ key }) => key.startsWith("health/"))) throw new HawserError("STORE", "request is too large");
    await store.write(changes, signal);
  } };
  await using a = node({ name: "a", address: "127.0.1.5", port, store: choosy });
  a.health = new Map([["shop web:80", true]]);
  await a.start();
  a.run("web");
  await until(() => server.keys("endpoints/").length === 1);
  t.deepEqual(server.keys("nodes/"), ["nodes/a"]);
  await until(() => a.lines.some((line) => line.includes("request is too large")));
  refused = false;
  await until(() => server.get("health/a") !== undefined);
});
