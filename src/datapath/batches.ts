// Many changes of one map: written in batches, with turns for others in between, and without an error where the map is full.
import { errno, refusedWith } from "../kernel/index.ts";
import type { KernelMap } from "../kernel/types.ts";

export interface Batch {
  readonly map: KernelMap;
  /** How many entries found no room. */
  readonly left: number;
  /** Soon; at the latest with `end`. */
  set(key: Uint8Array, value: Uint8Array): Promise<void>;
  /** At once. */
  delete(key: Uint8Array): Promise<boolean>;
  /** Something was done that takes time: now and then others have a turn. */
  turn(): Promise<void>;
  end(): Promise<void>;
}

const mostEntries = 256;
/** Milliseconds. */
const longestTurn = 20;

export function inTurns(map: KernelMap): Batch {
  let entries: (readonly [Uint8Array, Uint8Array])[] = [];
  let left = 0;
  let began = performance.now();

  const turn = async (): Promise<void> => {
    if (performance.now() - began < longestTurn) return;
    await new Promise(setImmediate);
    began = performance.now();
  };
  const write = (): void => {
    const some = entries;
    entries = [];
    if (some.length === 0) return;
    try {
      map.setBatch(some);
    } catch (error) {
      if (!refusedWith(error, errno.E2BIG, errno.ENOSPC)) throw error;
      // Those that are there are changed all the same.
      for (const [key, value] of some) if (!setIfRoom(map, key, value)) left++;
    }
  };
  return {
    map,
    get left() {
      return left;
    },
    set: async (key, value) => {
      entries.push([key, value]);
      if (entries.length >= mostEntries) write();
      await turn();
    },
    delete: async (key) => {
      const was = map.delete(key);
      await turn();
      return was;
    },
    turn,
    end: async () => {
      write();
      await turn();
    },
  };
}

function setIfRoom(map: KernelMap, key: Uint8Array, value: Uint8Array): boolean {
  try {
    map.set(key, value);
    return true;
  } catch (error) {
    if (!refusedWith(error, errno.E2BIG, errno.ENOSPC)) throw error;
    return false;
  }
}
