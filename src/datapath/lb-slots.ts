// All services' tables in one row of slots, of which the kernel has as many pages as are needed.
import { u32 } from "../abi/codec.ts";
import { LbLayout, maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { Slots } from "../lb/types.ts";
import { HawserError } from "../std/errors.ts";
import { createStretches } from "./stretches.ts";

/** A table's place in the row. */
export interface SlotRange {
  readonly first: number;
  readonly slots: number;
}

export interface SlotRow extends Disposable {
  /** A free stretch, whose slots are whatever they were: write all of them. @throws HawserError TABLE_FULL */
  allocate(slots: number): SlotRange;
  free(range: SlotRange): void;
  /** Makes the pages of these ranges, which `write` would do one by one: the kernel takes its time whenever some are put in the row. */
  makePages(ranges: readonly SlotRange[]): Promise<void>;
  /** Writes slots of a table, each with one store of 8 bytes. `which`: ascending; left out: all of them, as they are. `time`: what is written for one that is not 0. */
  write(range: SlotRange, slots: Slots, which?: Uint32Array, time?: (seconds: number) => number): void;
}

const { inner } = maps.hw_lb_slots;
const pageSlots = 2 ** LbLayout.PAGE_BITS;

/** `taken`: tables that are in the row already. */
export function openSlotRow(kernel: Kernel, outer: KernelMap, taken: readonly SlotRange[] = []): SlotRow {
  const pages = new Map<number, KernelMap>();
  const row = createStretches(pageSlots * outer.info.maxEntries, taken.map(({ first, slots }) => ({ first, length: slots })));

  const standing = (number: number): KernelMap | undefined => {
    const open = pages.get(number);
    if (open !== undefined) return open;
    const id = outer.get(u32.encode(number));
    if (id === undefined) return undefined;
    const map = kernel.openMapById(u32.decode(id));
    pages.set(number, map);
    return map;
  };
  const newPage = (): KernelMap => kernel.createMap(inner.kind, "hw_lb_page", 4, inner.value.size, pageSlots, { flags: inner.flags });
  const page = (number: number): KernelMap => {
    const found = standing(number);
    if (found !== undefined) return found;
    const made = newPage();
    outer.setInner(u32.encode(number), made);
    pages.set(number, made);
    return made;
  };
  return {
    allocate: (slots) => {
      const stretch = row.take(slots);
      if (stretch === undefined) throw new HawserError("TABLE_FULL", `no room is left for a service's table of ${slots} slots`);
      return { first: stretch.first, slots };
    },
    makePages: async (ranges) => {
      const missing = [...new Set(ranges.flatMap(pagesOf))].filter((number) => standing(number) === undefined);
      if (missing.length === 0) return;
      const made = missing.map(newPage);
      await outer.setInners(new Uint8Array(Uint32Array.from(missing).buffer), made);
      made.forEach((map, i) => pages.set(missing[i] ?? 0, map));
    },
    free: ({ first }) => row.give(first),
    write: (range, written, which, time = (seconds) => seconds) => {
      const { first, slots } = range;
      const { words, plain } = written;
      if (which === undefined) {
        for (let from = 0; from < slots;) {
          const number = Math.floor((first + from) / pageSlots);
          const to = Math.min(slots, (number + 1) * pageSlots - first);
          page(number).store(first + from - number * pageSlots, words === undefined ? plain.subarray(from, to) : new Uint8Array(words.buffer, words.byteOffset + 8 * from, 8 * (to - from)));
          from = to;
        }
        return;
      }
      for (let from = 0; from < which.length;) {
        const number = Math.floor((first + (which[from] ?? 0)) / pageSlots);
        let to = from;
        while (to < which.length && first + (which[to] ?? 0) < (number + 1) * pageSlots) to++;
        const [keys, values] = [new Uint32Array(to - from), new Uint32Array(2 * (to - from))];
        // Most have one time in common.
        let [said, meant] = [0, 0];
        for (let i = from; i < to; i++) {
          const slot = which[i] ?? 0;
          keys[i - from] = first + slot - number * pageSlots;
          values[2 * (i - from)] = lowerOf(written, slot);
          const changed = changedOf(written, slot);
          if (changed !== said) [said, meant] = [changed, changed === 0 ? 0 : time(changed)];
          values[2 * (i - from) + 1] = meant;
        }
        page(number).setPacked(new Uint8Array(keys.buffer), new Uint8Array(values.buffer));
        from = to;
      }
    },
    [Symbol.dispose]: () => {
      for (const map of pages.values()) map.close();
    },
  };
}

/** Of a slot: the word with its backends. */
export function lowerOf({ words, plain }: Slots, slot: number): number {
  return (words === undefined ? plain[slot] : words[2 * slot]) ?? 0;
}

/** Of a slot: seconds since the epoch; 0: it is settled. */
export function changedOf({ words }: Slots, slot: number): number {
  return words?.[2 * slot + 1] ?? 0;
}

function pagesOf({ first, slots }: SlotRange): readonly number[] {
  const numbers: number[] = [];
  for (let number = Math.floor(first / pageSlots); number * pageSlots < first + slots; number++) numbers.push(number);
  return numbers;
}
