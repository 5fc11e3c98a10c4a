// What two lists do not have in common, and lists in order: by chance, against the plain way to find it.
import test from "ava";
import { changesOf, inOrder, placeOf } from "../../../src/std/changes.ts";
import { generator } from "../lb/random.ts";

interface One {
  readonly name: string;
}

const named = (i: number): One => ({ name: String(i).padStart(4, "0") });
const nameOf = ({ name }: One): string => name;

test("what left and what came, wherever it stands, and nothing of what is the same object in both", (t) => {
  const random = generator(3);
  for (let round = 0; round < 200; round++) {
    const before = Array.from({ length: random(30) }, (_, i) => named(i));
    const fresh = Array.from({ length: random(4) }, () => named(random(40)));
    const kept = before.filter(() => random(8) > 0);
    const after = [...kept];
    for (const one of fresh) after.splice(random(after.length + 1), 0, one);
    if (random(4) === 0) after.reverse();
    const { left, came } = changesOf(before, after);
    t.deepEqual(left, before.filter((one) => !after.includes(one)));
    t.deepEqual(came, after.filter((one) => !before.includes(one)));
  }
});

test("a few are put where they belong, and many are sorted in", (t) => {
  const random = generator(5);
  for (const many of [0, 1, 3, 400]) {
    const all = Array.from({ length: 1000 }, (_, i) => named(i));
    const fresh = all.toSorted(() => random(3) - 1).slice(0, many);
    t.deepEqual(inOrder(all.filter((one) => !fresh.includes(one)), fresh, nameOf), all);
  }
  t.deepEqual([0, 1, 3, 4].map((key) => placeOf([1, 3, 3].map(named), named(key).name, nameOf)), [0, 0, 1, 3]);
});
