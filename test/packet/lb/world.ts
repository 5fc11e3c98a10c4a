// The balancer before a small world, written in its maps: one frame in, one verdict and one frame out.
//
//   clients 198.51.100.7, 2001:db8:c::7 ▸ gateway ▸ wan0 of this host (192.0.2.1, 2001:db8::1)
//   web     203.0.113.10:80, [2001:db8:5::10]:80   TCP
//   names   203.0.113.10:53, [2001:db8:5::10]:53   UDP
//   backends: plain servers 172.16.1.N and 2001:db8:b::N; 172.16.3.N by wan1
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { decodePerCpu, u32 } from "../../../src/abi/codec.ts";
import { lbCountersCodec, LbElsewhereLayout, lbFlowsCodec, LbLayout, lbPoolStateCodec, lbServiceCodec } from "../../../src/abi/generated.ts";
import type { Config, LbFlow } from "../../../src/abi/generated.ts";
import type { BackendEntry } from "../../../src/datapath/lb-backends.ts";
import type { FrontendEntry } from "../../../src/datapath/lb-frontends.ts";
import { formedSlots } from "../../../src/datapath/lb-slots.ts";
import type { SlotRange } from "../../../src/datapath/lb-slots.ts";
import type { Elsewhere } from "../../../src/datapath/types.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { FrontendAddress } from "../../../src/datapath/lb-hash.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { asker } from "../asker.ts";
import { describe, frame, ip, protocols, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import type { Request, RunReply } from "./host.ts";
import type { SlotEntry, SourceLists } from "./tables.ts";

export const gateway = "02:00:00:00:00:fe";
export const uplink = "02:00:00:00:00:01";
export const client4 = "198.51.100.7";
export const client6 = "2001:db8:c::7";
export const web4 = "203.0.113.10";
export const web6 = "2001:db8:5::10";
/** How frames for backends begin: from the uplink to the gateway. */
export const out = `${uplink} > ${gateway}`;

/** `packet`: as it left, in one line. */
export interface Row {
  readonly verdict: string;
  readonly packet: string;
}

export interface World extends AsyncDisposable {
  /** From the wire, into wan0. */
  send(packet: Packet): Promise<Row>;
  /** As bytes, whatever they are. */
  sendBytes(data: Uint8Array): Promise<RunReply>;
  /** XDP's verdicts on the same packet, so many times. */
  flood(packet: Packet, times: number): Promise<readonly number[]>;
  /** The same, each from a client of its own, 10.0.0.0 and on. */
  floodFrom(packet: Packet, times: number): Promise<readonly number[]>;
  /** Numbers alone are settled slots. */
  service(number: number, slots: readonly (number | SlotEntry)[], more?: { readonly flags?: number; readonly affinity?: number; readonly sources?: SourceLists }): Promise<void>;
  frontend(address: string, port: number, protocol: number, service: number): Promise<void>;
  frontends(frontends: readonly FrontendEntry[]): Promise<void>;
  forgetFrontends(frontends: readonly FrontendAddress[]): Promise<void>;
  /** As another agent would: from what the kernel has. */
  reopenFrontends(): Promise<void>;
  /** As the datapath writes them, on node a; node b is 198.18.0.2. @returns why which services were refused, by name */
  plans(plans: readonly ServicePlan[]): Promise<Readonly<Record<string, string>>>;
  /** The next plans are another agent's, which knows what the kernel has. */
  newAgent(): Promise<void>;
  /** Of a settled service, which its frontends know nothing of: as an agent leaves it that is ended before it has written these. */
  move(service: number, to: SlotRange): Promise<void>;
  /** As the datapath reads it, after the plans. */
  elsewhere(): Promise<Elsewhere>;
  /** Makes all notes of it so many epochs old. */
  ageElsewhere(epochs: number): Promise<void>;
  /** The map's entries, each key and value in hex, sorted. */
  dump(map: string): Promise<readonly string[]>;
  /** The address is a service's. */
  address(address: string, options?: { readonly shared?: boolean }): Promise<void>;
  backend(number: number, address: string, more?: Partial<Omit<BackendEntry, "outer">> & { readonly outer?: string }): Promise<void>;
  /** Packets sent to a backend. */
  sentTo(backend: number): Promise<number>;
  /** Flows that were seen to begin and to end there. */
  flowsOf(backend: number): Promise<{ readonly begun: number; readonly ended: number }>;
  /** The backend takes nothing new of the service, for so many jiffies by now; as the agent writes it. */
  close(service: number, backend: number, ago?: number): Promise<void>;
  /** All take what is new. */
  openAll(): Promise<void>;
  /** As if nothing had been heard of any client for so many more jiffies. */
  ageClients(by: number): Promise<void>;
  forgetFlows(): Promise<void>;
  /** The only bucket of recorded flows that is not empty, by its number. */
  flowBucket(): Promise<readonly [number, readonly LbFlow[]]>;
  setFlowBucket(number: number, flows: readonly LbFlow[]): Promise<void>;
  /** As if all blocks of the pools in use had been looked at since a second, and had nothing to take. */
  barPools(): Promise<void>;
  /** `ip ARGS…`, in the balancer's namespace. */
  ip(...args: readonly string[]): Promise<void>;
  /** Whether XDP may send by a device that is an uplink. */
  uplink(device: string, accelerated: boolean): Promise<void>;
}

export async function openWorld(config: Partial<Config> = {}): Promise<World> {
  const host = spawn("unshare", ["--net", process.execPath, fileURLToPath(new URL("host.ts", import.meta.url))], {
    stdio: ["ignore", "inherit", "inherit", "ipc"], serialization: "advanced",
  });
  const ask = asker<Request>(host);
  await ask({ op: "load", config });
  const sendBytes = async (data: Uint8Array): Promise<RunReply> => (await ask({ op: "run", data, device: "wan0" })) as RunReply;
  /** Frontends of each service. */
  const numbers = new Map<number, number>();
  const counted = async (backend: number): Promise<Readonly<Record<"packets" | "begun" | "ended", number>>> => {
    const raw = (await ask({ op: "get", map: "hw_lb_counters", key: u32.encode(Math.floor(backend / LbLayout.COUNTERS)) })) as Uint8Array;
    const own = decodePerCpu(lbCountersCodec, raw).map(({ sent, seen }) => ({ ...sent[backend % LbLayout.COUNTERS], ...seen[backend % LbLayout.COUNTERS] }));
    const sum = (field: "packets" | "begun" | "ended"): number => own.reduce((all, one) => all + Number(one[field] ?? 0n), 0);
    return { packets: sum("packets"), begun: sum("begun"), ended: sum("ended") };
  };
  return {
    sendBytes,
    send: async (packet) => {
      const reply = await sendBytes(frame(gateway, uplink, packet));
      return { verdict: verdictOf(reply), packet: describe(reply.data) };
    },
    flood: async (packet, times) => (await ask({ op: "flood", data: frame(gateway, uplink, packet), times, clients: false })) as readonly number[],
    floodFrom: async (packet, times) => (await ask({ op: "flood", data: frame(gateway, uplink, packet), times, clients: true })) as readonly number[],
    service: async (number, slots, { flags = 0, affinity = 0, sources = {} } = {}) => {
      await ask({ op: "service", service: { number, slots: slots.map((slot) => (typeof slot === "number" ? { current: slot } : slot)), flags, affinity, sources } });
    },
    frontend: async (address, port, protocol, service) => {
      const number = (numbers.get(service) ?? 0) + 1;
      numbers.set(service, number);
      await ask({ op: "frontends", frontends: [{ address: parseIp(address), port, protocol, service, number, shared: false }] });
    },
    frontends: async (frontends) => { await ask({ op: "frontends", frontends }); },
    forgetFrontends: async (frontends) => { await ask({ op: "forget-frontends", frontends }); },
    reopenFrontends: async () => { await ask({ op: "reopen-frontends" }); },
    plans: async (plans) => Object.fromEntries((await ask({ op: "plans", plans })) as readonly (readonly [string, string])[]),
    newAgent: async () => { await ask({ op: "new-agent" }); },
    move: async (service, range) => { await ask({ op: "set", map: "hw_lb_services", key: u32.encode(service), value: lbServiceCodec.encode({ table: range.first, slots: formedSlots(range), sources: 0, depth: 0, flags: 0, affinity: 0 }) }); },
    elsewhere: async () => (await ask({ op: "elsewhere" })) as Elsewhere,
    ageElsewhere: async (epochs) => {
      const { epoch, places } = (await ask({ op: "elsewhere" })) as Elsewhere;
      const value = new Uint8Array(LbElsewhereLayout.ELSEWHERE).fill(epoch - epochs);
      for (const { first, slots } of places.values()) {
        for (let line = Math.floor(first / value.length); line * value.length < first + slots; line++) await ask({ op: "set", map: "hw_lb_elsewhere", key: u32.encode(line), value });
      }
    },
    dump: async (map) => ((await ask({ op: "dump", map })) as readonly (readonly [Uint8Array, Uint8Array])[]).map((entry) => entry.map((bytes) => Buffer.from(bytes).toString("hex")).join(" ")).toSorted(),
    address: async (address, { shared = false } = {}) => {
      await ask({ op: "frontends", frontends: [{ address: parseIp(address), port: 0, protocol: 0, service: 1, number: 0, shared }] });
    },
    backend: async (number, address, { outer, ...more } = {}) => {
      await ask({ op: "backend", number, backend: { address: parseIp(address), port: 80, mode: "IPIP", ...more, ...(outer === undefined ? {} : { outer: parseIp(outer) }) } });
    },
    sentTo: async (backend) => (await counted(backend)).packets,
    flowsOf: async (backend) => {
      const { begun, ended } = await counted(backend);
      return { begun, ended };
    },
    close: async (service, backend, ago = 10) => { await ask({ op: "close", service, backend, ago }); },
    openAll: async () => { await ask({ op: "clear", map: "hw_lb_closed" }); },
    ageClients: async (by) => { await ask({ op: "age-clients", by }); },
    forgetFlows: async () => { for (const map of ["hw_lb_flows", "hw_lb_clients", "hw_fragments"]) await ask({ op: "clear", map }); },
    flowBucket: async () => {
      const [only, ...others] = (await ask({ op: "flows" })) as readonly (readonly [number, readonly LbFlow[]])[];
      if (only === undefined || others.length > 0) throw new Error(`${others.length + (only === undefined ? 0 : 1)} buckets have flows`);
      return only;
    },
    barPools: async () => {
      for (let pool = 1; pool < 8; pool++) {
        const state = lbPoolStateCodec.decode((await ask({ op: "get", map: "hw_lb_pool_states", key: u32.encode(pool) })) as Uint8Array);
        if (state.pool !== pool) continue;
        await ask({ op: "set", map: "hw_lb_pool_states", key: u32.encode(pool), value: lbPoolStateCodec.encode({ ...state, barren: state.barren.map(() => 2n ** 64n - 1n) }) });
      }
    },
    setFlowBucket: async (number, flows) => { await ask({ op: "set", map: "hw_lb_flows", key: u32.encode(number), value: lbFlowsCodec.encode({ flows }) }); },
    ip: async (...args) => { await ask({ op: "ip", args }); },
    uplink: async (device, accelerated) => { await ask({ op: "uplink", device, accelerated }); },
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise((resolve) => host.once("exit", resolve));
      host.disconnect();
      await ended;
    },
  };
}

/** The web and names services of the drawing, before as many plain servers: N of IPv4 are numbered from 1, of IPv6 from 101. */
export async function openWeb(backends: number, config: Partial<Config> = {}): Promise<World> {
  const world = await openWorld(config);
  const numbers = Array.from({ length: backends }, (_, i) => i + 1);
  for (const number of numbers) {
    await world.backend(number, `172.16.1.${number}`);
    await world.backend(100 + number, `2001:db8:b::${number}`);
  }
  await world.service(1, numbers);
  await world.service(2, numbers.map((number) => 100 + number));
  for (const [address, service] of [[web4, 1], [web6, 2]] as const) {
    await world.frontend(address, 80, protocols.tcp, service);
    await world.frontend(address, 53, protocols.udp, service);
    await world.address(address);
  }
  return world;
}

/** From the client of the family to its service address. */
export const to4 = (payload: Payload): Packet => ip(client4, web4, payload);
export const to6 = (payload: Payload): Packet => ip(client6, web6, payload);
export const request = (flags: string, sport = 5000): Payload => tcp(sport, 80, flags, flags === "A" ? "GET /" : "");
export const query = (sport = 5000): Payload => udp(sport, 53, "who?");

/** Every run counts exactly once, unless the packet is none of a service's. */
function verdictOf({ verdict, counted }: RunReply): string {
  const [first, ...more] = counted;
  if (more.length > 0) return `counted twice: ${counted.join(", ")}`;
  const [direction, reason] = first?.split(" ") ?? [];
  if (direction !== undefined && direction !== "TO_SERVICE") return `counted as ${first}`;
  switch (verdict) {
    case 1: return `drop ${reason}`;
    case 2: return reason === undefined ? "pass" : `pass, but counted as ${reason}`;
    case 3: return reason === "FORWARDED" ? "tx" : `answered ${reason}`;
    case 4: return reason === "FORWARDED" ? "redirect" : `redirect, but counted as ${reason}`;
    default: return `verdict ${verdict}`;
  }
}
