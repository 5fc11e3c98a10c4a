// Ring buffers: records reach JavaScript through the event loop.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createKernel, openNetlink } from "../../../src/kernel/index.ts";
import type { KernelMap, KernelProgram } from "../../../src/kernel/index.ts";
import { isolatedTests, numberOf, objectOf, until } from "./isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();

type Say = (length: number, repeat?: number) => void;

/** `whisper` does not wake the reader. */
async function speaker(): Promise<{ events: KernelMap; say: Say; whisper: Say; close: () => void }> {
  const object = await kernel.loadObject(await objectOf("counters"));
  const events = object.maps.get("events");
  assert.ok(events);
  const saying = (program: KernelProgram | undefined): Say => (length, repeat = 1) => {
    assert.ok(program);
    program.testRun({ data: new Uint8Array(length), repeat });
  };
  return { events, say: saying(object.programs.get("answers")), whisper: saying(object.programs.get("whispers")), close: () => object.close() };
}

test("every record is handed over, in order, those from before the ring was opened too", async () => {
  const { events, say, close } = await speaker();
  say(60);
  const lengths: number[] = [];
  {
    using _ring = kernel.openRing(events, (record) => lengths.push(numberOf(record)));
    say(70);
    say(80);
    await until("three records", () => lengths.length === 3);
    assert.deepEqual(lengths, [60, 70, 80]);
    close(); // the ring holds the map by itself
  }
  assert.equal(lengths.length, 3);
});

test("a burst arrives whole, and after disposal nothing is called any more", async () => {
  const { events, say } = await speaker();
  let seen = 0;
  const ring = kernel.openRing(events, () => seen++);
  say(60, 200);
  await until("200 records", () => seen === 200);
  ring[Symbol.dispose]();
  ring[Symbol.dispose]();
  say(60, 5);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(seen, 200);
});

test("what follows a record without waking the reader is found, and what follows that", async () => {
  const { events, say, whisper } = await speaker();
  const lengths: number[] = [];
  using _ring = kernel.openRing(events, (record) => {
    lengths.push(numberOf(record));
    // By then the ring has been found empty.
    if (lengths.length < 3) setTimeout(whisper, 5, 60 + lengths.length);
  });
  say(60);
  await until("three records", () => lengths.length === 3);
  assert.deepEqual(lengths, [60, 61, 62]);
});

test("a ring may be disposed from its own callback", async () => {
  const { events, say } = await speaker();
  let seen = 0;
  const ring = kernel.openRing(events, () => {
    seen++;
    ring[Symbol.dispose]();
  });
  say(60);
  await until("one record", () => seen === 1);
});

test("what a callback throws is an uncaught exception, not silence", async () => {
  const { events, say } = await speaker();
  using _ring = kernel.openRing(events, () => {
    throw new Error("from the callback");
  });
  const thrown = once(process, "uncaughtException");
  say(60);
  assert.match(String((await thrown)[0]), /from the callback/);
});

test("a map that is no ring is refused", async () => {
  using map = kernel.createMap("hash", "hwt_noring", 4, 4, 4);
  assert.throws(() => kernel.openRing(map, () => {}), { name: "KernelError", syscall: "ring_buffer__new" });
});

test("a process may end with everything still open", async () => {
  const { events, say } = await speaker();
  kernel.openRing(events, () => {});
  const netlink = await openNetlink();
  netlink.watch(() => {});
  await netlink.links();
  say(60);
  process.exit(0);
});
