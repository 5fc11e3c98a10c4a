// An outcome on its way from the balancer's thread, in parts: to read a message stops whoever reads it, and tens of thousands of backends are too much for one.
import type { Backend, BackendPlan, ServicePlan, Slots } from "../lb/types.ts";
import type { Change } from "../store/types.ts";
import type { Outcome } from "./balancer.ts";

type Plan = Outcome["plans"]["set"][number];

/** What plans have in common is told once, and named by its place among all of its kind. */
interface PlanPart extends Omit<ServicePlan, "slots" | "backends"> {
  readonly slots: number | { readonly of: string };
  readonly backends: number;
}

export interface Part {
  readonly pools: readonly (readonly BackendPlan[])[];
  readonly plans: readonly PlanPart[];
  readonly crowds: readonly (readonly Backend[])[];
  /** By the service's name; backends of several services are told once, as one of the crowds. */
  readonly backends: readonly (readonly [string, number])[];
  readonly rows: readonly Change[];
}

export interface Head extends Omit<Outcome, "backends" | "rows" | "plans"> {
  readonly gone: readonly string[];
  readonly tables: readonly Slots[];
  /** How many follow. */
  readonly parts: number;
}

/** Backends in one part, which then takes a few milliseconds to read; a plan or a row counts as a few. */
const partSize = 1000;
const nothing: Part = { pools: [], plans: [], crowds: [], backends: [], rows: [] };

/** `tables` of the head are copies, for the sake of those who keep theirs. */
export function inParts({ plans: { set, gone }, backends, rows, ...rest }: Outcome): { readonly head: Head; readonly parts: readonly Part[] } {
  const tables = new Map<Slots, number>();
  const pools = new Map<readonly BackendPlan[], number>();
  const crowds = new Map<readonly Backend[], number>();
  const place = <T>(of: Map<T, number>, one: T): number => {
    const at = of.get(one) ?? of.size;
    of.set(one, at);
    return at;
  };
  const plans = set.map((plan): PlanPart => ({ ...plan, slots: "of" in plan.slots ? plan.slots : place(tables, plan.slots), backends: place(pools, plan.backends) }));
  const whose = Array.from(backends, ([name, those]) => [name, place(crowds, those)] as const);
  const parts = [
    ...pieces([...pools.keys()], (pool) => pool.length).map((some): Part => ({ ...nothing, pools: some })),
    ...pieces(plans, () => 5).map((some): Part => ({ ...nothing, plans: some })),
    ...pieces([...crowds.keys()], (crowd) => crowd.length).map((some): Part => ({ ...nothing, crowds: some })),
    ...pieces(whose, () => 1).map((some): Part => ({ ...nothing, backends: some })),
    ...pieces(rows, () => 5).map((some): Part => ({ ...nothing, rows: some })),
  ];
  return { head: { ...rest, gone, tables: copied([...tables.keys()]), parts: parts.length }, parts };
}

/** Memory that only these tables are in. */
export function buffersOf({ tables }: Head): readonly ArrayBuffer[] {
  return [...new Set(tables.map(({ words, plain }) => (words ?? plain).buffer as ArrayBuffer))];
}

/** Plain ones lie in one piece of memory: to hand over thousands would take as long as to copy them. */
function copied(tables: readonly Slots[]): readonly Slots[] {
  const all = new Uint16Array(tables.reduce((sum, { plain }) => sum + (plain?.length ?? 0), 0));
  let at = 0;
  return tables.map((slots): Slots => {
    if (slots.words !== undefined) return { ...slots, words: slots.words.slice() };
    const plain = all.subarray(at, (at += slots.size));
    plain.set(slots.plain);
    return { ...slots, plain };
  });
}

/** `parts` in their order. */
export function outcomeOf({ gone, tables, parts: _, ...rest }: Head, parts: readonly Part[]): Outcome {
  const pools = parts.flatMap((part) => part.pools);
  const set = parts.flatMap((part) => part.plans).map((plan): Plan => {
    const slots = typeof plan.slots === "number" ? tables[plan.slots] : plan.slots;
    if (slots === undefined) throw new RangeError("a plan names slots that were not told");
    return { ...plan, slots, backends: pools[plan.backends] ?? [] };
  });
  const crowds = parts.flatMap((part) => part.crowds);
  const backends = new Map(parts.flatMap((part) => part.backends.map(([name, at]) => [name, crowds[at] ?? []] as const)));
  return { ...rest, plans: { set, gone }, backends, rows: parts.flatMap((part) => part.rows) };
}

function pieces<T>(all: readonly T[], sizeOf: (one: T) => number): readonly (readonly T[])[] {
  const cut: T[][] = [];
  let room = 0;
  for (const one of all) {
    const last = cut.at(-1);
    if (last === undefined || room <= 0) {
      cut.push([one]);
      room = partSize;
    } else {
      last.push(one);
    }
    room -= sizeOf(one) + 1;
  }
  return cut;
}
