// The agent's small parts: one per folder, the same node after a restart, systemd's words, rounds that go on.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { identify } from "../../../src/compose/identity.ts";
import { version } from "../../../src/compose/installation.ts";
import { lockFolder } from "../../../src/compose/lock.ts";
import { makeRounds } from "../../../src/compose/rounds.ts";
import { sweptOf } from "../../../src/compose/sweep.ts";
import { inheritedSocket, tellSystemd, watchdogPause } from "../../../src/compose/systemd.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import { memoryStore } from "../engine/fake.ts";

const quiet = createLog(() => {}, () => 0);
const root = new URL("../../../", import.meta.url).pathname;

function scratch(t: { teardown(work: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "hawser-compose-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("a second agent on the same run folder is refused and told who holds it; a dead one holds nothing", (t) => {
  const folder = scratch(t);
  const code = `
    const { lockFolder } = await import(${JSON.stringify(join(root, "src/compose/lock.ts"))});
    try { lockFolder(${JSON.stringify(folder)}); console.log("locked"); process.kill(process.pid, "SIGKILL"); } catch (error) { console.log(error.code, error.message); }`;
  const other = (): string => spawnSync(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", code], { encoding: "utf8" }).stdout.trim();
  const lock = lockFolder(folder);
  t.is(other(), `IN_USE another agent (process ${process.pid}) uses ${folder}; stop it, or give this one its own paths.run`);
  lock[Symbol.dispose]();
  t.is(other(), "locked");
  lockFolder(folder)[Symbol.dispose]();
});

test("a run folder that cannot be made is a configuration error that names it", (t) => {
  const folder = scratch(t);
  writeFileSync(join(folder, "file"), "");
  const error = t.throws(() => lockFolder(join(folder, "file")), { instanceOf: HawserError });
  t.is(error.code, "BAD_CONFIG");
  t.regex(error.message, /paths\.run/);
});

test("a node keeps its MAC: the remembered one, else the standing device's, else a new one of its own", async (t) => {
  const randomBytes = (count: number): Uint8Array => new Uint8Array(count).fill(0xab);
  const store = memoryStore();
  const first = await identify({ store, name: "n1", standing: undefined, randomBytes, log: quiet });
  t.deepEqual(first, { name: "n1", mac: "02:ab:ab:ab:ab:ab" } as never);
  const again = await identify({ store, name: "n1", standing: "02:00:00:00:00:99", randomBytes: () => new Uint8Array(5), log: quiet });
  t.is(again.mac, first.mac);
  const lost = await identify({ store: memoryStore(), name: "n1", standing: "02:00:00:00:00:99", randomBytes, log: quiet });
  t.is(lost.mac, "02:00:00:00:00:99" as never);
});

test("R24: a node whose state cannot be written still has a MAC", async (t) => {
  const store = memoryStore();
  store.broken = new HawserError("STORE", "read-only");
  const { mac } = await identify({ store, name: "n1", standing: undefined, randomBytes: (n) => new Uint8Array(n), log: quiet });
  t.is(mac, "02:00:00:00:00:00" as never);
});

test("systemd's socket is taken only by the process that it is meant for", (t) => {
  t.is(inheritedSocket({ LISTEN_PID: "7", LISTEN_FDS: "1" }, 7), 3);
  t.is(inheritedSocket({ LISTEN_PID: "7", LISTEN_FDS: "1" }, 8), undefined);
  t.is(inheritedSocket({ LISTEN_PID: "7", LISTEN_FDS: "0" }, 7), undefined);
  t.is(inheritedSocket({}, 7), undefined);
});

test("R114: signs of life come twice in the time that systemd allows", async (t) => {
  t.is(watchdogPause({ WATCHDOG_USEC: "30000000" }, 7), 15_000);
  t.is(watchdogPause({ WATCHDOG_USEC: "30000000", WATCHDOG_PID: "8" }, 7), undefined);
  t.is(watchdogPause({}, 7), undefined);
  const said: string[] = [];
  const { promise: alive, resolve } = Promise.withResolvers<void>();
  const sdNotify = (state: string): boolean => {
    said.push(state);
    if (said.length === 3) resolve();
    return true;
  };
  const telling = tellSystemd({ sdNotify }, { WATCHDOG_USEC: "4000" }, 7);
  await alive;
  telling[Symbol.dispose]();
  t.deepEqual(said, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]);
});

test("rounds go on when a duty fails, which is said once", async (t) => {
  const lines: string[] = [];
  const controller = new AbortController();
  let [rounds, sweeps] = [0, 0];
  const clock = { now: () => 0, sleep: async () => void (++rounds > 3 && controller.abort()), deadline: () => new AbortController().signal };
  const failing = { name: "ask Docker", run: async () => Promise.reject(new Error("silent")) };
  await makeRounds([failing, { name: "sweep", run: async () => void sweeps++ }], 1, clock, createLog((line) => lines.push(line), () => 0), controller.signal);
  t.is(sweeps, 3);
  t.is(lines.filter((line) => line.includes("ask Docker")).length, 1);
});

test("what a sweep removed is one list", (t) => {
  t.deepEqual(sweptOf({ links: ["hw1"], pins: ["netdev@eth0"], routes: [], entries: { hw_endpoints: 2, hw_ct4: 0 } }), [
    { kind: "link", name: "hw1" }, { kind: "pin", name: "netdev@eth0" }, { kind: "map entry", name: "hw_endpoints (2)" }, { kind: "map entry", name: "hw_ct4" },
  ]);
});

test("bin/hawser finds its folder through symlinks and says its version", (t) => {
  const folder = scratch(t);
  symlinkSync(join(root, "bin/hawser"), join(folder, "first"));
  symlinkSync("first", join(folder, "second"));
  const { stdout, stderr } = spawnSync(join(folder, "second"), ["--version"], { encoding: "utf8", cwd: "/" });
  t.is(stdout.trim(), `hawser ${version()}`);
  t.is(stderr, "");
});
