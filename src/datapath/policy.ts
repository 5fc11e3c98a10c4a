// The policy in the kernel: two sets of tables of which one is in force, and the one write that changes which.
import { maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { PolicyTables, Rule } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import { changeOf, checkSizes, classes, pairs, pick, ports, prefixes, sameRows } from "./policy-parts.ts";
import type { Change, Part, PolicyMapName } from "./policy-parts.ts";
import type { PolicyStanding } from "./types.ts";

export interface Policy extends Disposable {
  /**
   * Makes these tables the ones in force, all at once. What is in force stays until then, and when it throws.
   * @throws HawserError TABLE_FULL before anything is touched, KERNEL
   */
  install(tables: PolicyTables): void;
  /** Every flow is judged again at its next packet; the tables stay. */
  touch(): void;
  standing(): PolicyStanding;
}

/** One table as we made it; both slots may hold the same. */
interface Inner {
  readonly map: KernelMap;
  readonly capacity: number;
  count: number;
}

type Slot = Partial<Record<PolicyMapName, Inner>>;
type Slots = readonly [Slot, Slot];

const first = maps.hw_policy_state.key.encode(0);
/** Policies whose rules can still be named when an event comes late. */
const erasKept = 8;

/** `open` holds hw_policy_state and the four maps of tables. What an earlier agent wrote stays in force until the first install. */
export function createPolicy(kernel: Kernel, open: ReadonlyMap<string, KernelMap>): Policy {
  const state = mapNamed(open, "hw_policy_state");
  const slots: Slots = [{}, {}];
  const book = createRuleBook();
  let tables: PolicyTables | null = null;
  /** As we wrote it last; another in the kernel is somebody else's, whose tables we do not know. */
  let revision = readRevision(state);
  /** False when a change broke off: then nobody knows what the tables hold. */
  let whole = true;

  const write = (next: number): void => {
    state.set(first, maps.hw_policy_state.value.encode({ revision: next }));
    revision = next;
  };

  const renew = (wanted: PolicyTables, known: PolicyTables | null): void => {
    const next = after(readRevision(state), 1);
    fill(kernel, open, slots, next & 1, wanted, known);
    book.begin(next, wanted.rules);
    write(next);
  };

  return {
    install: (wanted) => {
      checkSizes(wanted);
      const known = whole && readRevision(state) === revision ? tables : null;
      const change = known === null ? undefined : changeOf(known, wanted);
      const inPlace = change === undefined ? undefined : stepsInPlace(slots[(revision & 1) === 0 ? 0 : 1], change, wanted);
      whole = false;
      if (inPlace === undefined) renew(wanted, known);
      for (const step of inPlace ?? []) step();
      book.grow(wanted.rules);
      tables = wanted;
      whole = true;
    },
    touch: () => {
      const now = readRevision(state);
      if (now === 0) return; // no flow was ever judged
      const next = after(now, 2);
      book.extend(next);
      write(next);
    },
    standing: () => ({ revision: readRevision(state), tables, rulesOf: book.rulesOf }),
    [Symbol.dispose]: () => {
      for (const inner of new Set(slots.flatMap((slot) => Object.values(slot)))) inner.map.close();
    },
  };
}

/** 32 bits; 0 is left out, because it means that there is no policy. */
export function after(revision: number, step: 1 | 2): number {
  const next = revision + step;
  return next < 2 ** 32 ? next : 2 + (next % 2);
}

/** New tables are made and filled before the slot is touched: when the kernel has no room, nothing has changed. */
function fill(kernel: Kernel, open: ReadonlyMap<string, KernelMap>, slots: Slots, number: number, wanted: PolicyTables, known: PolicyTables | null): void {
  const [target, current] = number === 0 ? [slots[0], slots[1]] : [slots[1], slots[0]];
  const made: Inner[] = [];
  const place = <K, V>(part: Part<K, V>): (() => void) => {
    const kept = known !== null && sameRows(part, known, wanted) ? current[part.map] : undefined;
    const inner = kept ?? makeInner(kernel, part, wanted);
    if (kept === undefined) made.push(inner);
    return () => {
      const replaced = target[part.map];
      if (replaced === inner) return;
      mapNamed(open, part.map).setInner(maps.hw_policy_state.key.encode(number), inner.map);
      target[part.map] = inner;
      if (replaced !== undefined && current[part.map] !== replaced) replaced.map.close();
    };
  };
  try {
    const placings = [place(ports), place(pairs), place(prefixes), place(classes)];
    for (const put of placings) put();
  } catch (error) {
    for (const inner of made) if (!Object.values(target).includes(inner)) inner.map.close();
    throw error;
  }
}

/** Room for half as much again, so that what comes later can be added in place. */
function makeInner<K, V>(kernel: Kernel, part: Part<K, V>, tables: PolicyTables): Inner {
  const { keys, values, count } = part.pack(part.of(tables));
  const { kind, key, value, flags } = part.shape;
  const capacity = Math.min(part.limit, Math.max(64, Math.ceil(count * 1.5)));
  const map = kernel.createMap(kind, part.map, key.size, value.size, capacity, { flags });
  try {
    if (count > 0) map.setPacked(keys, values);
  } catch (error) {
    map.close();
    throw error;
  }
  return { map, capacity, count };
}

/** undefined: the tables in force cannot be made so, or have no room. The identity, which a packet asks for first, is added last and removed first. */
function stepsInPlace(slot: Slot, change: Change, wanted: PolicyTables): readonly (() => void)[] | undefined {
  if (change.kind === "none") return [];
  if (change.kind === "replace") return undefined;
  const { rows } = change;
  if (change.kind === "remove") return [removing(slot, classes, rows.classes), removing(slot, pairs, rows.pairs), removing(slot, ports, rows.ports)];
  const steps = [adding(slot, ports, wanted, rows.ports), adding(slot, pairs, wanted, rows.pairs), adding(slot, classes, wanted, rows.classes)];
  const fitting = steps.filter((step) => step !== undefined);
  return fitting.length === steps.length ? fitting : undefined;
}

function adding<K, V>(slot: Slot, part: Part<K, V>, wanted: PolicyTables, keys: readonly K[]): (() => void) | undefined {
  const inner = slot[part.map];
  if (inner === undefined || inner.count + keys.length > inner.capacity) return undefined;
  const packed = part.pack(pick(part, wanted, keys));
  return () => {
    if (packed.count === 0) return;
    inner.map.setPacked(packed.keys, packed.values);
    inner.count += packed.count;
  };
}

function removing<K, V>(slot: Slot, part: Part<K, V>, keys: readonly K[]): () => void {
  return () => {
    const inner = slot[part.map];
    if (inner !== undefined && keys.length > 0) inner.count -= inner.map.deleteBatch(part.packKeys(keys));
  };
}

interface RuleBook {
  /** From this revision on, rules are numbered anew. */
  begin(revision: number, rules: readonly Rule[]): void;
  /** The revision after has the same tables. */
  extend(revision: number): void;
  /** More rules under numbers of their own; fewer are kept, because an event of before may come late. */
  grow(rules: readonly Rule[]): void;
  rulesOf(revision: number): readonly Rule[] | undefined;
}

function createRuleBook(): RuleBook {
  const eras: { readonly revisions: Set<number>; rules: readonly Rule[] }[] = [];
  return {
    begin: (revision, rules) => {
      for (const era of eras) era.revisions.delete(revision); // numbers come round again
      eras.push({ revisions: new Set([revision]), rules });
      if (eras.length > erasKept) eras.shift();
    },
    extend: (revision) => {
      const era = eras.at(-1);
      if (era === undefined) return;
      era.revisions.add(revision);
      const [oldest] = era.revisions;
      if (era.revisions.size > 1024 && oldest !== undefined) era.revisions.delete(oldest);
    },
    grow: (rules) => {
      const era = eras.at(-1);
      if (era !== undefined && rules.length >= era.rules.length) era.rules = rules;
    },
    rulesOf: (revision) => eras.find((era) => era.revisions.has(revision))?.rules,
  };
}

function readRevision(state: KernelMap): number {
  const bytes = state.get(first);
  return bytes === undefined ? 0 : maps.hw_policy_state.value.decode(bytes).revision;
}

function mapNamed(open: ReadonlyMap<string, KernelMap>, name: string): KernelMap {
  const map = open.get(name);
  if (map === undefined) throw new HawserError("INTERNAL", `no loaded object has a map ${name}`);
  return map;
}
