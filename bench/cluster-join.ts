// How a node joins 256 others with 100 containers each, all in a real etcd: how soon its door is ready, what that costs in memory, and how
// soon one container's change elsewhere is told to its engine. The joining door is a process of its own, with the flags that bin/hawser gives an agent.
// Prints a table and writes build/bench/cluster-join.json. Options: --nodes N (256), --containers N (100) of each, --identities N (2000) of all,
// --changes N (500), --pause MILLISECONDS between them (10).
import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { identityKey } from "../src/engine/shared.ts";
import type { RemoteEndpoint } from "../src/network/cluster.ts";
import { endpointKey, identityHashKey, identityNumberKey, nodeKey, sliceKey } from "../src/peers/keys.ts";
import { encodeEndpoint, encodeIdentity, encodeIdentityKey, encodeNode, encodeSlice } from "../src/peers/records.ts";
import { systemClock } from "../src/std/clock.ts";
import { parseCidr, parseIp, parseMac } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { openEtcd } from "../src/store/etcd.ts";
import type { SharedChange, SharedStore } from "../src/store/shared.ts";
import type { Seen, Started } from "./cluster-joiner.ts";
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
  run("ip link set lo up");
  const folder = mkdtempSync(join(tmpdir(), "hawser-join-"));
  const etcd = await startEtcd(folder);
  const log = createLog((line) => console.error(line), Date.now, "warn");
  const store = openEtcd({ endpoints: [endpoint], prefix: "/hawser/", ttl: 60, clock: systemClock, log });
  let joiner: ChildProcess | undefined;
  try {
    await store.write([...world(nodes, containers, identities)]);
    const begin = (prefix: string): ChildProcess => fork(join(root, "bench/cluster-joiner.ts"), [endpoint, prefix, join(folder, "peers")], { execArgv: [...agentFlags()], env: agentEnvironment() });
    // As bin/hawser does: another process leaves what Node made of the sources, without which stripping their types costs memory.
    joiner = begin("/nobody/");
    await answer<Started>(joiner);
    await ended(joiner);
    rmSync(join(folder, "peers"), { force: true });
    joiner = begin("/hawser/");
    const started = await answer<Started>(joiner);
    if (started.endpoints !== nodes * containers) throw new Error(`the door told of ${started.endpoints} containers instead of ${nodes * containers}`);
    const samples = await changed(joiner, store, nodes, containers, identities, changes, Number(values.pause));
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
async function changed(joiner: ChildProcess, store: SharedStore, nodes: number, containers: number, identities: number, changes: number, pause: number): Promise<readonly number[]> {
  const samples: number[] = [];
  for (let change = 0; change < changes; change++) {
    const one = container((change * 7) % nodes, (change * 3) % containers, identities);
    const name = `renamed-${change}`;
    const seen = answer<Seen>(joiner);
    joiner.send({ key: `${one.node}/${one.id}`, name });
    // Its watch stands before the change is made.
    await answered(joiner);
    const begin = performance.timeOrigin + performance.now();
    await store.write([{ key: endpointKey(one.node, one.id), value: encodeEndpoint({ ...one, name }), leased: true }]);
    samples.push((await seen).at - begin);
    await setTimeout(pause);
  }
  return samples;
}

function* world(nodes: number, containers: number, identities: number): Iterable<SharedChange> {
  for (let i = 0; i < identities; i++) {
    const key = identityKey(labelsOf(i));
    yield { key: identityNumberKey(256 + i), value: encodeIdentity(key) };
    yield { key: identityHashKey(key), value: encodeIdentityKey(key, 256 + i) };
  }
  for (let node = 0; node < nodes; node++) {
    const [ipv4, ipv6] = [parseCidr(`10.${Math.floor(node / 256) + 40}.${node % 256}.0/24`), parseCidr(`fd44:0:0:${node.toString(16)}::/64`)];
    for (const slice of [ipv4, ipv6]) yield { key: sliceKey(slice), value: encodeSlice(slice, nameOf(node)) };
    for (let i = 0; i < containers; i++) {
      const one = container(node, i, identities);
      yield { key: endpointKey(one.node, one.id), value: encodeEndpoint(one), leased: true };
    }
    const record = { addresses: [parseIp(`192.0.${Math.floor(node / 250) + 2}.${(node % 250) + 1}`)], ipv4, ipv6, mtu: 1500, names: ["db", "web"], networks: [], version: "0.1.0", machine: "00", startedAt: 1 };
    yield { key: nodeKey(nameOf(node)), value: encodeNode({ name: nameOf(node), ...record }), leased: true };
  }
}

function nameOf(node: number): string {
  return `node-${node.toString().padStart(3, "0")}`;
}

function hex(number: number): string {
  return number.toString(16).padStart(8, "0").repeat(8);
}

function labelsOf(identity: number): RemoteEndpoint["labels"] {
  return { network: "shop", project: "shop", service: `service-${identity}`, name: null, own: { tier: `tier-${identity % 7}`, team: `team-${identity % 31}` } };
}

function container(node: number, i: number, identities: number): RemoteEndpoint {
  const number = node * 1000 + i;
  const service = `service-${number % identities}`;
  return {
    node: nameOf(node), id: hex(number), containerId: hex(number + 0x1000_0000), name: `shop-${service}-${i}`, names: [`shop-${service}-${i}`, service, hex(number + 0x1000_0000).slice(0, 12)],
    network: "shop", ipv4: parseIp(`10.${Math.floor(node / 256) + 40}.${node % 256}.${i + 2}`), ipv6: parseIp(`fd44:0:0:${node.toString(16)}::${(i + 2).toString(16)}`),
    mac: parseMac(`02:42:00:00:${Math.floor(i / 256).toString(16).padStart(2, "0")}:${(i % 256).toString(16).padStart(2, "0")}`),
    identity: 256 + (number % identities), labels: labelsOf(number % identities),
  };
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

function kept(holds: boolean): string {
  return holds ? "kept" : "MISSED";
}

/** Node's flags for an agent, as bin/hawser has them. */
function agentFlags(): readonly string[] {
  const found = /set -- (--\S+(?: --\S+)*) "\$@"/.exec(readFileSync(join(root, "bin/hawser"), "utf8"))?.[1];
  if (found === undefined) throw new Error("bin/hawser does not say any more with which flags an agent runs");
  return found.split(" ");
}
