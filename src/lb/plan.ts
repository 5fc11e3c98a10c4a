// Services, and who is there, to what the datapath is to carry out: one advance for every change and for the passing of time.
import { familyOf } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import { HawserError } from "../std/errors.ts";
import { keepsFlows, nextChange, probed, reconcile, stateOf, takers } from "./backends.ts";
import { buildTable, defaultTableSize, grownSize, tableSize } from "./maglev.ts";
import type { TableMember } from "./maglev.ts";
import { highestNumber, noNumbers, renumber } from "./numbers.ts";
import type { Numbers } from "./numbers.ts";
import { follow, grownSlots, newSlots, settle } from "./slots.ts";
import type { Backend, BackendPlan, Service, ServiceMode, ServicePlan, ServingContainer, Slots, Sources, Way } from "./types.ts";

/** Everything that is remembered from one advance to the next. */
export interface Balancing {
  /** By name. */
  readonly services: ReadonlyMap<string, { readonly service: Service; readonly backends: readonly Backend[] }>;
  /** By `NAME FAMILY`. */
  readonly tables: ReadonlyMap<string, Table>;
  readonly backendNumbers: Numbers;
  readonly serviceNumbers: Numbers;
}

interface Table {
  /** What the wanted table was made of. */
  readonly key: string;
  readonly wanted: Uint16Array;
  readonly slots: Slots;
}

export const noBalancing: Balancing = { services: new Map(), tables: new Map(), backendNumbers: noNumbers, serviceNumbers: noNumbers };

/** What there is, beside what is remembered. */
export interface Circumstances {
  readonly services: readonly Service[];
  /** Of every node. */
  readonly containers: readonly ServingContainer[];
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: 65537. */
  readonly largestTable?: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface Advance {
  readonly next: Balancing;
  /** In order of names, IPv4 before IPv6. Slots that did not change are the same object as in the advance before. */
  readonly plans: readonly ServicePlan[];
  /** When to advance again though nothing happens, in milliseconds since the epoch; null: not. */
  readonly again: number | null;
}

const families: readonly Family[] = [4, 6];
export const mostServices = 16_383;

/** @throws HawserError TABLE_FULL when there are more services or backends than numbers. */
export function advance(before: Balancing, around: Circumstances): Advance {
  const { now } = around;
  const services = new Map(around.services.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((service) => {
    const backends = reconcile(before.services.get(service.name)?.backends ?? [], service, around.containers, now);
    return [service.name, { service, backends }] as const;
  }));
  const parts = [...services.values()].flatMap(({ service, backends }) => families.flatMap((family): readonly Part[] => {
    const frontends = service.frontends.filter(({ address }) => familyOf(address) === family);
    return frontends.length === 0 ? [] : [{ key: `${service.name} ${family}`, family, frontends, service, reached: reachedBy(backends, family, service.mode ?? around.mode) }];
  }));
  const serviceNumbers = renumber(before.serviceNumbers, new Set(parts.map(({ key }) => key)), now, mostServices);
  if (serviceNumbers === null) throw new HawserError("TABLE_FULL", `there are ${parts.length} services, counting those of both families twice; this node balances ${mostServices}`);
  const keys = new Set(parts.flatMap(({ reached }) => reached.map(({ key }) => key)));
  const backendNumbers = renumber(before.backendNumbers, keys, now);
  if (backendNumbers === null) throw new HawserError("TABLE_FULL", `the services have ${keys.size} backends; this node balances over ${highestNumber}`);
  const numberOf = (key: string): number => backendNumbers.given.get(key) as number;
  const tables = new Map(parts.map((part) => [part.key, tableOf(part, before.tables.get(part.key), numberOf, around)] as const));
  const plans = parts.map((part) => planOf(part, serviceNumbers.given.get(part.key) as number, numberOf, (tables.get(part.key) as Table).slots));
  const times = [...services.values()].flatMap(({ service, backends }) => nextChange(backends, service, now) ?? []);
  return { next: { services, tables, backendNumbers, serviceNumbers }, plans, again: times.length === 0 ? null : Math.min(...times) };
}

/** A service in one family. */
interface Part {
  readonly key: string;
  readonly family: Family;
  readonly frontends: Service["frontends"];
  readonly service: Service;
  readonly reached: readonly Reached[];
}

/** A backend as one family of one service reaches it. */
interface Reached {
  /** Equal exactly where the datapath's entry may be the same. */
  readonly key: string;
  readonly backend: Backend;
  readonly address: BackendPlan["address"];
  readonly way: Way;
}

function reachedBy(backends: readonly Backend[], family: Family, mode: ServiceMode): readonly Reached[] {
  return backends.flatMap((backend) => {
    const address = family === 4 ? backend.ipv4 : backend.ipv6;
    if (address === null) return [];
    const way = mode === "snat" ? "snat" : backend.kind === "container" ? "container" : mode === "dsr" ? "dsr" : "snat";
    return [{ key: `${way} ${address} ${backend.port} ${backend.id}`, backend, address, way }];
  });
}

function tableOf({ service, reached }: Part, before: Table | undefined, numberOf: (key: string) => number, { now, largestTable = defaultTableSize }: Circumstances): Table {
  const taking = new Set(takers(reached.map(({ backend }) => backend), service.health));
  const members = reached.filter(({ backend }) => taking.has(backend)).map(({ key, backend: { identity, weight } }): TableMember => ({ identity, weight, number: numberOf(key) }));
  const size = before === undefined ? tableSize(members.length, largestTable) : grownSize(before.slots.size, members.length, largestTable);
  const key = JSON.stringify([size, ...members.map(({ identity, number, weight }) => [identity, number, weight])]);
  const wanted = before?.key === key ? before.wanted : buildTable(members, size);
  if (before === undefined) return { key, wanted, slots: newSlots(wanted) };
  const alive = new Uint8Array(highestNumber + 1);
  for (const { key: one, backend } of reached) if (keepsFlows(backend, service, now)) alive[numberOf(one)] = 1;
  // Who takes new flows is asked nothing: all may be tried because all are down.
  for (const { number } of members) alive[number] = 1;
  const slots = size === before.slots.size ? before.slots : grownSlots(before.slots, size / before.slots.size);
  const followed = follow(slots, wanted, alive, Math.floor(now / 1000));
  return before.key === key && followed === before.slots ? before : { key, wanted, slots: followed };
}

function planOf({ family, frontends, service, reached }: Part, number: number, numberOf: (key: string) => number, slots: Slots): ServicePlan {
  const backends = reached.map(({ key, backend, address, way }): BackendPlan => ({
    number: numberOf(key), identity: backend.identity, address, port: backend.port, node: backend.node, way, weight: backend.weight,
    state: stateOf(backend, service.health),
  }));
  const ofFamily = (prefixes: readonly Cidr[]): readonly Cidr[] => prefixes.filter((prefix) => familyOf(prefix) === family);
  const sources: Sources = { allow: service.sources.allow === null ? null : ofFamily(service.sources.allow), deny: ofFamily(service.sources.deny) };
  return {
    name: service.name, family, number, frontends: frontends.map(({ address, port, protocol }) => ({ address, port, protocol })),
    affinity: service.affinity?.timeout ?? null, sources, open: takers(reached.map(({ backend }) => backend), service.health).length > 0, backends, slots,
  };
}

/** After a probe of the backend with that `id`; what follows from it the next advance says. */
export function afterProbe(before: Balancing, name: string, id: string, passed: boolean, now: number): Balancing {
  const found = before.services.get(name);
  if (found === undefined) return before;
  const backends = found.backends.map((backend) => (backend.id === id ? probed(backend, passed, found.service.health, now) : backend));
  if (backends.every((backend, i) => backend === found.backends[i])) return before;
  return { ...before, services: new Map(before.services).set(name, { ...found, backends }) };
}

/** After it has been asked who still has flows of changed slots; `idle` as in `settle`, with the part of `ServicePlan` that the slot is of. */
export function afterSettling(before: Balancing, idle: (service: number, number: number, slot: number, since: number) => boolean): Balancing {
  const tables = new Map([...before.tables].map(([key, table]) => {
    const service = before.serviceNumbers.given.get(key) ?? 0;
    const slots = settle(table.slots, (number, slot, since) => idle(service, number, slot, since));
    return [key, slots === table.slots ? table : { ...table, slots }] as const;
  }));
  return { ...before, tables };
}
