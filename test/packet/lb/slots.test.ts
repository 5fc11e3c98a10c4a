// The row of slots in the kernel: tables side by side, over the ends of pages, and what was freed given again.
import assert from "node:assert/strict";
import { u32 } from "../../../src/abi/codec.ts";
import { LbForm, LbLayout, lbSlotCodec, maps } from "../../../src/abi/generated.ts";
import { openSlotRow, slotIn } from "../../../src/datapath/lb-slots.ts";
import type { Form, SlotRange } from "../../../src/datapath/lb-slots.ts";
import { createKernel, packTable } from "../../../src/kernel/index.ts";
import type { KernelMap } from "../../../src/kernel/types.ts";
import type { Slots } from "../../../src/lb/types.ts";
import { isolatedTests } from "../kernel/isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();
const pageSlots = 2 ** LbLayout.PAGE_BITS;

/** As the programs' object makes it, of so many pages. */
function outerMap(pages: number): KernelMap {
  using inner = kernel.createMap("array", "inner", 4, lbSlotCodec.size, pageSlots, { flags: maps.hw_lb_slots.inner.flags });
  return kernel.createMap("array_of_maps", maps.hw_lb_slots.name, 4, 4, pages, { inner });
}

function currentAt(outer: KernelMap, slot: number): number | undefined {
  const id = outer.get(u32.encode(Math.floor(slot / pageSlots)));
  if (id === undefined) return undefined;
  using page = kernel.openMapById(u32.decode(id));
  return lbSlotCodec.decode(page.get(u32.encode(slot % pageSlots)) ?? assert.fail("no slot")).current;
}

const full = (size: number, current: (slot: number) => number): Slots => ({ size, words: Uint32Array.from({ length: 2 * size }, (_, i) => (i % 2 === 0 ? current(i / 2) : 0)), between: new Map() });
const plain = (size: number, current: (slot: number) => number): Slots => ({ size, plain: Uint16Array.from({ length: size }, (_, i) => current(i)), between: new Map() });


for (const [what, made] of [["plain", plain], ["full", full]] as const) {
  test(`a ${what} table over the end of a page is written whole, and then slot by slot`, async () => {
    using outer = outerMap(4);
    using row = openSlotRow(kernel, outer);
    const [small, large] = [row.allocate(1021), row.allocate(pageSlots + 1)];
    assert.deepEqual([small, large], [{ first: 0, slots: 1021, form: 0 }, { first: 1021, slots: pageSlots + 1, form: 0 }]);
    row.write(small, made(small.slots, () => 7));
    row.write(large, made(large.slots, (slot) => 1 + (slot % 1000)));
    for (const slot of [0, 1, 999, pageSlots - 1022, pageSlots - 1021, pageSlots]) assert.equal(currentAt(outer, large.first + slot), 1 + (slot % 1000), `${slot}`);
    assert.equal(currentAt(outer, 1020), 7);
    row.write(large, made(large.slots, () => 2000), Uint32Array.of(5, pageSlots - 1022, pageSlots - 1021, pageSlots));
    for (const [slot, wanted] of [[4, 5], [5, 2000], [6, 7], [pageSlots - 1022, 2000], [pageSlots - 1021, 2000], [pageSlots - 1020, 1 + ((pageSlots - 1020) % 1000)], [pageSlots, 2000]] as const) {
      assert.equal(currentAt(outer, large.first + slot), wanted, `${slot}`);
    }
    assert.equal(currentAt(outer, 2 * pageSlots), undefined, "pages are made as they are needed");
  });
}

test("what was freed is given again, another agent's tables are not, and a full row says so", async () => {
  using outer = outerMap(2);
  using row = openSlotRow(kernel, outer, [{ first: 100, slots: 50, form: 0 }]);
  assert.equal(row.allocate(101).first, 150, "does not fit before");
  const gap = row.allocate(100);
  assert.equal(gap.first, 0);
  row.free(gap);
  assert.equal(row.allocate(60).first, 0);
  assert.equal(row.allocate(40).first, 60);
  assert.equal(row.allocate(2 * pageSlots - 251).first, 251);
  assert.throws(() => row.allocate(1), { code: "TABLE_FULL" });
});

test("what another agent wrote is there for the next", async () => {
  using outer = outerMap(1);
  {
    using row = openSlotRow(kernel, outer);
    row.write(row.allocate(3), full(3, (slot) => 11 + slot));
  }
  using row = openSlotRow(kernel, outer, [{ first: 0, slots: 3, form: 0 }]);
  row.write({ first: 0, slots: 3, form: 0 }, full(3, () => 99), Uint32Array.of(1));
  assert.deepEqual([0, 1, 2].map((slot) => currentAt(outer, slot)), [11, 99, 13]);
});

function heldBy(outer: KernelMap, range: SlotRange): readonly number[] {
  return Array.from({ length: range.slots }, (_, slot) => Number(slotIn(range, slot, (at) => {
    const id = outer.get(u32.encode(Math.floor(at / pageSlots))) ?? assert.fail("no page");
    using page = kernel.openMapById(u32.decode(id));
    return new DataView((page.get(u32.encode(at % pageSlots)) ?? assert.fail("no word")).slice().buffer).getBigUint64(0, true);
  })));
}

for (const [name, form, words, current] of [
  ["short", LbForm.SHORT, 2500, (slot: number) => 1 + ((slot * 7919) % 60_000)], ["listed", LbForm.LISTED, 314, (slot: number) => [9, 65_535, 0, 300][(slot * 5) % 4] ?? 0],
] as const satisfies readonly (readonly [string, Form, number, (slot: number) => number])[]) {
  test(`a ${name} table takes ${words} words for 10,000 slots, over the end of a page as well, and is recognised`, async () => {
    using outer = outerMap(4);
    using row = openSlotRow(kernel, outer);
    row.allocate(pageSlots - 100);
    const range = row.allocate(10_000, form);
    const next = row.allocate(1);
    assert.equal(next.first - range.first, words);
    await row.makePages([range, next]);
    row.write(next, full(1, () => 77));
    const slots = plain(10_000, current);
    row.write(range, slots);
    assert.deepEqual(heldBy(outer, range), [...slots.plain ?? []]);
    assert.equal(currentAt(outer, next.first), 77, "nothing is written beyond its words");
    using other = openSlotRow(kernel, outer, [{ first: 0, slots: pageSlots - 100, form: LbForm.FULL }, range, next]);
    assert.equal(other.allocate(1).first, next.first + 1);
    assert.equal(other.holds(range, slots), true);
    assert.equal(other.holds(range, plain(10_000, (slot) => (slot === 9999 ? 9 + current(slot) : current(slot)))), false);
    assert.equal(other.holds(range, full(10_000, current)), false);
    assert.throws(() => row.write(range, full(10_000, current)), RangeError);
  });
}

test("a fifth backend has no place in a listed table", async () => {
  assert.throws(() => packTable(Uint16Array.of(1, 2, 3, 4, 5), true), /4 different/);
});

test("small tables leave room for all to become full", async () => {
  using outer = outerMap(1);
  using row = openSlotRow(kernel, outer);
  const all = Array.from({ length: 58 }, () => row.allocate(1024, LbForm.LISTED));
  assert.throws(() => row.allocate(1024, LbForm.LISTED), { code: "TABLE_FULL" });
  assert.throws(() => row.allocate(5 * 1024), { code: "TABLE_FULL" });
  for (const one of all) {
    row.allocate(1024, LbForm.FULL, one.slots);
    row.free(one);
  }
});
