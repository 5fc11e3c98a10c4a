// Runs in a network namespace of its own: makes an uplink, loads the balancer, and does what its parent says.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { u32 } from "../../../src/abi/codec.ts";
import { configCodec, directionNames, DropReason, dropReasonNames, lbClosedCodec, lbFlowsCodec, lbPoolBlockCodec, LbPoolLayout, lbStayCodec, MetricLayout, uplinkCodec } from "../../../src/abi/generated.ts";
import type { Config } from "../../../src/abi/generated.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import type { FrontendEntry } from "../../../src/datapath/lb-frontends.ts";
import type { FrontendAddress } from "../../../src/datapath/lb-hash.ts";
import { jiffiesClock, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelMap, KernelProgram, ProgramTestResult } from "../../../src/kernel/types.ts";
import { parseIp, parseMac } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { createServices } from "../../../src/datapath/services.ts";
import type { Services } from "../../../src/datapath/services.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { openLbTables } from "./tables.ts";
import type { LbTables, ServiceEntry } from "./tables.ts";

export type Request =
  | { readonly op: "load"; readonly config: Partial<Config>; readonly racer?: Racer }
  | { readonly op: "map-ids" }
  | { readonly op: "pools"; readonly pools: number; readonly ports: number }
  | { readonly op: "empty-pools"; readonly pools: number; readonly ports: number }
  | { readonly op: "race"; readonly data: Uint8Array; readonly times: number; readonly side: 0 | 1 }
  | { readonly op: "service"; readonly service: ServiceEntry }
  | { readonly op: "frontends"; readonly frontends: readonly FrontendEntry[] }
  | { readonly op: "forget-frontends"; readonly frontends: readonly FrontendAddress[] }
  | { readonly op: "reopen-frontends" }
  | { readonly op: "plans"; readonly plans: readonly ServicePlan[] }
  | { readonly op: "new-agent" }
  | { readonly op: "elsewhere" }
  | { readonly op: "dump"; readonly map: string }
  | { readonly op: "backend"; readonly number: number; readonly backend: BackendEntry }
  | { readonly op: "close"; readonly service: number; readonly backend: number; readonly ago: number }
  | { readonly op: "age-clients"; readonly by: number }
  | { readonly op: "set"; readonly map: string; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly op: "get"; readonly map: string; readonly key: Uint8Array }
  | { readonly op: "clear"; readonly map: string }
  | { readonly op: "flows" }
  | { readonly op: "ip"; readonly args: readonly string[] }
  | { readonly op: "uplink"; readonly device: string; readonly accelerated: boolean }
  | { readonly op: "run"; readonly data: Uint8Array; readonly device: string }
  | { readonly op: "flood"; readonly data: Uint8Array; readonly times: number; readonly clients: boolean };

/** One of two balancers with the same maps, under race.bpf.c. */
export interface Racer {
  /** Compiled. */
  readonly object: string;
  readonly side: 0 | 1;
  /** Ids of the other's maps, by name; left out: it makes them. */
  readonly maps?: readonly (readonly [string, number])[];
}

export interface RunReply {
  readonly verdict: number;
  readonly data: Uint8Array;
  /** What the run counted, as `TO_SERVICE FORWARDED`. */
  readonly counted: readonly string[];
}

const maps = new Map<string, KernelMap>();
const ifindexes = new Map<string, number>();
const kernel = createKernel();
const hz = ticksPerSecond(createLog(() => {}, Date.now));
const jiffies = jiffiesClock(hz);
let program: KernelProgram | undefined;
let tables: LbTables | undefined;
let services: Services | undefined;

if (process.send) {
  process.on("message", (request: Request) => {
    void answer(request).then(
      (value) => process.send?.({ value }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
}

async function answer(request: Request): Promise<unknown> {
  switch (request.op) {
    case "load": return load(request.config, request.racer);
    case "map-ids": return [...maps].filter(([name]) => /^(?:hw|race)_/.test(name)).map(([name, map]) => [name, map.info.id] as const);
    case "pools": return poolsOf(request.pools, (blocks) => Array.from({ length: request.ports / LbPoolLayout.BLOCK }, (_, key) => lbPoolBlockCodec.decode(blocks.get(u32.encode(key)) ?? new Uint8Array()).ports).flat());
    case "empty-pools": {
      const empty = new Uint8Array(lbPoolBlockCodec.size);
      const entries = Array.from({ length: request.ports / LbPoolLayout.BLOCK }, (_, key) => [u32.encode(key), empty] as const);
      return poolsOf(request.pools, (blocks) => blocks.setBatch(entries));
    }
    case "race": {
      const [ready, start] = [mapOf("race_ready"), Date.now()];
      ready.set(u32.encode(request.side), u32.encode(1));
      while (u32.decode(ready.get(u32.encode(1 - request.side)) ?? u32.encode(0)) === 0 && Date.now() < start + 1000);
      return runOnce(request.data, "wan0", request.times).duration;
    }
    case "service": return tables?.setService(request.service);
    case "frontends": return request.frontends.forEach((frontend) => tables?.frontends.set(frontend));
    case "forget-frontends": return request.frontends.forEach((frontend) => tables?.frontends.delete(frontend));
    case "reopen-frontends": tables = openLbTables(kernel, mapOf, jiffies); return undefined;
    case "plans": return Array.from((await (services ??= openServices()).install(request.plans)).refused, ([{ name }, { code, message }]) => [name, `${code} ${message}`] as const);
    case "new-agent": services = undefined; return undefined;
    case "elsewhere": return (services ??= openServices()).elsewhere();
    case "dump": return [...mapOf(request.map).entries()].map(([key, value]) => [key, value]);
    case "backend": return tables?.setBackend(request.number, request.backend);
    case "close": return mapOf("hw_lb_closed").set(lbClosedCodec.encode(request), u32.encode((jiffies() - request.ago) >>> 0));
    case "age-clients": return ageClients(request.by);
    case "set": return mapOf(request.map).set(request.key, request.value);
    case "get": return mapOf(request.map).get(request.key);
    case "clear": {
      const map = mapOf(request.map);
      const empty = new Uint8Array(map.info.valueSize);
      for (const [key] of [...map.entries()]) if (map.info.kind === "array") map.set(key, empty); else map.delete(key);
      return undefined;
    }
    case "flows": return [...mapOf("hw_lb_flows").entries()].filter(([, value]) => value.some((byte) => byte !== 0)).map(([key, value]) => [u32.decode(key), lbFlowsCodec.decode(value).flows]);
    case "ip": return ip(...request.args);
    case "uplink": return setUplink(request.device, request.accelerated);
    case "run": return run(request.data, request.device);
    case "flood": return flood(request.data, request.times, request.clients);
  }
}

function ageClients(by: number): void {
  const clients = mapOf("hw_lb_clients");
  for (const [key, value] of [...clients.entries()]) {
    const { slot, expires, elsewhere } = lbStayCodec.decode(value);
    const before = (time: bigint): bigint => (time < BigInt(by) ? 0n : time - BigInt(by));
    clients.set(key, lbStayCodec.encode({ slot: { ...slot, changed: slot.changed && (slot.changed - by) >>> 0 }, expires: before(expires), elsewhere: before(elsewhere) }));
  }
}

/** Of a node a, beside a node b. */
function openServices(): Services {
  return createServices({
    kernel, mapOf, jiffies, hz, node: "a", nodeAddress: (node) => (node === "b" ? parseIp("198.18.0.2") : undefined), isOwn: (address) => address === "192.0.2.1", translates: () => true, clock: { now: () => Date.now() },
  });
}

/** wan0 is the uplink, wan1 another; vpn0 is none. */
async function load(config: Partial<Config>, racer?: Racer): Promise<void> {
  for (const what of ["all", "default"]) writeFileSync(`/proc/sys/net/ipv6/conf/${what}/accept_dad`, "0");
  for (const [device, peer, mac, network] of [["wan0", "lan0", "02:00:00:00:00:01", "192.0.2"], ["wan1", "lan1", "02:00:00:00:00:11", "192.0.3"], ["vpn0", "vpn1", "02:00:00:00:00:21", "192.0.4"]] as const) {
    ip("link", "add", device, "address", mac, "type", "veth", "peer", "name", peer);
    for (const name of [device, peer]) ip("link", "set", name, "up");
    ip("address", "add", `${network}.1/24`, "dev", device);
    ip("neighbour", "add", `${network}.254`, "lladdr", `${mac.slice(0, -2)}${device === "wan0" ? "fe" : "ff"}`, "dev", device, "nud", "permanent");
    for (const family of ["ipv4", "ipv6"]) writeFileSync(`/proc/sys/net/${family}/conf/${device}/forwarding`, "1");
  }
  ip("address", "add", "2001:db8::1/64", "dev", "wan0");
  ip("neighbour", "add", "2001:db8::fe", "lladdr", "02:00:00:00:00:fe", "dev", "wan0", "nud", "permanent");
  ip("route", "add", "default", "via", "192.0.2.254");
  ip("-6", "route", "add", "default", "via", "2001:db8::fe");
  ip("route", "add", "172.16.3.0/24", "via", "192.0.3.254");
  for (const { ifname, ifindex } of JSON.parse(execFileSync("ip", ["-j", "link"], { encoding: "utf8" })) as readonly { readonly ifname: string; readonly ifindex: number }[]) ifindexes.set(ifname, ifindex);
  const rodata = {
    hw_config: configCodec.encode({
      hostIfindex: ifindexes.get("wan0") ?? 0, hz, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: 0, ipv6: 1, ephemeralLow: 32768, ephemeralHigh: 60999,
      setRetval: 0, hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 6081, tunnelHeader: 0x6558, probePort: 0,
      native: 0, services: 1, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1"), snatFirst: 16384, snatPorts: 16384, ...config,
    }),
  };
  for (const [name, id] of racer?.maps ?? []) maps.set(name, kernel.openMapById(id));
  const object = racer === undefined
    ? await kernel.loadObject(join(import.meta.dirname, "../../../build/bpf/xdp-lb.bpf.o"), { rodata, reuse: maps })
    : await kernel.loadObject(racer.object, { rodata: { ...rodata, race_side: u32.encode(racer.side) }, reuse: maps });
  for (const [name, map] of object.maps) maps.set(name, map);
  program = object.programs.get(racer === undefined ? "xdp_lb" : "race");
  tables = openLbTables(kernel, mapOf, jiffies);
  for (const device of ["wan0", "wan1"]) setUplink(device, true);
}

function setUplink(device: string, accelerated: boolean): void {
  mapOf("hw_uplinks").set(u32.encode(ifindexes.get(device) ?? 0), uplinkCodec.encode({ ipv4: null, ipv6: null, mtu: 1500, accelerated: accelerated ? 1 : 0, ownIpv4: 0, ownIpv6: 0 }));
}

function run(data: Uint8Array, device: string): RunReply {
  const before = counters();
  const result = runOnce(data, device);
  const counted = [...counters()].filter(([name, packets]) => packets !== before.get(name)).map(([name]) => name);
  return { verdict: result.verdict, data: result.data, counted };
}

/** `clients`: each time from another IPv4 address. */
function flood(data: Uint8Array, times: number, clients: boolean): readonly number[] {
  const bytes = data.slice();
  const view = new DataView(bytes.buffer);
  const verdicts: number[] = [];
  for (let i = 0; i < times; i++) {
    if (clients) view.setUint32(26, 0x0a000000 + i);
    verdicts.push(runOnce(bytes, "wan0").verdict);
  }
  return verdicts;
}

/** Of the pools 1 and on. */
function poolsOf<T>(pools: number, call: (blocks: KernelMap) => T): readonly T[] {
  return Array.from({ length: pools }, (_, i) => {
    const id = mapOf("hw_lb_pools").get(u32.encode(i + 1));
    if (id === undefined) throw new Error(`no pool ${i + 1}`);
    using blocks = kernel.openMapById(u32.decode(id));
    return call(blocks);
  });
}

function runOnce(data: Uint8Array, device: string, repeat = 1): ProgramTestResult {
  const context = new Uint32Array([0, data.length, 0, ifindexes.get(device) ?? 0, 0, 0]);
  const result = program?.testRun({ data, context: new Uint8Array(context.buffer), repeat });
  if (result === undefined) throw new Error("nothing is loaded");
  return result;
}

/** Packets over all CPUs, by direction and reason. */
function counters(): ReadonlyMap<string, bigint> {
  const sums = new Map<string, bigint>();
  for (const [key, perCpu] of mapOf("hw_metrics").entries()) {
    const index = u32.decode(key);
    const [direction, reason] = [Math.floor(index / MetricLayout.METRIC_REASONS), index % MetricLayout.METRIC_REASONS];
    const view = new DataView(perCpu.buffer, perCpu.byteOffset, perCpu.byteLength);
    let packets = 0n;
    for (let at = 0; at < perCpu.byteLength; at += 16) packets += view.getBigUint64(at, true);
    if (packets > 0n) sums.set(`${directionNames[direction]} ${reason === DropReason.NONE ? "FORWARDED" : dropReasonNames[reason]}`, packets);
  }
  return sums;
}

function mapOf(name: string): KernelMap {
  const map = maps.get(name);
  if (!map) throw new Error(`no map ${name}`);
  return map;
}

function ip(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}
