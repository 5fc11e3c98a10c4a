// A service in one address family: which of its backends have an address of it, how they are reached, and what the datapath is told.
import { familyOf } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import { keepsFlows, stateOf, takers } from "./backends.ts";
import { buildTable, grownSize, tableSize, widened } from "./maglev.ts";
import type { Fill, TableMember } from "./maglev.ts";
import type { Sharing } from "./sharing.ts";
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
    const way = mode === "snat" ? "snat" : backend.node !== null ? "container" : mode === "dsr" ? "dsr" : "snat";
    return [{ key: `${way} ${address} ${backend.port} ${backend.id}`, backend, address, way }];
  });
}

export interface Table {
  /** What it was made of. */
  readonly key: string;
  readonly slots: Slots;
}

export interface TableSurroundings {
  readonly numberOf: (key: string) => number;
  /** Slots of a table at most. */
  readonly largest: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** For one `now`. */
  readonly share: Sharing;
  readonly fill?: Fill | undefined;
  /** A table with that key that is settled, if there was one. */
  readonly standing: (key: string) => Table | undefined;
}

/** The same object when nothing changed, and for all services whose flows have and had the same backends. */
export function tableOf(service: Service, reached: readonly Reached[], before: Table | undefined, { numberOf, largest, now, share, standing, fill }: TableSurroundings): Table {
  const taking = new Set(takers(reached.map(({ backend }) => backend), service.health));
  const members = reached.filter(({ backend }) => taking.has(backend)).map(({ key, backend: { identity, weight } }): TableMember => ({ identity, weight, number: numberOf(key) }));
  // Who fails probes or takes nothing new is counted, so that the size is not another for each of these.
  const count = reached.filter(({ backend }) => backend.drainsUntil === null).length;
  const { size, made } = grownSize(before?.slots.size ?? tableSize(count, largest), count, largest);
  const key = JSON.stringify([made, ...members.map(({ identity, number, weight }) => [identity, number, weight])]);
  const wanted = (): Uint16Array => share(["wanted", key, size], () => widened(buildTable(members, made, fill), size));
  if (before === undefined) return share([key], () => standing(key) ?? { key, slots: newSlots(wanted()) });
  // Who takes new flows is asked nothing: all may be tried because all are down.
  const living = [...reached.filter(({ backend }) => keepsFlows(backend, service, now)).map((one) => numberOf(one.key)), ...members.map(({ number }) => number)].toSorted((a, b) => a - b);
  return share([before, key, living.join()], () => {
    const alive = new Uint8Array(highestBackend + 1);
    for (const number of living) alive[number] = 1;
    const slots = size === before.slots.size ? before.slots : grownSlots(before.slots, size / before.slots.size);
    const followed = follow(slots, key === before.key ? currents(slots) : wanted(), alive, Math.floor(now / 1000));
    return key === before.key && followed === before.slots ? before : { key, slots: followed };
  });
}

/** Whether no slot of it remembers anything, so that it is as one that was just made. */
export function isSettled({ slots: { words } }: Table): boolean {
  if (words === undefined) return true;
  for (let slot = 0; 2 * slot < words.length; slot++) if (words[2 * slot + 1] !== 0 || (words[2 * slot] as number) > highestBackend) return false;
  return true;
}

export function planOf(service: Service, family: Family, number: number, reached: readonly Reached[], numberOf: (key: string) => number, slots: Slots, share: Sharing): ServicePlan {
  const { backends, open } = share(["planned", reached, service.health.kind], () => {
    const states = reached.map(({ backend }) => stateOf(backend, service.health));
    const taking = new Set(takers(reached.map(({ backend }) => backend), service.health));
    const what = reached.map(({ key, backend: { identity, weight } }, i) => `${key} ${identity} ${weight} ${states[i]}`).join("\n");
    const planned = share(["planned as", what], () => reached.map(({ key, backend, address, way }, i): BackendPlan => ({
      number: numberOf(key), identity: backend.identity, address, port: backend.port, node: backend.node, way, weight: backend.weight,
      state: states[i] ?? "active", takes: taking.has(backend),
    })));
    return { backends: planned, open: taking.size > 0 };
  });
  const frontends = service.frontends.filter(({ address }) => familyOf(address) === family);
  const ofFamily = (prefixes: readonly Cidr[]): readonly Cidr[] => prefixes.filter((prefix) => familyOf(prefix) === family);
  const sources: Sources = { allow: service.sources.allow === null ? null : ofFamily(service.sources.allow), deny: ofFamily(service.sources.deny) };
  return {
    name: service.name, family, number, frontends: frontends.map(({ address, port, protocol }) => ({ address, port, protocol })),
    affinity: service.affinity?.timeout ?? null, sources, open, backends, slots,
  };
}
