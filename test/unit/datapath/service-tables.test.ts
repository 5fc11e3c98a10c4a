// Where services' tables lie: a place to which some service's packets are still sent keeps what that service wants.
import test from "ava";
import { openSlotRow } from "../../../src/datapath/lb-slots.ts";
import type { SlotRange } from "../../../src/datapath/lb-slots.ts";
import { createServiceTables } from "../../../src/datapath/service-tables.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";
import type { ServicePlan, Slots } from "../../../src/lb/types.ts";

const size = 4;
const slotsOf = (backend: number): Slots => ({ size, words: Uint32Array.from({ length: 2 * size }, (_, i) => (i % 2 === 0 ? backend : 0)), between: new Map() });
const planOf = (number: number, slots: Slots): ServicePlan =>
  ({ name: `s${number}`, family: 4, number, frontends: [], affinity: null, sources: { allow: null, deny: [] }, open: true, backends: [], slots });
const pause = async (): Promise<void> => {};

/** The kernel's pages as a list of words. */
function host(inherited: ReadonlyMap<number, SlotRange> = new Map(), strays: readonly SlotRange[] = []) {
  const words = new Uint32Array(1000);
  const page = {
    setPacked: (keys: Uint8Array, values: Uint8Array) => {
      const [at, what] = [new Uint32Array(keys.buffer), new Uint32Array(values.buffer)];
      at.forEach((slot, i) => words.set(what.subarray(2 * i, 2 * i + 2), 2 * slot));
    },
    store: (first: number, values: Uint8Array) => words.set(new Uint32Array(values.buffer, values.byteOffset, values.length / 4), 2 * first),
    close: () => {},
  } as unknown as KernelMap;
  const outer = { info: { maxEntries: 1 }, get: () => undefined, setInner: () => {}, setInners: async () => {} } as unknown as KernelMap;
  const row = openSlotRow({ createMap: () => page } as unknown as Kernel, outer, [...new Map([...inherited.values(), ...strays].map((range) => [range.first, range])).values()]);
  const at = ({ first, slots }: SlotRange): readonly number[] => Array.from({ length: slots }, (_, slot) => words[2 * (first + slot)] ?? 0);
  return { tables: createServiceTables(row, inherited, strays, () => 1), at };
}

test("services of the same slots share a place, which changes in place when all of them change alike", async (t) => {
  const { tables, at } = host();
  const [one, two] = [slotsOf(1), slotsOf(2)];
  await tables.change([1, 2].map((number) => planOf(number, one)), [], pause);
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
  tables.release();
  const place = tables.rangeOf(1);
  await tables.change([planOf(1, two), planOf(2, three), planOf(3, three)], [], pause);
  t.deepEqual(at(place), [1, 1, 1, 1]);
  t.deepEqual([1, 2, 3].map((service) => at(tables.rangeOf(service))), [[2, 2, 2, 2], [3, 3, 3, 3], [3, 3, 3, 3]]);
  tables.release();
  const four = slotsOf(4);
  await tables.change([planOf(4, four)], [], pause);
  t.deepEqual(tables.rangeOf(4), place, "then the place is free");
});

test("a place to which frontends are still sent, though their service is not, is left alone until they are written", async (t) => {
  const [now, before] = [{ first: 4, slots: size }, { first: 0, slots: size }];
  const { tables, at } = host(new Map([[1, now], [2, before]]), [before]);
  await tables.change([planOf(1, slotsOf(1)), planOf(2, slotsOf(2)), planOf(3, slotsOf(3))], [], pause);
  t.deepEqual(at(before), [0, 0, 0, 0], "nothing was written there");
  tables.release();
  await tables.change([planOf(4, slotsOf(4))], [], pause);
  t.deepEqual(tables.rangeOf(4), before);
});
