// Connections a second to nginx, one request each, and what a request takes, through Hawser's services and through what else is used
// (bench/connection-worlds.ts). All ways stand at once and rounds go around them, each beginning with another; ratios are taken within a round. Client,
// balancer and server share the machine's CPUs, so a way that costs less leaves more for the others. How the kernel lays wrk, nginx and the packets on
// two CPUs moves connections a second by a fifth; what a connection costs all CPUs together is steadier. wrk tells a request's time from when it is connected.
// Options: --rounds N (7), --seconds S of each measurement (1), --connections N at a time (32), --only TEXT, --acceleration off,native,generic.
// It prints a table and writes build/bench/lb-connections.json. It needs what `make` built, and nginx, wrk, haproxy, nft, iptables, ethtool and curl.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { hawserWays, otherWays } from "./connection-worlds.ts";
import type { Acceleration, Way } from "./connection-worlds.ts";
import { needs, root } from "./run.ts";
import { shown, summary, table } from "./summary.ts";

interface Sample {
  readonly perSecond: number;
  /** Microseconds of all CPUs, for one connection. */
  readonly processor: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

const { values } = parseArgs({ options: {
  rounds: { type: "string", default: "7" }, seconds: { type: "string", default: "1" }, connections: { type: "string", default: "32" }, only: { type: "string", default: "" },
  acceleration: { type: "string", default: "off,native,generic" },
} });
const base = "nftables DNAT";

needs({ nginx: "nginx-light", wrk: "wrk", haproxy: "haproxy", nft: "nftables", iptables: "iptables", ethtool: "ethtool", curl: "curl" });
await using stack = new AsyncDisposableStack();
const all = [...await hawserWays(stack, values.acceleration.split(",") as Acceleration[]), ...await otherWays(stack)];
const ways = all.filter(({ name }) => name === base || name.includes(values.only));
for (const way of ways) await measure(way, "1");
const samples = new Map<string, Sample[]>(ways.map(({ name }) => [name, []]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const way of [...ways.slice(round % ways.length), ...ways.slice(0, round % ways.length)]) samples.get(way.name)?.push(await measure(way, values.seconds));
}
// What nginx keeps is written within a second.
await delay(1500);
const bases = samples.get(base) ?? [];
const results = ways.map((way) => {
  const own = samples.get(way.name) ?? [];
  const ofBase = (value: (sample: Sample) => number): readonly number[] => own.map((sample, round) => value(sample) / value(bases[round] ?? sample));
  return { name: way.name, samples: own, ratios: ofBase(({ perSecond }) => perSecond), costs: ofBase(({ processor }) => processor), clients: clientsOf(way) };
});
console.log(table([
  ["one request a connection", "connections/s", `of ${base}`, "CPU µs", `of ${base}`, "p50 ms", "p99 ms", "server sees"],
  ...results.map(({ name, samples: own, ratios, costs, clients }) => {
    const [p50, p99] = [summary(own.map((one) => one.p50)), summary(own.map((one) => one.p99))];
    return [name, shown(summary(own.map(({ perSecond }) => perSecond))), ratio(ratios), shown(summary(own.map(({ processor }) => processor))), ratio(costs), p50.median.toFixed(2), p99.median.toFixed(2), clients];
  }),
]));
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/lb-connections.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), connections: Number(values.connections), results }, null, 2)}\n`);

function ratio(samples: readonly number[]): string {
  const { median, lowest, highest } = summary(samples);
  return `${median.toFixed(2)} (${lowest.toFixed(2)}…${highest.toFixed(2)})`;
}

/** Microseconds that all CPUs together were not idle, since the machine started; a tick of theirs is 10 ms. */
function busy(): number {
  const [, user = 0, nice = 0, system = 0, , , interrupts = 0, soft = 0] = readFileSync("/proc/stat", "utf8").split("\n")[0]?.split(/ +/).map(Number) ?? [];
  return (user + nice + system + interrupts + soft) * 10_000;
}

/** @throws Error when a connection failed or was answered otherwise */
async function measure({ name, client, url }: Way, seconds: string): Promise<Sample> {
  const before = busy();
  const { stdout } = await client.run(["wrk", "-t1", `-c${values.connections}`, `-d${seconds}s`, "--latency", "-H", "Connection: close", url]);
  const [failed] = /^ *(Socket errors: .*|Non-2xx.*)$/m.exec(stdout) ?? [];
  if (failed !== undefined) throw new Error(`${name}: ${failed.trim()}`);
  const spent = busy() - before;
  const requests = Number(/^ *(\d+) requests in /m.exec(stdout)?.[1]);
  return { perSecond: Number(/^Requests\/sec: +([\d.]+)/m.exec(stdout)?.[1]), processor: spent / requests, p50: milliseconds(stdout, 50), p99: milliseconds(stdout, 99) };
}

function milliseconds(text: string, percentile: number): number {
  const [, number = "NaN", unit = ""] = new RegExp(`^ +${percentile}% +([\\d.]+)(us|ms|s)$`, "m").exec(text) ?? [];
  return Number(number) * ({ us: 0.001, ms: 1, s: 1000 }[unit] ?? NaN);
}

/** @throws Error when a server saw another address than it should */
function clientsOf({ name, client, log, keepsClient }: Way): string {
  const seen = [...new Set(readFileSync(log, "utf8").trim().split("\n"))];
  if (keepsClient && seen.join() !== client.ipv4) throw new Error(`${name}: the server saw ${seen.join(", ")}, and not its client ${client.ipv4}`);
  return keepsClient ? "the client" : "the balancer";
}
