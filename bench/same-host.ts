// Throughput, request/response and connect/request/response on one host: Hawser beside a bridge with iptables.
// Rounds alternate between the worlds, so that a noisy machine is noisy for both; medians and spreads are printed as a table
// and written to build/bench/same-host.json. Options: --rounds N (7), --seconds S of each measurement (1).
import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compileTraffic, inPrivateHost, root, run, runIn, start } from "./run.ts";
import { bridgeWorld, hawserWorld } from "./worlds.ts";
import type { World } from "./worlds.ts";

interface Way {
  readonly name: string;
  client(world: World): string;
  server(world: World): string;
  address(world: World): string;
  readonly port: number;
}

const ways: readonly Way[] = [
  { name: "container to container", client: (w) => w.a, server: (w) => w.b, address: (w) => w.addressB, port: 9000 },
  { name: "wire to published port", client: (w) => w.client, server: (w) => w.b, address: (w) => w.hostAddress, port: 8080 },
  { name: "container to wire (masqueraded)", client: (w) => w.a, server: (w) => w.client, address: (w) => w.clientAddress, port: 9000 },
];
const loads = [
  { load: "stream", unit: "Gbit/s", scale: 1e9 },
  { load: "rr", unit: "exchanges/s", scale: 1 },
  { load: "crr", unit: "exchanges/s", scale: 1 },
] as const;

interface Row {
  readonly way: string;
  readonly load: string;
  readonly unit: string;
  readonly hawser: Summary;
  readonly bridge: Summary;
  /** hawser's median over the bridge's: more is better for us. */
  readonly ratio: number;
}

interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

await inPrivateHost(import.meta.url, async () => {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "1" } } });
  run("mount -t tmpfs bench /run");
  run("ip link set lo up");
  await using stack = new AsyncDisposableStack();
  const traffic = compileTraffic();
  const worlds = [await hawserWorld(stack), bridgeWorld()] as const;
  for (const world of worlds) for (const namespace of [world.b, world.client]) stack.use(start(namespace, `${traffic} serve 9000`));
  for (const world of worlds) for (const way of ways) await awaitAnswer(world, way, traffic);

  const rows: Row[] = [];
  for (const way of ways) {
    for (const { load, unit, scale } of loads) {
      const samples = worlds.map((): number[] => []);
      for (let round = 0; round < Number(values.rounds); round++) {
        worlds.forEach((world, i) => samples[i]?.push(measure(world, way, load, traffic, values.seconds) / scale));
      }
      const [hawser, bridge] = [summary(samples[0] ?? []), summary(samples[1] ?? [])];
      rows.push({ way: way.name, load, unit, hawser, bridge, ratio: hawser.median / bridge.median });
    }
  }
  console.log(table(rows));
  mkdirSync(join(root, "build/bench"), { recursive: true });
  writeFileSync(join(root, "build/bench/same-host.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), rows }, null, 2)}\n`);
});

function measure(world: World, way: Way, load: string, traffic: string, seconds: string): number {
  return Number(runIn(way.client(world), `${traffic} ${load} ${way.address(world)} ${way.port} ${seconds}`));
}

async function awaitAnswer(world: World, way: Way, traffic: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      measure(world, way, "rr", `timeout 2 ${traffic}`, "0.01");
      return;
    } catch (error) {
      if (attempt === 5) throw new Error(`${world.name}: ${way.name} does not answer`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function summary(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((x, y) => x - y);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? 0, lowest: sorted[0] ?? 0, highest: sorted.at(-1) ?? 0 };
}

function table(rows: readonly Row[]): string {
  const shown = (s: Summary): string => `${digits(s.median)} (${digits(s.lowest)}…${digits(s.highest)})`;
  const lines = [
    ["way", "load", "unit", "hawser", "bridge", "ratio"],
    ...rows.map((row) => [row.way, row.load, row.unit, shown(row.hawser), shown(row.bridge), row.ratio.toFixed(2)]),
  ];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}

function digits(value: number): string {
  return value >= 1000 ? Math.round(value).toString() : value.toPrecision(3);
}
