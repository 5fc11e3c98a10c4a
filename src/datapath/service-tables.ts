// Where services' tables lie in the row of slots. Services of the same slots share a place: ten thousand with the same backends have one table.
import { LbForm } from "../abi/generated.ts";
import { isListable } from "../kernel/index.ts";
import type { ServicePlan, Slots } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import { changedOf, lowerOf } from "./lb-slots.ts";
import type { Form, SlotRange, SlotRow } from "./lb-slots.ts";

export interface ServiceTables {
  /** Sets places apart for the slots of plans, until the next `change`. @returns the plans for whose slots there is no room */
  reserve(plans: readonly ServicePlan[], pause: () => Promise<void>): Promise<readonly ServicePlan[]>;
  /** Writes the slots of plans that are reserved for, at places that nobody is sent to yet or with what differs in place. Of a service that is gone the place stays until `release`. */
  change(plans: readonly ServicePlan[], gone: readonly number[], pause: () => Promise<void>): Promise<void>;
  /** Of a service that has a table. */
  rangeOf(service: number): SlotRange;
  /** The change is over. @returns whether places are to be given back */
  done(): boolean;
  /** Gives back places that no service has any more; nobody is sent there now, nor on the way there. */
  release(): void;
}

interface Table {
  readonly range: SlotRange;
  /** undefined: an earlier agent's, which may be any. */
  slots: Slots | undefined;
  users: number;
}

/** Slots that are written in one go. */
const chunk = 4096;

/** More services than that share a full table from the start: the first change of a small one sends each to another, and of what all use the memory does not matter. */
const few = 16;

/**
 * `inherited`: places in the row, by service; `strays`: of frontends that say another place than their service, of which each is kept as it is until
 * `release`. `jiffies`: of a time in seconds since the epoch, never 0.
 */
export function createServiceTables(row: SlotRow, inherited: ReadonlyMap<number, SlotRange>, strays: readonly SlotRange[], jiffies: (seconds: number) => number): ServiceTables {
  const tables = new Map<number, Table>();
  const bySlots = new Map<Slots, Table>();
  const left = new Set<Table>();
  const places = new Map<number, Table>();
  const reserved = new Map<Slots, SlotRange>();
  const use = (range: SlotRange): Table => {
    const table = places.get(range.first) ?? { range, slots: undefined, users: 0 };
    places.set(range.first, table);
    table.users++;
    return table;
  };
  for (const [service, range] of inherited) tables.set(service, use(range));
  let astray = strays.map(use);

  const write = async ({ range }: Table, slots: Slots, which: Uint32Array | undefined, pause: () => Promise<void>): Promise<void> => {
    if (which === undefined) {
      row.write(range, slots);
      return pause();
    }
    for (let from = 0; from < which.length; from += chunk) {
      row.write(range, slots, which.subarray(from, from + chunk), jiffies);
      await pause();
    }
  };
  const leave = (service: number): void => {
    const table = tables.get(service);
    if (table === undefined) return;
    table.users--;
    left.add(table);
    tables.delete(service);
  };
  /** By table: how many of its services want which slots. */
  const movesOf = (plans: readonly ServicePlan[]): ReadonlyMap<Table, ReadonlyMap<Slots, number>> => {
    const moves = new Map<Table, Map<Slots, number>>();
    for (const { number, slots } of plans) {
      const table = tables.get(number);
      if (table === undefined || table.slots === slots) continue;
      const to = moves.get(table) ?? new Map<Slots, number>();
      moves.set(table, to.set(slots, (to.get(slots) ?? 0) + 1));
    }
    return moves;
  };

  /** Whether all that are sent to the table, and `users` were, want these slots, which fit there. */
  const isForAll = (table: Table, slots: Slots, moves: ReturnType<typeof movesOf>, users: number): boolean =>
    table.range.form === LbForm.FULL && table.range.slots === slots.size && [table.users, users].every((count) => count === moves.get(table)?.get(slots));

  /** Whether all that are sent to the table go elsewhere. */
  const isLeft = (table: Table, moves: ReturnType<typeof movesOf>): boolean => [...moves.get(table)?.values() ?? []].reduce((sum, count) => sum + count, 0) === table.users;

  /** A small table of an earlier agent's that is what is wanted, as it is after most starts. */
  const recognise = async (plans: readonly ServicePlan[], pause: () => Promise<void>): Promise<void> => {
    for (const { number, slots } of plans) {
      const table = tables.get(number);
      if (table === undefined || table.slots !== undefined || table.range.form === LbForm.FULL) continue;
      if (!bySlots.has(slots) && row.holds(table.range, slots)) {
        table.slots = slots;
        bySlots.set(slots, table);
      }
      await pause();
    }
  };

  return {
    reserve: async (plans, pause) => {
      await recognise(plans, pause);
      const moves = movesOf(plans);
      const users = new Map<Slots, number>();
      for (const { number, slots } of plans) if (tables.get(number)?.slots !== slots) users.set(slots, (users.get(slots) ?? 0) + 1);
      const asked = new Set<Table>();
      let instead = 0;
      const crowded: ServicePlan[] = [];
      for (const plan of plans) {
        const { number, slots } = plan;
        const [before, standing] = [tables.get(number), bySlots.get(slots)];
        // A table that others leave may be written over by then.
        if (before?.slots === slots || reserved.has(slots) || (standing !== undefined && !moves.has(standing) && hasPlace(standing, users.get(slots) ?? 0)) || (before !== undefined && isForAll(before, slots, moves, before.users))) continue;
        if (before !== undefined && !asked.has(before)) {
          asked.add(before);
          if (isLeft(before, moves)) instead += before.range.slots;
        }
        try {
          reserved.set(slots, row.allocate(slots.size, formOf(slots, (users.get(slots) ?? 0) + (standing?.users ?? 0)), instead));
        } catch (error) {
          if (!(error instanceof HawserError)) throw error;
          crowded.push(plan);
        }
        await pause();
      }
      await row.makePages([...reserved.values()]);
      return crowded;
    },
    change: async (plans, gone, pause) => {
      for (const service of gone) leave(service);
      const moves = movesOf(plans);
      // Who leaves a table in the course of this is sent there until all is written.
      const users = new Map(Array.from(moves.keys(), (table) => [table, table.users]));
      for (const { number, slots } of plans) {
        const before = tables.get(number);
        if (before?.slots === slots) continue;
        const standing = bySlots.get(slots);
        let table = standing?.range.form !== LbForm.FULL && reserved.has(slots) ? undefined : standing;
        if (table === undefined && before !== undefined && isForAll(before, slots, moves, users.get(before) ?? 0)) {
          await write(before, slots, before.slots === undefined ? allOf(slots) : differing(before.slots, slots), pause);
          if (before.slots !== undefined && bySlots.get(before.slots) === before) bySlots.delete(before.slots);
          before.slots = slots;
          bySlots.set(slots, before);
          continue;
        }
        if (table === undefined) {
          table = { range: reserved.get(slots) ?? row.allocate(slots.size), slots, users: 0 };
          reserved.delete(slots);
          await write(table, slots, allOf(slots), pause);
          bySlots.set(slots, table);
        }
        leave(number);
        table.users++;
        tables.set(number, table);
        await pause();
      }
      for (const range of reserved.values()) row.free(range);
      reserved.clear();
    },
    rangeOf: (service) => {
      const table = tables.get(service);
      if (table === undefined) throw new RangeError(`service ${service} has no table`);
      return table.range;
    },
    done: () => {
      for (const table of astray) {
        table.users--;
        left.add(table);
      }
      astray = [];
      for (const table of left) if (table.users > 0) left.delete(table);
      return left.size > 0;
    },
    release: () => {
      for (const table of left) {
        if (table.users > 0) continue;
        if (table.slots !== undefined && bySlots.get(table.slots) === table) bySlots.delete(table.slots);
        row.free(table.range);
      }
      left.clear();
    },
  };
}

/** undefined: no slot has a time, so that all can be written as they are. */
function allOf({ size, plain }: Slots): Uint32Array | undefined {
  return plain !== undefined ? undefined : Uint32Array.from({ length: size }, (_, i) => i);
}

/** Slots in ascending order. */
function differing(before: Slots, after: Slots): Uint32Array {
  const slots: number[] = [];
  for (let slot = 0; slot < after.size; slot++) if (lowerOf(before, slot) !== lowerOf(after, slot) || changedOf(before, slot) !== changedOf(after, slot)) slots.push(slot);
  return Uint32Array.from(slots);
}

/** For so many services more. */
function hasPlace({ range, users }: Table, more: number): boolean {
  return range.form === LbForm.FULL || users + more <= few;
}

function formOf({ plain }: Slots, users: number): Form {
  if (plain === undefined || users > few) return LbForm.FULL;
  return isListable(plain) ? LbForm.LISTED : LbForm.SHORT;
}
