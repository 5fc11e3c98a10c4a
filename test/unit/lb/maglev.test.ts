// Maglev's tables: even, the same in whatever order, and hardly different when a backend comes or goes. The numbers are the goals that we hold ourselves to.
import test from "ava";
import fc from "fast-check";
import { buildTable, grownSize, tableSize, widened } from "../../../src/lb/maglev.ts";
import type { TableMember } from "../../../src/lb/maglev.ts";
import { generator } from "./random.ts";

function members(count: number, weight: (i: number) => number = () => 1): readonly TableMember[] {
  return Array.from({ length: count }, (_, i) => ({ identity: `node${i % 7}/shop/web-${i}:8080`, number: i + 1, weight: weight(i) }));
}

function shares(table: Uint16Array): Uint32Array {
  const found = new Uint32Array(65_536);
  for (const number of table) found[number] = (found[number] ?? 0) + 1;
  return found;
}

/** Share of the slots that have another member than before though that one is still there, and are not a new one's. */
function movedOf(before: Uint16Array, after: Uint16Array): number {
  const [had, has] = [shares(before), shares(after)];
  return before.reduce((sum, number, slot) => sum + (after[slot] !== number && has[number] !== 0 && had[after[slot] ?? 0] !== 0 ? 1 : 0), 0) / before.length;
}

test("every slot has a member, and equal members' shares differ by one slot at most (D3)", (t) => {
  const most: readonly (readonly [size: number, count: number, above: number])[] = [
    [1021, 2, 1.001], [4093, 10, 1.002], [16_381, 40, 1.002], [65_537, 10, 1.0001], [65_537, 100, 1.001], [65_537, 1000, 1.0071], [65_537, 5000, 1.0681], [655_373, 1000, 1.001],
  ];
  for (const [size, count, above] of most) {
    const found = shares(buildTable(members(count), size));
    const own = found.subarray(1, count + 1);
    t.is(found[0], 0);
    t.true(Math.max(...own) - Math.min(...own) <= 1, `${size} slots, ${count} members: ${Math.min(...own)}…${Math.max(...own)}`);
    t.true(Math.max(...own) / (size / count) <= above, `${size} slots, ${count} members: ${Math.max(...own) / (size / count)}`);
  }
});

test("a million flows by random slots are as even as chance allows (D3)", (t) => {
  const [size, count, flows] = [65_537, 100, 1_000_000];
  const table = buildTable(members(count), size);
  const random = generator(7);
  const found = new Float64Array(count + 1);
  for (let i = 0; i < flows; i++) found[table[random(size)] ?? 0] = (found[table[random(size)] ?? 0] ?? 0) + 1;
  const expected = flows / count;
  const chiSquare = found.subarray(1).reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0);
  // The 99.9th percentile of 99 degrees of freedom.
  t.true(chiSquare < 148.2, String(chiSquare));
});

/** The most, in percent, that may move of slots that need not. */
const disruptions: readonly (readonly [size: number, count: number, most: number])[] = [
  [4093, 10, 1.25], [16_381, 40, 1], [65_537, 10, 0.4], [65_537, 100, 0.6], [65_537, 1000, 0.6], [65_537, 5000, 0.2], [655_373, 1000, 0.35],
];
for (const [size, count, most] of disruptions) {
  test(`of ${size} slots at most ${most} % move that need not when one of ${count} goes or comes (D4)`, (t) => {
    const all = members(count);
    const whole = buildTable(all, size);
    const moved = [0, count >> 2, count >> 1, count - 1].map((left) => 100 * movedOf(whole, buildTable(all.filter((_, i) => i !== left), size)));
    const average = moved.reduce((sum, one) => sum + one, 0) / moved.length;
    t.log(moved.map((percent) => percent.toFixed(2)).join(", "));
    t.true(average <= most, String(average));
    t.deepEqual([100 * movedOf(buildTable(all.slice(1), size), whole)], moved.slice(0, 1));
  });
}

test("the slots of one that goes are spread over the others within what their number allows (C2)", (t) => {
  const all = members(10);
  const [before, after] = [buildTable(all, 65_537), buildTable(all.slice(1), 65_537)];
  const heirs = new Uint32Array(11);
  before.forEach((number, slot) => { if (number === 1) heirs[after[slot] ?? 0] = (heirs[after[slot] ?? 0] ?? 0) + 1; });
  const each = heirs.subarray(2).reduce((sum, one) => sum + one, 0) / 9;
  for (const heir of heirs.subarray(2)) t.true(Math.abs(heir / each - 1) < 0.15, `${heir} of ${each}`);
  const shareOf = shares(after).subarray(2, 11);
  t.true(Math.max(...shareOf) / (65_537 / 9) < 1.0002);
});

test("the same members make the same table in whatever order (D5)", (t) => {
  const weighted = fc.uniqueArray(fc.record({ name: fc.string({ minLength: 1, maxLength: 8 }), weight: fc.integer({ min: 1, max: 9 }) }), { selector: ({ name }) => name, minLength: 1, maxLength: 30 });
  fc.assert(fc.property(weighted, fc.infiniteStream(fc.nat()), (some, keys) => {
    const listed = some.map(({ name, weight }, i): TableMember => ({ identity: name, number: i + 1, weight }));
    const shuffled = listed.map((one) => [keys.next().value, one] as const).toSorted(([a], [b]) => a - b).map(([, one]) => one);
    t.deepEqual(buildTable(shuffled, 1021), buildTable(listed, 1021));
  }), { numRuns: 100 });
});

test("a number is only a name: with others the same members have the same slots", (t) => {
  const [some, renamed] = [members(20), members(20).map((one) => ({ ...one, number: 100 + one.number }))];
  t.deepEqual(buildTable(renamed, 4093), buildTable(some, 4093).map((number) => number + 100));
});

test("shares follow weights within 1 % (D5)", (t) => {
  const weighted = members(50, (i) => 1 + (i % 10));
  const total = weighted.reduce((sum, { weight }) => sum + weight, 0);
  const found = shares(buildTable(weighted, 65_537));
  for (const { number, weight } of weighted) {
    const share = (found[number] ?? 0) / 65_537 / (weight / total);
    t.true(Math.abs(share - 1) < 0.01, `weight ${weight}: ${share}`);
  }
});

test("nobody is in a table without members, and one alone has it all", (t) => {
  t.deepEqual(buildTable([], 1021), new Uint16Array(1021));
  t.deepEqual(buildTable(members(1), 1021), new Uint16Array(1021).fill(1));
});

test("a size that is no prime fills as evenly", (t) => {
  for (const size of [1, 2, 1021 * 2, 1021 * 16, 4096]) {
    const own = shares(buildTable(members(2), size)).subarray(1, 3);
    t.true(Math.max(...own) - Math.min(...own) <= 1, `${size}: ${own.join()}`);
  }
});

test("a table's size suits the number of backends, and each is a multiple of those below", (t) => {
  t.deepEqual([0, 2, 10, 11, 81, 82, 1000, 60_000].map((count) => tableSize(count)), [1021, 1021, 1021, 8168, 8168, 65_344, 65_344, 65_344]);
  t.deepEqual([10, 11, 1000, 10_000].map((count) => tableSize(count, 655_373)), [1021, 8168, 522_752, 522_752]);
  t.deepEqual([10, 81, 1000].map((count) => tableSize(count, 16_381)), [1021, 8168, 16_336]);
  t.deepEqual([1, 1000].map((count) => tableSize(count, 61)), [61, 61]);
});

test("a table grows to a multiple of itself, and one that is larger than its backends need repeats what theirs would have", (t) => {
  t.deepEqual(grownSize(1021, 10), { size: 1021, made: 1021 });
  t.deepEqual(grownSize(1021, 11), { size: 8168, made: 8168 });
  t.deepEqual(grownSize(1021, 1000), { size: 65_344, made: 65_344 });
  t.deepEqual(grownSize(65_344, 11), { size: 65_344, made: 8168 });
  t.deepEqual(widened(Uint16Array.of(3, 0, 7), 6), Uint16Array.of(3, 3, 0, 0, 7, 7));
});

test("a table of an earlier build, whose size is no multiple, stays as it is until it is too small", (t) => {
  t.deepEqual(grownSize(4093, 3), { size: 4093, made: 4093 });
  t.deepEqual(grownSize(4093, 41), { size: 32_744, made: 32_744 });
  t.deepEqual(grownSize(65_537, 5000), { size: 65_537, made: 65_537 });
});
