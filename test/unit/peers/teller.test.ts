// Telling the engine: one telling at a time, many changes in one, and what was not taken once more.
import test from "ava";
import type { Cluster } from "../../../src/network/cluster.ts";
import { createTeller } from "../../../src/peers/teller.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { until } from "./world.ts";

const cluster = (endpoints: number): Cluster =>
  ({ kind: "etcd", ipv4: null, ipv6: null, nodes: new Map(), networks: new Map(), endpoints: new Map(), numbers: new Map([["changes", endpoints]]) });

test("while the engine is told, many changes wait as one, and the newest is told", async (t) => {
  let [changes, running, most] = [0, 0, 0];
  const told: (number | undefined)[] = [];
  const gates: PromiseWithResolvers<void>[] = [];
  const teller = createTeller(() => cluster(changes), async ({ numbers }) => {
    most = Math.max(most, ++running);
    told.push(numbers.get("changes"));
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    await gate.promise;
    running--;
  }, systemClock, createLog(() => {}, () => 0));
  const life = new AbortController();
  const working = teller.run(life.signal);
  teller.nudge();
  await until(() => gates.length === 1);
  for (changes = 1; changes < 1000; changes++) teller.nudge();
  gates[0]?.resolve();
  await until(() => gates.length === 2);
  gates[1]?.resolve();
  life.abort();
  await working;
  t.deepEqual(told, [0, 1000]);
  t.is(most, 1);
});

test("what the engine did not take is told again, and until then the status says so", async (t) => {
  let failures = 1;
  const lines: string[] = [];
  const teller = createTeller(() => cluster(0), async () => {
    if (failures-- > 0) throw new Error("the kernel refused");
  }, { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) }, createLog((line) => lines.push(line), () => 0));
  const life = new AbortController();
  const working = teller.run(life.signal);
  teller.nudge();
  await until(() => teller.trouble() !== undefined || failures < 0);
  await until(() => failures < 0 && teller.trouble() === undefined);
  life.abort();
  await working;
  t.is(lines.filter((line) => line.includes("the kernel refused")).length, 1);
});
