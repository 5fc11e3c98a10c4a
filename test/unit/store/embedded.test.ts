// The embedded store: the common rules, and what a file on a disk can suffer.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import test from "ava";
import type { Clock } from "../../../src/std/clock.ts";
import { createLog } from "../../../src/std/log.ts";
import { backupOf, openEmbedded } from "../../../src/store/embedded.ts";
import { scratchFolder } from "../../scratch.ts";
import { complies } from "./compliance.ts";

const writer = fileURLToPath(new URL("writer.ts", import.meta.url));
const flags = ["--disable-warning=ExperimentalWarning", writer];

function scratch(t: { teardown(work: () => void): void }): string {
  const folder = scratchFolder("store");
  t.teardown(() => {
    chmodSync(folder, 0o700);
    rmSync(folder, { recursive: true, force: true });
  });
  return join(folder, "hawser.db");
}

function open(file: string, lines: string[] = [], now = 0) {
  const clock: Clock = { now: () => now, sleep: async () => {}, deadline: () => new AbortController().signal };
  return openEmbedded({ file, log: createLog((line) => lines.push(line), () => 0), clock, backupEvery: 0 });
}

complies(test, "embedded", async () => {
  const folder = scratchFolder("store");
  return { open: async () => open(join(folder, "hawser.db")), remove: async () => rmSync(folder, { recursive: true }) };
});

test("R13: kill -9 in mid-write loses nothing that was acknowledged", async (t) => {
  const file = scratch(t);
  let acknowledged = -1;
  for (const least of [3, 25, 60]) {
    const child = spawn(process.execPath, [...flags, file, "100000"], { stdio: ["ignore", "pipe", "inherit"] });
    const from = acknowledged;
    for await (const line of createInterface({ input: child.stdout })) {
      if (/^\d+$/.test(line)) acknowledged = Number(line);
      if (acknowledged - from >= least) child.kill("SIGKILL");
    }
    if (child.signalCode === null && child.exitCode === null) await once(child, "exit");
    t.is(child.signalCode, "SIGKILL");
    const store = open(file);
    const numbers = (await store.load()).get("numbers") ?? new Map();
    for (let n = 0; n <= acknowledged; n++) t.truthy(numbers.get(String(n)), `${n} was acknowledged`);
    acknowledged = numbers.size - 1;
    await store.close();
  }
});

test("R13: a damaged file is moved aside, said in the log, and the older generation is used", async (t) => {
  const file = scratch(t);
  const store = open(file, [], 1);
  await store.write([{ table: "t", key: "kept", value: 1 }]);
  await store.backup();
  await store.write([{ table: "t", key: "lost", value: 1 }]);
  await store.close();
  writeFileSync(file, "this is no database, it is a sentence that is long enough to be read as one by a hasty program.".repeat(50));
  const lines: string[] = [];
  const healed = open(file, lines);
  t.deepEqual([...((await healed.load()).get("t") ?? [])], [["kept", 1]]);
  t.regex(lines.join("\n"), /the state file was damaged; the older generation is used/);
  t.true(readdirSync(join(file, "..")).some((name) => name.startsWith("hawser.db.damaged-")));
  await healed.close();
});

test("R13: a row that does not match its checksum is damage too", async (t) => {
  const file = scratch(t);
  const store = open(file);
  await store.write([{ table: "t", key: "a", value: "right" }]);
  await store.close();
  const database = new DatabaseSync(file);
  database.exec(`UPDATE entries SET value = '"wrong"'`);
  database.close();
  const lines: string[] = [];
  const healed = open(file, lines);
  t.is((await healed.load()).size, 0);
  t.regex(lines.join("\n"), /the row t\/a does not match its checksum/);
  t.regex(lines.join("\n"), /starting empty/);
  await healed.close();
});

test("a damaged file beside a damaged older generation still starts", async (t) => {
  const file = scratch(t);
  writeFileSync(file, "x".repeat(5000));
  writeFileSync(backupOf(file), "y".repeat(5000));
  const store = open(file);
  t.is((await store.load()).size, 0);
  await store.close();
});

test("the file of a newer build is refused with the way out, and left alone", async (t) => {
  const file = scratch(t);
  const store = open(file);
  await store.close();
  const database = new DatabaseSync(file);
  database.exec("PRAGMA user_version = 99");
  database.close();
  const before = readFileSync(file);
  t.throws(() => open(file), { message: /written by a newer Hawser \(layout 99; this build knows 1\)/ });
  t.deepEqual(readFileSync(file), before);
});

test("two agents cannot use one state file", async (t) => {
  const file = scratch(t);
  const store = open(file);
  await store.write([{ table: "t", key: "a", value: 1 }]);
  const second = spawnSync(process.execPath, [...flags, file, "1"], { encoding: "utf8" });
  t.is(second.status, 1);
  t.deepEqual(JSON.parse(second.stdout), { code: "STORE", message: `${file} is used by another process; is an agent running already?` });
  await store.close();
});

test("R24: a folder that cannot be written is read; writes say STORE and name the file", async (t) => {
  const file = scratch(t);
  const store = open(file);
  await store.write([{ table: "numbers", key: "0", value: { n: 0 } }]);
  await store.close();
  chmodSync(join(file, ".."), 0o555);
  chmodSync(file, 0o444);
  // Root writes anywhere, so the child is nobody.
  const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const child = spawnSync(process.execPath, [...flags, file, "1"], { encoding: "utf8", cwd: "/", ...nobody });
  const [opened, failed] = child.stdout.trim().split("\n").map((line) => JSON.parse(line));
  t.is(opened.before, 1);
  t.is(opened.opened.state, "degraded");
  t.is(failed.code, "STORE");
  t.true(failed.message.includes(file));
});

test("R24: a full disk refuses the write, names the file, and keeps the last good state", async (t) => {
  const file = scratch(t);
  // A limit on file size with its signal ignored is what a full disk looks like to SQLite.
  const command = `trap '' XFSZ; ulimit -f 200; exec "$0" "$@"`;
  const child = spawnSync("/bin/sh", ["-c", command, process.execPath, ...flags, file, "10000"], { encoding: "utf8" });
  const lines = child.stdout.trim().split("\n");
  const failure = JSON.parse(lines.at(-1) ?? "");
  t.is(failure.code, "STORE");
  t.true(failure.message.includes(file));
  const acknowledged = Number(lines.at(-2));
  const store = open(file);
  t.is((await store.load()).get("numbers")?.size, acknowledged + 1);
  await store.close();
});

test("R24: a state folder deleted under a running agent is made anew with everything in it", async (t) => {
  const file = scratch(t);
  const store = open(file);
  await store.write([{ table: "t", key: "before", value: 1 }]);
  rmSync(join(file, ".."), { recursive: true });
  await store.write([{ table: "t", key: "after", value: 2 }]);
  await store.close();
  const again = open(file);
  t.deepEqual([...((await again.load()).get("t") ?? [])].toSorted(), [["after", 2], ["before", 1]]);
  await again.close();
});

test("a backup is made only when something changed, and is itself a whole store", async (t) => {
  const file = scratch(t);
  const store = open(file, [], 1);
  await store.backup();
  t.false(existsSync(backupOf(file)));
  await store.write([{ table: "t", key: "a", value: 1 }]);
  await store.backup();
  const first = statSync(backupOf(file)).ino;
  await store.backup();
  t.is(statSync(backupOf(file)).ino, first);
  await store.close();
  const copy = open(backupOf(file));
  t.is((await copy.load()).get("t")?.get("a"), 1);
  await copy.close();
});
