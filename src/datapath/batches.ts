// Many changes of one map: written in batches, with turns for others in between, and without an error where the map is full.
import { errno, refusedWith } from "../kernel/index.ts";
import type { KernelMap } from "../kernel/types.ts";

/** One entry's bytes, zero at first. */
export interface Slot {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly keyView: DataView;
  readonly valueView: DataView;
}

export interface Batch {
  readonly map: KernelMap;
  /** How many entries found no room. */
  readonly left: number;
  /** Where the next entry is to be written; the same again until it is put. */
  next(): Slot;
  /** The next entry is whole. It stands soon; at the latest with `end`. @returns when others are to have a turn first. */
  put(): Promise<void> | undefined;
  /** At once. */
  delete(key: Uint8Array): Promise<boolean>;
  /** Something was done that takes time: now and then others have a turn. To wait where nobody waits takes time as well, of a hundred thousand. */
  turn(): Promise<void> | undefined;
  end(): Promise<void>;
}

/** Kept from one batch to the next: a piece of memory of its own for each of tens of thousands of entries is more than all of them together. */
interface Room {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly slots: Slot[];
}

const mostEntries = 256;
/** Milliseconds. */
const longestTurn = 20;
const rooms = new WeakMap<KernelMap, Room>();

/** One at a time for each map. */
export function openBatch(map: KernelMap): Batch {
  const { keySize, valueSize } = map.info;
  const room = rooms.get(map) ?? { keys: new Uint8Array(mostEntries * keySize), values: new Uint8Array(mostEntries * valueSize), slots: [] };
  rooms.set(map, room);
  let [count, left] = [0, 0];
  let began = performance.now();

  const rest = async (): Promise<void> => {
    await new Promise(setImmediate);
    began = performance.now();
  };
  const turn = (): Promise<void> | undefined => (performance.now() - began < longestTurn ? undefined : rest());
  const write = (): void => {
    const some = count;
    count = 0;
    if (some === 0) return;
    try {
      map.setPacked(room.keys.subarray(0, some * keySize), room.values.subarray(0, some * valueSize));
    } catch (error) {
      if (!refusedWith(error, errno.E2BIG, errno.ENOSPC)) throw error;
      // Those that are there are changed all the same.
      for (const { key, value } of room.slots.slice(0, some)) if (!setIfRoom(map, key, value)) left++;
    }
  };
  return {
    map,
    get left() {
      return left;
    },
    next: () => {
      const slot = room.slots[count] ?? slotOf(room, count, keySize, valueSize);
      room.slots[count] = slot;
      slot.key.fill(0);
      slot.value.fill(0);
      return slot;
    },
    put: () => {
      count++;
      if (count < mostEntries) return undefined;
      write();
      return turn();
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

function slotOf({ keys, values }: Room, i: number, keySize: number, valueSize: number): Slot {
  const key = Buffer.from(keys.buffer, i * keySize, keySize);
  const value = Buffer.from(values.buffer, i * valueSize, valueSize);
  return { key, value, keyView: new DataView(key.buffer, key.byteOffset, keySize), valueView: new DataView(value.buffer, value.byteOffset, valueSize) };
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
