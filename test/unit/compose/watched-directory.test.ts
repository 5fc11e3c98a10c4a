// A watched directory in a careless operator's hands: pipes, devices, other encodings, too many files, files that were refused.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import test from "ava";
import type { ExecutionContext } from "ava";
import { openWatchedDirectory, readWatchedDirectory } from "../../../src/compose/watched-directory.ts";
import { createLog } from "../../../src/std/log.ts";

function folder(t: { teardown(work: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), "hawser-policy-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const text = "policy: shop\nfor: all\ndefault: { in: deny }\n";

test("R90: a pipe, a device, a folder and a link into nothing are said to be no files; the others are read at once", async (t) => {
  const at = folder(t);
  execFileSync("mkfifo", [join(at, "pipe.yaml")]);
  symlinkSync("/dev/zero", join(at, "endless.yaml"));
  symlinkSync(join(at, "nowhere"), join(at, "loose.yaml"));
  mkdirSync(join(at, "folder.yaml"));
  writeFileSync(join(at, "kept.txt"), text);
  symlinkSync(join(at, "kept.txt"), join(at, "shop.yaml"));
  const { documents, unreadable } = await readWatchedDirectory(at, "policy");
  t.deepEqual(documents, [{ file: join(at, "shop.yaml"), text }]);
  t.deepEqual(Object.keys(unreadable).map((file) => file.slice(at.length + 1)), ["endless.yaml", "folder.yaml", "loose.yaml", "pipe.yaml"]);
  t.deepEqual([unreadable[join(at, "folder.yaml")], unreadable[join(at, "loose.yaml")]], [
    "it is a folder; files that lie in one are not read", "it is a link that leads nowhere, or has just gone; take it away, or mend it",
  ]);
});

test("a file in another encoding is a problem: its names would match nothing, and its rules be none", async (t) => {
  const at = folder(t);
  writeFileSync(join(at, "latin.yaml"), Buffer.from("policy: shop\nfor: all\ndeny: [\"label(ort=K\xf6ln) -> any\"]\n", "latin1"));
  const { documents, unreadable } = await readWatchedDirectory(at, "policy");
  t.deepEqual(documents, []);
  t.deepEqual(Object.values(unreadable), ["it is no text in UTF-8"]);
});

test("R90: a folder with more files than any policy has is not read; what was in force then stays", async (t) => {
  const at = folder(t);
  for (let i = 0; i < 1001; i++) writeFileSync(join(at, `${i}.yaml`), "");
  const { documents, unreadable } = await readWatchedDirectory(at, "policy");
  t.is(documents, null);
  t.regex(unreadable[at] ?? "", /1001 policy files/);
});

test("R7: every look tells what is there, because what was refused before may be right by now", async (t) => {
  const at = folder(t);
  writeFileSync(join(at, "shop.yaml"), text);
  const told: (number | undefined)[] = [];
  const directory = openWatchedDirectory(at, "policy", async ({ documents }) => void told.push(documents?.length), createLog(() => {}, () => 0));
  await directory.read();
  await directory.read();
  t.deepEqual(told, [1, 1]);
});

/** What was read last, once it is `expected`; follows the folder until the test ends. */
function following(t: ExecutionContext, at: string): (expected: string) => Promise<void> {
  const told: (string | undefined)[] = [];
  const directory = openWatchedDirectory(at, "service", async ({ documents }) => void told.push(documents?.map((one) => one.text).join()), createLog(() => {}, () => 0));
  const stop = new AbortController();
  const followed = directory.follow(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await followed;
  });
  return async (expected) => {
    for (let i = 0; i < 500 && told.at(-1) !== expected; i++) await setTimeout(10);
    t.is(told.at(-1), expected);
  };
}

test("a link to a folder is followed to where it leads by now", async (t) => {
  const at = folder(t);
  for (const one of ["first", "second"]) {
    mkdirSync(join(at, one));
    writeFileSync(join(at, one, "web.yaml"), one);
  }
  symlinkSync("first", join(at, "service.d"));
  const reads = following(t, join(at, "service.d"));
  await reads("first");
  symlinkSync("second", join(at, "next"));
  renameSync(join(at, "next"), join(at, "service.d"));
  await reads("second");
  writeFileSync(join(at, "second", "web.yaml"), "third");
  await reads("third");
});

test("a change is read though something else in the folder never rests", async (t) => {
  const at = folder(t);
  const reads = following(t, at);
  await reads("");
  const log = setInterval(() => writeFileSync(join(at, "web.log"), "x"), 2);
  t.teardown(() => clearInterval(log));
  writeFileSync(join(at, "web.yaml"), "new");
  await reads("new");
});
