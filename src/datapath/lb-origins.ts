// As whom the answers of servers that know nothing of services go to clients: each frontend, under the number by which flows name it.
import { u32 } from "../abi/codec.ts";
import { lbOriginCodec, LbTimes } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { Clock } from "../std/clock.ts";
import type { FrontendEntry } from "./lb-frontends.ts";
import { packed } from "./packed.ts";
import { keyOf, originNumber } from "./service-entries.ts";

export interface Origins {
  /** Whether flows of the frontend, as it is, are answered for; of an address alone there are none. */
  has(entry: FrontendEntry): boolean;
  /**
   * Frontends are about to be these; without port they are passed over. What a frontend was named before stays as long as its flows may live, which still say so, if nobody needs
   * the room; the map has room for all frontends that can stand. @throws as `KernelMap.setPacked`
   */
  name(entries: Iterable<FrontendEntry>, pause: () => Promise<void>): Promise<void>;
  /** The frontend is nobody's any more, and whatever it was named is forgotten. */
  drop(entry: FrontendEntry): void;
}

/** `standing`: what the map of frontends holds. */
export function openOrigins(map: KernelMap, standing: Iterable<FrontendEntry>, clock: Pick<Clock, "now">): Origins {
  const inMap = new Map(Array.from(map.entries(), ([key, value]) => {
    const { addr, port, proto } = lbOriginCodec.decode(value);
    return [u32.decode(key), addr === null ? "" : keyOf({ address: addr, port, protocol: proto })] as const;
  }));
  const named = new Map<string, number>();
  /** By number: what frontends were named before, and until when their flows may live; the oldest first. */
  const former = new Map<number, { readonly key: string; readonly until: number }>();
  /** By frontend: those numbers. */
  const formerOf = new Map<string, Set<number>>();
  const leave = (number: number, key: string, until: number): void => {
    former.set(number, { key, until });
    formerOf.set(key, (formerOf.get(key) ?? new Set()).add(number));
  };
  const forget = (number: number): void => {
    const key = former.get(number)?.key;
    if (key === undefined || !former.delete(number)) return;
    const others = formerOf.get(key);
    others?.delete(number);
    if (others?.size === 0) formerOf.delete(key);
  };
  const remove = (number: number): void => {
    forget(number);
    map.delete(u32.encode(number));
  };
  const later = (): number => clock.now() + LbTimes.QUIET_SECONDS * 1000;

  const frontends = new Set<string>();
  for (const entry of standing) {
    if (entry.port === 0) continue;
    frontends.add(keyOf(entry));
    if (inMap.get(originNumber(entry)) === keyOf(entry)) named.set(keyOf(entry), originNumber(entry));
  }
  const left = Array.from(inMap).filter(([number, key]) => named.get(key) !== number);
  for (const [number, key] of left) if (!frontends.has(key)) leave(number, key, 0);
  for (const [number, key] of left) if (frontends.has(key)) leave(number, key, later());

  return {
    has: (entry) => entry.port === 0 || named.get(keyOf(entry)) === originNumber(entry),
    name: async (entries, pause) => {
      const fresh: FrontendEntry[] = [];
      for (const entry of entries) {
        const [key, number] = [keyOf(entry), originNumber(entry)];
        const before = named.get(key);
        if (entry.port === 0 || before === number) continue;
        if (before !== undefined) leave(before, key, later());
        named.set(key, number);
        fresh.push(entry);
        await pause();
      }
      // One may have the number that another has just left.
      for (const entry of fresh) forget(originNumber(entry));
      for (const [number, { until }] of former) {
        if (until > clock.now() && named.size + former.size <= map.info.maxEntries) break;
        remove(number);
        await pause();
      }
      const written = packed(map, lbOriginCodec);
      for (const entry of fresh) {
        written.put(originNumber(entry), { addr: entry.address, port: entry.port, proto: entry.protocol });
        await pause();
      }
      written.end();
    },
    drop: (entry) => {
      const key = keyOf(entry);
      const number = named.get(key);
      named.delete(key);
      for (const one of [...formerOf.get(key) ?? [], ...(number === undefined ? [] : [number])]) remove(one);
    },
  };
}
