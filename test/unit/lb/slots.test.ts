// Slots through every history: who is current follows from who is there alone, and whose flows a slot may have is never forgotten while he lives.
import test from "ava";
import fc from "fast-check";
import { choose } from "../../../src/lb/choose.ts";
import { buildTable } from "../../../src/lb/maglev.ts";
import { changedAt, currentOf, follow, grownSlots, newSlots, previousOf, settle } from "../../../src/lb/slots.ts";
import type { Slots } from "../../../src/lb/types.ts";

/** Containers all of them. */
const all = (): boolean => true;
/** A table of one slot that wants so. */
const want = (number: number): Uint16Array => Uint16Array.of(number);
const alive = (...numbers: readonly number[]): Uint8Array => {
  const flags = new Uint8Array(65_536);
  for (const number of numbers) flags[number] = 1;
  return flags;
};
/** `current previous @changed +between`; settled `current`, `current <who was before`. */
function printed(slots: Slots, slot = 0): string {
  const others = slots.between.get(slot);
  const changed = changedAt(slots, slot);
  const previous = previousOf(slots, slot);
  return changed === 0 ? `${currentOf(slots, slot)}${previous === 0 ? "" : ` <${previous}`}` : `${currentOf(slots, slot)} ${previousOf(slots, slot)} @${changed}${others === undefined ? "" : ` +${others.join("+")}`}`;
}

/** Each row: who lives, whom the table wants, and the slot after it, second by second from 1. */
const histories: readonly (readonly [title: string, ...rows: (readonly [lives: readonly number[], wanted: number, slot: string])[]])[] = [
  ["nothing changes", [[1, 2], 1, "1"]],
  ["a backend is added", [[1, 2], 2, "2 1 @1"], [[1, 2], 2, "2 1 @1"]],
  ["and leaves again", [[1, 2], 2, "2 1 @1"], [[1, 2], 1, "1 1 @2 +2"], [[1], 1, "1"]],
  ["a backend drains and is gone", [[1, 2], 2, "2 1 @1"], [[2], 2, "2"]],
  ["a backend is killed", [[2], 2, "2"]],
  ["several change, one after the other", [[1, 2], 2, "2 1 @1"], [[1, 2, 3], 3, "3 1 @2 +2"], [[1, 2, 3, 4], 4, "4 1 @3 +3+2"], [[1, 3, 4], 4, "4 1 @3 +3"], [[1, 4], 4, "4 1 @3"], [[4], 4, "4"]],
  ["the one who has what is not recorded is killed among several", [[1, 2], 2, "2 1 @1"], [[1, 2, 3], 3, "3 1 @2 +2"], [[2, 3], 3, "3 3 @2 +2"], [[2, 3, 4], 4, "4 3 @4 +2"]],
  ["he and the current are killed at once", [[1, 2], 2, "2 1 @1"], [[1, 2, 3], 3, "3 1 @2 +2"], [[2, 4], 4, "4 4 @3 +2"]],
  ["nobody takes new flows, and later somebody does", [[1], 0, "0 1 @1"], [[1, 2], 2, "2 1 @2"]],
  ["nobody takes new flows, and then the same again", [[1], 0, "0 1 @1"], [[1], 1, "1"]],
  ["all are gone", [[], 0, "0"], [[3], 3, "3"]],
  ["who is wanted is not alive", [[1], 9, "0 1 @1"]],
];

for (const [title, ...rows] of histories) {
  test(`a slot of backend 1: ${title}`, (t) => {
    let slots = newSlots(want(1));
    rows.forEach(([lives, wanted, after], i) => {
      slots = follow(slots, want(wanted), alive(...lives), i + 1);
      t.is(printed(slots), after, `row ${i + 1}`);
    });
  });
}

test("slots to which nothing happened are the same object", (t) => {
  const slots = newSlots(Uint16Array.of(1, 2, 1));
  t.is(follow(slots, Uint16Array.of(1, 2, 1), alive(1, 2), 1), slots);
  const changed = follow(slots, Uint16Array.of(1, 2, 2), alive(1, 2), 1);
  t.is(follow(changed, Uint16Array.of(1, 2, 2), alive(1, 2), 9), changed);
  t.is(settle(slots, () => true, all), slots);
});

test("a slot settles when it is quiet, and not before", (t) => {
  let slots = newSlots(want(1));
  slots = follow(slots, want(2), alive(1, 2), 10);
  slots = follow(slots, want(3), alive(1, 2, 3), 20);
  const asked: string[] = [];
  t.is(settle(slots, (slot, since) => { asked.push(`${slot} ${since}`); return false; }, all), slots);
  t.deepEqual(asked, ["0 20"]);
  t.is(printed(settle(slots, () => true, all)), "3 <1");
  t.is(printed(settle(follow(slots, want(0), alive(1, 2, 3), 30), () => true, all)), "0 1 @30 +3+2", "nobody takes what begins");
});

test("a slot of a server does not settle while a container was before, who would not be asked; the other way round it does", (t) => {
  const changed = follow(newSlots(want(1)), want(2), alive(1, 2), 10);
  t.is(settle(changed, () => true, (number) => number === 1), changed);
  for (const asks of [(number: number) => number === 2, () => false]) t.is(printed(settle(changed, () => true, asks)), "2 <1");
});

test("a settled slot knows who was before, as long as he lives and until it changes again", (t) => {
  const settled = settle(follow(newSlots(want(1)), want(2), alive(1, 2), 10), () => true, all);
  t.is(printed(settled), "2 <1");
  t.is(follow(settled, want(2), alive(1, 2), 20), settled);
  t.is(printed(follow(settled, want(2), alive(2), 20)), "2");
  t.is(printed(follow(settled, want(3), alive(1, 2, 3), 20)), "3 2 @20");
  t.is(printed(follow(settled, want(3), alive(1, 3), 20)), "3 <1", "the current is killed");
  t.is(printed(follow(settled, want(1), alive(1), 20)), "1", "and he is current again");
  t.is(printed(settle(follow(follow(newSlots(want(1)), want(2), alive(1, 2), 10), want(1), alive(1, 2), 20), () => true, all)), "1 <2", "there and back");
});

test("in a larger table each slot has what the one had that its flows were in", (t) => {
  let slots = newSlots(Uint16Array.of(1, 2));
  slots = follow(slots, Uint16Array.of(3, 2), alive(1, 2, 3), 5);
  slots = follow(slots, Uint16Array.of(2, 2), alive(1, 2, 3), 6);
  const grown = grownSlots(slots, 3);
  t.deepEqual(Array.from({ length: 6 }, (_, slot) => printed(grown, slot)), ["2 1 @6 +3", "2 1 @6 +3", "2 1 @6 +3", "2", "2", "2"]);
});

/** What happens to a small service, and how many flows are opened after it. */
const event = fc.record({ lives: fc.subarray([1, 2, 3, 4, 5, 6], { minLength: 1 }), takes: fc.subarray([1, 2, 3, 4, 5, 6]), opened: fc.nat(30), idles: fc.boolean() });

test("through any history no flow moves whose backend lives, and who is current does not depend on it (D5)", (t) => {
  const size = 61;
  fc.assert(fc.property(fc.array(event, { maxLength: 25 }), fc.infiniteStream(fc.nat(size - 1)), (events, places) => {
    let slots = newSlots(new Uint16Array(size));
    let flows: { readonly slot: number; readonly owner: number; readonly recorded: number }[] = [];
    events.forEach(({ lives, takes, opened, idles }, i) => {
      const now = i + 1;
      const living = alive(...lives);
      const members = takes.filter((number) => lives.includes(number)).map((number) => ({ identity: `web-${number}`, number, weight: 1 }));
      const table = buildTable(members, size);
      slots = follow(slots, table, living, now);
      flows = flows.filter(({ owner }) => living[owner] === 1);
      const at = (slot: number) => ({ current: currentOf(slots, slot), previous: previousOf(slots, slot), changed: changedAt(slots, slot) });
      for (const { slot, owner, recorded } of flows) t.is(choose(at(slot), "goesOn", recorded === 0 ? null : { backend: recorded, young: false }, now).to, owner);
      for (let slot = 0; slot < size; slot++) {
        t.is(currentOf(slots, slot), table[slot] ?? 0);
        for (const number of slots.between.get(slot) ?? []) t.true(number !== currentOf(slots, slot) && number !== previousOf(slots, slot) && living[number] === 1);
      }
      for (let n = 0; n < opened; n++) {
        const slot = places.next().value;
        const { to, record } = choose(at(slot), "begins", null, now);
        if (to !== 0) flows.push({ slot, owner: to, recorded: record });
      }
      if (idles) slots = settle(slots, (slot) => !flows.some((flow) => flow.slot === slot && flow.owner !== currentOf(slots, slot)), all);
    });
  }), { numRuns: 150 });
});
