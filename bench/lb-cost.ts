// What balancing costs a packet: the balancer called by a harness that writes each packet anew and takes off what was put on
// (bench/lb-harness.bpf.c), timed by the kernel, less the same harness without it. Options: --rounds N (9), --repeat N (2000000), --only TEXT,
// --cores 2: what two CPUs do at once beside what one does alone, with bpftool and flows of each CPU's own.
// It prints best and median in ns, beside the goal, and writes build/bench/lb-cost.json. It runs what `make bpf` built.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { u32 } from "../src/abi/codec.ts";
import { configCodec, LbForm, lbPoolBlockCodec, LbServiceFlags, lbServiceCodec, LbTranslatedFlags, uplinkCodec } from "../src/abi/generated.ts";
import { backendMaps, writeBackends } from "../src/datapath/lb-backends.ts";
import { openFrontendTable } from "../src/datapath/lb-frontends.ts";
import { jiffiesClock } from "../src/datapath/kernel-facts.ts";
import { openPools } from "../src/datapath/lb-pools.ts";
import { formedSlots, openSlotRow } from "../src/datapath/lb-slots.ts";
import type { SlotRange } from "../src/datapath/lb-slots.ts";
import { openServiceSources } from "../src/datapath/lb-sources.ts";
import { createKernel } from "../src/kernel/index.ts";
import type { KernelMap, KernelProgram } from "../src/kernel/types.ts";
import type { Slots } from "../src/lb/types.ts";
import { parseCidr, parseIp, parseMac } from "../src/std/ip.ts";
import type { Cidr } from "../src/std/ip.ts";
import { frame, ip, tcp } from "../test/packet/packets.ts";
import { inPrivateHost, root, run } from "./run.ts";
import { quantile, table } from "./summary.ts";

interface Way {
  readonly name: string;
  readonly family: 4 | 6;
  /** A power of two; 0: each packet is a flow's first. */
  readonly flows: number;
  readonly services: number;
  /** The services' backends are the same. */
  readonly shared: boolean;
  readonly backends: number;
  /** So many of them each service has. */
  readonly each: number;
  /** Share of slots that are not settled. */
  readonly changed: number;
  /** Not for a service: 1. */
  readonly stranger: boolean;
  readonly flags: string;
  readonly mode: "IPIP" | "GENEVE" | "SNAT";
  /** Of Geneve: IPv6 outside. */
  readonly outer6?: boolean;
  /** Of SNAT: flows that each server has beforehand, of those that its pool has room for; 0: as many as come. */
  readonly filled?: number;
  /** What the service asks of its clients; sources: so many prefixes that may not. */
  readonly asks: { readonly sources?: number; readonly affinity?: boolean };
  /** Compiled without these, to see what they cost: a backend's counter and the program's; and with them IPv6. */
  readonly without: "" | "counters" | "counters and IPv6";
  /** Every other packet is a SYN of a new flow. */
  readonly flood: boolean;
  /** ns, net. */
  readonly goal: number | null;
}

const established = (name: string, family: 4 | 6, flows: number, goal: number | null, more: Partial<Way> = {}): Way =>
  ({ name, family, flows, services: 1, shared: false, backends: 100, each: Infinity, changed: 0, stranger: false, flags: "A", mode: "IPIP", asks: {}, without: "", flood: false, goal, ...more });
const million = 2 ** 20;
const ways: readonly Way[] = [
  established("not for us", 4, 1, 20, { stranger: true }),
  established("not for us, IPv6", 6, 1, 20, { stranger: true }),
  established("not for us, 1M flows, 10 000 services", 4, million, 20, { stranger: true, services: 10_000 }),
  established("IPIP, 1 flow", 4, 1, 45),
  established("IPIP, 100k flows", 4, 2 ** 17, 50),
  established("IPIP, 1M flows", 4, million, 60),
  established("IPIP, new flows", 4, 0, 85, { flags: "S" }),
  established("IPIP, 1 flow, IPv6", 6, 1, 52),
  established("IPIP, 1M flows, IPv6", 6, million, 69),
  established("IPIP, new flows, IPv6", 6, 0, 98, { flags: "S" }),
  established("Geneve, 1 flow", 4, 1, 90, { mode: "GENEVE" }),
  established("Geneve, 1M flows", 4, million, 90, { mode: "GENEVE" }),
  established("Geneve, 1M flows, IPv6", 6, million, 104, { mode: "GENEVE" }),
  established("Geneve over IPv6, 1 flow", 4, 1, null, { mode: "GENEVE", outer6: true }),
  established("Geneve over IPv6, 1 flow, IPv6", 6, 1, null, { mode: "GENEVE", outer6: true }),
  established("IPIP, 1 flow, uncounted", 4, 1, null, { without: "counters" }),
  established("IPIP, 1M flows, uncounted", 4, million, null, { without: "counters" }),
  established("IPIP, 1 flow, minimal build", 4, 1, null, { without: "counters and IPv6" }),
  established("IPIP, 1M flows, minimal build", 4, million, null, { without: "counters and IPv6" }),
  established("IPIP, 100k flows and as many SYNs", 4, 2 ** 17, null, { flood: true }),
  established("IPIP, 100k flows and as many SYNs, 2 % of slots changed", 4, 2 ** 17, null, { flood: true, changed: 0.02 }),
  established("IPIP, 100k flows, 2 % of slots changed", 4, 2 ** 17, null, { changed: 0.02 }),
  established("IPIP, 1 flow, sources asked", 4, 1, null, { asks: { sources: 4 } }),
  established("IPIP, 1 flow, 100 sources asked", 4, 1, null, { asks: { sources: 100 } }),
  established("IPIP, 1 flow, 50 000 sources asked", 4, 1, null, { asks: { sources: 50_000 } }),
  established("IPIP, 1M flows, sources asked", 4, million, null, { asks: { sources: 4 } }),
  established("IPIP, 1M flows, 100 sources asked", 4, million, null, { asks: { sources: 100 } }),
  established("IPIP, 1M flows, 50 000 sources asked", 4, million, null, { asks: { sources: 50_000 } }),
  established("IPIP, 1 flow, sources asked, IPv6", 6, 1, null, { asks: { sources: 4 } }),
  established("IPIP, 1 flow, 100 sources asked, IPv6", 6, 1, null, { asks: { sources: 100 } }),
  established("IPIP, 1 flow, affinity", 4, 1, null, { asks: { affinity: true } }),
  established("IPIP, 100k clients, affinity", 4, 2 ** 17, null, { asks: { affinity: true } }),
  established("IPIP, 1M flows, 2 % of slots changed", 4, million, 60, { changed: 0.02 }),
  established("IPIP, new flows, 2 % of slots changed", 4, 0, 85, { flags: "S", changed: 0.02 }),
  established("IPIP, new flows, all slots changed", 4, 0, 85, { flags: "S", changed: 1 }),
  established("IPIP, 1M flows, 1 backend", 4, million, 60, { backends: 1 }),
  established("IPIP, 1M flows, 64 000 backends", 4, million, 60, { backends: 64_000 }),
  established("IPIP, 1M flows, 10 000 services of one table", 4, million, 60, { services: 10_000, shared: true }),
  established("IPIP, 1M flows, 10 000 services", 4, million, 60, { services: 10_000, each: 2 }),
  established("IPIP, 1M flows, 10 000 services, 2 % of slots changed", 4, million, null, { services: 10_000, each: 2, changed: 0.02 }),
  established("not for us, to a port of the pools", 4, 1, 30, { stranger: true, mode: "SNAT" }),
  established("SNAT, 1 flow", 4, 1, 130, { mode: "SNAT" }),
  established("SNAT, 1 flow, IPv6", 6, 1, 150, { mode: "SNAT" }),
  established("SNAT, 100k flows", 4, 2 ** 17, null, { mode: "SNAT" }),
  established("SNAT, 1M flows", 4, million, 367, { mode: "SNAT" }),
  established("SNAT, 1M flows, IPv6", 6, million, 422, { mode: "SNAT" }),
  established("SNAT, a flood of new flows", 4, 0, 300, { mode: "SNAT", flags: "S" }),
  established("SNAT, new flows beside half as many", 4, 0, 300, { mode: "SNAT", flags: "S", filled: 0.5 }),
  established("SNAT, new flows beside 95 % of the ports", 4, 0, 300, { mode: "SNAT", flags: "S", filled: 0.95 }),
  established("SNAT, a flood of new flows to one server", 4, 0, null, { mode: "SNAT", flags: "S", backends: 1 }),
  established("SNAT, new flows to one server beside 95 % of the ports", 4, 0, null, { mode: "SNAT", flags: "S", backends: 1, filled: 0.95 }),
];

const { values } = parseArgs({ options: { rounds: { type: "string", default: "9" }, repeat: { type: "string", default: "2000000" }, only: { type: "string", default: "" }, cores: { type: "string", default: "1" } } });
const folder = join(root, "build/bench");
const config = {
  hostIfindex: 0, hz: 250, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: 0, ipv6: 1, ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: 0,
  hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 6081, probePort: 0, native: 0, tunnelHeader: 0x6558,
  services: 1, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1"), snatFirst: 16384, snatPorts: 16384,
};

await inPrivateHost(import.meta.url, async () => {
  mkdirSync(folder, { recursive: true });
  run(`taskset -acp ${availableParallelism() - 1} ${process.pid}`);
  const uplink = makeUplink();
  const objects = new Map([[true, compiled("lb-harness", "")], [false, compiled("lb-harness-uncounted", "-DHARNESS_UNCOUNTED ")]]);
  const wanted = ways.filter(({ name }) => name.includes(values.only));
  const results: Record<string, unknown>[] = [];
  for (const way of wanted) results.push(await measure(way, objects.get(way.without === "") ?? "", uplink));
  const columns = values.cores === "2" ? ["alone", "both", "ratio"] : ["best", "median", "goal", "met"];
  console.log(table([["", ...columns], ...results.map((one) => [String(one["name"]), ...columns.map((column) => String(one[column]))])]));
  writeFileSync(join(folder, "lb-cost.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), repeat: Number(values.repeat), results }, null, 2)}\n`);
});

function compiled(name: string, options: string): string {
  const object = join(folder, `${name}.bpf.o`);
  run(`clang-16 -g -O2 -target bpf -mcpu=v3 ${options}-I${join(root, "bpf")} -I/usr/include/${run("gcc -print-multiarch").trim()} -c ${join(root, "bench/lb-harness.bpf.c")} -o ${object}`);
  return object;
}

/** One load of the programs for a way and its floor, one world of maps, and rounds that alternate between both. */
async function measure(way: Way, object: string, uplink: number): Promise<Record<string, unknown>> {
  const kernel = createKernel();
  const wrapped = way.stranger || way.mode === "SNAT" ? 0 : way.mode === "GENEVE" ? (way.family === 4 ? 62 : 74) + (way.outer6 ? 20 : 0) : way.family === 4 ? 20 : 40;
  const rodata = (floor: number): Record<string, Uint8Array> => ({
    hw_config: configCodec.encode({ ...config, hostIfindex: uplink, ipv6: way.without === "counters and IPv6" ? 0 : 1, ...(way.stranger && way.mode === "SNAT" ? { lbIpv4: 0xc6120000 } : {}) }),
    harness_family: u32.encode(way.family), harness_flows: u32.encode(way.flows), harness_translated: u32.encode(!way.stranger && way.mode === "SNAT" ? 1 : 0),
    harness_services: u32.encode(way.services), harness_wrapped: u32.encode(wrapped), harness_flood: u32.encode(way.flood ? 1 : 0), harness_floor: u32.encode(floor),
  });
  using real = await kernel.loadObject(object, { rodata: rodata(0) });
  using floor = await kernel.loadObject(object, { rodata: rodata(1) });
  await fill(real.maps, way, uplink);
  const [program, nothing] = [real, floor].map(({ programs }) => programs.get("lb_harness"));
  if (program === undefined || nothing === undefined) throw new Error("the harness has no program");
  // A flow's first packet is another row's.
  if (way.mode === "SNAT" && way.flows > 1) timed(program, way, uplink, 4 * way.flows);
  const scaled = values.cores === "2" ? await scaling(way, program, nothing, uplink) : undefined;
  const net: number[] = [];
  const rounds = scaled === undefined ? Number(values.rounds) : 0;
  for (let round = 0; round < rounds; round++) net.push(timed(program, way, uplink) - timed(nothing, way, uplink));
  const verdicts = verdictsOf(real.maps);
  const expected = way.stranger ? "pass" : "tx";
  const wrong = Object.entries(verdicts).filter(([verdict, count]) => verdict !== expected && count > 0);
  if (wrong.length > 0) throw new Error(`${way.name}: ${JSON.stringify(verdicts)}`);
  if (scaled !== undefined) return scaled;
  const [best, median] = [Math.min(...net), quantile(net, 0.5)];
  const result = { name: way.name, best, median, goal: way.goal, met: way.goal === null ? "" : median <= way.goal ? "yes" : "no", net };
  console.error(`${way.name}: ${best} ${median} of ${way.goal}`);
  return result;
}

/** How much more two CPUs do at once than one alone: each CPU's ns a packet, net, in turns, and the medians' ratio. */
async function scaling(way: Way, program: KernelProgram, nothing: KernelProgram, uplink: number): Promise<Record<string, unknown>> {
  const { data, context } = inputOf(way, uplink);
  const [dataFile, contextFile] = [join(folder, "frame"), join(folder, "context")];
  writeFileSync(dataFile, data);
  writeFileSync(contextFile, context);
  const on = async (cpus: readonly number[], { id }: KernelProgram): Promise<number> => {
    const runs = await Promise.all(cpus.map((cpu) => promisify(execFile)("taskset", [
      "-c", String(cpu), "bpftool", "--json", "prog", "run", "id", String(id), "data_in", dataFile, "ctx_in", contextFile, "repeat", values.repeat,
    ])));
    return runs.map(({ stdout }) => Number(/"duration":\s*(\d+)/.exec(stdout)?.[1])).reduce((sum, one) => sum + one) / cpus.length;
  };
  const [alone, both]: [number[], number[]] = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    const cpu = round % 2;
    alone.push(await on([cpu], program) - await on([cpu], nothing));
    both.push(await on([0, 1], program) - await on([0, 1], nothing));
  }
  const [one, two] = [quantile(alone, 0.5), quantile(both, 0.5)];
  return { name: way.name, alone: one, both: two, ratio: ((2 * one) / two).toFixed(2), rounds: { alone, both } };
}

function timed(program: KernelProgram, way: Way, uplink: number, repeat = Number(values.repeat)): number {
  return program.testRun({ ...inputOf(way, uplink), repeat }).duration;
}

function inputOf(way: Way, uplink: number): { readonly data: Uint8Array; readonly context: Uint8Array } {
  const port = way.stranger && way.mode === "SNAT" ? config.snatFirst : 80;
  const packet = way.family === 4 ? ip("10.0.0.0", "198.18.0.0", tcp(1024, port, way.flags)) : ip("fd00:c::", "fd00:5::", tcp(1024, port, way.flags));
  const data = frame("02:00:00:00:00:fe", "02:00:00:00:00:01", packet);
  const context = new Uint32Array([0, data.length, 0, uplink, 0, 0]);
  return { data, context: new Uint8Array(context.buffer) };
}

async function fill(maps: ReadonlyMap<string, KernelMap>, way: Way, uplink: number): Promise<void> {
  const map = (name: string): KernelMap => {
    const found = maps.get(name);
    if (found === undefined) throw new Error(`no map ${name}`);
    return found;
  };
  const addressOf = (number: number) => parseIp(way.family === 4 ? `172.16.${number >> 8}.${number & 255}` : `fd00:b::${number.toString(16)}`);
  const backends = Array.from({ length: way.backends }, (_, i) => i + 1);
  map("hw_uplinks").set(u32.encode(uplink), uplinkCodec.encode({ ipv4: null, ipv6: null, mtu: 1500, accelerated: 1, ownIpv4: 0, ownIpv6: 0 }));
  const outer = way.mode === "GENEVE" ? { outer: parseIp(way.outer6 ? "fd00:b::ff01" : "172.16.255.1") } : {};
  await writeBackends(backendMaps(map), backends.map((number) => [number, { address: addressOf(number), port: 80, mode: way.mode, ...outer }]), async () => {});
  using row = openSlotRow(createKernel(), map("hw_lb_slots"));
  const frontends = openFrontendTable(map("hw_lb_frontends"));
  const sources = openServiceSources(map("hw_lb_sources"), new Map());
  if (way.mode === "SNAT") {
    const pools = openPools(createKernel(), map("hw_lb_pools"), frontends);
    for (const number of backends) pools.take(number, { address: addressOf(number), port: 80, mode: "SNAT" });
    if (way.filled !== undefined) for (const number of backends) fillPool(map("hw_lb_pools"), number, way.filled);
  }
  const size = way.services > 1 && !way.shared ? 1021 : 65537;
  let range: SlotRange | undefined;
  for (let service = 0; service < way.services; service++) {
    if (range === undefined || !way.shared) {
      const slots = slotsOf(way, size, service);
      range = row.allocate(size, slots.plain === undefined ? LbForm.FULL : Math.min(way.backends, way.each) > 4 ? LbForm.SHORT : LbForm.LISTED);
      row.write(range, slots);
    }
    const plan = { number: service + 1, family: way.family, sources: { allow: null, deny: Array.from({ length: way.asks.sources ?? 0 }, (_, i) => deniedOf(way, i)) } };
    if (!sources.reserve(plan)) throw new Error("no lines are left for the services' sources");
    const { first, depth } = sources.take(plan);
    const flags = way.asks.affinity === true ? LbServiceFlags.AFFINITY : 0;
    map("hw_lb_services").set(u32.encode(service + 1), lbServiceCodec.encode({ table: range.first, slots: formedSlots(range), sources: first, depth, flags, affinity: 60 }));
    // Addresses that are not asked for stand beside the one that is no service's.
    const number = service + (way.stranger ? 40_000 : 0);
    const address = parseIp(way.family === 4 ? `198.${18 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}` : `fd00:5::${number.toString(16)}`);
    frontends.set({ address, port: 80, protocol: 6, service: service + 1, number: 1, shared: false, ...(Object.keys(way.asks).length === 0 ? { table: range } : {}) });
    frontends.set({ address, port: 0, protocol: 0, service: service + 1, number: 0, shared: false });
  }
}

/** Flows that go on, of nobody who comes here, on a share of the pool's ports. */
function fillPool(pools: KernelMap, pool: number, share: number): void {
  const id = pools.get(u32.encode(pool));
  if (id === undefined) throw new Error(`no pool ${pool}`);
  using blocks = createKernel().openMapById(u32.decode(id));
  const flags = LbTranslatedFlags.USED | LbTranslatedFlags.WENT_ON;
  const expires = (jiffiesClock(config.hz)() + 3600 * config.hz) >>> 0;
  const taken = { client: parseIp("192.168.0.1"), port: 1, frontend: 9, expires, flags, reference: 0 };
  const free = { client: null, port: 0, frontend: 0, expires: 0, flags: 0, reference: 0 };
  let seed = pool;
  const random = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  blocks.setBatch(Array.from({ length: blocks.info.maxEntries }, (_, block) => [
    u32.encode(block),
    lbPoolBlockCodec.encode({ ports: Array.from({ length: 8 }, () => (random() < share ? taken : free)) }),
  ] as const));
}

/** Every other network of 256 addresses of IPv4, of 2^64 of IPv6, none of which anybody comes from. */
function deniedOf({ family }: Way, i: number): Cidr {
  return parseCidr(family === 4 ? `${172 + (i >> 15)}.${(i >> 7) & 255}.${(2 * i) & 255}.0/24` : `2001:db8:${(i >> 8).toString(16)}:${(2 * i).toString(16)}::/64`);
}

function slotsOf(way: Way, size: number, service: number): Slots {
  const between = new Map<number, readonly number[]>();
  // A service has few of many backends.
  const currentOf = (slot: number): number => 1 + (((slot * 7919) % Math.min(way.backends, way.each) + service) % way.backends);
  if (way.changed === 0) return { size, plain: Uint16Array.from({ length: size }, (_, slot) => currentOf(slot)), between };
  const words = new Uint32Array(2 * size);
  for (let slot = 0; slot < size; slot++) {
    const current = currentOf(slot);
    const changed = slot % 1000 < way.changed * 1000;
    words[2 * slot] = current | ((changed ? 1 + (current % way.backends) : 0) << 16);
    words[2 * slot + 1] = changed ? 1 : 0;
  }
  return { size, words, between };
}

function verdictsOf(maps: ReadonlyMap<string, KernelMap>): Readonly<Record<string, number>> {
  const names = ["aborted", "drop", "pass", "tx", "redirect"];
  const sums: Record<string, number> = {};
  for (const [, value] of maps.get("harness_states")?.entries() ?? []) {
    for (const state of Array.from({ length: value.length / 72 }, (_, cpu) => new DataView(value.buffer, value.byteOffset + 72 * cpu, 72))) {
      names.forEach((name, i) => { sums[name] = (sums[name] ?? 0) + Number(state.getBigUint64(8 + 8 * i, true)); });
    }
  }
  return sums;
}

function makeUplink(): number {
  for (const line of [
    "link add wan0 address 02:00:00:00:00:01 type veth peer name lan0", "link set wan0 up", "link set lan0 up", "address add 192.0.2.1/24 dev wan0",
    "-6 address add 2001:db8::1/64 dev wan0 nodad", "route add default via 192.0.2.254", "-6 route add default via 2001:db8::fe",
    "neighbour add 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0 nud permanent", "-6 neighbour add 2001:db8::fe lladdr 02:00:00:00:00:fe dev wan0 nud permanent",
  ]) run(`ip ${line}`);
  for (const family of ["ipv4", "ipv6"]) writeFileSync(`/proc/sys/net/${family}/conf/wan0/forwarding`, "1");
  return (JSON.parse(run("ip -j link show wan0")) as readonly { readonly ifindex: number }[])[0]?.ifindex ?? 0;
}
