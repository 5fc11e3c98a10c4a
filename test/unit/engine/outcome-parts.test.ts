// What the balancer's thread says comes whole, in parts that are each read in little time.
import test from "ava";
import { buffersOf, inParts, outcomeOf } from "../../../src/engine/outcome-parts.ts";
import type { Outcome } from "../../../src/engine/balancer.ts";
import type { BackendPlan, Slots } from "../../../src/lb/types.ts";
import { parseIp } from "../../../src/std/ip.ts";

const pool = (first: number, count: number): readonly BackendPlan[] => Array.from({ length: count }, (_, i) => ({
  number: first + i, identity: `a/shop/web-${first + i}:80`, address: parseIp("10.44.0.2"), port: 80, node: "a", way: "container", weight: 1, state: "active", takes: true,
}));
const slots = (first: number): Slots => ({ size: 2, words: Uint32Array.of(first, 0, first + 1, 7), between: new Map([[1, [first + 2]]]) });
type Plan = Outcome["plans"]["set"][number];
const plan = (number: number, backends: Plan["backends"], its: Plan["slots"]): Plan => ({
  name: `web-${number}`, family: 4, number, frontends: [{ address: parseIp("203.0.113.10"), port: number, protocol: "tcp" }], affinity: null, sources: { allow: null, deny: [] }, open: true, backends, slots: its,
});

test("an outcome is after its way what it was, and what plans had in common they have in common", (t) => {
  const [common, own, table] = [pool(1, 1500), pool(5000, 3), slots(1)];
  const plain = [7, 8].map((number): Slots => ({ size: 3, plain: Uint16Array.of(number, 2, 3), between: new Map() }));
  const outcome: Outcome = {
    plans: { set: [plan(1, common, table), plan(2, common, table), plan(3, own, { of: "web-9 4" }), plan(4, [], slots(9)), ...plain.map((one, i) => plan(5 + i, own, one))], gone: ["web-7 4"] },
    backends: new Map(Array.from({ length: 40 }, (_, i) => [`web-${i}`, []])), again: 12, unsettled: true, refused: new Map(), rows: [{ table: "balancing", key: "service web-1", value: "{}" }],
  };
  const { head, parts } = inParts(outcome);
  const carried = structuredClone({ head, parts: parts.map((part) => structuredClone(part)) }, { transfer: [...buffersOf(head)] });
  const back = outcomeOf(carried.head, carried.parts);
  t.deepEqual(back, outcome);
  const [one, two] = back.plans.set;
  t.is(one?.backends, two?.backends as never);
  t.is(one?.slots, two?.slots as never);
  t.deepEqual(table, slots(1));
  t.deepEqual(plain.map((one) => one.plain?.[0]), [7, 8]);
});

test("no part has many more backends than take a few milliseconds to read", (t) => {
  const backends = new Map(Array.from({ length: 100 }, (_, i) => [`web-${i}`, Array.from({ length: 200 }, () => ({}) as never)] as const));
  const { parts } = inParts({ plans: { set: [], gone: [] }, backends, again: null, unsettled: false, refused: new Map(), rows: [] });
  t.is(parts.flatMap((part) => part.backends).length, 100);
  for (const part of parts) t.true(part.crowds.reduce((sum, all) => sum + all.length, 0) <= 1200);
});
