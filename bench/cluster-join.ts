// How a node joins 256 others with 100 containers each, all in a real etcd: how soon its door is ready, what that costs in memory, and how
// soon one container's change elsewhere is told to its engine. The joining door is a process of its own, with the flags that bin/hawser gives an agent.
// Prints a table and writes build/bench/cluster-join.json. Options: --nodes N (256), --containers N (100) of each, --identities N (2000) of all,
// --changes N (500), --pause MILLISECONDS between them (10).
import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { systemClock } from "../src/std/clock.ts";
import { createLog } from "../src/std/log.ts";
import { openEtcd } from "../src/store/etcd.ts";
import type { SharedStore } from "../src/store/shared.ts";
import type { Seen, Started } from "./cluster-joiner.ts";
import { agentFlags, container, kept, world, written } from "./cluster-world.ts";
import type { Size } from "./cluster-world.ts";
import { inPrivateHost, root, run } from "./run.ts";
import { quantile, summary, table } from "./summary.ts";

/** Milliseconds, and MiB. */
const goals = { ready: 5000, memory: 150, told: 1000 };
const endpoint = "http://127.0.0.1:2379";

await inPrivateHost(import.meta.url, async () => {
  const { values } = parseArgs({
    options: {
      nodes: { type: "string", default: "256" }, containers: { type: "string", default: "100" }, identities: { type: "string", default: "2000" },
      changes: { type: "string", default: "500" }, pause: { type: "string", default: "10" },
    },
  });
  const [nodes, containers, identities, changes] = [values.nodes, values.containers, values.identities, values.changes].map(Number) as [number, number, number, number];
  const size: Size = { nodes, containers, identities, networks: 1 };
  run("ip link set lo up");
  const folder = mkdtempSync(join(tmpdir(), "hawser-join-"));
  const etcd = await startEtcd(folder);
  const log = createLog((line) => console.error(line), Date.now, "warn");
  const store = openEtcd({ endpoints: [endpoint], prefix: "/hawser/", ttl: 60, clock: systemClock, log });
  let joiner: ChildProcess | undefined;
  try {
    await store.write([...world(size)]);
    const begin = (prefix: string): ChildProcess => fork(join(root, "bench/cluster-joiner.ts"), [endpoint, prefix, join(folder, "peers")], { execArgv: [...agentFlags()], env: agentEnvironment() });
    // As bin/hawser does: another process leaves what Node made of the sources, without which stripping their types costs memory.
    joiner = begin("/nobody/");
    await answer<Started>(joiner);
    await ended(joiner);
    rmSync(join(folder, "peers"), { force: true });
    joiner = begin("/hawser/");
    const started = await answer<Started>(joiner);
    if (started.endpoints !== nodes * containers) throw new Error(`the door told of ${started.endpoints} containers instead of ${nodes * containers}`);
    const samples = await changed(joiner, store, size, changes, Number(values.pause));
    joiner.send("memory");
    const after = await answer<Started>(joiner);
    const p99 = quantile(samples, 0.99);
    const rows = [
      ["first view told and door ready, ms", started.ms.toFixed(0), String(goals.ready), kept(started.ms <= goals.ready)],
      ["processor until then, s", started.cpu.toFixed(1), "", ""],
      ["memory when ready, MiB (largest until then)", `${started.rss.toFixed(0)} (${started.largest.toFixed(0)})`, String(goals.memory), kept(started.largest <= goals.memory)],
      [`memory after ${changes} changes, MiB (largest)`, `${after.rss.toFixed(0)} (${after.largest.toFixed(0)})`, String(goals.memory), kept(after.largest <= goals.memory)],
      [`one change told to the engine, p99 of ${changes}, ms (median ${summary(samples).median.toFixed(0)})`, p99.toFixed(0), String(goals.told), kept(p99 <= goals.told)],
    ];
    console.log(table([[`${nodes} nodes, ${containers} containers each`, "measured", "goal", ""], ...rows]));
    mkdirSync(join(root, "build/bench"), { recursive: true });
    writeFileSync(join(root, "build/bench/cluster-join.json"), `${JSON.stringify({
      kernel: release(), node: process.version, flags: agentFlags(), nodes, containers, identities, changes, started, after, told: { ...summary(samples), p99 },
    }, null, 2)}\n`);
  } finally {
    if (joiner !== undefined) await ended(joiner);
    await store[Symbol.asyncDispose]();
    etcd.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Milliseconds from the write's beginning until the engine of the joined node was told, for one container after the other. */
async function changed(joiner: ChildProcess, store: SharedStore, size: Size, changes: number, pause: number): Promise<readonly number[]> {
  const samples: number[] = [];
  for (let change = 0; change < changes; change++) {
    const one = container((change * 7) % size.nodes, (change * 3) % size.containers, size);
    const name = `renamed-${change}`;
    const seen = answer<Seen>(joiner);
    joiner.send({ key: `${one.node}/${one.id}`, name });
    // Its watch stands before the change is made.
    await answered(joiner);
    const begin = performance.timeOrigin + performance.now();
    await store.write([written({ ...one, name })]);
    samples.push((await seen).at - begin);
    await setTimeout(pause);
  }
  return samples;
}

async function startEtcd(folder: string): Promise<ChildProcess> {
  const etcd = spawn("etcd", [
    "--data-dir", join(folder, "etcd"), "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint, "--listen-peer-urls", "http://127.0.0.1:2380",
    "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "default=http://127.0.0.1:2380", "--log-level", "error",
  ], { stdio: "ignore" });
  for (let tries = 0; tries < 200; tries++) {
    const health = await fetch(`${endpoint}/health`).then((answer) => answer.text(), () => "");
    if (health.includes("true")) return etcd;
    await setTimeout(50);
  }
  throw new Error("etcd did not start");
}

/** The joiner's next message of the kind. */
async function answer<T extends { readonly kind: string }>(joiner: ChildProcess): Promise<T> {
  const ended = new AbortController();
  try {
    for (;;) {
      const [message] = (await Promise.race([once(joiner, "message", { signal: ended.signal }), once(joiner, "exit", { signal: ended.signal })])) as [T | "watching" | number];
      if (typeof message === "number") throw new Error(`the joining node ended with ${message}`);
      if (message !== "watching") return message;
    }
  } finally {
    ended.abort();
  }
}

async function answered(joiner: ChildProcess): Promise<void> {
  for (;;) {
    const [message] = await once(joiner, "message");
    if (message === "watching") return;
  }
}

async function ended(joiner: ChildProcess): Promise<void> {
  const gone = joiner.exitCode === null ? once(joiner, "exit") : undefined;
  if (joiner.connected) joiner.disconnect();
  await gone;
}

function agentEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, NODE_COMPILE_CACHE: join(root, "build/bench/cluster-join-cache"), MALLOC_ARENA_MAX: "1" };
}
