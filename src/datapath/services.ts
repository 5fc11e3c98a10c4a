// Services in the balancer's maps: what their plans say and the maps do not is written, in an order in which no packet meets half of a service.
import { u32 } from "../abi/codec.ts";
import { LbServiceFlags, lbServiceCodec, LbSourceVerdict, lbSourceCodec } from "../abi/generated.ts";
import type { LbModeName } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { BackendPlan, ServicePlan, Sources } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import { addressOf, contains, familyOf, lengthOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { decodeBackend, encodeBackend } from "./lb-backends.ts";
import type { BackendEntry } from "./lb-backends.ts";
import { readElsewhere } from "./lb-elsewhere.ts";
import { openFrontendTable } from "./lb-frontends.ts";
import type { FrontendEntry, FrontendTable } from "./lb-frontends.ts";
import { openSlotRow } from "./lb-slots.ts";
import type { SlotRange, SlotRow } from "./lb-slots.ts";
import { protocolNumbers } from "./port.ts";
import type { Elsewhere } from "./types.ts";

export interface Services extends Disposable {
  /**
   * Makes the maps what the plans say. What an earlier agent wrote is taken over where it fits.
   * @throws HawserError UNSUPPORTED naming the service, before anything is written; TABLE_FULL
   */
  install(plans: readonly ServicePlan[]): Promise<void>;
  /** Of the services that are installed. */
  elsewhere(): Promise<Elsewhere>;
}

export interface ServicesSurroundings {
  readonly kernel: Kernel;
  readonly mapOf: (name: "hw_lb_frontends" | "hw_lb_services" | "hw_lb_slots" | "hw_lb_backends" | "hw_lb_sources" | "hw_lb_elsewhere") => KernelMap;
  /** This node's name. */
  readonly node: string;
  /** Where another node's end of tunnels is, in either family; undefined: it is not known. */
  readonly nodeAddress: (node: string) => Ip | undefined;
  /** Whether the host has the address itself. */
  readonly isOwn: (address: Ip) => boolean;
  readonly jiffies: () => number;
  /** Jiffies in a second. */
  readonly hz: number;
  readonly clock: Pick<Clock, "now">;
}

/** What stands of a plan. */
interface Standing {
  readonly plan: ServicePlan;
  readonly range: SlotRange;
}

/** Others have their turns after so much work. Milliseconds. */
const turn = 5;
const none: SlotRange = { first: 0, slots: 0 };

export function createServices(around: ServicesSurroundings): Services {
  const { kernel, mapOf } = around;
  const [services, backends, sources] = [mapOf("hw_lb_services"), mapOf("hw_lb_backends"), mapOf("hw_lb_sources")];
  let { frontends, inherited, row, written } = readBack(kernel, mapOf);
  let standing: ReadonlyMap<number, Standing> = new Map();

  const writeSlots = (plan: ServicePlan, before: Standing | undefined): SlotRange => {
    const fits = before?.range ?? inherited.get(plan.number);
    const range = fits?.slots === plan.slots.size ? fits : row.allocate(plan.slots.size);
    if (before?.plan.slots === plan.slots) return range;
    const known = before !== undefined && range === before.range ? before.plan.slots.words : undefined;
    row.write(range, inJiffies(plan.slots.words, around), known === undefined ? undefined : differing(known, plan.slots.words));
    return range;
  };

  const write = async (plans: readonly ServicePlan[], wanted: Written): Promise<void> => {
    const pause = turns();
    // Nobody is sent to what is about to change its meaning.
    for (const [key, entry] of written.frontends) {
      if (!wanted.frontends.has(key)) frontends.delete(entry);
      await pause();
    }
    for (const [number, entry] of wanted.backends) {
      if (!sameBackend(written.backends.get(number), entry)) backends.set(u32.encode(number), encodeBackend(entry));
      await pause();
    }
    const after = new Map<number, Standing>();
    for (const plan of plans) {
      const before = standing.get(plan.number);
      const range = before?.plan === plan ? before.range : writeSlots(plan, before);
      after.set(plan.number, { plan, range });
      await pause();
    }
    for (const [key, verdict] of wanted.sources) if (written.sources.get(key) !== verdict) sources.set(Buffer.from(key, "hex"), u32.encode(verdict));
    for (const [number, { plan, range }] of after) {
      const before = standing.get(number);
      if (before?.plan !== plan) services.set(u32.encode(number), lbServiceCodec.encode({ table: range.first, slots: range.slots, ...flagsOf(plan) }));
    }
    for (const key of written.sources.keys()) if (!wanted.sources.has(key)) sources.delete(Buffer.from(key, "hex"));
    for (const [key, entry] of wanted.frontends) {
      if (!sameFrontend(written.frontends.get(key), entry)) frontends.set(entry);
      await pause();
    }
    for (const number of new Set([...standing.keys(), ...inherited.keys()])) {
      if (!after.has(number)) services.set(u32.encode(number), lbServiceCodec.encode({ table: 0, slots: 0, flags: 0, affinity: 0 }));
    }
    // Records of flows name it still, until they are as old as its number's rest.
    for (const [number, entry] of written.backends) if (!wanted.backends.has(number)) backends.set(u32.encode(number), encodeBackend({ ...entry, down: true }));
    const kept = new Set([...after.values()].map(({ range }) => range.first));
    for (const range of [...[...standing.values()].map((one) => one.range), ...inherited.values()]) if (range !== none && !kept.has(range.first)) row.free(range);
    inherited = new Map();
    standing = after;
    written = wanted;
  };

  const install = async (plans: readonly ServicePlan[]): Promise<void> => {
    const wanted = wantedOf(plans, around);
    try {
      await write(plans, wanted);
    } catch (error) {
      // What stands now is half of it: the maps themselves say which.
      row[Symbol.dispose]();
      ({ frontends, inherited, row, written } = readBack(kernel, mapOf));
      standing = new Map();
      throw error;
    }
  };

  return {
    install,
    elsewhere: () => readElsewhere(mapOf("hw_lb_elsewhere"), new Map([...standing].map(([number, { range }]) => [number, range])), around, turns()),
    [Symbol.dispose]: () => row[Symbol.dispose](),
  };
}

/** By number, by the key's bytes in hex, by `keyOf`. */
interface Written {
  readonly backends: Map<number, BackendEntry>;
  readonly sources: Map<string, number>;
  readonly frontends: Map<string, FrontendEntry>;
}

/** What the maps hold, whoever wrote it. `inherited`: places of services' tables, by the service's number. */
function readBack(kernel: Kernel, mapOf: ServicesSurroundings["mapOf"]): { frontends: FrontendTable; inherited: ReadonlyMap<number, SlotRange>; row: SlotRow; written: Written } {
  const frontends = openFrontendTable(mapOf("hw_lb_frontends"));
  const inherited = new Map<number, SlotRange>();
  for (const [key, value] of mapOf("hw_lb_services").entries()) {
    const { table: first, slots } = lbServiceCodec.decode(value);
    if (slots !== 0) inherited.set(u32.decode(key), { first, slots });
  }
  const backends = new Map<number, BackendEntry>();
  // Without services there is nobody whose backends could be reached.
  for (const [key, value] of inherited.size === 0 ? [] : mapOf("hw_lb_backends").entries()) {
    const entry = decodeBackend(value);
    if (entry !== undefined) backends.set(u32.decode(key), entry);
  }
  const sources = new Map([...mapOf("hw_lb_sources").entries()].map(([key, value]) => [Buffer.from(key).toString("hex"), u32.decode(value)]));
  const written = { backends, sources, frontends: new Map(frontends.all().map((entry) => [keyOf(entry), entry])) };
  return { frontends, inherited, row: openSlotRow(kernel, mapOf("hw_lb_slots"), [...inherited.values()]), written };
}

/** @throws HawserError UNSUPPORTED */
function wantedOf(plans: readonly ServicePlan[], around: ServicesSurroundings): Written {
  const wanted: Written = { backends: new Map(), sources: new Map(), frontends: new Map() };
  for (const plan of plans) {
    for (const backend of plan.backends) {
      const entry = backendEntry(plan.name, backend, around);
      if (entry !== undefined) wanted.backends.set(backend.number, entry);
    }
    for (const [prefix, verdict] of sourceRules(plan.sources)) wanted.sources.set(sourceKey(plan.number, prefix), verdict);
    plan.frontends.forEach(({ address, port, protocol }, i) => {
      const entry = { address, port, protocol: protocolNumbers[protocol], service: plan.number, number: i + 1, shared: false };
      wanted.frontends.set(keyOf(entry), entry);
      const whole = { address, port: 0, protocol: 0, service: plan.number, number: 0, shared: around.isOwn(address) };
      if (!wanted.frontends.has(keyOf(whole))) wanted.frontends.set(keyOf(whole), whole);
    });
  }
  return wanted;
}

/** undefined: its node is not known, so that nothing can be sent there. */
function backendEntry(service: string, { identity, address, port, node, way }: BackendPlan, { node: own, nodeAddress }: ServicesSurroundings): BackendEntry | undefined {
  const entry = (mode: LbModeName): BackendEntry => ({ address, port, mode });
  if (way === "dsr") return entry("IPIP");
  if (way === "snat") {
    throw new HawserError("UNSUPPORTED", `service ${service}: ${identity} would answer by way of this node, which this build cannot do; `
      + "use mode dsr, with the service's address on the server's loopback, or containers as backends");
  }
  if (node === own || node === null) return entry("LOCAL");
  const outer = nodeAddress(node);
  return outer === undefined ? undefined : { ...entry("GENEVE"), outer };
}

function flagsOf({ affinity, sources: { allow, deny } }: ServicePlan): { readonly flags: number; readonly affinity: number } {
  const asks = allow !== null || deny.length > 0;
  return { flags: (affinity === null ? 0 : LbServiceFlags.AFFINITY) | (asks ? LbServiceFlags.SOURCES : 0), affinity: affinity === null ? 0 : Math.ceil(affinity / 1000) };
}

/** The kernel takes the longest prefix; a denied one wins however short it is, so what lies within one is not allowed at all. */
function sourceRules({ allow, deny }: Sources): readonly (readonly [Cidr, number])[] {
  if (allow === null && deny.length === 0) return [];
  const others = [["::/0" as Cidr, allow === null ? LbSourceVerdict.ALLOW : LbSourceVerdict.DENY] as const];
  const allowed = (allow ?? []).filter((prefix) => !deny.some((one) => familyOf(one) === familyOf(prefix) && contains(one, prefix)));
  return [...others, ...allowed.map((prefix) => [prefix, LbSourceVerdict.ALLOW] as const), ...deny.map((prefix) => [prefix, LbSourceVerdict.DENY] as const)];
}

function sourceKey(service: number, prefix: Cidr): string {
  const address = addressOf(prefix);
  return Buffer.from(lbSourceCodec.encode({ length: 32 + lengthOf(prefix) + (familyOf(address) === 4 ? 96 : 0), service, addr: address === "::" ? null : address })).toString("hex");
}

/** As the kernel counts time: seconds since the epoch become jiffies, of which 0 is kept for what is settled. */
function inJiffies(words: Uint32Array, { jiffies, hz, clock }: Pick<ServicesSurroundings, "jiffies" | "hz" | "clock">): Uint32Array {
  const [ticks, now] = [jiffies(), Math.floor(clock.now() / 1000)];
  return words.map((word, i) => (i % 2 === 0 || word === 0 ? word : (ticks - Math.max(0, now - word) * hz) >>> 0 || 1));
}

/** Slots in ascending order. */
function differing(before: Uint32Array, after: Uint32Array): Uint32Array {
  const slots: number[] = [];
  for (let slot = 0; 2 * slot < after.length; slot++) if (before[2 * slot] !== after[2 * slot] || before[2 * slot + 1] !== after[2 * slot + 1]) slots.push(slot);
  return Uint32Array.from(slots);
}

function keyOf({ address, port, protocol }: Pick<FrontendEntry, "address" | "port" | "protocol">): string {
  return `${address} ${port} ${protocol}`;
}

function sameFrontend(a: FrontendEntry | undefined, b: FrontendEntry): boolean {
  return a !== undefined && a.service === b.service && a.number === b.number && a.shared === b.shared;
}

function sameBackend(a: BackendEntry | undefined, b: BackendEntry): boolean {
  return a !== undefined && a.address === b.address && a.port === b.port && a.mode === b.mode && (a.outer ?? a.address) === (b.outer ?? b.address);
}

function turns(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < turn) return;
    await new Promise(setImmediate);
    since = performance.now();
  };
}
