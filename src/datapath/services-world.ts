// What the balancer's maps hold, and of which services: what `services.ts` changes.
import { u32 } from "../abi/codec.ts";
import { lbServiceCodec, LbServiceFlags } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { BackendPlan, ServicePlan } from "../lb/types.ts";
import type { Clock } from "../std/clock.ts";
import { familyOf } from "../std/ip.ts";
import { backendMaps, readBackendsInTurns } from "./lb-backends.ts";
import type { BackendEntry } from "./lb-backends.ts";
import { openFrontendTableInTurns } from "./lb-frontends.ts";
import type { FrontendEntry, FrontendTable } from "./lb-frontends.ts";
import { openOrigins } from "./lb-origins.ts";
import type { Origins } from "./lb-origins.ts";
import { isAnswering, openPools } from "./lb-pools.ts";
import type { Pools } from "./lb-pools.ts";
import { createRest } from "./lb-rest.ts";
import type { Rest } from "./lb-rest.ts";
import { openSlotRow, rangeAt } from "./lb-slots.ts";
import type { SlotRange, SlotRow } from "./lb-slots.ts";
import { openServiceSources } from "./lb-sources.ts";
import type { ServiceSources, SourcePlace } from "./lb-sources.ts";
import { openStays } from "./lb-stays.ts";
import type { Stays } from "./lb-stays.ts";
import { keyOf, sameBackend, sameFrontend } from "./service-entries.ts";
import type { EntrySurroundings } from "./service-entries.ts";
import { createServiceTables } from "./service-tables.ts";
import type { ServiceTables } from "./service-tables.ts";
import { Wanted } from "./wanted.ts";

type MapName =
  | "hw_lb_frontends" | "hw_lb_services" | "hw_lb_slots" | "hw_lb_backends" | "hw_lb_places" | "hw_lb_sources" | "hw_lb_counters" | "hw_lb_elsewhere" | "hw_lb_pools" | "hw_lb_origins" | "hw_lb_clients" | "hw_lb_closed" | "hw_ct4" | "hw_ct6";

export interface ServicesSurroundings extends EntrySurroundings {
  readonly kernel: Kernel;
  readonly mapOf: (name: MapName) => KernelMap;
  readonly jiffies: () => number;
  /** Jiffies in a second. */
  readonly hz: number;
  readonly clock: Pick<Clock, "now">;
}

/** What stands of a plan: what it took. */
export interface Standing {
  readonly plan: ServicePlan;
  readonly frontends: Entries<string, FrontendEntry>;
  readonly closed: Entries<number, true>;
}

export type Entries<K, V> = readonly (readonly [K, V])[];

export interface Pool {
  readonly entries: Entries<number, BackendEntry>;
  users: number;
}

export interface World {
  /** What was wanted last, without what was refused; undefined: the maps may hold anything. */
  asked: readonly ServicePlan[] | undefined;
  /** By number; empty at first, whatever the maps hold. */
  readonly standing: Map<number, Standing>;
  /** Of services that the maps hold. */
  readonly numbers: Set<number>;
  /** Services with the same backends share the list of them. */
  readonly pools: Map<readonly BackendPlan[], Pool>;
  readonly backends: Wanted<number, BackendEntry>;
  readonly sources: ServiceSources;
  readonly frontends: Wanted<string, FrontendEntry>;
  /** By the key as hw_lb_closed has it. */
  readonly closed: Wanted<number, true>;
  readonly stays: Stays;
  readonly table: FrontendTable;
  readonly origins: Origins;
  readonly ports: Pools;
  readonly row: SlotRow;
  readonly tables: ServiceTables;
  readonly rest: Rest;
}

/** What the maps hold, whoever wrote it. */
export async function readBack({ kernel, mapOf, jiffies, hz, clock }: ServicesSurroundings, pause: () => Promise<void>): Promise<World> {
  const table = await openFrontendTableInTurns(mapOf("hw_lb_frontends"), pause);
  const ports = openPools(kernel, mapOf("hw_lb_pools"), table);
  const inherited = new Map<number, SlotRange>();
  const lines = new Map<number, SourcePlace>();
  const staying = new Set<number>();
  for await (const some of mapOf("hw_lb_services").filledInTurns(pause)) {
    for (const [key, value] of some) {
      await pause();
      const { table: first, slots, sources: line, depth, flags } = lbServiceCodec.decode(value);
      if (slots === 0) continue;
      if ((flags & LbServiceFlags.AFFINITY) !== 0) staying.add(u32.decode(key));
      inherited.set(u32.decode(key), rangeAt(first, slots));
      lines.set(u32.decode(key), { first: line, depth });
    }
  }
  // Without services there is nobody whose backends could be reached.
  const found = inherited.size === 0 ? [] : await readBackendsInTurns(backendMaps(mapOf), pause);
  const backends = new Map([...found].filter(([number, { mode }]) => mode !== "SNAT" || ports.has(number)));
  const standing = table.all().filter((entry) => !isAnswering(entry));
  await pause();
  // Without a frontend nobody looks there.
  const sources = new Map(standing.flatMap(({ address, port, service }) => {
    const place = lines.get(service);
    return port === 0 || place === undefined ? [] : [[service, { ...place, family: familyOf(address) }] as const];
  }));
  // Whoever was ended between a service and its frontends left them sent to where its table was.
  const strays = standing.flatMap(({ port, service, table: range }) => (port === 0 || range === undefined || inherited.get(service)?.first === range.first ? [] : [range]));
  const places = new Map([...inherited.values(), ...strays].map((range) => [range.first, range]));
  const row = openSlotRow(kernel, mapOf("hw_lb_slots"), [...places.values()]);
  const inJiffies = (seconds: number): number => (jiffies() - Math.max(0, Math.floor(clock.now() / 1000) - seconds) * hz) >>> 0 || 1;
  await pause();
  // Those of an agent that knew no origins are not as anybody wants them.
  const origins = openOrigins(mapOf("hw_lb_origins"), standing, clock);
  const frontends = standing.map((entry) => (origins.has(entry) ? entry : { ...entry, number: -1 }));
  await pause();
  const closed = Array.from(mapOf("hw_lb_closed").entries(), ([key]) => [u32.decode(key), true] as const);
  await pause();
  const tables = createServiceTables(row, inherited, strays, inJiffies);
  const lists = openServiceSources(mapOf("hw_lb_sources"), sources);
  return {
    asked: undefined, standing: new Map(), numbers: new Set(inherited.keys()), pools: new Map(), table, origins, ports, row,
    backends: new Wanted(backends, sameBackend), sources: lists,
    frontends: new Wanted(new Map(frontends.map((entry) => [keyOf(entry), entry])), sameFrontend),
    closed: new Wanted(new Map(closed), () => true),
    stays: openStays(mapOf("hw_lb_clients"), mapOf("hw_lb_closed"), staying, jiffies), tables, rest: createRest(() => row.passed(), [tables, lists]),
  };
}
