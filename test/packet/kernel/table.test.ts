// Tables filled by the addon are the model's, slot for slot: nodes that fill them differently would send one flow to two backends.
import test from "ava";
import fc from "fast-check";
import { fillTableNatively } from "../../../src/kernel/index.ts";
import { buildTable } from "../../../src/lb/maglev.ts";
import type { TableMember } from "../../../src/lb/maglev.ts";

const member = (weight: fc.Arbitrary<number>): fc.Arbitrary<Omit<TableMember, "number">> => fc.record({ identity: fc.string({ minLength: 1, maxLength: 40 }), weight });
const members = (weight: fc.Arbitrary<number>): fc.Arbitrary<readonly TableMember[]> =>
  fc.uniqueArray(member(weight), { minLength: 0, maxLength: 60, selector: ({ identity }) => identity }).map((all) => all.map((one, i) => ({ ...one, number: 65_535 - i })));

for (const [name, weight] of [["equal", fc.constant(1)], ["any", fc.integer({ min: 1, max: 1000 })], ["fractional", fc.double({ min: 0.001, max: 10, noNaN: true })]] as const) {
  test.serial(`members of ${name} weights have the same slots in both`, (t) => {
    fc.assert(fc.property(members(weight), fc.constantFrom(1, 2, 7, 64, 1021, 2042, 4093), (all, size) => {
      t.deepEqual(buildTable(all, size, fillTableNatively), buildTable(all, size));
    }), { numRuns: 200 });
  });
}

test.serial("a large table of a thousand members is the same", (t) => {
  const all = Array.from({ length: 1000 }, (_, i): TableMember => ({ identity: `10.44.${i >> 8}.${i & 255}:8080`, number: i + 1, weight: 1 + (i % 3) }));
  t.deepEqual(buildTable(all, 65_537, fillTableNatively), buildTable(all, 65_537));
});

test.serial("columns that are none of a table are refused", (t) => {
  const columns = { numbers: Uint16Array.of(1, 2), weights: Float64Array.of(1, 1), next: Int32Array.of(0, 1), skip: Int32Array.of(1, 2) };
  const refused = (more: Partial<typeof columns>, size = 7): Error => t.throws(() => fillTableNatively(new Uint16Array(size), { ...columns, ...more }, 0), { any: true }) as Error;
  t.regex(refused({ weights: Float64Array.of(1) }).message, /different lengths/);
  t.regex(refused({ next: Int32Array.of(0, 7) }).message, /leaves the table/);
  t.regex(refused({ skip: Int32Array.of(0, 1) }).message, /leaves the table/);
  t.regex(refused({ numbers: Uint16Array.of(0, 1) }).message, /number is 0/);
  // Two steps of four never come by an odd slot.
  t.regex(refused({ next: Int32Array.of(0, 0), skip: Int32Array.of(2, 2) }, 4).message, /does not reach every slot/);
});
