// Servers that are asked in this node's name: a pool of ports for each, made when it comes and gone with it, and where its answers come from.
import { u32 } from "../abi/codec.ts";
import { LbPoolLayout, maps } from "../abi/generated.ts";
import type { Kernel, KernelMap } from "../kernel/types.ts";
import type { BackendEntry } from "./lb-backends.ts";
import type { FrontendEntry, FrontendTable } from "./lb-frontends.ts";

export interface Pools {
  /** Of the backend of that number: what it has is kept, if it is the same. @throws HawserError TABLE_FULL */
  take(number: number, backend: BackendEntry): void;
  /** Nobody is asked from its ports any more. */
  drop(number: number, backend: Pick<BackendEntry, "address" | "port">): void;
  /** Drops what was there at the beginning and is not asked by one of these, by number: whoever drops may be ended half-way. */
  keep(backends: ReadonlyMap<number, BackendEntry>): void;
  /** Whether there is one of that number. */
  has(number: number): boolean;
}

const { inner } = maps.hw_lb_pools;

export function openPools(kernel: Kernel, outer: KernelMap, table: FrontendTable): Pools {
  const found = new Set(table.all().filter(isAnswering));
  /** Numbers by `keyOf`. */
  const asked = new Map(Array.from(found, (entry) => [keyOf(entry), entry.number]));
  const has = (number: number): boolean => outer.get(u32.encode(number)) !== undefined;
  const drop: Pools["drop"] = (number, { address, port }) => {
    outer.delete(u32.encode(number));
    const key = keyOf({ address, port });
    if (asked.get(key) !== number) return;
    table.delete({ address, port, protocol: LbPoolLayout.PROTOCOL });
    asked.delete(key);
  };
  return {
    has, drop,
    take: (number, { address, port }) => {
      const entry = { address, port, protocol: LbPoolLayout.PROTOCOL, service: 1, number, shared: false };
      if (asked.get(keyOf(entry)) === number && has(number)) return;
      using map = kernel.createMap(inner.kind, "hw_lb_pool", 4, inner.value.size, inner.maxEntries, { flags: inner.flags });
      outer.setInner(u32.encode(number), map);
      table.set(entry);
      asked.set(keyOf(entry), number);
    },
    keep: (backends) => {
      for (const entry of found) if (backends.get(entry.number)?.mode !== "SNAT") drop(entry.number, entry);
      found.clear();
    },
  };
}

/** Whether a frontend is none of a service, but where a server answers from. */
export function isAnswering({ protocol }: FrontendEntry): boolean {
  return protocol === LbPoolLayout.PROTOCOL;
}

function keyOf({ address, port }: Pick<BackendEntry, "address" | "port">): string {
  return `${address} ${port}`;
}
