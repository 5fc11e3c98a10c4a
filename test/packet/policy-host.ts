// Runs in a network namespace of its own: gives the programs one random world after another and tells what each packet met.
import { execFileSync } from "node:child_process";
import { readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ip, u32 } from "../../src/abi/codec.ts";
import {
  backendCodec, configCodec, endpointCodec, eventCodec, frontendKeyCodec, HostAddressFlags, hostAddressCodec, NetworkFlags, networkCodec, uplinkCodec,
} from "../../src/abi/generated.ts";
import type { Event } from "../../src/abi/generated.ts";
import { createPolicy } from "../../src/datapath/policy.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { KernelMap, KernelProgram } from "../../src/kernel/types.ts";
import type { PolicyTables } from "../../src/policy/types.ts";
import { parseIp, parseMac } from "../../src/std/ip.ts";
import type { Ip, Mac } from "../../src/std/ip.ts";
import { devices, gatewaysOf, guestDevices } from "./policy-place.ts";

export interface HostWorld {
  readonly betweenNetworks: boolean;
  readonly published: boolean;
  readonly untilIdentified: boolean;
  readonly networks: readonly { readonly number: number; readonly internal: boolean; readonly icc: boolean }[];
  readonly endpoints: readonly { readonly device: string; readonly network: number; readonly identity: number; readonly ipv4: Ip; readonly ipv6: Ip; readonly mac: Mac; readonly guest: boolean }[];
  /** Beyond the gateways. */
  readonly hostAddresses: readonly Ip[];
  readonly ports: readonly { readonly port: number; readonly protocol: number; readonly address: Ip; readonly to: number; readonly network: number }[];
  /** Installed one after another. */
  readonly tables: readonly PolicyTables[];
}

export interface HostPacket {
  readonly program: string;
  readonly device: string;
  readonly data: Uint8Array;
}

export interface HostRequest {
  readonly world: HostWorld;
  readonly packets: readonly HostPacket[];
}

/** What the program said, and what it told of; null: it told nothing. */
export interface HostAnswer {
  readonly verdict: number;
  readonly event: Event | null;
}

const kernel = createKernel();
const objects = join(import.meta.dirname, "../../build/bpf");
/** Offsets in struct __sk_buff. */
const [contextSize, ifindexAt] = [192, 40];
const policyMaps = new Map<string, KernelMap>();
const ifindexes = new Map<string, number>();
const loads = new Map<string, { readonly programs: ReadonlyMap<string, KernelProgram>; readonly budgets: readonly KernelMap[] }>();
const told: Event[] = [];
let written: (readonly [KernelMap, Uint8Array])[] = [];

if (process.send) {
  const ready = build();
  process.on("message", (request: HostRequest) => {
    void ready.then(() => answer(request)).then(
      (value) => process.send?.({ value }),
      (error: unknown) => process.send?.({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit());
}

function link(...args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "inherit"] });
}

async function build(): Promise<void> {
  if (readlinkSync("/proc/self/ns/net") === readlinkSync(`/proc/${process.ppid}/ns/net`)) throw new Error("this makes devices: start it in a network namespace of its own (unshare --net)");
  for (const what of ["all", "default"]) writeFileSync(`/proc/sys/net/ipv6/conf/${what}/accept_dad`, "0");
  for (const [name, address] of [["hwhost", ""], ["wan0", "02:00:00:00:00:01"], ...[...devices, ...guestDevices].map((device) => [device, ""])]) {
    link("link", "add", `${name}`, ...(address ? ["address", address] : []), "type", "veth", "peer", "name", `${name}p`);
    for (const device of [`${name}`, `${name}p`]) link("link", "set", device, "up");
  }
  for (const family of ["ipv4", "ipv6"]) writeFileSync(`/proc/sys/net/${family}/conf/hwhost/forwarding`, "1");
  for (const address of ["192.0.2.1/24", "2001:db8::1/64"]) link("address", "add", address, "dev", "wan0");
  link("route", "add", "default", "via", "192.0.2.254");
  link("-6", "route", "add", "default", "via", "2001:db8::fe");
  const links = JSON.parse(execFileSync("ip", ["-j", "link"], { encoding: "utf8" })) as readonly { readonly ifname: string; readonly ifindex: number }[];
  for (const { ifname, ifindex } of links) ifindexes.set(ifname, ifindex);
  await programsFor({ betweenNetworks: false, published: true, untilIdentified: false });
  mapOf("hw_uplinks").set(u32.encode(indexOf("wan0")), uplinkCodec.encode({ ipv4: parseIp("192.0.2.1"), ipv6: parseIp("2001:db8::1"), mtu: 1500, accelerated: 1, ownIpv4: 0, ownIpv6: 0 }));
}

/** One set of programs for each configuration, all on the same maps. */
async function programsFor({ betweenNetworks, published, untilIdentified }: Pick<HostWorld, "betweenNetworks" | "published" | "untilIdentified">): Promise<NonNullable<ReturnType<typeof loads.get>>> {
  const name = `${betweenNetworks} ${published} ${untilIdentified}`;
  const known = loads.get(name);
  if (known !== undefined) return known;
  const rodata = {
    hw_config: configCodec.encode({
      hostIfindex: indexOf("hwhost"), hz: 250, hostMac: parseMac("02:48:57:00:00:01"), betweenNetworks: Number(betweenNetworks), ipv6: 1, ephemeralLow: 32768,
      ephemeralHigh: 60999, setRetval: 0, hostNetnsCookie: 0n, agentPid: 0, publishedDeny: Number(!published), mark: 0, tunnelIfindex: 0, tunnelPort: 0, tunnelHeader: 0, services: 0, lbIpv4: 0, lbIpv6: null, nodeIpv4: 0, nodeIpv6: null, snatFirst: 0, snatPorts: 0, probePort: 0, native: 0, unidentifiedAllow: Number(untilIdentified),
    }),
  };
  const programs = new Map<string, KernelProgram>();
  const budgets: KernelMap[] = [];
  for (const object of ["from-container", "to-container", "netdev", "from-guest", "to-guest"]) {
    const loaded = await kernel.loadObject(join(objects, `${object}.bpf.o`), { rodata, reuse: policyMaps });
    for (const [name, map] of loaded.maps) {
      if (name.startsWith("hw_")) policyMaps.set(name, map);
      if (name === "events_budgets") budgets.push(map);
    }
    for (const [name, program] of loaded.programs) programs.set(name, program);
  }
  const loading = { programs, budgets };
  loads.set(name, loading);
  return loading;
}

let policy: ReturnType<typeof createPolicy> | undefined;
let ring: Disposable | undefined;

async function answer({ world, packets }: HostRequest): Promise<readonly HostAnswer[]> {
  const { programs, budgets } = await programsFor(world);
  policy ??= createPolicy(kernel, policyMaps);
  ring ??= kernel.openRing(mapOf("hw_events"), (record) => { told.push(eventCodec.decode(record)); });
  enter(world);
  for (const tables of world.tables) policy.install(tables);
  // Each device may tell of so many packets in a second: a fresh second for each world.
  for (const map of budgets) for (const index of ifindexes.values()) map.delete(u32.encode(index));
  told.length = 0;
  const before = lost();
  const verdicts = packets.map(({ program, device, data }) => {
    const context = new Uint8Array(contextSize);
    new DataView(context.buffer).setUint32(ifindexAt, indexOf(device), true);
    const result = programs.get(program)?.testRun({ data, context });
    if (!result) throw new Error(`no program ${program}`);
    return result.verdict | 0;
  });
  const telling = packets.length;
  const late = Date.now() + 5000;
  while (told.length < telling) {
    if (Date.now() > late) throw new Error(`${told.length} of ${telling} packets were told of, ${lost() - before} events were lost; verdicts ${verdicts.join(" ")}`);
    await setImmediate();
  }
  return verdicts.map((verdict, i) => ({ verdict, event: told[i] ?? null }));
}

function enter(world: HostWorld): void {
  for (const [map, key] of written) map.delete(key);
  for (const name of ["hw_ct4", "hw_ct6"]) {
    const map = mapOf(name);
    map.deleteBatch([...map.entries()].map(([key]) => key));
  }
  written = [];
  const set = (name: string, key: Uint8Array, value: Uint8Array): void => {
    mapOf(name).set(key, value);
    written.push([mapOf(name), key]);
  };
  for (const { number, internal, icc } of world.networks) {
    const [gateway4, gateway6] = gatewaysOf(number);
    set("hw_networks", u32.encode(number), networkCodec.encode({ gateway4, gateway6, snat4: null, snat6: null, broadcast4: 0, key: 0, flags: flagsOf(internal, icc) }));
    for (const gateway of [gateway4, gateway6]) set("hw_host_addrs", ip.encode(gateway), hostAddressCodec.encode({ flags: HostAddressFlags.GATEWAY, network: number }));
  }
  for (const address of world.hostAddresses) set("hw_host_addrs", ip.encode(address), hostAddressCodec.encode({ flags: HostAddressFlags.LOCAL, network: 0 }));
  for (const { device, network, identity, ipv4, ipv6, mac, guest } of world.endpoints) {
    const of = world.networks.find(({ number }) => number === network);
    const flags = guest || of === undefined ? NetworkFlags.GUEST | NetworkFlags.IPV6 : flagsOf(of.internal, of.icc);
    const value = endpointCodec.encode({ ifindex: indexOf(device), network: guest ? 0 : network, identity, mtu: 1500, ipv4, ipv6, mac, flags });
    set("hw_endpoints", u32.encode(indexOf(device)), value);
    for (const address of [ipv4, ipv6]) set("hw_addresses", ip.encode(address), value);
  }
  for (const { port, protocol, address, to, network } of world.ports) {
    const every = parseIp(address.includes(":") ? "::" : "0.0.0.0");
    set("hw_frontends", frontendKeyCodec.encode({ addr: every, port, proto: protocol }), backendCodec.encode({ addr: address, port: to, network }));
  }
}

function flagsOf(internal: boolean, icc: boolean): number {
  return NetworkFlags.MASQUERADE | NetworkFlags.IPV6 | (internal ? NetworkFlags.INTERNAL : 0) | (icc ? 0 : NetworkFlags.NO_ICC);
}

function lost(): number {
  let packets = 0n;
  for (const [key, perCpu] of mapOf("hw_metrics").entries()) {
    if (new DataView(key.buffer, key.byteOffset).getUint32(0, true) % 128 !== 28) continue;
    const view = new DataView(perCpu.buffer, perCpu.byteOffset, perCpu.byteLength);
    for (let at = 0; at < perCpu.byteLength; at += 16) packets += view.getBigUint64(at, true);
  }
  return Number(packets);
}

function mapOf(name: string): KernelMap {
  const map = policyMaps.get(name);
  if (!map) throw new Error(`no map ${name}`);
  return map;
}

function indexOf(device: string): number {
  return ifindexes.get(device) ?? 0;
}
