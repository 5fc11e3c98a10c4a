// What must outlive the agent for no flow to move when it starts again: whose numbers are whose, backends, and slots that are not settled.
import { buildTable } from "../lb/maglev.ts";
import type { TableMember } from "../lb/maglev.ts";
import type { Balancing } from "../lb/plan.ts";
import type { Backend, Service, Slots } from "../lb/types.ts";
import type { Json } from "../store/types.ts";

const numbers = { backends: "numbers of backends", services: "numbers of services" } as const;
const backendsOf = (name: string): string => `backends ${name}`;
const tableOf = (key: string): string => `table ${key}`;

/** By key. Settled slots are not among them: they are the table's, which follows from its members. */
export function rowsOf({ services, tables, backendNumbers, serviceNumbers }: Balancing): ReadonlyMap<string, Json> {
  const rows = new Map<string, Json>();
  if (services.size === 0) return rows;
  for (const [key, { given, resting }] of [[numbers.backends, backendNumbers], [numbers.services, serviceNumbers]] as const) {
    rows.set(key, { given: [...given].map((one) => [...one]), resting: [...resting].map((one) => [...one]) });
  }
  // Answers that count towards a change of state come anew soon enough, and are not worth a write each.
  for (const [name, { backends }] of services) {
    rows.set(backendsOf(name), backends.map((backend): Json => ({ ...backend, health: { ...backend.health, against: 0 } })));
  }
  for (const [key, { key: made, slots }] of tables) rows.set(tableOf(key), { made, size: slots.size, unsettled: unsettledOf(slots) });
  return rows;
}

/** Of services that are there now; what cannot be read is as if it had not been written. */
export function recallBalancing(rows: ReadonlyMap<string, Json>, services: readonly Service[], now: number): Balancing {
  const known = services.flatMap((service) => {
    const backends = rows.get(backendsOf(service.name));
    return Array.isArray(backends) ? [[service.name, { service, backends: backends as unknown as readonly Backend[] }] as const] : [];
  });
  const names = new Set(known.map(([name]) => name));
  const tables = [...rows].flatMap(([key, row]) => {
    const part = key.startsWith("table ") ? key.slice("table ".length) : "";
    if (!names.has(part.slice(0, -2))) return [];
    const { made, size, unsettled } = row as { readonly made: string; readonly size: number; readonly unsettled: string };
    const wanted = buildTable(membersIn(made), size);
    return [[part, { key: made, wanted, slots: slotsOf(wanted, unsettled) }] as const];
  });
  return { services: new Map(known), tables: new Map(tables), backendNumbers: numbersIn(rows.get(numbers.backends), now), serviceNumbers: numbersIn(rows.get(numbers.services), now) };
}

function numbersIn(row: Json | undefined, now: number): Balancing["backendNumbers"] {
  const { given = [], resting = [] } = (row ?? {}) as { readonly given?: readonly (readonly [string, number])[]; readonly resting?: readonly (readonly [number, number])[] };
  // A clock that was set back must not keep numbers from being given out again.
  return { given: new Map(given), resting: new Map(resting.map(([number, since]) => [number, Math.min(since, now)])) };
}

/** As `Table.key` is made: the size, then each member's identity, number and weight. */
function membersIn(made: string): readonly TableMember[] {
  const [, ...members] = JSON.parse(made) as readonly [number, ...(readonly [string, number, number])[]];
  return members.map(([identity, number, weight]) => ({ identity, number, weight }));
}

/** Slot, its two words, how many are between, and these; in base64. */
function unsettledOf({ size, words, between }: Slots): string {
  const out: number[] = [];
  for (let slot = 0; slot < size; slot++) {
    if (words[2 * slot + 1] === 0) continue;
    const others = between.get(slot) ?? [];
    out.push(slot, words[2 * slot] as number, words[2 * slot + 1] as number, others.length, ...others);
  }
  return Buffer.from(Uint32Array.from(out).buffer).toString("base64");
}

function slotsOf(wanted: Uint16Array, unsettled: string): Slots {
  const words = new Uint32Array(2 * wanted.length);
  for (let slot = 0; slot < wanted.length; slot++) words[2 * slot] = wanted[slot] as number;
  const read = new Uint32Array(new Uint8Array(Buffer.from(unsettled, "base64")).buffer);
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
