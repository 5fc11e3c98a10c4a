// How a whole agent joins 255 others with 100 containers each, all in a real etcd: how soon it is ready, what that costs in memory, and how
// soon one container's change elsewhere is in the host's map. A lab host with Docker and a container, and the agent as bin/hawser starts it.
// Twice: all on one network that the host has as well, and spread over 50 of which it has one.
// Prints tables and writes build/bench/cluster-agent.json. Options: --nodes N (255), --containers N (100) of each, --identities N (2000) of all,
// --changes N (500), --pause MILLISECONDS between them (10), --networks N,N (1,50).
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { release } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Host } from "../test/lab/host.ts";
import { waitFor } from "../test/lab/run.ts";
import { lab } from "../test/lab/world.ts";
import type { Asked, Moved } from "./cluster-mover.ts";
import { agentFlags, kept } from "./cluster-world.ts";
import type { Size } from "./cluster-world.ts";
import { root } from "./run.ts";
import { quantile, summary, table } from "./summary.ts";

/** Milliseconds, and MiB. */
const goals = { ready: 5000, memory: 150, programmed: 1000 };
const pool = "10.32.0.0/11";
const endpoint = "http://10.99.0.21:2379";

/** MiB, now and at most. */
interface Memory {
  readonly rss: number;
  readonly largest: number;
}

interface Result {
  readonly size: Size;
  /** Milliseconds from the process's start. */
  readonly ready: number;
  /** Seconds of the processor until then. */
  readonly cpu: number;
  readonly joined: Memory;
  readonly changed: Memory;
  readonly moved: Moved;
  /** The longest that one of Docker's calls took while things changed. Milliseconds. */
  readonly longestCall: number;
  readonly entries: Readonly<Record<string, number>>;
}

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "255" }, containers: { type: "string", default: "100" }, identities: { type: "string", default: "2000" },
    changes: { type: "string", default: "500" }, pause: { type: "string", default: "10" }, networks: { type: "string", default: "1,50" },
  },
});
const asked: Asked = { changes: Number(values.changes), pause: Number(values.pause) };
const results: Result[] = [];
for (const networks of values.networks.split(",").map(Number)) {
  results.push(await measured({ nodes: Number(values.nodes), containers: Number(values.containers), identities: Number(values.identities), networks }));
}
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/cluster-agent.json"), `${JSON.stringify({ kernel: release(), node: process.version, flags: agentFlags(), asked, results }, null, 2)}\n`);

async function measured(size: Size): Promise<Result> {
  await using world = await lab({ cluster: {}, agent: false });
  const [host] = world.hosts;
  if (host === undefined || world.etcd === null) throw new Error("the lab has no host or no etcd");
  writeFileSync(host.configuration, readFileSync(host.configuration, "utf8").replace("10.44.0.0/16", pool));
  await host.agent.start();
  const network = size.networks === 1 ? "shop" : "shop-0";
  await host.network(network);
  await host.container("here", ["--network", network]);
  const own = [...(await world.etcd.read("/hawser/slices/4/")).keys()].join();
  await host.agent.stop();

  const there: Size = { ...size, first: own.includes("/10.40.") ? 41 : 40 };
  const mover = startMover(host, there);
  let agent: ChildProcess | undefined;
  try {
    await answer(mover, (message) => message === "loaded");
    const log = join(world.directory, "joining.log");
    const begin = performance.now();
    agent = startAgent(host, log);
    await waitFor("the agent to be ready", () => {
      if (agent?.exitCode !== null) throw new Error(`the agent ended:\n${readFileSync(log, "utf8").slice(-4000)}`);
      return readFileSync(log, "utf8").includes("the agent is ready");
    }, { everyMs: 5, explain: () => readFileSync(log, "utf8").slice(-4000) });
    const ready = performance.now() - begin;
    const [joined, cpu] = [memoryOf(agent.pid), processorOf(agent.pid)];
    const calls = new AbortController();
    const calling = callAgain(host, calls.signal);
    mover.send(asked);
    const moved = (await answer(mover, (message) => typeof message === "object")) as Moved;
    const changed = memoryOf(agent.pid);
    calls.abort();
    const longestCall = await calling;
    const entries = await entriesOf(host, ["hw_remotes", "hw_names", "hw_pointers", "hw_nodes"]);
    const result = { size, ready, cpu, joined, changed, moved, longestCall, entries };
    show(result);
    const said = readFileSync(log, "utf8").split("\n").filter((line) => /warn|error/i.test(line));
    if (said.length > 0) console.log(said.slice(0, 5).join("\n"));
    return result;
  } finally {
    if (agent !== undefined) await ended(agent, "SIGTERM");
    mover.disconnect();
    await ended(mover);
  }
}

function show({ size, ready, cpu, joined, changed, moved, longestCall, entries }: Result): void {
  const samples = [...moved.come, ...moved.changed, ...moved.gone];
  const p99 = quantile(samples, 0.99);
  const both = ({ rss, largest }: Memory): string => `${rss.toFixed(0)} (${largest.toFixed(0)})`;
  const medians = [moved.come, moved.changed, moved.gone].map((some) => summary(some).median.toFixed(0)).join(", ");
  console.log(table([
    [`${size.nodes} nodes, ${size.containers} containers each, on ${size.networks} networks`, "measured", "goal", ""],
    ["ready, ms from the process's start", ready.toFixed(0), String(goals.ready), kept(ready <= goals.ready)],
    ["processor until then, s", cpu.toFixed(1), "", ""],
    ["memory when ready, MiB (largest until then)", both(joined), String(goals.memory), kept(joined.largest <= goals.memory)],
    [`memory after ${samples.length} changes, MiB (largest)`, both(changed), String(goals.memory), kept(changed.largest <= goals.memory)],
    [`one change programmed, p99, ms (medians: come, changed, gone ${medians})`, p99.toFixed(0), String(goals.programmed), kept(p99 <= goals.programmed)],
    ["longest of Docker's calls meanwhile, ms", longestCall.toFixed(0), "", ""],
    ...Object.entries(entries).map(([name, count]) => [`entries of ${name}`, String(count), "", ""]),
  ]));
}

function startMover(host: Host, size: Size): ChildProcess {
  const [file = "", ...args] = host.command([process.execPath, join(root, "bench/cluster-mover.ts"), "/sys/fs/bpf/hawser/maps/hw_remotes", endpoint, JSON.stringify(size)]);
  return spawn(file, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
}

/** Not by the lab's helper, which asks all the time whether it is ready. */
function startAgent(host: Host, log: string): ChildProcess {
  const [file = "", ...args] = host.command([join(root, "bin/hawser"), "agent", "--config", host.configuration]);
  const output = openSync(log, "w");
  try {
    return spawn(file, args, { stdio: ["ignore", output, output] });
  } finally {
    closeSync(output);
  }
}

async function answer(child: ChildProcess, wanted: (message: unknown) => boolean): Promise<unknown> {
  const done = new AbortController();
  try {
    for (;;) {
      const [message] = (await Promise.race([once(child, "message", { signal: done.signal }), once(child, "exit", { signal: done.signal }).then(([code]) => {
        throw new Error(`the process beside the agent ended with ${String(code)}`);
      })])) as [unknown];
      if (wanted(message)) return message;
    }
  } finally {
    done.abort();
  }
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = once(child, "exit");
  if (signal !== undefined) child.kill(signal);
  await gone;
}

/** One of Docker's calls after the other, as dockerd makes them. */
async function callAgain(host: Host, signal: AbortSignal): Promise<number> {
  const holder = readFileSync(join(host.configuration, "../holder.pid"), "utf8").trim();
  const socketPath = `/proc/${holder}/root/run/docker/plugins/hawser.sock`;
  let longest = 0;
  while (!signal.aborted) {
    const begin = performance.now();
    await new Promise<void>((resolve, reject) => {
      request({ socketPath, path: "/NetworkDriver.GetCapabilities", method: "POST", agent: false }, (response) => response.resume().once("end", resolve)).once("error", reject).end("{}");
    });
    longest = Math.max(longest, performance.now() - begin);
    await setTimeout(5);
  }
  return longest;
}

async function entriesOf(host: Host, wanted: readonly string[]): Promise<Readonly<Record<string, number>>> {
  const maps = (await host.json("map", "list")) as readonly { readonly name: string; readonly entries: number }[];
  return Object.fromEntries(maps.filter(({ name }) => wanted.includes(name)).map(({ name, entries }) => [name, entries]));
}

function memoryOf(pid = 0): Memory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]) / 1024;
  return { rss: of("VmRSS"), largest: of("VmHWM") };
}

/** USER_HZ is 100 on every architecture that Debian has (getconf CLK_TCK). */
function processorOf(pid = 0): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
