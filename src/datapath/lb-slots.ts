// All services' tables in one row of words, of which the kernel has as many pages as are needed.
import { u32 } from "../abi/codec.ts";
import { LbForm, LbLayout, maps } from "../abi/generated.ts";
import { isListable, packTable } from "../kernel/index.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { Slots } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import { createStretches } from "./stretches.ts";

/** How a table lies in its words: of which one only a full one is ever changed. */
export type Form = (typeof LbForm)[keyof typeof LbForm];

/** A table's place in the row. */
export interface SlotRange {
  /** A word. */
  readonly first: number;
  readonly slots: number;
  readonly form: Form;
}

export interface SlotRow extends Disposable {
  /**
   * A free stretch, whose slots are whatever they were: write all of them. So many are kept free that all tables could be full ones while the small ones stand. `instead`:
   * slots of the tables that are left for this one and for those before it. @throws HawserError TABLE_FULL
   */
  allocate(slots: number, form?: Form, instead?: number): SlotRange;
  free(range: SlotRange): void;
  /** Makes the pages of these ranges, which `write` would do one by one: the kernel takes its time whenever some are put in the row. */
  makePages(ranges: readonly SlotRange[]): Promise<void>;
  /**
   * Writes slots of a table, each with one store of 8 bytes. `which`, of a full one: ascending; left out: all of them, as they are. `time`: what is written for one that is
   * not 0.
   */
  write(range: SlotRange, slots: Slots, which?: Uint32Array, time?: (seconds: number) => number): void;
  /**
   * Resolves when no program still reads by what it was told, or had found, before this was called: it may stand still for as long as its CPU does, in the
   * midst of a packet.
   */
  passed(): Promise<void>;
  /** Whether a table that is not full is these slots already. */
  holds(range: SlotRange, slots: Slots): boolean;
}

export const noTable: SlotRange = { first: 0, slots: 0, form: LbForm.FULL };

const { inner } = maps.hw_lb_slots;
const pageWords = 2 ** LbLayout.PAGE_BITS;
const wordsOf = ({ slots, form }: SlotRange): number => (form === LbForm.LISTED ? Math.floor(slots / 2 ** form) + 2 : Math.ceil(slots / 2 ** form));

/** A small one stands until a full one in its place is written. */
const owedFor = (range: SlotRange): number => range.slots + (range.form === LbForm.FULL ? 0 : wordsOf(range));

/** Of the row, for tables that are not full yet: they become so one by one, and some room is between others. */
const sparing = 15 / 16;

/** `taken`: tables that are in the row already. */
export function openSlotRow(kernel: Kernel, outer: KernelMap, taken: readonly SlotRange[] = []): SlotRow {
  const pages = new Map<number, KernelMap>();
  const length = pageWords * outer.info.maxEntries;
  const row = createStretches(length, taken.map((range) => ({ first: range.first, length: wordsOf(range) })));
  /** Words of all tables and of full ones in the place of those that are small. */
  let owed = taken.reduce((sum, range) => sum + owedFor(range), 0);

  const standing = (number: number): KernelMap | undefined => {
    const open = pages.get(number);
    if (open !== undefined) return open;
    const id = outer.get(u32.encode(number));
    if (id === undefined) return undefined;
    const map = kernel.openMapById(u32.decode(id));
    pages.set(number, map);
    return map;
  };
  const newPage = (): KernelMap => kernel.createMap(inner.kind, "hw_lb_page", 4, inner.value.size, pageWords, { flags: inner.flags });
  const page = (number: number): KernelMap => {
    const found = standing(number);
    if (found !== undefined) return found;
    const made = newPage();
    outer.setInner(u32.encode(number), made);
    pages.set(number, made);
    return made;
  };
  return {
    allocate: (slots, form = LbForm.FULL, instead = 0) => {
      const range = { first: 0, slots, form };
      const most = form === LbForm.FULL ? length : length * sparing;
      const stretch = owed + owedFor(range) - instead > most ? undefined : row.take(wordsOf(range));
      if (stretch === undefined) throw new HawserError("TABLE_FULL", `no room is left for a service's table of ${slots} slots`);
      owed += owedFor(range);
      return { ...range, first: stretch.first };
    },
    makePages: async (ranges) => {
      const missing = [...new Set(ranges.flatMap((range) => piecesOf(range).map(({ number }) => number)))].filter((number) => standing(number) === undefined);
      if (missing.length === 0) return;
      const made = missing.map(newPage);
      await outer.setInners(new Uint8Array(Uint32Array.from(missing).buffer), made);
      made.forEach((map, i) => pages.set(missing[i] ?? 0, map));
    },
    free: (range) => {
      if (row.give(range.first)) owed -= owedFor(range);
    },
    write: (range, written, which, time = (seconds) => seconds) => {
      const { first } = range;
      if (which === undefined) {
        const words = storable(range, written);
        for (const { number, place, from, to } of piecesOf(range)) page(number).store(place, words(from, to));
        return;
      }
      for (let from = 0; from < which.length;) {
        const number = Math.floor((first + (which[from] ?? 0)) / pageWords);
        let to = from;
        while (to < which.length && first + (which[to] ?? 0) < (number + 1) * pageWords) to++;
        const [keys, values] = [new Uint32Array(to - from), new Uint32Array(2 * (to - from))];
        // Most have one time in common.
        let [said, meant] = [0, 0];
        for (let i = from; i < to; i++) {
          const slot = which[i] ?? 0;
          keys[i - from] = first + slot - number * pageWords;
          values[2 * (i - from)] = lowerOf(written, slot);
          const changed = changedOf(written, slot);
          if (changed !== said) [said, meant] = [changed, changed === 0 ? 0 : time(changed)];
          values[2 * (i - from) + 1] = meant;
        }
        page(number).setPacked(new Uint8Array(keys.buffer), new Uint8Array(values.buffer));
        from = to;
      }
    },
    passed: async () => {
      const first = standing(0);
      // The kernel returns from any change of a map of maps when all programs that ran have ended (maybe_wait_bpf_programs).
      if (first !== undefined) await outer.setInners(u32.encode(0), [first]);
    },
    holds: (range, { plain, size }) => {
      if (plain === undefined || size !== range.slots || (range.form === LbForm.LISTED && !isListable(plain))) return false;
      const words = packTable(plain, range.form === LbForm.LISTED);
      return piecesOf(range).every(({ number, place, from, to }) => {
        const held = standing(number)?.values(place, to - from);
        return held !== undefined && Buffer.compare(held, words.subarray(8 * from, 8 * to)) === 0;
      });
    },
    [Symbol.dispose]: () => {
      for (const map of pages.values()) map.close();
    },
  };
}

/** As services and frontends tell of it beside its first word. */
export function formedSlots({ slots, form }: SlotRange): number {
  return slots + form * 2 ** LbLayout.FORM_BITS;
}

export function rangeAt(first: number, formed: number): SlotRange {
  return { first, slots: formed % 2 ** LbLayout.FORM_BITS, form: Math.floor(formed / 2 ** LbLayout.FORM_BITS) as Form };
}

/** A slot as the table's words say. `word`: by its place in the row. */
export function slotIn({ first, slots, form }: SlotRange, slot: number, word: (at: number) => bigint): bigint {
  const found = word(first + Math.floor(slot / 2 ** form));
  if (form === LbForm.FULL) return found;
  const part = partOf(found, slot, form);
  return form === LbForm.SHORT ? part : partOf(word(first + wordsOf({ first, slots, form }) - 1), Number(part), LbForm.SHORT);
}

function partOf(word: bigint, place: number, form: Form): bigint {
  const bits = 64 / 2 ** form;
  return BigInt.asUintN(bits, word >> BigInt((place % 2 ** form) * bits));
}

/** Of a slot: the word with its backends. */
export function lowerOf({ words, plain }: Slots, slot: number): number {
  return (words === undefined ? plain[slot] : words[2 * slot]) ?? 0;
}

/** Of a slot: seconds since the epoch; 0: it is settled. */
export function changedOf({ words }: Slots, slot: number): number {
  return words?.[2 * slot + 1] ?? 0;
}

/** The table's words from one to another, as a map takes them. */
function storable({ form }: SlotRange, { words, plain }: Slots): (from: number, to: number) => Uint8Array | Uint16Array {
  if (plain !== undefined && form === LbForm.FULL) return (from, to) => plain.subarray(from, to);
  if (plain === undefined && form !== LbForm.FULL) throw new RangeError("slots that remember something need a full table");
  const bytes = plain === undefined ? new Uint8Array(words.buffer, words.byteOffset, words.byteLength) : packTable(plain, form === LbForm.LISTED);
  return (from, to) => bytes.subarray(8 * from, 8 * to);
}

/** Its words by page: `place` is the first one's there, `from` and `to` are places in the table. */
function piecesOf(range: SlotRange): readonly { readonly number: number; readonly place: number; readonly from: number; readonly to: number }[] {
  const pieces: ReturnType<typeof piecesOf>[number][] = [];
  for (let from = 0; from < wordsOf(range);) {
    const number = Math.floor((range.first + from) / pageWords);
    const to = Math.min(wordsOf(range), (number + 1) * pageWords - range.first);
    pieces.push({ number, place: range.first + from - number * pageWords, from, to });
    from = to;
  }
  return pieces;
}
