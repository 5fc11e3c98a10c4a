// Thousands of services that come at once: some are carried out while others are planned, and in the end all are, or none.
import test from "ava";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import type { FakeHost, MemoryStore } from "./fake.ts";
import { portion } from "../../../src/engine/service-planner.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { handClock } from "./shop.ts";

const many = portion.first + portion.next + 300;
const documents = Array.from({ length: many }, (_, i) => ({
  file: `s${i}.yaml`, text: `service: s${i}\nfrontends: ["203.0.${i >> 8}.${i & 255}:80"]\nbackends: [{ address: "192.0.2.7:80" }, { address: "172.16.${i >> 8}.${i & 255}:80" }]\nhealth: { kind: none }\n`,
}));

async function node(store: MemoryStore, host: FakeHost) {
  const engine = desk(host, store, { clock: handClock().clock, services: { mode: "dsr", largestTable: 61 } });
  await engine.start();
  await engine.idle();
  return engine;
}
const turn = (): Promise<unknown> => new Promise(setImmediate);
const told = (host: FakeHost): readonly string[] => host.calls.filter((call) => call.includes("do services: "));

test("they come in portions and stay, and after a start all are there at once, as they were", async (t) => {
  const [store, host] = [memoryStore(), fakeHost()];
  const engine = await node(store, host);
  await engine.commands.applyService({ documents });
  t.deepEqual(told(host), ["do services: 0", `do services: ${portion.first}`, `do services: ${portion.first + portion.next}`, `do services: ${many}`]);
  t.is(new Set(host.services?.map(({ number }) => number)).size, many);
  t.deepEqual([...new Set(engine.queries.services().map(({ state }) => state))], ["enforced"]);
  await engine.close();
  const again = fakeHost();
  const next = await node(store, again);
  t.is(told(again)[0], `do services: ${many}`);
  const numbers = (one: FakeHost): unknown => one.services?.map(({ name, number, backends }) => [name, number, backends.map((backend) => backend.number)]);
  t.deepEqual(numbers(again), numbers(host));
  await next.close();
});

test("if the datapath fails half-way, what was there before is, and nothing of them later", async (t) => {
  const host = fakeHost();
  const engine = await node(memoryStore(), host);
  await engine.commands.applyService({ documents: documents.slice(0, 1) });
  host.before = (call) => {
    if (call === `do services: ${portion.first + portion.next + 1}` || call === `do services: ${many}`) throw new HawserError("KERNEL", "the map is gone");
  };
  await t.throwsAsync(engine.commands.applyService({ documents: documents.slice(1) }), { message: /the map is gone/ });
  await engine.idle();
  t.deepEqual(host.services?.map(({ name }) => name), ["s0"]);
  t.deepEqual(engine.queries.services().map(({ name, state }) => [name, state]), [["s0", "enforced"]]);
  host.before = () => undefined;
  await engine.commands.applyService({ documents: documents.slice(1) });
  t.is(host.services?.length, many);
  await engine.close();
});

// Alone, because the threads of all tests here are this process's.
test.serial("when nothing comes of what was read elsewhere, what was started for it ends again", async (t) => {
  const { clock, pass } = handClock();
  const engine = desk(fakeHost(), memoryStore(), { clock, readServices: async () => undefined });
  await engine.start();
  const said: string[] = [];
  process.once("worker", (worker) => {
    said.push("a thread begins");
    worker.once("exit", () => said.push("it ends"));
  });
  await t.throwsAsync(engine.commands.applyService({ documents: [{ file: "all.yaml", text: `# ${"-".repeat(400_000)}\nservice: [` }] }));
  await engine.idle();
  t.deepEqual(said, ["a thread begins"]);
  pass(30_000);
  await turn();
  await engine.idle();
  t.deepEqual(said, ["a thread begins", "it ends"]);
  t.is(engine.queries.services().length, 0);
  await engine.close();
});

test("what changes while others are planned is in force with the last of them, and what goes meanwhile is gone", async (t) => {
  const host = fakeHost();
  const engine = await node(memoryStore(), host);
  const [first = { file: "", text: "" }] = documents;
  const applied = engine.commands.applyService({ documents });
  let changed: Promise<unknown> | undefined;
  host.before = (call) => {
    if (call === `do services: ${portion.first}`) changed ??= Promise.all([engine.commands.deleteService(`s${many - 1}`), engine.commands.applyService({ documents: [{ ...first, text: first.text.replace("203.0.0.0", "203.0.113.1") }] })]);
  };
  await applied;
  await changed;
  t.is(host.services?.length, many - 1);
  t.deepEqual(host.services?.find(({ name }) => name === "s0")?.frontends.map(({ address }) => `${address}`), ["203.0.113.1"]);
  await engine.close();
});
