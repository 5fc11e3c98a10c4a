// The queue of one: order, failures, and giving up before or during a turn.
import test from "ava";
import { HawserError } from "../../../src/std/errors.ts";
import { createQueue } from "../../../src/engine/queue.ts";

test("work runs one at a time, in the order asked for, whatever it takes", async (t) => {
  const queue = createQueue();
  const seen: string[] = [];
  const work = (name: string, turns: number) => async (): Promise<string> => {
    seen.push(`${name} begins`);
    for (let i = 0; i < turns; i++) await new Promise(setImmediate);
    seen.push(`${name} ends`);
    return name;
  };
  const answers = await Promise.all([queue.run(work("a", 5)), queue.run(work("b", 1)), queue.run(work("c", 0))]);
  t.deepEqual(answers, ["a", "b", "c"]);
  t.deepEqual(seen, ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  t.is(queue.length, 0);
});

test("a failure is its asker's alone; the next has its turn", async (t) => {
  const queue = createQueue();
  const failing = queue.run(async () => {
    throw new HawserError("KERNEL", "no");
  });
  const next = queue.run(async () => "fine");
  await t.throwsAsync(failing, { message: "no" });
  t.is(await next, "fine");
});

test("aborted before its turn, the work never starts and its asker hears at once", async (t) => {
  const queue = createQueue();
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = queue.run(() => gate);
  const controller = new AbortController();
  let started = false;
  const second = queue.run(async () => void (started = true), controller.signal);
  controller.abort(new HawserError("DEADLINE", "5 s are over"));
  await t.throwsAsync(second, { message: "5 s are over" });
  open();
  await first;
  await queue.idle();
  t.false(started);
});

test("aborted before it is asked for, it is refused with DEADLINE", async (t) => {
  const queue = createQueue();
  const error = await t.throwsAsync(queue.run(async () => "x", AbortSignal.abort()), { instanceOf: HawserError });
  t.is(error?.code, "DEADLINE");
});

test("idle waits for everything asked for so far, failures too", async (t) => {
  const queue = createQueue();
  let done = 0;
  const jobs = [1, 2, 3].map((n) => queue.run(async () => {
    await new Promise(setImmediate);
    done++;
    if (n === 2) throw new Error("two");
  }));
  const settled = Promise.allSettled(jobs);
  await queue.idle();
  t.is(done, 3);
  await settled;
});
