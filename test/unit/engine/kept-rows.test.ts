// Rows for a later balancer, by a store that now and then cannot write.
import test from "ava";
import { createBalancer } from "../../../src/engine/balancer.ts";
import type { Turn } from "../../../src/engine/balancer.ts";
import { KeptRows } from "../../../src/engine/kept-rows.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { Change, Json } from "../../../src/store/types.ts";
import { container, read, serviceWith } from "../lb/given.ts";
import { memoryStore } from "./fake.ts";

const row = (key: string, value: Json | undefined): Change => ({ table: "balancing", key, value });

test("rows that could not be written are as if they had been, and are written with the next", async (t) => {
  const rows = new Map([["balancing", new Map<string, Json>([["one", 1], ["two", 2]])]]);
  const store = memoryStore(rows);
  const kept = new KeptRows(store);
  store.broken = new HawserError("STORE", "no room");
  await kept.keep([row("one", undefined), row("two", 3), row("three", 4)]);
  t.deepEqual([Object.fromEntries(await kept.load()), kept.allWritten], [{ two: 3, three: 4 }, false]);
  t.deepEqual([...rows.get("balancing") ?? []], [["one", 1], ["two", 2]]);
  store.broken = null;
  await kept.keep([row("three", 5)]);
  t.deepEqual([Object.fromEntries(rows.get("balancing") ?? []), kept.allWritten], [{ two: 3, three: 5 }, true]);
});

test("of the writes of many rows the disk is waited for with the last, and with the one of few", async (t) => {
  const asked: (string | undefined)[] = [];
  const kept = new KeptRows({ load: async () => new Map(), write: async (_, more) => void asked.push(more) });
  await kept.keep(Array.from({ length: 300 }, (_, i) => row(`${i}`, "x".repeat(500))));
  t.deepEqual(asked, ["more", "more", undefined]);
  await kept.keep([row("one", 1)]);
  t.deepEqual(asked.slice(3), [undefined]);
});

test("whatever waited, at no time does a row name one that is not there", async (t) => {
  const rows = new Map<string, Map<string, Json>>();
  const store = memoryStore(rows);
  const kept = new KeptRows(store);
  const containers = Array.from({ length: 60 }, (_, i) => ({ ...container(`a/web-${i}`, i + 1), ipv6: null }));
  const service = read(serviceWith("backends: [{ select: { network: shop }, port: 8080 }]", "health: { kind: none }"));
  const balancer = createBalancer({ mode: "dsr", largestTable: 61, node: "a", rows: new Map() });
  let now = 1_750_000_000_000;
  const turn = (change: Partial<Turn>): Promise<void> =>
    kept.keep(balancer.turn({ services: { set: [], gone: [] }, containers: { set: [], gone: [] }, heard: [], told: null, wereGone: false, elsewhere: null, now: now++, ...change }).rows);
  await turn({ services: { set: [service], gone: [] }, containers: { set: containers, gone: [] } });
  store.broken = new HawserError("STORE", "no room");
  for (const i of [0, 1]) await turn({ containers: { set: [], gone: [`a/${containers[i]?.id}`] } });
  store.broken = null;
  const order: string[] = [];
  store.onWrite = (changes) => {
    for (const { key, value } of changes) order.push(`${value === undefined ? "delete" : "set"} ${key.startsWith("shared") ? "what is named" : "a row"}`);
  };
  await turn({ containers: { set: [], gone: [`a/${containers[2]?.id}`] } });
  t.deepEqual(order.filter((one, i) => one !== order[i - 1]), ["set what is named", "set a row", "delete what is named"]);
});
