// The door over a real etcd: the same failures as over the server of the other tests, with real leases and real connections.
import test from "ava";
import type { ExecutionContext } from "ava";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { openEtcd } from "../../../src/store/etcd.ts";
import { EtcdServer } from "../store/etcd-server.ts";
import { freshPort, node, until } from "./world.ts";
import type { TestNode } from "./world.ts";

interface Pair {
  readonly server: EtcdServer;
  readonly a: TestNode;
  readonly b: TestNode;
  keys(prefix: string): Promise<readonly string[]>;
}

async function pair(t: ExecutionContext, subnet: number): Promise<Pair> {
  const [server, port] = [await EtcdServer.started(), freshPort()];
  t.teardown(() => server.remove());
  const nodes = ["a", "b"].map((name, i) => {
    const store = openEtcd({ endpoints: [server.endpoint], prefix: "/hawser/", ttl: 2, silence: 1000, callTime: 2000, clock: systemClock, log: createLog(() => {}, () => 0) });
    t.teardown(() => store[Symbol.asyncDispose]());
    const made = node({ name, address: `127.0.${subnet}.${i + 1}`, port, store, options: { random: () => 0.01 } });
    t.teardown(() => made[Symbol.asyncDispose]());
    return made;
  });
  const [a, b] = nodes as [TestNode, TestNode];
  await Promise.all(nodes.map((one) => one.start()));
  a.run("web");
  b.run("db");
  await until(() => a.seen().join() === "db" && b.seen().join() === "web");
  await until(() => nodes.every(({ door }) => door.nodes().every(({ state, lastSeen }) => state === "self" || lastSeen > 0)));
  return { server, a, b, keys: async (prefix) => (await server.ctl("get", "--prefix", "--keys-only", `/hawser/${prefix}`)).split("\n").filter(Boolean) };
}

test("etcd killed while containers start and stop: afterwards the records are what is", async (t) => {
  const { server, a, b, keys } = await pair(t, 21);
  await server.kill();
  await until(() => a.door.status().state === "degraded" && b.door.status().state === "degraded");
  for (let i = 0; i < 50; i++) {
    a.run(`a-${i}`);
    b.run(`b-${i}`);
    if (i % 2 === 0) a.stop(`a-${i}`);
    if (i % 5 === 0) b.stop(`b-${i}`);
  }
  t.deepEqual([a.seen(), b.seen()], [["db"], ["web"]], "and meanwhile everybody keeps what he knew");
  await server.start();
  const of = (one: TestNode): string => [...one.containers.keys()].toSorted().join();
  await until(() => a.seen().join() === of(b) && b.seen().join() === of(a));
  t.is((await keys("endpoints/")).length, a.containers.size + b.containers.size);
});

test("an etcd that comes back empty is filled again, and nobody loses anybody meanwhile", async (t) => {
  const { server, a, b, keys } = await pair(t, 22);
  const lasting = async (): Promise<string> => [...await keys("slices/"), ...await keys("identit")].join("\n");
  const [before, told] = [await lasting(), [a.told.length, b.told.length]];
  const numbers = [...a.last().numbers];
  await server.startEmpty();
  while (await lasting() !== before || (await keys("nodes/")).length < 2 || (await keys("endpoints/")).length < 2) await systemClock.sleep(50);
  t.true([...a.told.slice(told[0]), ...b.told.slice(told[1])].every(({ endpoints }) => endpoints.size === 1));
  t.deepEqual([...a.last().numbers].toSorted(), numbers.toSorted());
});

test("an etcd that hangs is said to, and everything goes on when it answers again", async (t) => {
  const { server, a, b } = await pair(t, 23);
  server.signal("SIGSTOP");
  await until(() => a.door.status().state === "degraded");
  a.run("late");
  server.signal("SIGCONT");
  await until(() => b.seen().join() === "late,web" && a.door.status().state === "ok");
  t.pass();
});

test("what a node finds of twenty thousand backends fits into etcd, beside the node's own record", async (t) => {
  const { a, b, keys } = await pair(t, 24);
  a.health = new Map(Array.from({ length: 20_000 }, (_, i) => [`svc-${i} ${"a".repeat(64)}:8080`, i % 2 === 0]));
  a.door.changed();
  await until(() => b.last().health?.get("a")?.size === 20_000);
  t.deepEqual([...a.health].filter(([backend, up]) => b.last().health?.get("a")?.get(backend) !== up), []);
  t.deepEqual(await keys("nodes/"), ["/hawser/nodes/a", "/hawser/nodes/b"]);
});
