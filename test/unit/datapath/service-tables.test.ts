// Where services' tables lie: a place to which some service's packets are still sent keeps what that service wants.
import test from "ava";
import { LbForm } from "../../../src/abi/generated.ts";
import { openSlotRow, slotIn } from "../../../src/datapath/lb-slots.ts";
import type { SlotRange } from "../../../src/datapath/lb-slots.ts";
import { createServiceTables } from "../../../src/datapath/service-tables.ts";
import type { ServiceTables } from "../../../src/datapath/service-tables.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import type { ServicePlan, Slots } from "../../../src/lb/types.ts";

const size = 4;
const slotsOf = (backend: number): Slots => ({ size, words: Uint32Array.from({ length: 2 * size }, (_, i) => (i % 2 === 0 ? backend : 0)), between: new Map() });
const planOf = (number: number, slots: Slots): ServicePlan =>
  ({ name: `s${number}`, family: 4, number, frontends: [], affinity: null, sources: { allow: null, deny: [] }, open: true, backends: [], slots });
const pause = async (): Promise<void> => {};

/** The kernel's pages as a list of words. */
function host(inherited: ReadonlyMap<number, SlotRange> = new Map(), strays: readonly SlotRange[] = []) {
  const words = new Uint32Array(2 ** 17);
  const page = {
    setPacked: (keys: Uint8Array, values: Uint8Array) => {
      const [at, what] = [new Uint32Array(keys.buffer), new Uint32Array(values.buffer)];
      at.forEach((slot, i) => words.set(what.subarray(2 * i, 2 * i + 2), 2 * slot));
    },
    store: (first: number, values: Uint8Array | Uint16Array) => words.set(values instanceof Uint16Array ? [...values].flatMap((number) => [number, 0]) : new Uint32Array(values.slice().buffer), 2 * first),
    values: (first: number, count: number) => new Uint8Array(words.slice(2 * first, 2 * (first + count)).buffer),
    close: () => {},
  } as unknown as KernelMap;
  const outer = { info: { maxEntries: 1 }, get: () => undefined, setInner: () => {}, setInners: async () => {} } as unknown as KernelMap;
  const row = openSlotRow({ createMap: () => page } as unknown as Kernel, outer, [...new Map([...inherited.values(), ...strays].map((range) => [range.first, range])).values()]);
  const at = (range: SlotRange): readonly number[] =>
    Array.from({ length: range.slots }, (_, slot) => Number(slotIn(range, slot, (word) => BigInt(words[2 * word] ?? 0) | (BigInt(words[2 * word + 1] ?? 0) << 32n))));
  const make = (given: ReadonlyMap<number, SlotRange>): ServiceTables => createServiceTables(row, given, strays, () => 1);
  return { tables: make(inherited), next: make, at };
}

test("services of the same slots share a place, which changes in place when all of them change alike", async (t) => {
  const { tables, at } = host();
  const [one, two] = [slotsOf(1), slotsOf(2)];
  await tables.change([1, 2].map((number) => planOf(number, one)), [], pause);
  tables.done();
  tables.release();
  const place = tables.rangeOf(1);
  t.is(tables.rangeOf(2), place);
  await tables.change([1, 2].map((number) => planOf(number, two)), [], pause);
  t.deepEqual([tables.rangeOf(1), tables.rangeOf(2), at(place)], [place, place, [2, 2, 2, 2]]);
});

test("while one leaves the others' place, which change as well, it is sent to what it had", async (t) => {
  const { tables, at } = host();
  const [one, two, three] = [slotsOf(1), slotsOf(2), slotsOf(3)];
  await tables.change([1, 2, 3].map((number) => planOf(number, one)), [], pause);
  tables.done();
  tables.release();
  const place = tables.rangeOf(1);
  await tables.change([planOf(1, two), planOf(2, three), planOf(3, three)], [], pause);
  t.deepEqual(at(place), [1, 1, 1, 1]);
  t.deepEqual([1, 2, 3].map((service) => at(tables.rangeOf(service))), [[2, 2, 2, 2], [3, 3, 3, 3], [3, 3, 3, 3]]);
  tables.done();
  tables.release();
  const four = slotsOf(4);
  await tables.change([planOf(4, four)], [], pause);
  t.deepEqual(tables.rangeOf(4), place, "then the place is free");
});

test("a place to which frontends are still sent, though their service is not, is left alone until they are written", async (t) => {
  const now: SlotRange = { first: 4, slots: size, form: 0 };
  const before: SlotRange = { ...now, first: 0 };
  const { tables, at } = host(new Map([[1, now], [2, before]]), [before]);
  await tables.change([planOf(1, slotsOf(1)), planOf(2, slotsOf(2)), planOf(3, slotsOf(3))], [], pause);
  t.deepEqual(at(before), [0, 0, 0, 0], "nothing was written there");
  tables.done();
  tables.release();
  await tables.change([planOf(4, slotsOf(4))], [], pause);
  t.deepEqual(tables.rangeOf(4), before);
});

const plainOf = (...backends: readonly number[]): Slots => ({ size: backends.length, plain: Uint16Array.from(backends), between: new Map() });
const install = async (tables: ServiceTables, plans: readonly ServicePlan[], gone: readonly number[] = []): Promise<void> => {
  await tables.reserve(plans, pause);
  await tables.change(plans, gone, pause);
};

test("a table that remembers nothing is small, and what changes is a full one elsewhere", async (t) => {
  const { tables, at } = host();
  const [four, five] = [plainOf(1, 2, 3, 4, 4, 3), plainOf(1, 2, 3, 4, 5, 1)];
  await install(tables, [planOf(1, four), planOf(2, five)]);
  tables.done();
  tables.release();
  const [first, second] = [tables.rangeOf(1), tables.rangeOf(2)];
  t.deepEqual([first, second].map((range) => [range.form, ...at(range)]), [[LbForm.LISTED, 1, 2, 3, 4, 4, 3], [LbForm.SHORT, 1, 2, 3, 4, 5, 1]]);
  const changed: Slots = { size: 6, words: Uint32Array.of(9, 0, 2, 0, 3, 0, 4, 0, 4, 0, 3, 0), between: new Map() };
  await install(tables, [planOf(1, changed)]);
  t.deepEqual([tables.rangeOf(1).form, ...at(tables.rangeOf(1))], [LbForm.FULL, 9, 2, 3, 4, 4, 3]);
  t.deepEqual(at(first), [1, 2, 3, 4, 4, 3], "packets that are underway are sent as before");
  tables.done();
  tables.release();
  const again = plainOf(7, 7);
  await install(tables, [planOf(3, again)]);
  t.is(tables.rangeOf(3).first, first.first, "then the place is free");
});

test("many services of the same slots share a full table, and those who come later to a small one as well", async (t) => {
  const { tables, at } = host();
  const [many, some] = [plainOf(1, 2), plainOf(3, 4)];
  await install(tables, Array.from({ length: 17 }, (_, i) => planOf(1 + i, many)));
  t.is(tables.rangeOf(1).form, LbForm.FULL);
  t.is(tables.rangeOf(17), tables.rangeOf(1));
  await install(tables, Array.from({ length: 16 }, (_, i) => planOf(101 + i, some)));
  t.is(tables.rangeOf(116).form, LbForm.LISTED);
  await install(tables, [planOf(200, some)]);
  t.deepEqual([tables.rangeOf(200).form, ...at(tables.rangeOf(200))], [LbForm.FULL, 3, 4]);
  await install(tables, [planOf(201, some)]);
  t.is(tables.rangeOf(201), tables.rangeOf(200));
  await install(tables, [], Array.from({ length: 16 }, (_, i) => 101 + i));
  tables.done();
  tables.release();
  await install(tables, [planOf(202, some)]);
  t.is(tables.rangeOf(202), tables.rangeOf(200), "that the small one is gone does not lose the other");
});

test("the next agent takes over a small table that is what it wants, and leaves one that is not", async (t) => {
  const { tables, next, at } = host();
  const [kept, other] = [plainOf(1, 2, 2), plainOf(3, 3, 4)];
  await install(tables, [planOf(1, kept), planOf(2, other)]);
  const places = new Map([1, 2].map((service) => [service, tables.rangeOf(service)]));
  const after = next(places);
  await install(after, [planOf(1, plainOf(1, 2, 2)), planOf(2, plainOf(3, 4, 4))]);
  t.is(after.rangeOf(1), places.get(1) as SlotRange);
  t.not(after.rangeOf(2).first, places.get(2)?.first);
  t.deepEqual([places.get(2) as SlotRange, after.rangeOf(2)].map(at), [[3, 3, 4], [3, 4, 4]]);
});

test("who has a place in a small table already is counted once when others come to it", async (t) => {
  const { tables, next } = host();
  const some = plainOf(1, 2);
  const plans = Array.from({ length: 10 }, (_, i) => planOf(1 + i, some));
  await install(tables, plans);
  const before = tables.rangeOf(1);
  await install(tables, [...plans, planOf(11, some)]);
  t.is(tables.rangeOf(11), before);
  const after = next(new Map(Array.from({ length: 11 }, (_, i) => [1 + i, before])));
  await install(after, Array.from({ length: 12 }, (_, i) => planOf(1 + i, some)));
  t.is(after.rangeOf(12), before);
});

test("small tables leave room for full ones in the place of all of them while they stand", async (t) => {
  const { tables } = host();
  const size = 2 ** 12;
  const small = Array.from({ length: 16 }, (_, i) => planOf(1 + i, plainOf(...Array.from({ length: size }, (_, slot) => 1 + i + (slot % 8)))));
  const crowded = await tables.reserve(small, pause);
  const stand = small.filter((plan) => !crowded.includes(plan));
  await tables.change(stand, [], pause);
  tables.done();
  tables.release();
  t.true(stand.length > 11);
  const full = stand.map(({ number }) => planOf(number, { size, words: Uint32Array.from({ length: 2 * size }, (_, i) => (i % 2 === 0 ? number : 0)), between: new Map() }));
  t.deepEqual(await tables.reserve(full, pause), []);
});
