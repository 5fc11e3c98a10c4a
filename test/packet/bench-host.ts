// Runs in a network namespace of its own: makes the devices and routes that the programs ask for, loads them, and does what its parent says.
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { configCodec, DropReason, eventCodec, dropReasonNames, directionNames, MetricLayout } from "../../src/abi/generated.ts";
import type { Config, Event } from "../../src/abi/generated.ts";
import type { BackendEntry } from "../../src/datapath/lb-backends.ts";
import type { FrontendEntry } from "../../src/datapath/lb-frontends.ts";
import { installNames } from "../../src/datapath/names.ts";
import { createPolicy } from "../../src/datapath/policy.ts";
import type { Policy } from "../../src/datapath/policy.ts";
import { openTables } from "../../src/datapath/tables.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { KernelMap, KernelProgram, ProgramTestResult } from "../../src/kernel/types.ts";
import type { PolicyTables } from "../../src/policy/types.ts";
import { parseMac } from "../../src/std/ip.ts";
import type { Ip } from "../../src/std/ip.ts";
import { openLbTables } from "./lb/tables.ts";
import type { LbTables, ServiceEntry } from "./lb/tables.ts";

export type Request =
  | { readonly op: "load"; readonly devices: readonly string[]; readonly config: Partial<Config> }
  | { readonly op: "run"; readonly program: string; readonly device: string; readonly data: Uint8Array; readonly gsoSize: number; readonly mark: number }
  | { readonly op: "object"; readonly path: string }
  | { readonly op: "time"; readonly program: string; readonly device: string; readonly data: Uint8Array; readonly runs: number }
  | { readonly op: "flood"; readonly program: string; readonly device: string; readonly data: Uint8Array; readonly at: number; readonly first: number; readonly count: number }
  | { readonly op: "each"; readonly program: string; readonly device: string; readonly frames: readonly Uint8Array[] }
  | { readonly op: "names"; readonly names: ReadonlyMap<string, readonly Ip[]> }
  | { readonly op: "lost" }
  | { readonly op: "sent"; readonly devices: readonly string[] }
  | { readonly op: "policy"; readonly tables: PolicyTables }
  | { readonly op: "touch" }
  | { readonly op: "events"; readonly count: number }
  | { readonly op: "listen"; readonly proto: "tcp" | "udp"; readonly port: number }
  | { readonly op: "backend"; readonly number: number; readonly backend: BackendEntry }
  | { readonly op: "service"; readonly service: ServiceEntry; readonly frontend: FrontendEntry; readonly backend: BackendEntry }
  | { readonly op: "set"; readonly map: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly op: "delete"; readonly map: string; readonly key: Uint8Array }
  | { readonly op: "entries"; readonly map: string };

export interface RunReply {
  readonly verdict: number;
  readonly data: Uint8Array;
  /** What the run counted, as `FROM_CONTAINER FORWARDED`. */
  readonly counted: readonly string[];
}

const objects = join(import.meta.dirname, "../../build/bpf");
/** Offsets in struct __sk_buff. */
const [contextSize, markAt, ifindexAt, gsoSizeAt] = [192, 8, 40, 176];

const maps = new Map<string, KernelMap>();
const programs = new Map<string, KernelProgram>();
const ifindexes = new Map<string, number>();
const told: Event[] = [];
let policy: Policy | undefined;
let services: LbTables | undefined;
let ring: Disposable | undefined;

if (process.send) {
  // What is read keeps the process alive.
  process.once("disconnect", () => ring?.[Symbol.dispose]());
  process.on("message", (request: Request) => {
    void answer(request).then(
      (value) => process.send?.({ value }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}

async function answer(request: Request): Promise<unknown> {
  switch (request.op) {
    case "load": return load(request.devices, request.config);
    case "run": return run(request);
    case "object": return addObject(request.path);
    case "time": return time(request);
    case "flood": return flood(request);
    case "each": return request.frames.map((data) => runOnce(request.program, request.device, data, 0)).map(({ verdict, data }) => ({ verdict: verdict | 0, data }));
    case "names": return (await installNames(openTables(maps), request.names)).skipped;
    case "lost": return eventsLost();
    case "sent": return request.devices.map(sentBy);
    case "policy": return policyNow().install(request.tables);
    case "touch": return policyNow().touch();
    case "events": return nextEvents(request.count);
    case "listen": return listen(request.proto, request.port);
    case "backend": return lbTables().setBackend(request.number, request.backend);
    case "service": return setService(request);
    case "set": return mapOf(request.map).set(request.key, request.value);
    case "delete": return mapOf(request.map).delete(request.key);
    case "entries": return [...mapOf(request.map).entries()].map(([key, value]) => [key, value]);
  }
}

/** hwhost and hwnet, an uplink wan0 with default routes, vpn0 that is none, and a veth for each container. */
async function load(devices: readonly string[], config: Partial<Config>): Promise<ReadonlyMap<string, number>> {
  for (const what of ["all", "default"]) writeFileSync(`/proc/sys/net/ipv6/conf/${what}/accept_dad`, "0");
  // Frames to other machines are not ours, so the uplink has the MAC that the tests' frames go to.
  ip("link", "add", "wan0", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "lan0");
  for (const device of ["wan0", "lan0"]) ip("link", "set", device, "up");
  for (const [name, peer] of [["hwhost", "hwnet"], ["vpn0", "vpn1"], ...devices.map((device) => [device, `${device}c`])]) {
    ip("link", "add", `${name}`, "type", "veth", "peer", "name", `${peer}`);
    for (const device of [`${name}`, `${peer}`]) {
      // What such a device sends, our programs sent: the kernel's own IPv6 chatter is none of it.
      if (devices.includes(`${name}`)) writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, "1");
      ip("link", "set", device, "up");
    }
  }
  for (const family of ["ipv4", "ipv6"]) writeFileSync(`/proc/sys/net/${family}/conf/hwhost/forwarding`, "1");
  for (const address of ["192.0.2.1/24", "2001:db8::1/64"]) ip("address", "add", address, "dev", "wan0");
  ip("route", "add", "default", "via", "192.0.2.254");
  ip("-6", "route", "add", "default", "via", "2001:db8::fe");
  ip("route", "add", "203.0.113.0/24", "dev", "vpn0");
  ip("route", "add", "blackhole", "198.18.0.0/15");
  // Locked, because the kernel forwards by the device's MTU otherwise.
  ip("route", "add", "198.51.100.128/25", "via", "192.0.2.254", "mtu", "lock", "1300");
  ip("-6", "route", "add", "2001:db8:5ca1::/48", "via", "2001:db8::fe", "dev", "wan0", "mtu", "lock", "1300");

  const links = JSON.parse(execFileSync("ip", ["-j", "link"], { encoding: "utf8" })) as readonly { readonly ifname: string; readonly ifindex: number }[];
  for (const { ifname, ifindex } of links) ifindexes.set(ifname, ifindex);
  const rodata = {
    hw_config: configCodec.encode({
      hostIfindex: ifindexes.get("hwhost") ?? 0, hz: 250, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: 0, ipv6: 1,
      ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: 0, hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0x48570001,
      tunnelIfindex: 0, tunnelPort: 0, tunnelHeader: 0, services: 0, lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null, snatFirst: 16384, snatPorts: 16384, probePort: 0, native: 0, ...config,
    }),
  };
  const kernel = createKernel();
  for (const object of ["from-container", "to-container", "from-host", "netdev", "from-guest", "to-guest"]) {
    const loaded = await kernel.loadObject(join(objects, `${object}.bpf.o`), { rodata, reuse: maps });
    for (const [name, map] of loaded.maps) if (name.startsWith("hw_")) maps.set(name, map);
    for (const [name, program] of loaded.programs) programs.set(name, program);
  }
  return ifindexes;
}

function run({ program, device, data, gsoSize, mark }: Request & { readonly op: "run" }): RunReply {
  const before = counters();
  const result = runOnce(program, device, data, gsoSize, mark);
  const after = counters();
  const counted = [...after].filter(([name, packets]) => packets !== before.get(name)).map(([name]) => name);
  return { verdict: result.verdict | 0, data: result.data, counted };
}

function lbTables(): LbTables {
  return (services ??= openLbTables(createKernel(), mapOf, () => 0));
}

/** One service of one frontend, whose one backend has the service's number. The address is `shared` where its frontend is. */
function setService({ service, frontend, backend }: Request & { readonly op: "service" }): void {
  const tables = lbTables();
  tables.setBackend(service.number, backend);
  tables.setService(service);
  if (backend.mode === "SNAT") tables.setTranslated(service.number, frontend, backend);
  tables.frontends.set({ ...frontend, shared: false });
  tables.frontends.set({ ...frontend, port: 0, protocol: 0, number: 0 });
}

function policyNow(): Policy {
  policy ??= createPolicy(createKernel(), maps);
  return policy;
}

/** Waits for them, because the ring is read by the event loop. */
async function nextEvents(count: number): Promise<readonly Event[]> {
  ring ??= createKernel().openRing(mapOf("hw_events"), (record) => { told.push(eventCodec.decode(record)); });
  const late = Date.now() + 5000;
  while (told.length < count) {
    if (Date.now() > late) throw new Error(`${told.length} packets were told of, not ${count}`);
    await setTimeout(5);
  }
  return told.splice(0, count);
}

/** Another object's programs beside the datapath's. */
async function addObject(path: string): Promise<void> {
  for (const [name, program] of (await createKernel().loadObject(path, { rodata: {}, reuse: maps })).programs) programs.set(name, program);
}

/** Nanoseconds of each of so many runs, each with the packet as given: the programs rewrite it. */
function time({ program, device, data, runs }: Request & { readonly op: "time" }): readonly number[] {
  return Array.from({ length: runs }, () => runOnce(program, device, data, 0).duration);
}

/** So many packets, told apart by the 32-bit number at a place in them: nanoseconds of each. */
function flood({ program, device, data, at, first, count }: Request & { readonly op: "flood" }): readonly number[] {
  const bytes = data.slice();
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, i) => {
    view.setUint32(at, first + i);
    return runOnce(program, device, bytes, 0).duration;
  });
}

/** A host program's socket, until this process ends. */
function listen(proto: "tcp" | "udp", port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    if (proto === "tcp") createServer().unref().once("error", reject).listen(port, "0.0.0.0", resolve);
    else createSocket("udp4").unref().once("error", reject).bind(port, "0.0.0.0", resolve);
  });
}

function runOnce(program: string, device: string, data: Uint8Array, gsoSize: number, mark = 0): ProgramTestResult {
  const context = new Uint8Array(contextSize);
  const view = new DataView(context.buffer);
  view.setUint32(markAt, mark, true);
  view.setUint32(ifindexAt, ifindexes.get(device) ?? 0, true);
  view.setUint32(gsoSizeAt, gsoSize, true);
  const result = programs.get(program)?.testRun({ data, context });
  if (!result) throw new Error(`no program ${program}`);
  return result;
}

/** Packets over all CPUs, by direction and reason. */
function counters(): ReadonlyMap<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const [key, perCpu] of mapOf("hw_metrics").entries()) {
    const index = new DataView(key.buffer, key.byteOffset).getUint32(0, true);
    const [direction, reason] = [Math.floor(index / MetricLayout.METRIC_REASONS), index % MetricLayout.METRIC_REASONS];
    const view = new DataView(perCpu.buffer, perCpu.byteOffset, perCpu.byteLength);
    let packets = 0n;
    for (let at = 0; at < perCpu.byteLength; at += 16) packets += view.getBigUint64(at, true);
    const what = reason === DropReason.NONE ? "FORWARDED" : dropReasonNames[reason];
    // The ring is read by nobody here and may be full.
    if (packets > 0n && reason !== DropReason.EVENT_LOST) sums.set(`${directionNames[direction]} ${what}`, packets);
  }
  return sums;
}

/** Packets that a device has sent: the tenth number of its line. */
function sentBy(device: string): number {
  const line = readFileSync("/proc/self/net/dev", "utf8").split("\n").find((text) => text.trim().startsWith(`${device}:`)) ?? "";
  return Number(line.split(":")[1]?.trim().split(/\s+/)[9]);
}

/** Drops that the ring does not tell of. */
function eventsLost(): number {
  let lost = 0n;
  for (const [key, perCpu] of mapOf("hw_metrics").entries()) {
    if (new DataView(key.buffer, key.byteOffset).getUint32(0, true) % MetricLayout.METRIC_REASONS !== DropReason.EVENT_LOST) continue;
    const view = new DataView(perCpu.buffer, perCpu.byteOffset, perCpu.byteLength);
    for (let at = 0; at < perCpu.byteLength; at += 16) lost += view.getBigUint64(at, true);
  }
  return Number(lost);
}

function mapOf(name: string): KernelMap {
  const map = maps.get(name);
  if (!map) throw new Error(`no map ${name}`);
  return map;
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}
