// The row of slots in the kernel: tables side by side, over the ends of pages, and what was freed given again.
import assert from "node:assert/strict";
import { u32 } from "../../../src/abi/codec.ts";
import { LbLayout, lbSlotCodec, maps } from "../../../src/abi/generated.ts";
import { openSlotRow } from "../../../src/datapath/lb-slots.ts";
import { createKernel } from "../../../src/kernel/index.ts";
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
    assert.deepEqual([small, large], [{ first: 0, slots: 1021 }, { first: 1021, slots: pageSlots + 1 }]);
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
  using row = openSlotRow(kernel, outer, [{ first: 100, slots: 50 }]);
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
  using row = openSlotRow(kernel, outer, [{ first: 0, slots: 3 }]);
  row.write({ first: 0, slots: 3 }, full(3, () => 99), Uint32Array.of(1));
  assert.deepEqual([0, 1, 2].map((slot) => currentAt(outer, slot)), [11, 99, 13]);
});
