// The planner beside a thread that dies, and beside a datapath in which no service ever came into force.
import test from "ava";
import type { Worker } from "node:worker_threads";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import { ServicePlanner } from "../../../src/engine/service-planner.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import type { StoredService } from "../../../src/lb/stored.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { State } from "../../../src/network/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import { memoryStore } from "./fake.ts";
import { handClock } from "./shop.ts";

const stateOf = (count: number, servers: readonly string[]): State => ({
  ...emptyState,
  services: new Map(Array.from({ length: count }, (_, i): [string, StoredService] => [`s${i}`, {
    name: `s${i}`, file: `s${i}.yaml`, source: "apply", revision: 1, changedAt: 1,
    text: `service: s${i}\nfrontends: ["203.0.113.${i}:80"]\nbackends: [${servers.map((server) => `{ address: "${server}:80" }`).join(", ")}]\nhealth: { kind: none }\nmode: dsr\n`,
  }])),
});

test.serial("when the thread dies while nothing can be written, all services stay planned, however many at a time come new", async (t) => {
  const store = memoryStore();
  store.broken = new HawserError("STORE", "no room");
  const threads: Worker[] = [];
  const listen = (thread: Worker): void => void threads.push(thread);
  process.on("worker", listen);
  t.teardown(() => process.off("worker", listen));
  const book = new ServiceBook("a", new ServiceTexts());
  const { clock } = handClock();
  const planner = new ServicePlanner({ node: "a", services: { mode: "auto", largestTable: 61 }, clock, log: createLog(() => {}, () => 0), store, datapath: { elsewhere: async () => null } }, book, () => {});
  t.teardown(() => planner.close());
  const state = stateOf(6, ["192.0.2.7"]);
  const plan = () => planner.plan(state, book.balanced(state), 2);
  do await plan(); while (planner.more);
  const numbers = () => planner.plans.map(({ name, number, backends }) => [name, number, backends.map((backend) => backend.number)]);
  const before = numbers();
  t.is(before.length, 6);
  await threads[0]?.terminate();
  await plan();
  t.is(threads.length, 2);
  t.deepEqual(numbers(), before);
});

test.serial("where nothing can be looked at yet, it is looked again after ten minutes, not at once", async (t) => {
  const { clock, pass } = handClock();
  const book = new ServiceBook("a", new ServiceTexts());
  let [looks, wakes] = [0, 0];
  const elsewhere = async (): Promise<null> => {
    looks++;
    return null;
  };
  const planner = new ServicePlanner({ node: "a", services: { mode: "auto", largestTable: 61 }, clock, log: createLog(() => {}, () => 0), store: memoryStore(), datapath: { elsewhere } }, book, () => void wakes++);
  t.teardown(() => planner.close());
  const plan = (state: State) => planner.plan(state, book.balanced(state));
  await plan(stateOf(1, ["192.0.2.7"]));
  const changed = stateOf(1, ["192.0.2.7", "192.0.2.8"]);
  await plan(changed);
  for (const [ms, times] of [[600_000, 1], [599_999, 1], [1, 2]] as const) {
    pass(ms);
    await new Promise(setImmediate);
    await plan(changed);
    t.deepEqual({ wakes, looks }, { wakes: times, looks: times });
  }
});

test.serial("what is heard while it plans is looked at when that is planned, and wakes it only if it tells something", async (t) => {
  const book = new ServiceBook("a", new ServiceTexts());
  let wakes = 0;
  const planner = new ServicePlanner({ node: "a", services: { mode: "auto", largestTable: 61 }, clock: handClock().clock, log: createLog(() => {}, () => 0), store: memoryStore(), datapath: { elsewhere: async () => null } }, book, () => void wakes++);
  t.teardown(() => planner.close());
  const probed = (count: number): State => ({ ...emptyState, services: new Map([...stateOf(count, ["192.0.2.7"]).services].map(([name, row]) => [name, { ...row, text: row.text.replace("kind: none", "kind: tcp, fall: 2") }])) });
  const heard = (service: string, ...answers: readonly boolean[]) => answers.map((passed) => ({ service, backend: "192.0.2.7:80", port: 80, passed, why: "" }));
  const plan = async (state: State, meanwhile: () => void = () => undefined): Promise<readonly unknown[]> => {
    const planning = planner.plan(state, book.balanced(state));
    meanwhile();
    await planning;
    return planner.plans.flatMap(({ backends }) => backends.map((backend) => backend.state));
  };
  await plan(probed(1));
  t.true(planner.hear(heard("s0", true)));
  t.deepEqual(await plan(probed(1)), ["active"]);
  t.deepEqual(await plan(probed(2), () => t.false(planner.hear(heard("s0", true)))), ["active", "down"]);
  t.is(wakes, 0, "it is known");
  t.deepEqual(await plan(probed(3), () => t.false(planner.hear([...heard("s2", true), ...heard("s0", false, true, false)]))), ["active", "down", "down"]);
  t.is(wakes, 1, "s2 was not there when it was heard of");
  t.deepEqual(await plan(probed(3)), ["active", "down", "active"], "s0 did not fail twice in a row");
});
