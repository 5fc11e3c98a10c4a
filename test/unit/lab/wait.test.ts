// Waiting for facts: a promise is broken by a look that began too late, not by one that took long.
import { setTimeout } from "node:timers/promises";
import test from "ava";
import { waitFor } from "../../lab/run.ts";

const slowly = (facts: readonly boolean[]): (() => Promise<boolean>) => {
  const left = [...facts];
  return async () => {
    await setTimeout(60);
    return left.shift() ?? false;
  };
};

test("a look that takes longer than what is promised is followed by one that began later, and that one counts", async (t) => {
  await t.notThrowsAsync(waitFor("the second look", slowly([false, true]), { promisedMs: 20, everyMs: 1 }));
});

test("what a look says no to that began after the promised time did not come true", async (t) => {
  await t.throwsAsync(waitFor("the third look", slowly([false, false, true]), { promisedMs: 20, everyMs: 1 }), { message: "waited in vain for the third look" });
});
