// Services, and who is there, to what the datapath is to carry out: one advance for every change and for the passing of time.
import type { Family } from "../std/ip.ts";
import { believed, nextChange, probed, reconcile } from "./backends.ts";
import { createContainers, idsOf, selects } from "./containers.ts";
import { defaultTableSize } from "./maglev.ts";
import type { Fill } from "./maglev.ts";
import { createTally, noNumbers, recount } from "./numbers.ts";
import type { Numbers } from "./numbers.ts";
import { families, highestBackend, isSettled, planOf, reachedBy, tableOf } from "./reach.ts";
import type { Reached, Table, TableSurroundings } from "./reach.ts";
import { createSharing } from "./sharing.ts";
import type { Sharing } from "./sharing.ts";
import { settle } from "./slots.ts";
import type { Backend, Service, ServiceMode, ServicePlan, ServingContainer } from "./types.ts";

/** Everything that is remembered from one advance to the next: plain data, which may be written down. */
export interface Balancing {
  /** By name, in order of names. */
  readonly services: ReadonlyMap<string, Balanced>;
  readonly containers: readonly ServingContainer[];
  /** By `NAME FAMILY`. */
  readonly serviceNumbers: Numbers;
  readonly backendNumbers: Numbers;
}

interface Balanced {
  readonly service: Service;
  readonly mode: ServiceMode;
  readonly backends: readonly Backend[];
  readonly parts: readonly Part[];
  /** What other nodes said of its backends when they were looked at. */
  readonly told: Told | undefined;
  /** When to look at it again though nothing happens; null: not; 0: at the next advance. */
  readonly again: number | null;
}

/** A service in one family. */
interface Part {
  readonly family: Family;
  /** Of its backends' numbers. */
  readonly keys: readonly string[];
  readonly table: Table;
  readonly plan: ServicePlan;
}

/** What nodes say of their own containers as backends of a service, by `NODE ID:PORT`. True: it is well. */
export type Told = ReadonlyMap<string, boolean>;

export const noBalancing: Balancing = { services: new Map(), containers: [], serviceNumbers: noNumbers, backendNumbers: noNumbers };

/** What there is, beside what is remembered. Services and containers that did not change are the same objects as before: only what changed is looked at. */
export interface Circumstances {
  readonly services: readonly Service[];
  /** Of every node. */
  readonly containers: readonly ServingContainer[];
  /** By the service's name; left out: nobody tells. */
  readonly told?: ReadonlyMap<string, Told>;
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: 65537. Of services that have a table it changes nothing but how far that grows. */
  readonly largestTable?: number;
  /** How tables are filled; left out: by the model itself. */
  readonly fill?: Fill | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface Advance {
  readonly next: Balancing;
  /** In order of names, IPv4 before IPv6. A plan, and slots, that did not change are the same objects as in the advance before. */
  readonly plans: readonly ServicePlan[];
  /** When to advance again though nothing happens, in milliseconds since the epoch; null: not. */
  readonly again: number | null;
  /** Services for which no numbers are left, with the reason, by name: what was planned of them is as before. */
  readonly refused: ReadonlyMap<string, string>;
}

export const mostServices = 16_383;

export function advance(before: Balancing, around: Circumstances): Advance {
  const containers = createContainers(around.containers);
  const share = createSharing();
  const changed = changedContainers(before.containers, around.containers);
  const all = around.services.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map((service): Looked => {
    const was = before.services.get(service.name);
    const mode = service.mode ?? around.mode;
    const told = around.told?.get(service.name);
    if (was !== undefined && sameTold(was.told, told) && isAsBefore(was, service, mode, changed, around.now)) return { name: service.name, was, now: null };
    const found = share(["backends", was?.backends, service.drain, rulesText(service)], () => reconcile(was?.backends ?? [], service, containers, around.now));
    const said = told === undefined ? [] : found.map(({ node, id, port }) => told.get(`${node} ${id}:${port}`));
    const backends = told === undefined ? found : share(["believed", found, said.join()], () => found.map((one, i) => believed(one, said[i], around.now)));
    const reached = families.flatMap((family) => reachedTogether(service, backends, family, mode, share));
    return { name: service.name, was, now: { service, mode, backends, told, reached } };
  });
  const present = new Set(all.map(({ name }) => name));
  const gone = [...before.services.values()].filter(({ service }) => !present.has(service.name));
  const { looked, numbers, refused } = renumbered(before, all, gone, around.now);
  const tables: TableSurroundings = {
    numberOf: (key) => numbers.backendNumbers.given.get(key)?.number ?? 0, largest: around.largestTable ?? defaultTableSize, now: around.now,
    share, standing: settledTables(before), fill: around.fill,
  };
  const services = new Map(looked.map(({ name, was, now }) => [name, now === null ? (was as Balanced) : balanced(now, was, numbers, tables)] as const));
  const times = [...services].flatMap(([name, { again }]) => (refused.has(name) ? [] : again ?? []));
  return {
    next: { services, containers: around.containers, ...numbers }, plans: [...services.values()].flatMap(({ parts }) => parts.map(({ plan }) => plan)),
    again: times.length === 0 ? null : times.reduce((first, time) => Math.min(first, time)), refused,
  };
}

/** A service as it was, and what it is now; null: the same. */
interface Looked {
  readonly name: string;
  readonly was: Balanced | undefined;
  readonly now: Now | null;
}

interface Now {
  readonly service: Service;
  readonly mode: ServiceMode;
  readonly backends: readonly Backend[];
  readonly told: Told | undefined;
  readonly reached: readonly ReachedTogether[];
}

/** Of one service in one family, or of all that have the same backends. */
interface ReachedTogether {
  readonly family: Family;
  readonly reached: readonly Reached[];
  readonly keys: readonly string[];
}

function reachedTogether(service: Service, backends: readonly Backend[], family: Family, mode: ServiceMode, share: Sharing): readonly ReachedTogether[] {
  const found = reachedBy(service, [], family, mode);
  if (found === null) return [];
  return [share(["reached", backends, family, mode], () => {
    const reached = reachedBy(service, backends, family, mode) ?? [];
    return { family, reached, keys: reached.map(({ key }) => key) };
  })];
}

/** Equal where services mean the same backends. */
function rulesText({ backends }: Service): string {
  return JSON.stringify(backends, (key, value: unknown) => (key === "place" ? undefined : value));
}

function sameTold(a: Told | undefined, b: Told | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.size === b.size && [...a].every(([key, up]) => b.get(key) === up));
}

/** Containers that came or went, and those that are not as they were as both. */
interface Changed {
  readonly containers: readonly ServingContainer[];
  /** As backends. */
  readonly ids: ReadonlySet<string>;
}

function changedContainers(before: readonly ServingContainer[], after: readonly ServingContainer[]): Changed {
  if (before === after) return { containers: [], ids: new Set() };
  const [had, has] = [new Set(before), new Set(after)];
  const containers = [...before.filter((one) => !has.has(one)), ...after.filter((one) => !had.has(one))];
  return { containers, ids: new Set(containers.flatMap(idsOf)) };
}

function isAsBefore(was: Balanced, service: Service, mode: ServiceMode, changed: Changed, now: number): boolean {
  // What is to happen later than a drain from now was said before the clock was set back.
  const due = was.again !== null && (was.again <= now || was.again > now + service.drain);
  if (was.service !== service || was.mode !== mode || due) return false;
  // Also of one that no rule selects any more it matters that it dies.
  return changed.containers.every((one) => !selects(service, one)) && was.backends.every(({ id }) => !changed.ids.has(id));
}

type Fresh = Looked & { readonly now: Now };
type NumbersGiven = Pick<Balancing, "serviceNumbers" | "backendNumbers">;

interface Renumbered {
  /** Those for which there are numbers, and the others as they were. */
  readonly looked: readonly Looked[];
  readonly numbers: NumbersGiven;
  readonly refused: Advance["refused"];
}

/** Where there are not enough, who was there goes before who is new. */
function renumbered(before: Balancing, all: readonly Looked[], gone: readonly Balanced[], now: number): Renumbered {
  const fresh = all.filter((one): one is Fresh => one.now !== null);
  const numbers = numbersFor(before, fresh, gone, now);
  if (numbers !== null) return { looked: all, numbers, refused: new Map() };
  const refused = withoutNumbers(before, fresh.toSorted((a, b) => Number(a.was === undefined) - Number(b.was === undefined)), gone);
  // The containers are known from now on: that there is no room for them must not make it look as if nothing had changed.
  const looked = all.flatMap((one): readonly Looked[] => (!refused.has(one.name) ? [one] : one.was === undefined ? [] : [{ ...one, was: { ...one.was, again: 0 }, now: null }]));
  return { looked, numbers: numbersFor(before, fresh.filter(({ name }) => !refused.has(name)), gone, now) as NumbersGiven, refused };
}

/** null: there are not enough. */
function numbersFor(before: Balancing, fresh: readonly Fresh[], gone: readonly Balanced[], now: number): NumbersGiven | null {
  const left = [...gone, ...fresh.flatMap(({ was }) => was ?? [])];
  const serviceNumbers = recount(before.serviceNumbers, fresh.map((one) => serviceKeys(one.name, one.now.reached)), left.map(({ service, parts }) => serviceKeys(service.name, parts)), now, mostServices);
  const backendNumbers = recount(before.backendNumbers, fresh.flatMap(({ now: { reached } }) => reached.map(({ keys }) => keys)), left.flatMap(({ parts }) => parts.map(({ keys }) => keys)), now, highestBackend);
  return serviceNumbers === null || backendNumbers === null ? null : { serviceNumbers, backendNumbers };
}

/** Each is asked in turn, by the numbers that those before it have left. */
function withoutNumbers(before: Balancing, fresh: readonly Fresh[], gone: readonly Balanced[]): Advance["refused"] {
  const [services, backends] = [createTally(before.serviceNumbers), createTally(before.backendNumbers)];
  const count = ({ service, parts }: Balanced, by: 1 | -1): void => {
    services.count(serviceKeys(service.name, parts), by);
    for (const { keys } of parts) backends.count(keys, by);
  };
  for (const one of gone) count(one, -1);
  return new Map(fresh.flatMap((one) => {
    if (one.was !== undefined) count(one.was, -1);
    services.count(serviceKeys(one.name, one.now.reached), 1);
    backends.count(backendKeys(one), 1);
    const why = services.size > mostServices ? `this node balances ${mostServices} services, of which one of both families counts twice`
      : backends.size > highestBackend ? `this node balances over ${highestBackend} backends` : undefined;
    if (why === undefined) return [];
    services.count(serviceKeys(one.name, one.now.reached), -1);
    backends.count(backendKeys(one), -1);
    if (one.was !== undefined) count(one.was, 1);
    return [[one.name, `service ${one.name}: there is no room for it: ${why}`] as const];
  }));
}

function serviceKeys(name: string, parts: readonly Pick<Part, "family">[]): readonly string[] {
  return parts.map(({ family }) => `${name} ${family}`);
}

function backendKeys({ now: { reached: parts } }: Fresh): readonly string[] {
  return parts.flatMap(({ keys }) => keys);
}

function balanced({ service, mode, backends, told, reached: all }: Now, was: Balanced | undefined, { serviceNumbers }: Pick<Balancing, "serviceNumbers">, tables: TableSurroundings): Balanced {
  const parts = all.map(({ family, reached, keys }): Part => {
    const before = was?.parts.find((part) => part.family === family)?.table;
    const table = tables.share(["table", reached, service.health.kind, service.drain, before], () => tableOf(service, reached, before, tables));
    const number = serviceNumbers.given.get(`${service.name} ${family}`)?.number ?? 0;
    return { family, keys, table, plan: planOf(service, family, number, reached, tables.numberOf, table.slots, tables.share) };
  });
  const again = tables.share(["again", backends, service.health.kind, service.drain], () => nextChange(backends, service, tables.now));
  return { service, mode, backends, parts, told, again };
}

/** By the key; looked for when one is asked for. */
function settledTables({ services }: Balancing): TableSurroundings["standing"] {
  let all: ReadonlyMap<string, Table> | undefined;
  return (key) => {
    all ??= new Map([...services.values()].flatMap(({ parts }) => parts.map(({ table }) => [table.key, table] as const)));
    const found = all.get(key);
    return found !== undefined && isSettled(found) ? found : undefined;
  };
}

/** What a probe found of the backend of a service with that `id` and port. */
export interface Answer extends Pick<Backend, "id" | "port"> {
  /** By name. */
  readonly service: string;
  readonly passed: boolean;
}

/** After probes, in their order; what follows from them the next advance says. The same object when nothing changed. */
export function afterProbes(before: Balancing, answers: readonly Answer[], now: number): Balancing {
  const changed = new Map<string, Balanced>();
  const share = createSharing();
  for (const { service: name, id, port, passed } of answers) {
    const found = changed.get(name) ?? before.services.get(name);
    if (found === undefined) continue;
    const { rise, fall } = found.service.health;
    const backends = share([found.backends, id, port, passed, rise, fall], () => {
      const all = found.backends.map((backend) => (backend.id === id && backend.port === port ? probed(backend, passed, found.service.health, now) : backend));
      return all.some((backend, i) => backend !== found.backends[i]) ? all : found.backends;
    });
    if (backends !== found.backends) changed.set(name, { ...found, backends, again: 0 });
  }
  return changed.size === 0 ? before : { ...before, services: new Map([...before.services, ...changed]) };
}

/**
 * After a look at which changed slots are quiet; `quiet` as in `settle`, for the service with that number and so many slots; null: nobody can tell, and its
 * slots stay as they are, also where those of others with the same table settle. The next advance tells the plans. Of a service with affinity none is
 * quiet: its clients are remembered beside the slots, and no slot shows that one of them has flows. The same object when nothing settled.
 */
export function afterSettling(before: Balancing, quiet: (service: number, size: number) => ((slot: number, since: number) => boolean) | null): Balancing {
  const share = createSharing();
  const services = new Map([...before.services].map(([name, one]) => {
    if (one.service.affinity !== null) return [name, one] as const;
    const parts = one.parts.map((part): Part => {
      const isQuiet = quiet(part.plan.number, part.table.slots.size);
      if (isQuiet === null) return part;
      // Services of one table have it in one place.
      const table = share([part.table, part.plan.backends], (): Table => {
        const containers = new Set(part.plan.backends.filter(({ node }) => node !== null).map(({ number }) => number));
        const slots = settle(part.table.slots, isQuiet, (number) => containers.has(number));
        return slots === part.table.slots ? part.table : { ...part.table, slots };
      });
      return table === part.table ? part : { ...part, table, plan: { ...part.plan, slots: table.slots } };
    });
    return [name, parts.every((part, i) => part === one.parts[i]) ? one : { ...one, parts }] as const;
  }));
  return [...services].every(([name, one]) => one === before.services.get(name)) ? before : { ...before, services };
}
