// Throughput, request/response and connect/request/response between containers on two hosts of the lab: Hawser's overlay and native
// routing beside Docker's overlay driver and beside plain routing. All stand at once and rounds go around them, each beginning with
// another, so that a noisy machine is noisy for all; ratios are taken within a round. Prints tables and writes build/bench/cross-host.json.
// Options: --rounds N (15), --seconds S of each measurement (1), --ways A,B (plain,docker,overlay,native).
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { loadavg, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { waitFor } from "../test/lab/run.ts";
import { described, makePair, ways } from "./cross-worlds.ts";
import type { Pair, Way } from "./cross-worlds.ts";
import { compileTraffic, root } from "./run.ts";
import { summary, table } from "./summary.ts";
import type { Summary } from "./summary.ts";

const loads = [
  { load: "stream", unit: "Gbit/s", scale: 1e9, per: "CPU s/GB" },
  { load: "rr", unit: "exchanges/s", scale: 1, per: "CPU µs/exchange" },
  { load: "crr", unit: "exchanges/s", scale: 1, per: "CPU µs/exchange" },
] as const;
type Load = (typeof loads)[number];

const goals = [
  { of: "overlay", over: "docker", atLeast: 1.5 },
  { of: "native", over: "plain", atLeast: 0.95 },
] as const;

interface Sample {
  readonly value: number;
  /** What all CPUs of the machine did meanwhile, for each unit of work: others' work counts too. */
  readonly cost: number;
}

interface Row {
  readonly way: Way;
  readonly load: string;
  readonly unit: string;
  readonly value: Summary;
  readonly cost: Summary;
  /** To the other ways, round by round: above 1 is faster than they. */
  readonly ratios: Readonly<Partial<Record<Way, Summary>>>;
}

const { values } = parseArgs({ options: {
  rounds: { type: "string", default: "15" }, seconds: { type: "string", default: "1" }, ways: { type: "string", default: ways.join(",") },
} });
const [rounds, chosen] = [Number(values.rounds), ways.filter((way) => values.ways.split(",").includes(way))];
const port = "9000";
const traffic = compileTraffic();
await using stack = new AsyncDisposableStack();
const pairs: Pair[] = [];
for (const way of chosen) pairs.push(await makePair(way, stack));
for (const { server } of pairs) stack.use(server.start([traffic, "serve", port]));
for (const pair of pairs) await awaitAnswer(pair);
const conditions = await describeConditions();

const rows: Row[] = [];
for (const load of loads) {
  const samples = new Map(pairs.map(({ way }) => [way, [] as Sample[]]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < pairs.length; turn++) {
      const pair = pairs[(turn + round) % pairs.length];
      if (pair !== undefined) samples.get(pair.way)?.push(await measure(pair, load));
    }
  }
  rows.push(...rowsOf(load, samples));
}
const met = goals.flatMap((goal) => verdicts(goal));
const load = loadavg()[0] ?? 0;
console.log(table([
  ["way", "load", "unit", "median (lowest…highest)", "cost, whole machine", ...chosen.map((way) => `beside ${way}`)],
  ...rows.map((row) => [
    described[row.way], row.load, row.unit, spread(row.value), `${spread(row.cost)} ${loads.find((one) => one.load === row.load)?.per ?? ""}`,
    ...chosen.map((way) => (row.ratios[way] === undefined ? "" : spread(row.ratios[way]))),
  ]),
]));
for (const { text } of met) console.log(text);
console.log(`${rounds} rounds; the machine's load was ${load.toFixed(1)} at the end; ${conditions.map(({ way, text }) => `${way}: ${text}`).join("; ")}`);
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/cross-host.json"), `${JSON.stringify({ kernel: release(), rounds, seconds: Number(values.seconds), loadAverage: load, conditions, rows, goals: met }, null, 2)}\n`);

async function measure({ client, server }: Pair, { load, scale }: Load): Promise<Sample> {
  const before = busySeconds();
  const { stdout } = await client.run([traffic, load, server.ipv4, port, values.seconds]);
  const busy = busySeconds() - before;
  const rate = Number(stdout);
  const done = rate * Number(values.seconds);
  return { value: rate / scale, cost: load === "stream" ? busy / (done / 8e9) : (busy / done) * 1e6 };
}

/** Since boot, all CPUs; USER_HZ is 100 on every architecture that Debian has. */
function busySeconds(): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] =
    (/^cpu +(.*)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? "").split(" ").map(Number);
  return (user + nice + system + irq + softirq) / 100;
}

async function awaitAnswer({ way, client, server }: Pair): Promise<void> {
  let last = "";
  await waitFor(`${described[way]} to carry an exchange`, async () => {
    const { code, stderr } = await client.run([traffic, "rr", server.ipv4, port, "0.01"], { mayFail: true, timeoutMs: 2000 });
    last = stderr;
    return code === 0;
  }, { timeoutMs: 60_000, explain: () => last });
}

function rowsOf({ load, unit }: Load, samples: ReadonlyMap<Way, readonly Sample[]>): readonly Row[] {
  return [...samples].map(([way, own]) => ({
    way, load, unit,
    value: summary(own.map(({ value }) => value)),
    cost: summary(own.map(({ cost }) => cost)),
    ratios: Object.fromEntries([...samples].filter(([other]) => other !== way).map(([other, theirs]) =>
      [other, summary(own.map(({ value }, round) => value / (theirs[round]?.value ?? NaN)))])),
  }));
}

function verdicts({ of, over, atLeast }: (typeof goals)[number]): readonly { readonly of: Way; readonly load: string; readonly met: boolean; readonly text: string }[] {
  return rows.filter((row) => row.way === of).flatMap(({ load, ratios: { [over]: ratio } }) => {
    if (ratio === undefined) return [];
    const isMet = ratio.median >= atLeast;
    return [{ of, load, met: isMet, text: `${isMet ? "met   " : "missed"}  ${load}: ${described[of]}, at least ${atLeast} times ${described[over]}: ${spread(ratio)}` }];
  });
}

/** What decides how fast a stream can be at all must not differ unseen. */
async function describeConditions(): Promise<readonly { readonly way: Way; readonly text: string }[]> {
  return Promise.all(pairs.map(async ({ way, client }) => {
    // Not from /sys, which shows the machine's own network.
    const text = await client.sh("cat /proc/sys/net/ipv4/tcp_congestion_control; ip -o link show eth0; ethtool -k eth0");
    const [congestion, mtu] = [/^\w+/.exec(text)?.[0], / mtu (\d+)/.exec(text)?.[1]];
    const offloads = ["tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload", "tx-udp_tnl-csum-segmentation", "tx-checksumming"]
      .map((name) => `${name} ${new RegExp(`^\\s*${name}: (\\w+)`, "m").exec(text)?.[1] ?? "unknown"}`);
    return { way, text: `MTU ${mtu}, ${congestion}, ${offloads.join(", ")}` };
  }));
}

function spread({ median, lowest, highest }: Summary): string {
  return `${digits(median)} (${digits(lowest)}…${digits(highest)})`;
}

function digits(value: number): string {
  return value >= 1000 ? Math.round(value).toString() : value.toPrecision(3);
}
