// Ports from which servers are asked in this node's name: each has a pool of its own, made when it comes and gone with it.
import { u32 } from "../abi/codec.ts";
import { lbPoolStateCodec, maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";

export interface Pools {
  /** An empty pool of that number, whatever was there. */
  make(pool: number): void;
  /** Whether there is one: its flows are those that it has. */
  has(pool: number): boolean;
  /** Nobody is asked from its ports any more. */
  remove(pool: number): void;
}

const { inner } = maps.hw_lb_pools;

export function openPools(kernel: Kernel, outer: KernelMap, states: KernelMap): Pools {
  return {
    make: (pool) => {
      states.set(u32.encode(pool), lbPoolStateCodec.encode({ searched: 0, choices: 0 }));
      using map = kernel.createMap(inner.kind, "hw_lb_pool", 4, inner.value.size, inner.maxEntries);
      outer.setInner(u32.encode(pool), map);
    },
    has: (pool) => outer.get(u32.encode(pool)) !== undefined,
    remove: (pool) => { outer.delete(u32.encode(pool)); },
  };
}

/** Gives numbers from `first` to those that have none in `held`. @throws HawserError TABLE_FULL with `what` */
export function numbers<K>(held: ReadonlyMap<K, number>, first: number, limit: number, what: string): (key: K) => number {
  const [given, taken] = [new Map(held), new Set(held.values())];
  let next = first;
  return (key) => {
    const has = given.get(key);
    if (has !== undefined) return has;
    while (taken.has(next)) next++;
    if (next >= limit) throw new HawserError("TABLE_FULL", `there can be no more than ${limit - first} ${what}`);
    given.set(key, next);
    taken.add(next);
    return next;
  };
}
