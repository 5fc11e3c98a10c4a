// All services' tables in one row of slots, of which the kernel has as many pages as are needed.
import { u32 } from "../abi/codec.ts";
import { LbLayout, maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
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
  /**
   * Writes slots of a table: `words` has two elements for each of its slots, the lower half first; each is one store of 8 bytes.
   * `which`: ascending; left out: all of them. `time`: what is written for an upper half that is not 0.
   */
  write(range: SlotRange, words: Uint32Array, which?: Uint32Array, time?: (word: number) => number): void;
}

const { inner } = maps.hw_lb_slots;
const pageSlots = 2 ** LbLayout.PAGE_BITS;

/** `taken`: tables that are in the row already. */
export function openSlotRow(kernel: Kernel, outer: KernelMap, taken: readonly SlotRange[] = []): SlotRow {
  const pages = new Map<number, KernelMap>();
  const row = createStretches(pageSlots * outer.info.maxEntries, taken.map(({ first, slots }) => ({ first, length: slots })));

  const page = (number: number): KernelMap => {
    const open = pages.get(number);
    if (open !== undefined) return open;
    const key = u32.encode(number);
    const id = outer.get(key);
    const map = id === undefined ? kernel.createMap(inner.kind, "hw_lb_page", 4, inner.value.size, pageSlots) : kernel.openMapById(u32.decode(id));
    if (id === undefined) outer.setInner(key, map);
    pages.set(number, map);
    return map;
  };
  return {
    allocate: (slots) => {
      const stretch = row.take(slots);
      if (stretch === undefined) throw new HawserError("TABLE_FULL", `no room is left for a service's table of ${slots} slots`);
      const { first } = stretch;
      for (let number = Math.floor(first / pageSlots); number * pageSlots < first + slots; number++) page(number);
      return { first, slots };
    },
    free: ({ first }) => row.give(first),
    write: ({ first, slots }, words, which, time = (word) => word) => {
      const count = which?.length ?? slots;
      for (let from = 0; from < count;) {
        const number = Math.floor((first + (which?.[from] ?? from)) / pageSlots);
        let to = from;
        while (to < count && first + (which?.[to] ?? to) < (number + 1) * pageSlots) to++;
        const [keys, values] = [new Uint32Array(to - from), new Uint32Array(2 * (to - from))];
        for (let i = from; i < to; i++) {
          const slot = which?.[i] ?? i;
          keys[i - from] = first + slot - number * pageSlots;
          values[2 * (i - from)] = words[2 * slot] ?? 0;
          const changed = words[2 * slot + 1] ?? 0;
          values[2 * (i - from) + 1] = changed === 0 ? 0 : time(changed);
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
