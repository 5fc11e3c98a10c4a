// A service in one address family: which of its backends have an address of it, how they are reached, and what the datapath is told.
import { familyOf } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import { keepsFlows, stateOf, takers } from "./backends.ts";
import { buildTable, grownSize, tableSize } from "./maglev.ts";
import type { TableMember } from "./maglev.ts";
import { currents, follow, grownSlots, newSlots } from "./slots.ts";
import type { Backend, BackendPlan, Service, ServiceMode, ServicePlan, Slots, Sources, Way } from "./types.ts";

/** A backend as one family of one service reaches it. */
export interface Reached {
  /** Equal exactly where the datapath's entry may be the same. */
  readonly key: string;
  readonly backend: Backend;
  readonly address: BackendPlan["address"];
  readonly way: Way;
}

export const families: readonly Family[] = [4, 6];
export const highestBackend = 65_535;

/** null: the service has no frontend of that family. */
export function reachedBy(service: Service, backends: readonly Backend[], family: Family, mode: ServiceMode): readonly Reached[] | null {
  if (!service.frontends.some(({ address }) => familyOf(address) === family)) return null;
  return backends.flatMap((backend) => {
    const address = family === 4 ? backend.ipv4 : backend.ipv6;
    if (address === null) return [];
    const way = mode === "snat" ? "snat" : backend.kind === "container" ? "container" : mode === "dsr" ? "dsr" : "snat";
    return [{ key: `${way} ${address} ${backend.port} ${backend.id}`, backend, address, way }];
  });
}

export interface Table {
  /** What it was made of. */
  readonly key: string;
  readonly slots: Slots;
}

/** `now` in milliseconds since the epoch. The same object when nothing changed. */
export function tableOf(service: Service, reached: readonly Reached[], before: Table | undefined, numberOf: (key: string) => number, largest: number, now: number): Table {
  const taking = new Set(takers(reached.map(({ backend }) => backend), service.health));
  const members = reached.filter(({ backend }) => taking.has(backend)).map(({ key, backend: { identity, weight } }): TableMember => ({ identity, weight, number: numberOf(key) }));
  const size = before === undefined ? tableSize(members.length, largest) : grownSize(before.slots.size, members.length, largest);
  const key = JSON.stringify([size, ...members.map(({ identity, number, weight }) => [identity, number, weight])]);
  if (before === undefined) return { key, slots: newSlots(buildTable(members, size)) };
  const alive = new Uint8Array(highestBackend + 1);
  for (const { key: one, backend } of reached) if (keepsFlows(backend, service, now)) alive[numberOf(one)] = 1;
  // Who takes new flows is asked nothing: all may be tried because all are down.
  for (const { number } of members) alive[number] = 1;
  const slots = size === before.slots.size ? before.slots : grownSlots(before.slots, size / before.slots.size);
  const followed = follow(slots, key === before.key ? currents(slots) : buildTable(members, size), alive, Math.floor(now / 1000));
  return key === before.key && followed === before.slots ? before : { key, slots: followed };
}

export function planOf(service: Service, family: Family, number: number, reached: readonly Reached[], numberOf: (key: string) => number, slots: Slots): ServicePlan {
  const backends = reached.map(({ key, backend, address, way }): BackendPlan => ({
    number: numberOf(key), identity: backend.identity, address, port: backend.port, node: backend.node, way, weight: backend.weight,
    state: stateOf(backend, service.health),
  }));
  const frontends = service.frontends.filter(({ address }) => familyOf(address) === family);
  const ofFamily = (prefixes: readonly Cidr[]): readonly Cidr[] => prefixes.filter((prefix) => familyOf(prefix) === family);
  const sources: Sources = { allow: service.sources.allow === null ? null : ofFamily(service.sources.allow), deny: ofFamily(service.sources.deny) };
  return {
    name: service.name, family, number, frontends: frontends.map(({ address, port, protocol }) => ({ address, port, protocol })),
    affinity: service.affinity?.timeout ?? null, sources, open: takers(reached.map(({ backend }) => backend), service.health).length > 0, backends, slots,
  };
}
