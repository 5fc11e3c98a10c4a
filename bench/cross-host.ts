// Throughput, request/response and connect/request/response between containers on two hosts of the lab: Hawser's overlay and native
// routing beside Docker's overlay driver and beside plain routing, as it is and with the flow tracking that Docker's rules for its
// resolver bring into every container's namespace. All stand at once and rounds go around them, each beginning with
// another, so that a noisy machine is noisy for all; ratios are taken within a round. A machine with others' work on it shares out its
// CPUs as it likes: what the ends themselves cost (in whose time the kernel does most of what their packets need) is told too.
// Prints a table and whether the goals are met, and writes build/bench/cross-host.json.
// Options: --rounds N (15), --seconds S of each measurement (1), --ways A,B (plain,resolver,docker,overlay,device,native).
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

/** No goals, but what the network alone is answerable for: the containers of Docker's driver and of Hawser's have the resolver's rules, too. */
const comparisons = [
  { of: "native", over: "resolver" },
  { of: "overlay", over: "resolver" },
  { of: "resolver", over: "docker" },
] as const;

interface Sample {
  readonly value: number;
  /** CPU time of both ends for each unit of work. */
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
  /** The same of the work done in a second of CPU time. */
  readonly efficiency: Readonly<Partial<Record<Way, Summary>>>;
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
const servers = new Map(pairs.map(({ way, server }) => [way, stack.use(server.start([traffic, "serve", port]))]));
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
const compared = comparisons.flatMap((pair) => ratiosOf(pair));
const load = loadavg()[0] ?? 0;
console.log(table([
  ["way", "load", "unit", "median (lowest…highest)", "cost of both ends", ...chosen.flatMap((way) => [`beside ${way}`, "by CPU time"])],
  ...rows.map((row) => [
    described[row.way], row.load, row.unit, spread(row.value), `${spread(row.cost)} ${loads.find((one) => one.load === row.load)?.per ?? ""}`,
    ...chosen.flatMap((way) => [row.ratios[way], row.efficiency[way]].map((ratio) => (ratio === undefined ? "" : spread(ratio)))),
  ]),
]));
for (const { text } of [...met, ...compared]) console.log(text);
console.log(`${rounds} rounds; the machine's load was ${load.toFixed(1)} at the end; ${conditions.map(({ way, text }) => `${way}: ${text}`).join("; ")}`);
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/cross-host.json"), `${JSON.stringify({ kernel: release(), rounds, seconds: Number(values.seconds), loadAverage: load, conditions, rows, goals: met, comparisons: compared }, null, 2)}\n`);

async function measure({ way, client, server }: Pair, { load, scale }: Load): Promise<Sample> {
  const before = serverSeconds(way);
  const { stdout, stderr } = await client.run(["bash", "-c", 'TIMEFORMAT="%U %S"; time "$@"', "bash", traffic, load, server.ipv4, port, values.seconds]);
  const [user = NaN, system = NaN] = stderr.trim().split(" ").map(Number);
  const busy = serverSeconds(way) - before + user + system;
  const rate = Number(stdout);
  const done = rate * Number(values.seconds);
  return { value: rate / scale, cost: load === "stream" ? busy / (done / 8e9) : (busy / done) * 1e6 };
}

/** Of CPU, to the nanosecond; every word before it on the way to the server's program was replaced by the next (exec). */
function serverSeconds(way: Way): number {
  return Number(readFileSync(`/proc/${servers.get(way)?.child.pid}/schedstat`, "utf8").split(" ")[0]) / 1e9;
}

async function awaitAnswer({ way, client, server }: Pair): Promise<void> {
  let last = "";
  await waitFor(`${described[way]} to carry an exchange`, async () => {
    const { code, stderr } = await client.run([traffic, "rr", server.ipv4, port, "0.01"], { mayFail: true, timeoutMs: 2000 });
    last = stderr;
    return code === 0;
  }, { explain: () => last });
}

function rowsOf({ load, unit }: Load, samples: ReadonlyMap<Way, readonly Sample[]>): readonly Row[] {
  return [...samples].map(([way, own]) => {
    const beside = (better: (mine: Sample, other: Sample) => number): Partial<Record<Way, Summary>> =>
      Object.fromEntries([...samples].filter(([other]) => other !== way).map(([other, theirs]) =>
        [other, summary(own.flatMap((mine, round) => (theirs[round] === undefined ? [] : [better(mine, theirs[round])])))]));
    return {
      way, load, unit,
      value: summary(own.map(({ value }) => value)),
      cost: summary(own.map(({ cost }) => cost)),
      ratios: beside((mine, other) => mine.value / other.value),
      efficiency: beside((mine, other) => other.cost / mine.cost),
    };
  });
}

type Named = { readonly of: Way; readonly over: Way; readonly load: string; readonly text: string };

function verdicts({ of, over, atLeast }: (typeof goals)[number]): readonly (Named & { readonly met: boolean })[] {
  return ratiosOf({ of, over }).map(({ load, text, ratio }) => {
    const met = ratio.median >= atLeast;
    return { of, over, load, met, text: `${met ? "met   " : "missed"}  at least ${atLeast}  ${text}` };
  });
}

function ratiosOf({ of, over }: { readonly of: Way; readonly over: Way }): readonly (Named & { readonly ratio: Summary })[] {
  return rows.filter((row) => row.way === of).flatMap(({ load, ratios: { [over]: ratio }, efficiency: { [over]: byTime } }) => {
    if (ratio === undefined || byTime === undefined) return [];
    return [{ of, over, load, ratio, text: `${load}: ${described[of]}, of ${described[over]}: ${spread(ratio)}; by CPU time ${spread(byTime)}` }];
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
