// What is remembered of the others: whole or nothing, for the owner's eyes only, and no harm when it is damaged.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import test from "ava";
import { loadCache, saveCache } from "../../../src/peers/cache.ts";
import { openView } from "../../../src/peers/view.ts";
import { createLog } from "../../../src/std/log.ts";
import { pool } from "./world.ts";

const entries = new Map([
  ["slices/4/10.44.9.0", '{"v":1,"slice":"10.44.9.0/24","node":"b"}'],
  ["identities/300", '{"v":1,"key":"a key with spaces and a\\nline"}'],
  ["nodes/b", '{"v":1,"name":"b","addresses":["192.0.2.2"],"ipv4":"10.44.9.0/24","ipv6":null,"mtu":1500,"names":["db"],"networks":[{"name":"shop","ipv4":"10.44.9.0/26","ipv6":null}],"version":"1","machine":"00","startedAt":5}'],
]);

function scratch(t: { teardown(work: () => void): void }): { file: string; lines: string[]; load: () => ReturnType<typeof loadCache> } {
  const folder = mkdtempSync(join(tmpdir(), "hawser-peers-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const [file, lines] = [join(folder, "state/peers"), [] as string[]];
  return { file, lines, load: () => loadCache(file, createLog((line) => lines.push(line), () => 0)) };
}

function view() {
  const made = openView({ self: "a", pool, addresses: () => [], answers: () => false, log: createLog(() => {}, () => 0) });
  made.takeAll(new Map(entries));
  return made;
}

const machine = "0123456789abcdef0123456789abcdef";

test("what was saved is read as the store had it, and only its owner can", async (t) => {
  const { file, load, lines } = scratch(t);
  t.is(await saveCache(file, machine, view().records()), statSync(file).size);
  t.deepEqual(await load(), { machine, entries });
  t.is(statSync(file).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(dirname(file)), ["peers"]);
  t.deepEqual(lines, []);
});

test("without a file there is a machine's number and nothing to say", async (t) => {
  const { load, lines } = scratch(t);
  const [one, two] = [await load(), await load()];
  t.is(one.entries.size, 0);
  t.regex(one.machine, /^[0-9a-f]{32}$/);
  t.not(one.machine, two.machine);
  t.deepEqual(lines, []);
});

test("R22: a file cut off or changed anywhere is none, and that is told", async (t) => {
  const { file, load, lines } = scratch(t);
  await saveCache(file, machine, view().records());
  const whole = readFileSync(file);
  let told = 0;
  for (let at = 0; at < whole.length; at += 7) {
    writeFileSync(file, whole.subarray(0, at));
    t.is((await load()).entries.size, 0, `cut off at ${at}`);
    const flipped = Buffer.from(whole);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    writeFileSync(file, flipped);
    t.is((await load()).entries.size, 0, `changed at ${at}`);
    told += 2;
  }
  t.is(lines.filter((line) => line.includes("cannot be used") && line.includes(file)).length, told);
});

test("a save that fails leaves the earlier one", async (t) => {
  const { file, load } = scratch(t);
  await saveCache(file, machine, view().records());
  await t.throwsAsync(saveCache(file, machine, (function* () {
    yield* view().records();
    throw new Error("the power went");
  })()));
  t.deepEqual(await load(), { machine, entries });
  t.false(existsSync(`${file}.new`));
});
