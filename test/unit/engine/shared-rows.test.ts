// What services have in common is written down once, and found again.
import test from "ava";
import { createBalancer } from "../../../src/engine/balancer.ts";
import type { Outcome, Turn } from "../../../src/engine/balancer.ts";
import { SharedRows } from "../../../src/engine/shared-rows.ts";
import type { Service } from "../../../src/lb/types.ts";
import type { Change, Json } from "../../../src/store/types.ts";
import { container, read, serviceWith } from "../lb/given.ts";

const count = 60;
const named = (i: number): Service => ({ ...read(serviceWith(`frontends: ["203.0.113.${i}:80"]`, "backends: [{ select: { network: shop }, port: 8080 }]", "health: { kind: none }")), name: `web-${i}` });
const containers = Array.from({ length: count }, (_, i) => ({ ...container(`a/web-${i}`, i + 1), ipv6: null }));
const [first, second, third] = [1, 2, 3].map(named);
const services = [first, second, third].filter((one) => one !== undefined);

function world(rows = new Map<string, Json>()) {
  const balancer = createBalancer({ mode: "dsr", largestTable: 61, node: "a", rows: new Map(rows) });
  let now = 1_750_000_000_000;
  return {
    rows,
    turn: (change: Partial<Turn>): Outcome => {
      const outcome = balancer.turn({ services: { set: [], gone: [] }, containers: { set: [], gone: [] }, heard: [], told: null, wereGone: false, elsewhere: null, now: now++, ...change });
      for (const { key, value } of outcome.rows) {
        if (value === undefined) rows.delete(key);
        else rows.set(key, value);
      }
      return outcome;
    },
  };
}
const all = { services: { set: services, gone: [] }, containers: { set: containers, gone: [] } };
const size = (changes: readonly Change[]): number => changes.reduce((sum, { value }) => sum + (value === undefined ? 0 : JSON.stringify(value).length), 0);
const shared = (rows: ReadonlyMap<string, Json>): readonly string[] => [...rows.keys()].filter((key) => key.startsWith("shared "));

test("services of the same backends have one list of them, in memory and in the store", (t) => {
  const { rows, turn } = world();
  const { backends, rows: written } = turn(all);
  t.is(new Set(backends.values()).size, 1);
  const alone = world();
  t.true(size(written) < size(alone.turn({ ...all, services: { set: services.slice(0, 1), gone: [] } }).rows) + 2000);
  const before = shared(rows);
  t.true(before.length > 0);
  const leave = turn({ containers: { set: [], gone: [`${containers[0]?.node}/${containers[0]?.id}`] } });
  t.is(leave.backends.get("web-1")?.length, count - 1);
  t.is(new Set(leave.backends.values()).size, 1);
  t.deepEqual(shared(rows).filter((key) => before.includes(key)), [], "what is named no more is gone");
});

test("whoever starts with these rows goes on with the same, and has them in common", (t) => {
  const { rows, turn } = world();
  const before = turn(all);
  const after = world(rows).turn(all);
  t.deepEqual(after.plans, before.plans);
  t.deepEqual(after.backends, before.backends);
  t.is(new Set(after.backends.values()).size, 1);
});

test("rows stay as long as one service names them, and a row that names what is lost is as if it were not there", (t) => {
  const { rows, turn } = world();
  turn(all);
  const before = shared(rows);
  turn({ services: { set: [], gone: ["web-1", "web-2"] } });
  t.deepEqual(shared(rows), before);
  const lost = new Map([...rows].filter(([key]) => key !== before[0]));
  t.is(world(lost).turn({ ...all, services: { set: services.slice(2), gone: [] } }).plans.set[0]?.backends.length, count);
  turn({ services: { set: [], gone: ["web-3"] } });
  t.deepEqual(shared(rows), []);
});

test("a short text is made once for the rows of one turn and not kept, a long one as long as what it is of", (t) => {
  const shared = new SharedRows();
  const of = {};
  const made: string[] = [];
  const ask = (kind: string, text: string): unknown => shared.text(kind, of, () => {
    made.push(kind);
    return text;
  });
  const look = (): void => {
    for (const _ of [1, 2]) for (const [kind, length] of [["short", 10], ["long", 2000]] as const) ask(kind, "x".repeat(length));
    shared.changes();
  };
  look();
  t.deepEqual(made, ["short", "long"]);
  look();
  t.deepEqual(made, ["short", "long", "short"]);
});
