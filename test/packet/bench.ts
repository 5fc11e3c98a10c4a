// One program, one packet, one verdict: the datapath's programs in a namespace of their own, with a small world written in their maps.
//
//   network 1 (10.44.0.0/24, fd44::/64)   a .2   b .3   gateway .1     masqueraded
//   network 2 (10.44.1.0/24, IPv4 only)   c .2          gateway .1     masqueraded
//   network 3 (10.44.2.0/24)              d .2          gateway .1     internal
//   network 4 (10.44.3.0/24)              e .2   f .3   gateway .1     no ICC, not masqueraded
//   guests    (10.88.0.0/24, fd88::/64)   g .2   h .3                  of somebody else's bridge
//   host      192.0.2.1, 2001:db8::1 on the uplink wan0; 203.0.113.0/24 by vpn0, which is no uplink
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ip, u32 } from "../../src/abi/codec.ts";
import {
  backendCodec, ct4Codec, ct4KeyCodec, endpointCodec, frontendKeyCodec, HostAddressFlags, hostAddressCodec, lbHeldCodec, lbClosedCodec, lbHeldKeyCodec, lbHeldStateNames, lbPlaceCodec, lbRivalCodec, NetworkFlags, memberCodec, NameLayout, nameScopeCodec, networkCodec, NodeFlags, nodeCodec, remoteCodec, sliceCodec, uplinkCodec, uplinkMacCodec,
} from "../../src/abi/generated.ts";
import type { Config, Ct4, Ct4Key, Event } from "../../src/abi/generated.ts";
import type { BackendEntry } from "../../src/datapath/lb-backends.ts";
import { hashOfAddress } from "../../src/datapath/lb-hash.ts";
import type { FrontendAddress } from "../../src/datapath/lb-hash.ts";
import type { SlotEntry, SourceLists } from "./lb/tables.ts";
import type { PolicyTables } from "../../src/policy/types.ts";
import { addressOf, lastOf, lengthOf, parseCidr, parseIp, parseMac } from "../../src/std/ip.ts";
import type { Ip, Mac } from "../../src/std/ip.ts";
import { asker } from "./asker.ts";
import type { Request, RunReply } from "./bench-host.ts";
import { describe, frame } from "./packets.ts";
import { tablesOf } from "./policy-tables.ts";
import type { Packet } from "./packets.ts";

export interface Container {
  readonly device: string;
  /** 0: a guest's. */
  readonly network: number;
  readonly identity: number;
  readonly ipv4: Ip;
  readonly ipv6: Ip | null;
  readonly mac: Mac;
}

function container(device: string, network: number, host: number, ipv6: string | null): Container {
  const ipv4 = parseIp(network === 0 ? `10.88.0.${host}` : `10.44.${network - 1}.${host}`);
  return { device, network, identity: 10 * network + host, ipv4, ipv6: ipv6 === null ? null : parseIp(ipv6), mac: parseMac(`02:42:0a:2c:0${network}:0${host}`) };
}

export const hostMac = "02:48:57:00:00:01";
const wireMac = "02:00:00:00:00:fe";
export const a = container("hwa", 1, 2, "fd44::2");
export const b = container("hwb", 1, 3, "fd44::3");
export const c = container("hwc", 2, 2, null);
export const d = container("hwd", 3, 2, null);
export const e = container("hwe", 4, 2, null);
export const f = container("hwf", 4, 3, null);
export const g = container("guest1", 0, 2, "fd88::2");
export const h = container("guest2", 0, 3, "fd88::3");
export const containers = [a, b, c, d, e, f, g, h];

const networks = [
  { number: 1, gateway6: "fd44::1", flags: NetworkFlags.MASQUERADE | NetworkFlags.IPV6 },
  { number: 2, gateway6: null, flags: NetworkFlags.MASQUERADE },
  { number: 3, gateway6: null, flags: NetworkFlags.INTERNAL | NetworkFlags.MASQUERADE },
  { number: 4, gateway6: null, flags: NetworkFlags.NO_ICC },
];

/** `verdict`: pass, redirect, `handed over` as copies, `drop REASON`, or `answered REASON`: dropped, and told to its sender. `packet`: as it left, in one line. */
export interface Row {
  readonly verdict: string;
  readonly packet: string;
}

export interface Ran {
  readonly verdict: number;
  readonly data: Uint8Array;
}

export interface Bench extends AsyncDisposable {
  /** From a container, out of its veth. Default MACs: its own to the host's. */
  fromContainer(from: Container, packet: Packet, options?: { readonly source?: string; readonly destination?: string; readonly gsoSize?: number }): Promise<Row>;
  /** From the host's stack, into a container's veth. */
  toContainer(to: Container, packet: Packet, options?: { readonly mark?: number }): Promise<Row>;
  /** From the host's stack, out of hwhost. */
  fromHost(packet: Packet): Promise<Row>;
  /** From the wire, into the uplink. */
  fromUplink(packet: Packet, options?: { readonly source?: string; readonly destination?: string }): Promise<Row>;
  /** The same: the kernel's verdict, and the frame as it left. */
  raw(packet: Packet): Promise<Ran>;
  /** The same, so many times one after the other. */
  rawTimes(packet: Packet, times: number): Promise<readonly Ran[]>;
  /** From a guest, out of its veth, and into it. */
  fromGuest(from: Container, packet: Packet): Promise<Row>;
  toGuest(to: Container, packet: Packet): Promise<Row>;
  /** What is in force from now on; at first nothing is refused, and nobody covered. */
  policy(tables: PolicyTables): Promise<void>;
  /** Every flow is judged again. */
  touchPolicy(): Promise<void>;
  /** 0: its labels are not known. */
  setIdentity(of: Container, identity: number): Promise<void>;
  /** The next so many packets that were told of. */
  events(count: number): Promise<readonly Event[]>;
  /** Any frame into any program. */
  send(program: string, device: string, bytes: Uint8Array, gsoSize?: number): Promise<Row>;
  /** Loads the programs of another object. */
  addObject(path: string): Promise<void>;
  /** Nanoseconds of each of so many runs of a program. */
  time(program: string, device: string, bytes: Uint8Array, runs: number): Promise<readonly number[]>;
  /** So many packets out of a container, told apart by the 32-bit number, counted from `first`, at byte `at` of the frame: nanoseconds of each. */
  flood(from: Container, packet: Packet, place: { readonly at: number; readonly first: number; readonly count: number }): Promise<readonly number[]>;
  /** How many packets left by each container's host end since this was last asked, as `hwa hwb×2`. */
  copies(): Promise<string>;
  /** From a container, one after the other: the kernel's verdict, and the frame as it left. */
  each(from: Container, packets: readonly Packet[]): Promise<readonly Ran[]>;
  /** All names of other nodes' containers from now on, `NUMBER/name` → addresses; returns what cannot be asked for. */
  names(names: Readonly<Record<string, readonly string[]>>): Promise<readonly string[]>;
  /** The other networks of its container. */
  alsoOn(container: Container, networks: readonly number[]): Promise<void>;
  /** They are one container, each its place on a network. */
  areOne(places: readonly Container[]): Promise<void>;
  /** Drops that were counted but not told. */
  lost(): Promise<number>;
  /** Opens a socket of a host program, for good. */
  listen(proto: "tcp" | "udp", port: number): Promise<void>;
  /** Another node with one address, its containers, and one identity for all of them. `slice`: its IPv4 one. */
  otherNode(node: { readonly number?: number; readonly address: string; readonly containers: readonly string[]; readonly identity: number; readonly network: number; readonly slice?: string; readonly isStatic?: boolean }): Promise<void>;
  /** It is struck out. */
  nodeGone(number: number): Promise<void>;
  /** addr null: every IPv6 address. */
  publish(addr: string | null, port: number, proto: number, to: string, toPort: number): Promise<void>;
  /** A service of one frontend and one backend; `number` is both's. `slot`, its only one: left out, settled on that backend. `flags`: of the service. */
  service(number: number, frontend: FrontendAddress, backend: BackendEntry, more?: { readonly empty?: boolean; readonly slot?: SlotEntry; readonly flags?: number; readonly sources?: SourceLists; readonly shared?: boolean }): Promise<void>;
  /** The backend takes nothing new of the service any more. */
  close(service: number, backend: number): Promise<void>;
  /** Where a backend is, and its outer packets go, while the rest of it is what it was. */
  place(number: number, address: string, outer: string): Promise<void>;
  /** Another backend. */
  backend(number: number, backend: BackendEntry): Promise<void>;
  setMtu(of: Container, mtu: number): Promise<void>;
  /** On the uplink, told as `mac`; certain `until`, in seconds since boot, left out: for good; null: no longer held. */
  hold(address: string, mac: string, until?: number | null, state?: number): Promise<void>;
  /** What stands of it there, `MAC STATE`. */
  held(address: string): Promise<string>;
  /** Another uplink of the node's has it. */
  uplinkMac(mac: string): Promise<void>;
  /** Who said on the uplink that he has an address that was certainly held, `ADDRESS MAC TIMES`. */
  rivals(): Promise<readonly string[]>;
  /** Every IPv4 conntrack entry. */
  flows(): Promise<readonly (readonly [Ct4Key, Ct4])[]>;
  /** Makes every IPv4 conntrack entry expired: jiffies to go back, default 2^30. */
  age(by?: number): Promise<void>;
  /** Forgets every flow and fragment. */
  forget(): Promise<void>;
  deleteFlow(key: Ct4Key): Promise<void>;
}

/** `policy` "none": no tables were ever written. */
export async function openBench(config: Partial<Config> = {}, { policy = "open" }: { readonly policy?: "open" | "none" } = {}): Promise<Bench> {
  const host = spawn("unshare", ["--net", process.execPath, fileURLToPath(new URL("bench-host.ts", import.meta.url))], {
    stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced",
  });
  const ask = asker<Request>(host);
  const ifindexes = (await ask({ op: "load", devices: containers.map(({ device }) => device), config })) as ReadonlyMap<string, number>;
  const set = (map: string, key: Uint8Array, value: Uint8Array): Promise<unknown> => ask({ op: "set", map, key, value });
  const entries = async (map: string): Promise<readonly (readonly [Uint8Array, Uint8Array])[]> =>
    (await ask({ op: "entries", map })) as readonly (readonly [Uint8Array, Uint8Array])[];
  await fill(set, ifindexes);
  if (policy === "open") await ask({ op: "policy", tables: tablesOf(containers) });

  const send = async (program: string, device: string, data: Uint8Array, gsoSize = 0, mark = 0): Promise<Row> => {
    const reply = (await ask({ op: "run", program, device, data, gsoSize, mark })) as RunReply;
    return { verdict: verdictOf(reply), packet: describe(reply.data) };
  };
  const devices = containers.map(({ device }) => device);
  let sent: readonly number[] = devices.map(() => 0);
  const copies = async (): Promise<string> => {
    const before = sent;
    sent = (await ask({ op: "sent", devices })) as readonly number[];
    const times = sent.map((count, i) => count - (before[i] ?? 0));
    return devices.flatMap((device, i) => (times[i] ? [times[i] === 1 ? device : `${device}×${times[i]}`] : [])).join(" ");
  };
  await copies();
  const rawTimes = async (packet: Packet, times: number): Promise<readonly Ran[]> =>
    (await ask({ op: "each", program: "netdev", device: "wan0", frames: Array.from({ length: times }, () => frame(wireMac, "02:00:00:00:00:01", packet)) })) as readonly Ran[];
  return {
    send,
    copies,
    fromContainer: (from, packet, { source = from.mac, destination = hostMac, gsoSize = 0 } = {}) =>
      send("from_container", from.device, frame(source, destination, packet), gsoSize),
    toContainer: (to, packet, { mark = 0 } = {}) => send("to_container", to.device, frame(hostMac, hostMac, packet), 0, mark),
    fromHost: (packet) => send("from_host", "hwhost", frame(hostMac, hostMac, packet)),
    fromGuest: (from, packet) => send("from_guest", from.device, frame(from.mac, wireMac, packet)),
    toGuest: (to, packet) => send("to_guest", to.device, frame(wireMac, to.mac, packet)),
    policy: async (tables) => { await ask({ op: "policy", tables }); },
    touchPolicy: async () => { await ask({ op: "touch" }); },
    setIdentity: (of, identity) => writeEndpoint(set, ifindexes, { ...of, identity }, 1500),
    events: async (count) => (await ask({ op: "events", count })) as readonly Event[],
    fromUplink: (packet, { source = wireMac, destination = "02:00:00:00:00:01" } = {}) => send("netdev", "wan0", frame(source, destination, packet)),
    raw: async (packet) => {
      const [ran] = await rawTimes(packet, 1);
      if (ran === undefined) throw new Error("nothing was run");
      return ran;
    },
    rawTimes,
    addObject: async (path) => { await ask({ op: "object", path }); },
    time: async (program, device, data, runs) => (await ask({ op: "time", program, device, data, runs })) as readonly number[],
    flood: async (from, packet, place) => (await ask({ op: "flood", program: "from_container", device: from.device, data: frame(from.mac, hostMac, packet), ...place })) as readonly number[],
    each: async (from, packets) => (await ask({ op: "each", program: "from_container", device: from.device, frames: packets.map((packet) => frame(from.mac, hostMac, packet)) })) as readonly Ran[],
    names: async (names) => (await ask({ op: "names", names: new Map(Object.entries(names).map(([key, ips]) => [key, ips.map((one) => parseIp(one))])) })) as readonly string[],
    alsoOn: async (of, others) => {
      await set("hw_name_scopes", u32.encode(ifindexes.get(of.device) ?? 0), nameScopeCodec.encode({ networks: Array.from({ length: NameLayout.SCOPES }, (_, i) => others[i] ?? 0) }));
    },
    areOne: async (places) => {
      for (const { device } of places) await set("hw_containers", u32.encode(ifindexes.get(device) ?? 0), u32.encode(ifindexes.get(places[0]?.device ?? "") ?? 0));
    },
    lost: async () => (await ask({ op: "lost" })) as number,
    listen: async (proto, port) => { await ask({ op: "listen", proto, port }); },
    otherNode: async ({ number = 1, address, containers: theirs, identity, network, slice, isStatic = false }) => {
      await set("hw_nodes", u32.encode(number), nodeCodec.encode({ address: parseIp(address), mtu: 1450, flags: isStatic ? NodeFlags.STATIC : 0 }));
      await set("hw_peers", ip.encode(parseIp(address)), u32.encode(number));
      if (address.includes(":")) await set("hw_balancers", u32.encode(hashOfAddress(parseIp(address))), u32.encode(number));
      for (const each of theirs) await set("hw_remotes", ip.encode(parseIp(each)), remoteCodec.encode({ node: number, identity, network }));
      const cidr = slice === undefined ? undefined : parseCidr(slice);
      if (cidr !== undefined) await set("hw_slices", sliceCodec.encode({ length: 96 + lengthOf(cidr), addr: addressOf(cidr) }), u32.encode(number));
    },
    nodeGone: async (number) => { await ask({ op: "delete", map: "hw_nodes", key: u32.encode(number) }); },
    publish: async (addr, port, proto, to, toPort) => {
      await set(
        "hw_frontends",
        frontendKeyCodec.encode({ addr: addr === null ? null : parseIp(addr), port, proto }),
        backendCodec.encode({ addr: parseIp(to), port: toPort, network: containers.find(({ ipv4, ipv6 }) => ipv4 === to || ipv6 === to)?.network ?? 0 }),
      );
    },
    hold: async (address, mac, until = 0xffffffff, state = 0) => {
      const key = lbHeldKeyCodec.encode({ addr: parseIp(address), ifindex: ifindexes.get("wan0") ?? 0 });
      if (until === null) await ask({ op: "delete", map: "hw_lb_held", key });
      else await set("hw_lb_held", key, lbHeldCodec.encode({ mac: parseMac(mac), state, until }));
    },
    held: async (address) => {
      const found = (await entries("hw_lb_held")).find(([key]) => lbHeldKeyCodec.decode(key).addr === address);
      if (found === undefined) return "";
      const { mac, state } = lbHeldCodec.decode(found[1]);
      return `${mac} ${lbHeldStateNames[state]}`;
    },
    uplinkMac: async (mac) => { await set("hw_uplink_macs", uplinkMacCodec.encode({ mac: parseMac(mac) }), u32.encode(1)); },
    place: async (number, address, outer) => { await set("hw_lb_places", u32.encode(number), lbPlaceCodec.encode({ address: parseIp(address), outer: parseIp(outer) })); },
    rivals: async () => (await entries("hw_lb_rivals")).map(([key, value]) => {
      const { mac, frames } = lbRivalCodec.decode(value);
      return `${lbHeldKeyCodec.decode(key).addr} ${mac} ${frames}`;
    }),
    close: async (service, backend) => { await set("hw_lb_closed", lbClosedCodec.encode({ service, backend }), u32.encode(1)); },
    backend: async (number, backend) => { await ask({ op: "backend", number, backend }); },
    service: async (number, frontend, backend, { empty = false, slot = { current: number }, flags = 0, sources = {}, shared = false } = {}) => {
      await ask({ op: "service", service: { number, slots: empty ? [] : [slot], flags, affinity: 60, sources }, frontend: { ...frontend, service: number, number, shared }, backend });
    },
    setMtu: (of, mtu) => writeEndpoint(set, ifindexes, of, mtu),
    flows: async () => (await entries("hw_ct4")).map(([key, value]) => [ct4KeyCodec.decode(key), ct4Codec.decode(value)] as const),
    age: async (by = 2 ** 30) => {
      for (const [key, value] of await entries("hw_ct4")) {
        const entry = ct4Codec.decode(value);
        await set("hw_ct4", key, ct4Codec.encode({ ...entry, expires: (entry.expires - by) >>> 0 }));
      }
    },
    forget: async () => {
      for (const map of ["hw_ct4", "hw_ct6", "hw_fragments"]) for (const [key] of await entries(map)) await ask({ op: "delete", map, key });
    },
    deleteFlow: async (key) => { await ask({ op: "delete", map: "hw_ct4", key: ct4KeyCodec.encode(key) }); },
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => host.once("exit", resolve));
      host.disconnect();
      await ended;
    },
  };
}

/** Every run counts exactly once, unless the host's own packet passes untouched. */
function verdictOf({ verdict, counted }: RunReply): string {
  const [first, ...more] = counted;
  if (more.length > 0) return `counted twice: ${counted.join(", ")}`;
  const reason = first?.split(" ")[1];
  switch (verdict) {
    case -1: return reason === undefined ? "pass untouched" : reason === "FORWARDED" ? "pass" : `pass, but counted as ${reason}`;
    case 2: return reason === undefined ? "drop, not counted" : reason === "FORWARDED" ? "handed over" : `drop ${reason}`;
    case 7: return reason === "FORWARDED" ? "redirect" : `answered ${reason}`;
    default: return `verdict ${verdict}`;
  }
}

type Set = (map: string, key: Uint8Array, value: Uint8Array) => Promise<unknown>;

async function fill(set: Set, ifindexes: ReadonlyMap<string, number>): Promise<void> {
  for (const each of containers) await writeEndpoint(set, ifindexes, each, 1500);
  for (const { number, gateway6, flags } of networks) {
    const gateway4 = parseIp(`10.44.${number - 1}.1`);
    await set("hw_networks", u32.encode(number), networkCodec.encode({ gateway4, gateway6: gateway6 as Ip | null, snat4: null, snat6: null, flags, broadcast4: Number(lastOf(parseCidr(`10.44.${number - 1}.0/24`))), key: 0 }));
    for (const address of [gateway4, ...(gateway6 === null ? [] : [parseIp(gateway6)])]) {
      await set("hw_host_addrs", ip.encode(address), hostAddressCodec.encode({ flags: HostAddressFlags.GATEWAY, network: number }));
    }
  }
  for (const address of ["192.0.2.1", "2001:db8::1"]) {
    await set("hw_host_addrs", ip.encode(parseIp(address)), hostAddressCodec.encode({ flags: HostAddressFlags.LOCAL, network: 0 }));
  }
  await set("hw_uplinks", u32.encode(ifindexes.get("wan0") ?? 0), uplinkCodec.encode({ ipv4: parseIp("192.0.2.1"), ipv6: parseIp("2001:db8::1"), mtu: 1500, accelerated: 1, ownIpv4: 0, ownIpv6: 0 }));
}

async function writeEndpoint(set: Set, ifindexes: ReadonlyMap<string, number>, { device, network, identity, ipv4, ipv6, mac }: Container, mtu: number): Promise<void> {
  const ifindex = ifindexes.get(device) ?? 0;
  const flags = networks.find(({ number }) => number === network)?.flags ?? NetworkFlags.GUEST;
  const value = endpointCodec.encode({ ifindex, network, identity, mtu, ipv4, ipv6, mac, flags });
  await set("hw_endpoints", u32.encode(ifindex), value);
  if (network !== 0) await set("hw_members", memberCodec.encode({ network, slot: containers.findIndex((one) => one.device === device) }), u32.encode(ifindex));
  for (const address of [ipv4, ipv6]) if (address !== null) await set("hw_addresses", ip.encode(address), value);
}
