// What a container's start costs on Hawser beyond Docker's bridge driver (R94), and what the agent weighs with ten endpoints.
//
// One lab host with both: `docker run -d` in turns on a bridge network, on a Hawser network, and on none, so that
// whatever else the machine does falls on all three.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { image } from "../test/lab/image.ts";
import type { Host } from "../test/lab/host.ts";
import { lab } from "../test/lab/world.ts";
import { root } from "./run.ts";

const networks = ["hawser", "bridge", "none"] as const;
type NetworkName = (typeof networks)[number];

/** Milliseconds. */
interface Summary {
  readonly median: number;
  readonly p95: number;
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "40" }, ports: { type: "boolean", default: false } } });
await using world = await lab();
const [host] = world.hosts;
if (host === undefined) throw new Error("the lab has no host");
await host.network("hawser");
await host.docker("network", "create", "bridged");

const samples: Record<NetworkName, number[]> = { hawser: [], bridge: [], none: [] };
for (let round = -2; round < Number(values.rounds); round++) {
  // Every round begins elsewhere, so that none always follows another's removal.
  for (let turn = 0; turn < networks.length; turn++) {
    const network = networks[(turn + round + networks.length) % networks.length] ?? "none";
    const took = await startOne(host, network);
    if (round >= 0) samples[network].push(took);
  }
}

/** A round in which even a start without any network took half again its median was disturbed by something else. */
const calm = samples.none.map((took) => took <= 1.5 * quantile(samples.none, 0.5));
const disturbed = calm.filter((one) => !one).length;
for (const network of networks) samples[network] = samples[network].filter((_, round) => calm[round]);
/** Within one round the machine was the same for all, so the overhead is taken pair by pair. */
const overheads = samples.hawser.map((took, round) => took - (samples.bridge[round] ?? took));
const rows = Object.fromEntries(networks.map((network) => [network, summary(samples[network])]));
const memory = await weigh(host);
const result = {
  kernel: release(), rounds: Number(values.rounds), disturbed, ports: values.ports, unit: "ms", ...rows,
  overhead: { median: quantile(overheads, 0.5), p95: quantile(samples.hawser, 0.95) - quantile(samples.bridge, 0.95), pairs: summary(overheads) }, agent: memory,
};
for (const network of networks) console.log(`${network.padEnd(8)} median ${rows[network]?.median.toFixed(1)} ms  p95 ${rows[network]?.p95.toFixed(1)} ms`);
if (disturbed > 0) console.log(`${disturbed} rounds left out: something else loaded the machine`);
console.log(`hawser over bridge: median ${result.overhead.median.toFixed(1)} ms, p95 ${result.overhead.p95.toFixed(1)} ms (at most 30)`);
console.log(`agent with ${memory.endpoints} endpoints: ${memory.residentMiB.toFixed(1)} MiB (at most 90), ${memory.idleCpuPercent.toFixed(2)} % of a CPU when idle`);
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/docker-run.json"), `${JSON.stringify(result, null, 2)}\n`);

/** From the command to its return, when the container runs. */
async function startOne(on: Host, network: NetworkName): Promise<number> {
  const name = { hawser: "hawser", bridge: "bridged", none: "none" }[network];
  const ports = values.ports && network !== "none" ? ["-p", "8080:80"] : [];
  const began = performance.now();
  await on.docker("run", "-d", "--init=false", "--stop-timeout", "0", "--name", "probe", "--network", name, ...ports, image, "sleep", "infinity");
  const took = performance.now() - began;
  await on.docker("rm", "-f", "-v", "probe");
  return took;
}

/** Two rounds of its duties pass (30 s each), so that idle means idle. */
async function weigh(on: Host): Promise<{ readonly endpoints: number; readonly residentMiB: number; readonly idleCpuPercent: number }> {
  for (let n = 0; n < 10; n++) await on.container(`c${n}`, ["--network", "hawser"]);
  const pid = on.agent.pid();
  const ticks = (): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const seconds = 65;
  const before = ticks();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  // USER_HZ is 100 on every architecture that Debian has (getconf CLK_TCK).
  return { endpoints: 10, residentMiB: Number(resident) / 1024, idleCpuPercent: (ticks() - before) / seconds };
}

function summary(list: readonly number[]): Summary {
  return { median: quantile(list, 0.5), p95: quantile(list, 0.95) };
}

function quantile(list: readonly number[], q: number): number {
  const sorted = list.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}
