// Entries that found no room in a map: how many, for people, and when it is worth trying all again.
import type { KernelMap } from "../kernel/types.ts";
import { countEntries } from "./count-entries.ts";

export interface Room {
  /** How many entries are not in the map for want of room. */
  readonly short: number;
  /** How many it holds at most. */
  readonly capacity: number;
  /**
   * After entries were written. `left`: how many found no room, of all that are wanted (`whole`) or of what changed, where some may have been counted before.
   * `wanted`: how many there should be, at most; asked for only when something has no room.
   * @returns whether so much has become free since that all should be written again
   */
  note(left: number, wanted: () => number, whole: boolean): Promise<boolean>;
}

/** Of the map: for less, tens of thousands of entries are not compared again. */
const worthwhile = 1 / 16;

export function createRoom(map: KernelMap): Room {
  const { maxEntries: capacity } = map.info;
  let short = 0;
  return {
    capacity,
    get short() {
      return short;
    },
    note: async (left, wanted, whole) => {
      short = (whole ? 0 : short) + left;
      if (short === 0) return false;
      const held = await countEntries(map);
      // Of those that were left out some may have gone since.
      short = Math.min(short, Math.max(0, wanted() - held));
      return !whole && short > 0 && capacity - held >= Math.min(short, capacity * worthwhile);
    },
  };
}
