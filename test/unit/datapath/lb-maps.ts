// The balancer's maps as far as they are seen without a kernel.
import { u32 } from "../../../src/abi/codec.ts";
import { LbSourceLayout } from "../../../src/abi/generated.ts";
import { rangeAt, slotIn } from "../../../src/datapath/lb-slots.ts";
import type { Kernel, KernelMap } from "../../../src/kernel/types.ts";

/** Maps in memory; `write` is called after each write, and before one it may throw. `lines`: room for sources. `origins`: room for frontends that flows name. */
export function openMaps(write: (when: "before" | "after") => void = () => {}, lines = 1024, origins = 1024) {
  const pages = new Map<number, Uint32Array>();
  const mapOf = (maxEntries = 1024): KernelMap & { readonly held: ReadonlyMap<string, Uint8Array> } => {
    const held = new Map<string, Uint8Array>();
    const name = (key: Uint8Array): string => Buffer.from(key).toString("hex");
    const change = (work: () => unknown): void => {
      write("before");
      work();
      if (held.size > maxEntries) throw new Error("the map is full");
      write("after");
    };
    const filled = (): Iterable<readonly [Uint8Array, Uint8Array]> => Array.from(held, ([key, value]) => [Buffer.from(key, "hex"), value] as const).filter(([, value]) => value.some((byte) => byte !== 0));
    return {
      held, info: { maxEntries } as KernelMap["info"], values: () => new Uint8Array(), get: (key) => held.get(name(key)), entries: () => Array.from(held, ([key, value]) => [Buffer.from(key, "hex"), value] as const), filled,
      filledInTurns: async function* (pause) {
        for (const one of filled()) {
          yield [one];
          await pause();
        }
      },
      set: (key, value) => change(() => held.set(name(key), value)), delete: (key) => {
        change(() => held.delete(name(key)));
        return true;
      },
      setPacked: (keys, values) => {
        const size = values.length / (keys.length / 4);
        for (let i = 0; 4 * i < keys.length; i++) change(() => held.set(name(keys.subarray(4 * i, 4 * i + 4)), values.slice(size * i, size * (i + 1))));
      },
      setInner: (key, { info: { id } }) => void held.set(name(key), u32.encode(id)),
      setInners: async (keys, inner) => inner.forEach(({ info: { id } }, i) => void held.set(name(keys.subarray(4 * i, 4 * i + 4)), u32.encode(id))), close: () => {},
    } as Partial<KernelMap> as KernelMap & { readonly held: ReadonlyMap<string, Uint8Array> };
  };
  /** One value. */
  const linesMap = (): KernelMap & { readonly words: Uint32Array } => {
    const bytes = new Uint8Array(64 * (lines + LbSourceLayout.BEYOND));
    return {
      words: new Uint32Array(bytes.buffer), info: { valueSize: bytes.length } as KernelMap["info"], get: () => bytes.slice(),
      store: (first, values) => {
        write("before");
        bytes.set(values, 8 * first);
        write("after");
      },
    } as Partial<KernelMap> as KernelMap & { readonly words: Uint32Array };
  };
  const pageOf = (id: number): KernelMap => ({
    info: { id } as KernelMap["info"], close: () => {}, [Symbol.dispose]: () => {},
    setPacked: (keys, values) => {
      write("before");
      const [at, words] = [new Uint32Array(keys.buffer), new Uint32Array(values.buffer)];
      at.forEach((slot, i) => pages.get(id)?.set(words.subarray(2 * i, 2 * i + 2), 2 * slot));
      write("after");
    },
    values: (first, count) => new Uint8Array((pages.get(id) ?? new Uint32Array()).slice(2 * first, 2 * (first + count)).buffer),
    store: (first, values) => {
      write("before");
      const words = values instanceof Uint16Array ? Uint32Array.from({ length: 2 * values.length }, (_, i) => (i % 2 === 0 ? values[i / 2] ?? 0 : 0)) : new Uint32Array(values.slice().buffer);
      pages.get(id)?.set(words, 2 * first);
      write("after");
    },
  } as Partial<KernelMap> as KernelMap);
  const kernel = {
    createMap: (_kind, name) => {
      const id = pages.size + 1;
      pages.set(id, new Uint32Array(name === "hw_lb_page" ? 2 ** 17 : 0));
      return pageOf(id);
    },
    openMapById: pageOf,
  } as Partial<Kernel> as Kernel;
  const maps = { hw_lb_frontends: mapOf(), hw_lb_services: mapOf(), hw_lb_slots: mapOf(), hw_lb_backends: mapOf(), hw_lb_places: mapOf(), hw_lb_sources: linesMap(), hw_lb_origins: mapOf(origins), hw_lb_pools: mapOf(), hw_lb_counters: mapOf(), hw_lb_elsewhere: mapOf(), hw_lb_clients: mapOf(), hw_lb_closed: mapOf(), hw_ct4: mapOf(), hw_ct6: mapOf() };
  const inPages = new Map<number, Uint32Array>();
  const wordAt = (index: number): bigint => {
    const number = index >>> 16;
    const id = maps.hw_lb_slots.get(u32.encode(number));
    const page = inPages.get(number) ?? (id === undefined ? undefined : pages.get(u32.decode(id)));
    if (page !== undefined) inPages.set(number, page);
    const [low = 0, high = 0] = page?.subarray(2 * (index & 0xffff)) ?? [];
    return BigInt(low) | (BigInt(high) << 32n);
  };
  return {
    kernel, maps,
    /** Of each slot of a table, as services and frontends have it, the backends: current and, above it, previous. */
    slots: (table: number, formed: number): readonly number[] => {
      const range = rangeAt(table, formed);
      return Array.from({ length: range.slots }, (_, slot) => Number(BigInt.asUintN(32, slotIn(range, slot, wordAt))));
    },
  };
}
