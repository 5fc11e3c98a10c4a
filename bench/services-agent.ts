// What services cost the agent: how long until what is written is in the kernel, and the longest turn of the event loop meanwhile, in which Docker would wait
// (time of a CPU, which others on the machine do not lengthen; what waits for a disk or for RCU is not in it).
// The services' desk, the datapath and the store are real, and nothing else of the agent is there; Node has the options and the environment that bin/hawser
// gives an agent. Prints a table and writes build/bench/services-agent.json. Options: --only TEXT.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createServiceReader } from "../src/compose/service-reader.ts";
import { openDatapath } from "../src/datapath/bootstrap.ts";
import { cgroupRoot } from "../src/datapath/kernel-facts.ts";
import { ServiceDesk } from "../src/engine/service-desk.ts";
import type { WrittenDocument } from "../src/engine/types.ts";
import { createKernel, openNetlink } from "../src/kernel/index.ts";
import { noCluster } from "../src/network/cluster.ts";
import type { RemoteEndpoint } from "../src/network/cluster.ts";
import { emptyState } from "../src/network/types.ts";
import type { State } from "../src/network/types.ts";
import { systemClock } from "../src/std/clock.ts";
import { parseCidr, parseIp, parseMac } from "../src/std/ip.ts";
import { createLog } from "../src/std/log.ts";
import { openEmbedded } from "../src/store/embedded.ts";
import { inPrivateHost, root, run } from "./run.ts";
import { table } from "./summary.ts";
import { bpffs } from "./worlds.ts";

interface Case {
  readonly name: string;
  readonly services: number;
  /** Containers, each a backend of every service; 0: each service has two servers of its own. */
  readonly containers: number;
}

const cases: readonly Case[] = [
  { name: "101 services of 200 containers", services: 101, containers: 200 },
  { name: "1000 services of 100 containers", services: 1000, containers: 100 },
  { name: "10 000 services of 2 servers each", services: 10_000, containers: 0 },
  { name: "10 000 services of the same 100 containers", services: 10_000, containers: 100 },
];
const { values } = parseArgs({ options: { only: { type: "string", default: "" } } });

/** As if it were this node's, so that no other has to be reached. */
const containerOf = (i: number): readonly [string, RemoteEndpoint] => [`bench/${i}`, {
  node: "bench", id: `id-${i}`, containerId: `${i}`, name: `web-${i}`, names: [], network: "bench", ipv4: parseIp(`10.44.${i >> 8}.${i & 255}`), ipv6: null, mac: "02:48:57:00:00:02",
  identity: 256, labels: { network: "bench", project: null, service: null, name: null, own: { app: "web" } },
}];

/** As the line says that begins with `set -- --max-semi-space-size`. */
const options = readFileSync(join(root, "bin/hawser"), "utf8").match(/set -- (--max-semi-space-size[^"]*?) "\$@"/)?.[1]?.split(" ") ?? [];
if (options.length === 0) throw new Error("bin/hawser does not say any more with which options an agent runs");

await inPrivateHost(import.meta.url, async () => {
  run("mount -t tmpfs bench /run");
  run("ip link set lo up");
  const rows = [];
  for (const one of cases.filter(({ name }) => name.includes(values.only))) rows.push(...await measured(one));
  console.log(table([
    ["", "until in force, ms", "CPU time of all threads, ms", "longest turn of the event loop, ms", "memory, MiB"],
    ...rows.map(({ name, change, took, cpu, longest, rss }) => [`${name}: ${change}`, took.toFixed(0), cpu.toFixed(0), longest.toFixed(1), rss.toFixed(0)]),
  ]));
  mkdirSync(join(root, "build/bench"), { recursive: true });
  writeFileSync(join(root, "build/bench/services-agent.json"), `${JSON.stringify({ kernel: release(), node: process.version, rows }, null, 2)}\n`);
}, { options, env: { MALLOC_ARENA_MAX: "1", NODE_COMPILE_CACHE: join(root, "build/cache") } });

async function measured({ name, services, containers }: Case) {
  const folder = join(root, "build/bench/services-agent-state");
  rmSync(folder, { recursive: true, force: true });
  await using stack = new AsyncDisposableStack();
  const log = createLog((line) => console.error(line), Date.now, "warn");
  const store = openEmbedded({ file: join(folder, "state.db"), log, clock: systemClock });
  stack.defer(() => store.close());
  const netlink = stack.use(await openNetlink());
  const datapath = stack.use(await openDatapath({
    node: "bench", bpffs, objectDirectory: join(root, "build/bpf"), cgroup: cgroupRoot(), devices: "auto", addresses: [], acceleration: "off", routing: null, ipv6: false, betweenNetworks: false, published: true,
    untilIdentified: false, kernel: createKernel(), netlink, log, clock: systemClock, nodeMac: parseMac("02:48:57:00:00:01"),
  }));
  let state: State = { ...emptyState, cluster: { ...noCluster, kind: "etcd", endpoints: new Map(Array.from({ length: containers }, (_, i) => containerOf(i))) } };
  const become = (next: State): void => {
    const before = state;
    state = next;
    desk.changed(before, next);
  };
  const desk: ServiceDesk = new ServiceDesk({
    datapath, node: "bench", log, store, clock: systemClock, services: { mode: "dsr", thread: new URL("../src/compose/balancer.ts", import.meta.url) }, pool: { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 }, readServices: createServiceReader(),
  }, () => state, async (decide, _, before) => {
    await before?.();
    const { next, reply } = decide(state, Date.now());
    become(next);
    return reply;
  }, () => undefined);
  stack.defer(() => desk.close());
  const commands = desk.commands();
  const present = (...which: readonly number[]): void => become({ ...state, cluster: { ...state.cluster, endpoints: new Map(which.map(containerOf)) } });
  const everyone = Array.from({ length: containers }, (_, i) => i);

  const rows: { readonly name: string; readonly change: string; readonly took: number; readonly cpu: number; readonly longest: number; readonly rss: number }[] = [];
  const timed = async (change: string, work: () => Promise<unknown>): Promise<void> => {
    const [since, all] = [performance.now(), process.cpuUsage()];
    let [longest, before] = [0, process.threadCpuUsage()];
    // A loop that turned all the time would take the CPU from what is measured: whatever lies between two ticks counts as one turn.
    const tick = setInterval(() => {
      const { user, system } = process.threadCpuUsage(before);
      longest = Math.max(longest, (user + system) / 1000);
      before = process.threadCpuUsage();
    }, 1);
    await work();
    await desk.idle();
    clearInterval(tick);
    const { user, system } = process.cpuUsage(all);
    rows.push({ name, change, took: performance.now() - since, cpu: (user + system) / 1000, longest, rss: process.memoryUsage.rss() / 2 ** 20 });
    console.error(`${name}, ${change}: ${rows.at(-1)?.took.toFixed(0)} ms, ${rows.at(-1)?.cpu.toFixed(0)} ms, ${rows.at(-1)?.longest.toFixed(1)} ms, ${rows.at(-1)?.rss.toFixed(0)} MiB`);
  };
  const documents = Array.from({ length: services }, (_, i) => document(i, containers));
  await timed("all are written", () => commands.applyService({ documents }));
  if (containers > 0) {
    await timed("a container leaves", async () => present(...everyone.slice(1)));
    await timed("it comes back", async () => present(...everyone));
  }
  await timed("one service is written anew", () => commands.applyService({ documents: [document(0, containers, 81)] }));
  await timed("one service more", () => commands.applyService({ documents: [document(services, containers)] }));
  await timed("one is deleted", () => commands.deleteService("web-0"));
  return rows;
}

function document(i: number, containers: number, port = 80): WrittenDocument {
  const servers = [1, 2].map((n) => `{ address: "172.${16 + n}.${i >> 8}.${i & 255}:${port}" }`).join(", ");
  const backends = containers > 0 ? `{ select: { network: bench, label: app=web }, port: ${port} }` : servers;
  return { file: `web-${i}.yaml`, text: `service: web-${i}\nfrontends: ["203.${i >> 8}.${i & 255}.1:80"]\nbackends: [${backends}]\nhealth: { kind: none }\n` };
}
