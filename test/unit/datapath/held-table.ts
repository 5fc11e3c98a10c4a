// The kernel's maps of addresses that are answered for, and of who else says that he has them, in memory.
import type { LbHeld, LbHeldKey, LbRival } from "../../../src/abi/generated.ts";
import type { Table } from "../../../src/datapath/tables.ts";
import type { KernelMap } from "../../../src/kernel/types.ts";

export const heldTable = tableOf<LbHeld>;
export const rivalTable = tableOf<LbRival>;

/** `room`: entries that it takes. */
function tableOf<V>(left: readonly (readonly [LbHeldKey, V])[] = [], room = Infinity): Table<LbHeldKey, V> {
  const entries = new Map(left.map(([key, entry]) => [JSON.stringify(key), entry]));
  return {
    map: {} as KernelMap,
    get: (key) => entries.get(JSON.stringify(key)),
    set: (key, entry) => {
      if (!entries.has(JSON.stringify(key)) && entries.size >= room) throw new Error("E2BIG: the map is full");
      entries.set(JSON.stringify(key), entry);
    },
    delete: (key) => entries.delete(JSON.stringify(key)),
    entries: () => [...entries].map(([key, entry]) => [JSON.parse(key) as LbHeldKey, entry] as const),
  };
}
