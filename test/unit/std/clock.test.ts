// The real clock: sleeping ends by time or by its signal, and leaves no listener behind.
import { getEventListeners } from "node:events";
import test from "ava";
import { systemClock } from "../../../src/std/clock.ts";

test("sleep ends after its time and lets go of the signal", async (t) => {
  const controller = new AbortController();
  const before = performance.now();
  await systemClock.sleep(20, controller.signal);
  t.true(performance.now() - before >= 18);
  t.is(getEventListeners(controller.signal, "abort").length, 0);
});

test("sleep ends at once with the signal's reason", async (t) => {
  const controller = new AbortController();
  const reason = new Error("stopping");
  const sleeping = systemClock.sleep(60_000, controller.signal);
  controller.abort(reason);
  t.is(await t.throwsAsync(sleeping), reason);
  t.is(await t.throwsAsync(systemClock.sleep(60_000, controller.signal)), reason);
});

test("now is the time of day in milliseconds", (t) => {
  const before = Date.now();
  t.true(systemClock.now() >= before);
});
