// What is remembered of the others is written at once while little of it is, and seldom while it changes all the time (R111).
import test from "ava";
import { createWriteBudget } from "../../../src/peers/write-budget.ts";

const [minute, hour, day, mib] = [60_000, 3_600_000, 24 * 3_600_000, 1024 * 1024];

/** Bytes written on each of four days, of a file of that size that changes all the time. */
function days(size: number): readonly number[] {
  let now = 1_000_000;
  const budget = createWriteBudget({ now: () => now });
  const begun = now;
  const writes: number[] = [];
  for (; now - begun < 4 * day; now += budget.pause()) {
    budget.spent(size);
    writes.push(Math.floor((now - begun) / day));
  }
  return [0, 1, 2, 3].map((which) => size * writes.filter((one) => one === which).length);
}

test("under constant change a day has two MiB at the first, and one ever after, whatever the file's size", (t) => {
  for (const size of [2000, 20_000, 40_000]) {
    const [first = 0, ...rest] = days(size);
    t.true(first <= 2 * mib, `${first} of ${size}`);
    for (const each of rest) t.true(each <= mib + size && each > mib / 2, `${each} of ${size}`);
  }
});

test("a file of many nodes is not older than an hour, though that is more", (t) => {
  t.deepEqual(days(10 * mib), Array.from({ length: 4 }, () => 24 * 10 * mib));
});

test("what changes now and then is written half a minute later", (t) => {
  let now = 0;
  const budget = createWriteBudget({ now: () => now });
  t.is(budget.pause(), minute / 2);
  for (let i = 0; i < 24; i++) {
    budget.spent(20_000);
    t.is(budget.pause(), minute / 2);
    now += hour;
  }
});

test("a clock that is set back gives nothing and takes nothing", (t) => {
  let now = 10 * day;
  const budget = createWriteBudget({ now: () => now });
  budget.spent(mib);
  now -= 9 * day;
  t.is(budget.pause(), hour);
  now += day;
  t.is(budget.pause(), minute / 2);
});
