// What must outlive the agent for no flow to move when it starts again: backends and their numbers, and what slots know beside the table.
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { buildTable, widened } from "../lb/maglev.ts";
import type { Fill } from "../lb/maglev.ts";
import type { Balancing } from "../lb/plan.ts";
import { planOf } from "../lb/reach.ts";
import type { Reached } from "../lb/reach.ts";
import { createSharing } from "../lb/sharing.ts";
import { newSlots, wordsOf } from "../lb/slots.ts";
import type { Backend, Probed, Service, Slots, Way } from "../lb/types.ts";
import type { Family, Ip } from "../std/ip.ts";
import type { Json } from "../store/types.ts";
import { readShared } from "./shared-rows.ts";
import type { Named, SharedRows } from "./shared-rows.ts";

type Balanced = Balancing["services"] extends ReadonlyMap<string, infer One> ? One : never;

/** Of a service in one family. */
interface PartRow {
  readonly family: Family;
  readonly number: number;
  /** Its backends' keys with their numbers. */
  readonly numbers: readonly (readonly [string, number])[];
  /** What its table was made of. */
  readonly made: string;
  readonly size: number;
  /** Its slots that are not settled, or know who was before: what others have follows from the table. */
  readonly remembered: string;
  /** The same in rows of builds that did not deflate it. */
  readonly unsettled?: string;
}

interface ServiceRow {
  readonly backends: readonly Backend[];
  readonly parts: readonly PartRow[];
}

/** What of a backend is the same in every service that has it, */
type Who = Omit<Backend, "drainsUntil" | "health">;
/** and what is not: `drainsUntil`, and of `health` the state and since when. */
type Life = readonly [drainsUntil: number | null, state: Probed["state"], since: number];

/** As it is written: what is long stands for itself, or is named where `SharedRows` has it. */
interface WrittenRow {
  readonly who: unknown;
  readonly lives: unknown;
  readonly parts: readonly (Pick<PartRow, "family" | "number" | "size"> & Readonly<Record<"numbers" | "made" | "remembered", unknown>>)[];
}

/** Numbers that must not be given out again yet, of services and of backends. */
export const restingKey = "numbers at rest";
export const rowKey = (service: string): string => `balanced ${service}`;
/** Of builds that wrote each backend down with each service. */
const formerKey = (service: string): string => `service ${service}`;

/**
 * The row of a service, with what it names of `shared`. It is text within the text that the store makes of it: whoever only carries it there need not look
 * into it. Answers that count towards a change of state come anew soon enough, and are not worth a write each.
 */
export function serviceRow({ backends, parts }: Balanced, { backendNumbers }: Balancing, shared: SharedRows): { readonly text: string; readonly named: readonly Named[] } {
  const all: Named[] = [];
  const text = (kind: string, of: object, make: () => unknown): string => {
    const { text: inRow, named } = shared.text(kind, of, make);
    if (named !== undefined) all.push(named);
    return inRow;
  };
  const who = text("who", backends, () => backends.map(({ drainsUntil: _, health: __, ...rest }): Who => rest));
  const lives = text("lives", backends, () => backends.map(({ drainsUntil, health: { state, since } }): Life => [drainsUntil, state, since]));
  const written = parts.map(({ family, keys, table, plan: { number } }) => {
    const numbers = text("numbers", keys, () => keys.map((key) => [key, backendNumbers.given.get(key)?.number ?? 0]));
    const made = text("made", table, () => table.key);
    const remembered = text("remembered", table.slots, () => rememberedOf(table.slots));
    return `{"family":${family},"number":${number},"numbers":${numbers},"made":${made},"size":${table.slots.size},"remembered":${remembered}}`;
  });
  return { text: `{"who":${who},"lives":${lives},"parts":[${written.join()}]}`, named: all };
}

/** By the service's name; null: its row cannot be read. Services with the same backends have the same list of them. */
export function backendsIn(rows: ReadonlyMap<string, Json>): ReadonlyMap<string, readonly Backend[] | null> {
  const read = createReader(rows);
  const names = [rowKey, formerKey].flatMap((key) => [...rows.keys()].flatMap((one) => (one.startsWith(key("")) ? one.slice(key("").length) : [])));
  return new Map(names.map((name) => [name, read(name)?.backends ?? null]));
}

/** What is shared is read once. A row that cannot be read is as if it had not been written. */
function createReader(rows: ReadonlyMap<string, Json>): (service: string) => ServiceRow | undefined {
  const shared = readShared(rows);
  const made = createSharing();
  const sound = (read: unknown): ServiceRow | undefined => (isServiceRow(read) ? read : undefined);
  return (service) => {
    const [row, former] = [rows.get(rowKey(service)), rows.get(formerKey(service))];
    if (typeof row !== "string") return typeof former === "string" ? sound(orUndefined(() => JSON.parse(former))) : undefined;
    return sound(orUndefined(() => {
      const { who, lives, parts } = JSON.parse(row) as WrittenRow;
      const [those, their] = [shared(who) as readonly Who[], shared(lives) as readonly Life[]];
      const read = parts.map(({ numbers, made: of, remembered, ...part }) => ({ ...part, numbers: shared(numbers), made: shared(of), remembered: shared(remembered) }));
      // Lists that are written whole are short; services that have a long one in common may still differ in when they began with it.
      const backends = made([those, typeof lives === "string" ? lives : JSON.stringify(lives)], () => those.map((one, i): Backend => {
        const [drainsUntil, state, since] = their[i] ?? [null, "unknown", 0];
        return { ...one, drainsUntil, health: { state, against: 0, since } };
      }));
      return { backends, parts: read };
    }));
  };
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

type Fields<T> = Readonly<Partial<Record<keyof T, unknown>>>;

function isServiceRow(read: unknown): read is ServiceRow {
  const { backends, parts } = (read ?? {}) as Fields<ServiceRow>;
  return Array.isArray(backends) && backends.every(isBackend) && Array.isArray(parts) && parts.every(isPartRow);
}

function isBackend(read: unknown): read is Backend {
  const { identity, kind, id, port, weight, drainsUntil, health } = (read ?? {}) as Fields<Backend>;
  const { state, against, since } = (health ?? {}) as Fields<Backend["health"]>;
  return [identity, kind, id, state].every((one) => typeof one === "string") && [port, weight, against, since, drainsUntil ?? 0].every(Number.isFinite);
}

function isPartRow(read: unknown): read is PartRow {
  const { family, number, numbers, made, size, remembered, unsettled } = (read ?? {}) as Fields<PartRow>;
  return (family === 4 || family === 6) && [number, size].every(Number.isSafeInteger) && [made, remembered ?? unsettled].every((one) => typeof one === "string")
    && Array.isArray(numbers) && numbers.every((one) => Array.isArray(one) && typeof one[0] === "string" && Number.isSafeInteger(one[1]));
}

export function restingRow({ serviceNumbers, backendNumbers }: Balancing): Json {
  return { services: [...serviceNumbers.resting].map((one) => [...one]), backends: [...backendNumbers.resting].map((one) => [...one]) };
}

/** Of services that are there now; a row that a build cannot read is as if it had not been written. */
export function recallBalancing(rows: ReadonlyMap<string, Json>, services: readonly Service[], now: number, fill?: Fill): Balancing {
  const resting = (rows.get(restingKey) ?? {}) as { readonly services?: Json; readonly backends?: Json };
  const given = { services: new Map<string, { number: number; users: number }>(), backends: new Map<string, { number: number; users: number }>() };
  const use = (of: Map<string, { number: number; users: number }>, key: string, number: number): void => void of.set(key, { number, users: (of.get(key)?.users ?? 0) + 1 });
  const made = createSharing();
  const read = createReader(rows);
  const known = services.flatMap((service) => {
    const row = read(service.name);
    const parts = orUndefined(() => row?.parts.map(({ family, numbers, number, made: key, size, remembered, unsettled }) => {
      const table = made([key, size, unsettled ?? remembered], () => {
        const bytes = unsettled !== undefined ? Buffer.from(unsettled, "base64") : remembered === "" ? new Uint8Array() : inflateRawSync(Buffer.from(remembered, "base64"));
        return { key, slots: slotsOf(tableAgain(key, size, fill), new Uint32Array(new Uint8Array(bytes).buffer)) };
      });
      const { numberOf, keys, reached } = made(["reached", row.backends, numbers], () => ({ numberOf: new Map(numbers), keys: numbers.map(([one]) => one), reached: reachedAgain(row, numbers.map(([one]) => one)) }));
      const plan = planOf(service, family, number, reached, (one) => numberOf.get(one) ?? 0, table.slots, made);
      return { family, keys, table, plan };
    }));
    if (row === undefined || parts === undefined) return [];
    for (const { family, number, numbers } of row.parts) {
      use(given.services, `${service.name} ${family}`, number);
      for (const [one, its] of numbers) use(given.backends, one, its);
    }
    return [[service.name, { service, mode: service.mode ?? "auto", backends: row.backends, parts, told: undefined, again: 0 }] as const];
  });
  // A clock that was set back must not keep numbers from being given out again.
  const rested = (those: Json | undefined): ReadonlyMap<number, number> =>
    new Map((Array.isArray(those) ? those : []).filter(isResting).map(([number, since]) => [number, Math.min(since, now)]));
  return {
    services: new Map(known), containers: [],
    serviceNumbers: { given: given.services, resting: rested(resting.services) }, backendNumbers: { given: given.backends, resting: rested(resting.backends) },
  };
}

function isResting(read: Json): read is readonly [number, number] {
  return Array.isArray(read) && read.length === 2 && read.every(Number.isSafeInteger);
}

/** As it was, by the keys of `Reached`. */
function reachedAgain({ backends }: ServiceRow, keys: Iterable<string>): readonly Reached[] {
  const byPlace = new Map(backends.map((backend) => [`${backend.port} ${backend.id}`, backend]));
  return Array.from(keys).flatMap((key): readonly Reached[] => {
    const [way, address, ...place] = key.split(" ");
    const backend = byPlace.get(place.join(" "));
    return backend === undefined ? [] : [{ key, backend, address: address as Ip, way: way as Way }];
  });
}

/** As a table's key is made: how many slots were filled, then each member's identity, number and weight. */
function tableAgain(made: string, size: number, fill: Fill | undefined): Uint16Array {
  const [filled, ...members] = JSON.parse(made) as readonly [number, ...(readonly [string, number, number])[]];
  return widened(buildTable(members.map(([identity, number, weight]) => ({ identity, number, weight })), filled, fill), size);
}

/** Slot, its two words, how many are between, and these; deflated, because most are alike, and in base64. */
function rememberedOf({ size, words, between }: Slots): string {
  if (words === undefined) return "";
  const out: number[] = [];
  for (let slot = 0; slot < size; slot++) {
    if (words[2 * slot + 1] === 0 && (words[2 * slot] as number) >>> 16 === 0) continue;
    const others = between.get(slot) ?? [];
    out.push(slot, words[2 * slot] as number, words[2 * slot + 1] as number, others.length, ...others);
  }
  return out.length === 0 ? "" : deflateRawSync(new Uint8Array(Uint32Array.from(out).buffer), { level: 1 }).toString("base64");
}

function slotsOf(wanted: Uint16Array, read: Uint32Array): Slots {
  const plain = newSlots(wanted);
  if (read.length === 0) return plain;
  const words = wordsOf(plain);
  const between = new Map<number, readonly number[]>();
  for (let i = 0; i + 3 < read.length; ) {
    const [slot = 0, word = 0, changed = 0, count = 0] = read.subarray(i, i + 4);
    words[2 * slot] = word;
    words[2 * slot + 1] = changed;
    if (count > 0) between.set(slot, [...read.subarray(i + 4, i + 4 + count)]);
    i += 4 + count;
  }
  return { size: wanted.length, words, between };
}
