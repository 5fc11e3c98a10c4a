// Cases that need a host of their own: each runs in a child process with fresh network and mount namespaces.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cgroupRoot } from "../../../src/datapath/kernel-facts.ts";
import { openDatapath } from "../../../src/datapath/bootstrap.ts";
import type { Datapath, DatapathOptions } from "../../../src/datapath/types.ts";
import { createKernel, openNetlink } from "../../../src/kernel/index.ts";
import type { Kernel, Netlink } from "../../../src/kernel/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { parseMac } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { scratchFolder } from "../../scratch.ts";
import { patience } from "../../lab/run.ts";

/** One host with one uplink, `wan0` 192.0.2.10/24 and 2001:db8:1::10/64, whose far end `lan0` is in the namespace too. */
export interface World {
  readonly bpffs: string;
  readonly cgroup: string;
  readonly kernel: Kernel;
  readonly netlink: Netlink;
  /** Parsed log lines so far. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  open(changes?: Partial<DatapathOptions>): Promise<Datapath>;
  /** Runs `ip` with these words; returns what it prints. */
  ip(words: string): string;
  /** Waits until the claim holds. @throws after a while, naming it */
  until(claim: string, holds: () => boolean | Promise<boolean>): Promise<void>;
}

export type Case = (world: World) => Promise<void>;

export const nodeMac = parseMac("02:48:57:00:00:01");
export const objectDirectory = fileURLToPath(new URL("../../../build/bpf", import.meta.url));
const caseVariable = "HAWSER_TEST_CASE";

/** Registers the cases with ava, or runs the one that the environment names when this is the child. */
export async function inOwnHost(file: string, cases: Readonly<Record<string, Case>>): Promise<void> {
  const wanted = process.env[caseVariable];
  if (wanted !== undefined) return runCase(cases[wanted]);
  const { default: test } = await import("ava");
  for (const title of Object.keys(cases)) {
    test.serial(title, async (t) => {
      const { code, output } = await runChild(fileURLToPath(file), title);
      t.is(code, 0, output);
    });
  }
}

async function runChild(file: string, title: string): Promise<{ readonly code: number | null; readonly output: string }> {
  const folder = scratchFolder("datapath");
  const cgroup = join(cgroupRoot(), `hwt-datapath-${process.pid}-${Date.now()}`);
  mkdirSync(cgroup);
  try {
    const child = spawn("unshare", ["--net", "--mount", "--propagation", "private", process.execPath, file], {
      env: { ...process.env, [caseVariable]: title, HAWSER_TEST_FOLDER: folder, HAWSER_TEST_CGROUP: cgroup },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { code, output };
  } finally {
    rmdirSync(cgroup);
    rmSync(folder, { recursive: true });
  }
}

async function runCase(run: Case | undefined): Promise<void> {
  if (run === undefined) throw new Error("no such case");
  const lines: Readonly<Record<string, unknown>>[] = [];
  const log = createLog((line) => lines.push(JSON.parse(line)), Date.now, "debug");
  const folder = process.env["HAWSER_TEST_FOLDER"] ?? "";
  const cgroup = process.env["HAWSER_TEST_CGROUP"] ?? "";
  const bpffs = join(folder, "bpf");
  const kernel = createKernel();
  const ip = (words: string): string => execFileSync("ip", words.split(" "), { encoding: "utf8" });
  for (const words of [
    "link set lo up",
    "link add wan0 type veth peer name lan0", "link set lan0 up", "link set wan0 up",
    "address add 192.0.2.10/24 dev wan0", "-6 address add 2001:db8:1::10/64 dev wan0 nodad", "route add default via 192.0.2.1",
  ]) ip(words);
  using netlink = await openNetlink();
  const open: World["open"] = (changes = {}) =>
    openDatapath({
      node: "n1",
      bpffs, cgroup, kernel, netlink, log, nodeMac, objectDirectory,
      devices: "auto", addresses: [], routing: null, acceleration: "auto", ipv6: true, betweenNetworks: false, published: true, untilIdentified: true, clock: systemClock, ...changes,
    });
  try {
    await run({ bpffs, cgroup, kernel, netlink, lines, open, ip, until });
  } catch (error) {
    for (const line of lines) console.error(JSON.stringify(line));
    throw error;
  } finally {
    // Keeps the mount busy no longer than the case: the namespaces go with this process.
    execFileSync("sh", ["-c", `umount ${bpffs} 2>/dev/null || true`]);
  }
}

async function until(claim: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 5000 * patience;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never true: ${claim}`);
    await systemClock.sleep(10);
  }
}

export function sysctl(path: string): string {
  return readFileSync(`/proc/sys/net/${path}`, "latin1").trim();
}
