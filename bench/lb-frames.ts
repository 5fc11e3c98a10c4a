// Frames on a wire, through what balances them, on one core: a program sends them (BPF_PROG_TEST_RUN with live frames), veth carries them, and
// a program at the other end takes them and says what they were (bench/lb-frames.bpf.c). Sender, balancer and taker share the core, so rows differ by what
// stands between. Rounds take every row in turn; a ratio is that of one round to bare XDP_TX's in it.
//
//   gen0 ══ dut0: the row's program or rules ▸ back to gen0 (XDP_TX), or ▸ dut1 ══ sink0 (the kernel)
//
// Options: --rounds N (9), --packets N (1000000) a row, fewer of slow ones, --only TEXT. It prints ns for a frame and writes build/bench/lb-frames.json.
// It needs what `make` built, and nft, iptables, conntrack and ethtool.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism, constants, release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { u32 } from "../src/abi/codec.ts";
import { configCodec, uplinkCodec } from "../src/abi/generated.ts";
import { createKernel, KernelError } from "../src/kernel/index.ts";
import type { KernelMap, KernelObject, KernelProgram } from "../src/kernel/types.ts";
import { parseIp, parseMac } from "../src/std/ip.ts";
import { frame, ip, protocols, tcp } from "../test/packet/packets.ts";
import { openLbTables } from "../test/packet/lb/tables.ts";
import { inPrivateHost, needs, root, run } from "./run.ts";
import { shown, summary, table } from "./summary.ts";

interface Row {
  readonly name: string;
  /** A power of two; 0: each frame is a flow's first. */
  readonly flows: number;
  /** Frames of one round, as a share of --packets. */
  readonly share: number;
  /** As the sink saw them: the outer protocol, and 256 when they go to the service's own address. */
  readonly kind: number;
  /** Puts it between, until it is disposed of. */
  readonly install: () => Disposable;
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "9" }, packets: { type: "string", default: "1000000" }, only: { type: "string", default: "" } } });
const service = "198.18.0.1";
const [dutMac, genMac, sinkMac] = ["02:00:00:00:00:01", "02:00:00:00:00:fe", "02:00:00:00:00:ff"];
const folder = join(root, "build/bench");
const kernel = createKernel();
const base = "bare XDP_TX";
const addressed = 256;
const backends = 100;

await inPrivateHost(import.meta.url, async () => {
  needs({ nft: "nftables", iptables: "iptables", conntrack: "conntrack", ethtool: "ethtool" });
  mkdirSync(folder, { recursive: true });
  run(`taskset -acp ${availableParallelism() - 1} ${process.pid}`);
  const indexes = makeWires();
  using stack = new DisposableStack();
  const ends = stack.use(await loadEnds(indexes.gen0, 1, "A"));
  const maps = { reuse: ends.maps };
  const generators = new Map<number, KernelProgram>();
  for (const [flows, flags] of [[1, "A"], [1024, "A"], [2 ** 17, "A"], [0, "S"]] as const) {
    const { programs } = stack.use(await loadEnds(indexes.gen0, flows, flags, maps));
    generators.set(flows, programOf(programs, "generate"));
  }
  for (const device of [indexes.gen0, indexes.sink0]) stack.use(kernel.attachXdp(programOf(ends.programs, "sink"), device, "native"));
  const attached = (program: KernelProgram) => (): Disposable => kernel.attachXdp(program, indexes.dut0, "native");
  const [ipip, geneve] = [stack.use(await balancer("IPIP", indexes.dut0)), stack.use(await balancer("GENEVE", indexes.dut0))].map(({ programs }) => attached(programOf(programs, "xdp_lb")));
  if (ipip === undefined || geneve === undefined) throw new Error("no balancer");
  const turn = attached(programOf(ends.programs, "turn"));
  fillProbe(ends.maps);
  const probe = attached(programOf(ends.programs, "probe"));
  const ways = [["1 flow", 1], ["1k flows", 1024], ["100k flows", 2 ** 17], ["new flows", 0]] as const;
  const rows: readonly Row[] = ([
    { name: base, flows: 1, share: 1, kind: protocols.tcp | addressed, install: turn },
    { name: "bare XDP_DROP", flows: 1, share: 1, kind: protocols.tcp | addressed, install: attached(programOf(ends.programs, "sink")) },
    { name: "bare IPIP, one backend", flows: 1, share: 1, kind: protocols.ipip, install: attached(programOf(ends.programs, "wrap")) },
    ...ways.map(([what, flows]) => ({ name: `the least balancer, IPIP, ${what}`, flows, share: 1, kind: protocols.ipip, install: probe })),
    ...ways.map(([what, flows]) => ({ name: `Hawser IPIP, ${what}`, flows, share: 1, kind: protocols.ipip, install: ipip })),
    ...([["1 flow", 1], ["100k flows", 2 ** 17]] as const).map(([what, flows]) => ({ name: `Hawser Geneve, ${what}`, flows, share: 1, kind: protocols.udp, install: geneve })),
    { name: "kernel forwarding, 1k flows", flows: 1024, share: 0.4, kind: protocols.tcp | addressed, install: () => ({ [Symbol.dispose]: () => {} }) },
    { name: "nft DNAT, 1k flows", flows: 1024, share: 0.2, kind: protocols.tcp, install: nftDnat },
    { name: "nft DNAT, new flows", flows: 0, share: 0.1, kind: protocols.tcp, install: nftDnat },
    { name: "iptables DNAT, 1k flows", flows: 1024, share: 0.2, kind: protocols.tcp, install: iptablesDnat },
    { name: "iptables DNAT, new flows", flows: 0, share: 0.1, kind: protocols.tcp, install: iptablesDnat },
  ] satisfies readonly Row[]).filter(({ name }) => name === base || name.includes(values.only));

  const taken = ends.maps.get("frames_taken");
  if (taken === undefined) throw new Error("the ends have no counters");
  const rounds = Array.from({ length: Number(values.rounds) }, () => new Map(rows.map((row) => [row.name, measure(row, generators, taken)])));
  const results = rows.map(({ name }) => {
    const of = (row: string): readonly number[] => rounds.map((round) => round.get(row) ?? lost(row));
    const bare = of(base);
    return { name, ns: of(name), ratios: of(name).map((ns, round) => (bare[round] ?? NaN) / ns) };
  });
  console.log(table([
    ["one core, frames of 60 bytes", "ns a frame", "best Mpps", `of ${base}`],
    ...results.map(({ name, ns, ratios }) => {
      const { median, lowest, highest } = summary(ratios);
      return [name, shown(summary(ns)), (1000 / Math.min(...ns)).toFixed(2), `${median.toFixed(2)} (${lowest.toFixed(2)}…${highest.toFixed(2)})`];
    }),
  ]));
  writeFileSync(join(folder, "lb-frames.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), packets: Number(values.packets), results }, null, 2)}\n`);
});

/** ns for each frame. */
function measure(row: Row, generators: ReadonlyMap<number, KernelProgram>, taken: KernelMap): number {
  const generator = generators.get(row.flows);
  if (generator === undefined) throw new Error(`nothing sends ${row.flows} flows`);
  using _between = row.install();
  // Flows that are no first ones are known before the clock runs.
  send(generator, row.flows === 0 ? 1024 : 4096 + 2 * row.flows, taken, row);
  return send(generator, Math.round(Number(values.packets) * row.share), taken, row);
}

/** @throws Error when frames are lost each time: who is fast because it drops is not */
function send(generator: KernelProgram, repeat: number, taken: KernelMap, { name, kind }: Row): number {
  let delivered = 0;
  for (let attempt = 0; attempt < 20; attempt++) {
    const before = countOf(taken, kind);
    try {
      const ns = generator.testRun({ data: frameOf("A"), repeat, live: true }).duration;
      delivered = (countOf(taken, kind) - before) / repeat;
      // When others want the core, a kernel thread may take over what is to be received, and the rings between run over.
      if (delivered >= 0.999 && delivered <= 1.001) return ns;
    } catch (error) {
      // The runtime's other threads interrupt it at times.
      if (!(error instanceof KernelError && error.errno === constants.errno.EINTR)) throw error;
    }
  }
  throw new Error(`${name}: ${(100 * delivered).toFixed(1)} % of the frames came through as they should`);
}

function countOf(taken: KernelMap, kind: number): number {
  const value = taken.get(u32.encode(kind));
  if (value === undefined) throw new Error(`no counter ${kind}`);
  return new BigUint64Array(value.buffer, value.byteOffset, value.length / 8).reduce((sum, each) => sum + Number(each), 0);
}

/** 60 bytes. */
function frameOf(flags: string): Uint8Array {
  return frame(genMac, dutMac, ip("10.0.0.0", service, tcp(1024, 80, flags, "hawser")));
}

async function loadEnds(gen: number, flows: number, flags: string, options: { readonly reuse?: ReadonlyMap<string, KernelMap> } = {}): Promise<KernelObject> {
  const object = join(folder, "lb-frames.bpf.o");
  run(`clang-16 -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -I${join(root, "bpf")} -I/usr/include/${run("gcc -print-multiarch").trim()} -c ${join(root, "bench/lb-frames.bpf.c")} -o ${object}`);
  return kernel.loadObject(object, { ...options, rodata: { frames_flows: u32.encode(flows), frames_ifindex: u32.encode(gen), frames_template: frameOf(flags) } });
}

/** One service of 100 backends, all beyond gen0. */
async function balancer(mode: "IPIP" | "GENEVE", uplink: number): Promise<KernelObject> {
  const config = {
    hostIfindex: uplink, hz: 250, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: 0, ipv6: 1, ephemeralLow: 32768, ephemeralHigh: 60999, setRetval: 0,
    hostNetnsCookie: 0n, agentPid: 0, publishedDeny: 0, unidentifiedAllow: 0, mark: 0, tunnelIfindex: 0, tunnelPort: 6081, probePort: 0, native: 0, tunnelHeader: 0x6558,
    services: 1, lbIpv4: 0xc0000201, lbIpv6: null, nodeIpv4: 0xc0000201, nodeIpv6: null, snatFirst: 0, snatPorts: 0,
  };
  const object = await kernel.loadObject(join(root, "build/bpf/xdp-lb.bpf.o"), { rodata: { hw_config: configCodec.encode(config) } });
  const mapOf = (name: string): KernelMap => object.maps.get(name) ?? lost(name);
  mapOf("hw_uplinks").set(u32.encode(uplink), uplinkCodec.encode({ ipv4: null, ipv6: null, mtu: 1500, accelerated: 1, ownIpv4: 0, ownIpv6: 0 }));
  const tables = openLbTables(kernel, mapOf, () => 0);
  for (let number = 1; number <= backends; number++) {
    tables.setBackend(number, { address: parseIp(`172.17.0.${number}`), port: 80, mode, ...(mode === "GENEVE" ? { outer: parseIp("172.17.1.1") } : {}) });
  }
  const table = tables.setService({ number: 1, slots: Array.from({ length: 65537 }, (_, slot) => ({ current: backendOf(slot) })), flags: 0, affinity: 0 });
  tables.frontends.set({ address: parseIp(service), port: 80, protocol: protocols.tcp, service: 1, number: 1, shared: false, table });
  tables.frontends.set({ address: parseIp(service), port: 0, protocol: 0, service: 1, number: 0, shared: false });
  return object;
}

/** The servers that `balancer` has. */
function fillProbe(maps: ReadonlyMap<string, KernelMap>): void {
  const mapOf = (name: string): KernelMap => maps.get(name) ?? lost(name);
  const [slots, servers] = [mapOf("frames_slots"), mapOf("frames_servers")];
  for (let number = 1; number <= backends; number++) servers.set(u32.encode(number), Uint8Array.from([172, 17, 0, number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
  for (let slot = 0; slot < slots.info.maxEntries; slot++) slots.set(u32.encode(slot), new Uint8Array(Uint32Array.of(backendOf(slot), 0).buffer));
}

/** Of a slot. */
function backendOf(slot: number): number {
  return 1 + ((slot * 7919) % backends);
}

function programOf(programs: ReadonlyMap<string, KernelProgram>, name: string): KernelProgram {
  return programs.get(name) ?? lost(name);
}

function lost(what: string): never {
  throw new Error(`there is no ${what}`);
}

function nftDnat(): Disposable {
  execFileSync("/usr/sbin/nft", ["-f", "-"], { input: `table ip lb { chain in { type nat hook prerouting priority dstnat; ip daddr ${service} tcp dport 80 dnat to 172.16.0.1-172.16.0.${backends}; }; }\n` });
  return { [Symbol.dispose]: () => { execFileSync("/usr/sbin/nft", ["delete", "table", "ip", "lb"]); forgetFlows(); } };
}

function iptablesDnat(): Disposable {
  const rule = `PREROUTING -d ${service} -p tcp --dport 80 -j DNAT --to-destination 172.16.0.1-172.16.0.${backends}`;
  run(`iptables -t nat -A ${rule}`);
  return { [Symbol.dispose]: () => { run(`iptables -t nat -D ${rule}`); forgetFlows(); } };
}

function forgetFlows(): void {
  execFileSync("conntrack", ["-F"], { stdio: "ignore" });
}

/** gen0 and sink0 are where frames come from and go to: they have no address. */
function makeWires(): Readonly<Record<"gen0" | "dut0" | "sink0", number>> {
  for (const line of [
    `link add dut0 address ${dutMac} numrxqueues 1 numtxqueues 1 type veth peer name gen0 address ${genMac} numrxqueues 1 numtxqueues 1`,
    `link add dut1 numrxqueues 1 numtxqueues 1 type veth peer name sink0 address ${sinkMac} numrxqueues 1 numtxqueues 1`,
    "link set gen0 up", "link set dut0 up", "link set dut1 up", "link set sink0 up",
    "address add 192.0.2.1/24 dev dut0", "address add 192.0.3.1/24 dev dut1",
    "route add default via 192.0.2.254", "route add 198.18.0.0/15 via 192.0.3.254", "route add 172.16.0.0/16 via 192.0.3.254",
    `neighbour add 192.0.2.254 lladdr ${genMac} dev dut0 nud permanent`, `neighbour add 192.0.3.254 lladdr ${sinkMac} dev dut1 nud permanent`,
  ]) run(`ip ${line}`);
  // Without it a veth has no NAPI, and takes no frames but packets.
  run("ethtool -K dut0 gro on");
  for (const name of ["all", "default", "dut0", "dut1"]) {
    writeFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, "1");
    writeFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, "0");
  }
  const links = JSON.parse(run("ip -j link show")) as readonly { readonly ifname: string; readonly ifindex: number }[];
  const index = (name: string): number => links.find(({ ifname }) => ifname === name)?.ifindex ?? lost(name);
  return { gen0: index("gen0"), dut0: index("dut0"), sink0: index("sink0") };
}
