// The kernel's table of frontends: each lies in one of two buckets, and none is ever seen half written or twice gone while another moves.
import { u16, u32 } from "../abi/codec.ts";
import { lbBucketCodec, lbFrontendCodec, LbFrontendFlags, LbLayout, maps } from "../abi/generated.ts";
import type { LbFrontend } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import { bucketsOf } from "./lb-hash.ts";
import type { FrontendAddress } from "./lb-hash.ts";
import { formedSlots, noTable, rangeAt } from "./lb-slots.ts";
import type { SlotRange } from "./lb-slots.ts";

/** `service` 1…; `number` tells a service's frontends apart. `shared`, of an address without port: the host has it as well. */
export interface FrontendEntry extends FrontendAddress {
  readonly service: number;
  readonly number: number;
  readonly shared: boolean;
  /** Where the service's slots lie; left out: packets ask the service. */
  readonly table?: SlotRange;
}

export interface FrontendTable {
  /** So many more surely find a place. */
  readonly room: number;
  /** Adds it, or gives it another service or number. @throws HawserError TABLE_FULL when it finds no place. */
  set(entry: FrontendEntry): void;
  /** As `set` each, but many in one go; all stand in the end. */
  setAll(entries: Iterable<FrontendEntry>, pause: () => Promise<void>): Promise<void>;
  /** In no order. */
  all(): readonly FrontendEntry[];
  /** False when it was not there. */
  delete(frontend: FrontendAddress): boolean;
}

type Bucket = (FrontendEntry | undefined)[];

const buckets = maps.hw_lb_frontends.maxEntries;
/** How many others are moved to make room for one. */
const moves = 8;
/** Of all places: beyond that the last ones would take ever more moves, and at nine tenths too many. */
const sure = 0.85;
/** New ones that are put in their places together, in two writes, and in one turn. */
const together = 64;
const serviceAt = lbFrontendCodec.layout.find(({ name }) => name === "service")?.offset ?? NaN;

/** The map is this table's alone from now on; what it holds already is kept. */
export function openFrontendTable(map: KernelMap): FrontendTable {
  const { table, know, end } = tableOf(map);
  for (const [key, value] of map.filled()) know(key, value);
  end();
  return table;
}

/** As `openFrontendTable`, with turns for others in between. */
export async function openFrontendTableInTurns(map: KernelMap, pause: () => Promise<void>): Promise<FrontendTable> {
  const { table, know, end } = tableOf(map);
  for await (const some of map.filledInTurns(pause)) {
    for (const [key, value] of some) {
      know(key, value);
      await pause();
    }
  }
  end();
  return table;
}

/** `know`: each bucket that the map holds; `end`: those were all. */
function tableOf(map: KernelMap): { readonly table: FrontendTable; readonly know: (key: Uint8Array, value: Uint8Array) => void; readonly end: () => void } {
  const held = new Map<number, Bucket>();
  const places = new Map<string, number>();
  /** By bucket: how many whose first choice it was lie in their second. */
  const spilled = new Map<number, number>();

  const bucketAt = (index: number): Bucket => {
    const found = held.get(index) ?? Array.from({ length: LbLayout.BUCKET }, () => undefined);
    held.set(index, found);
    return found;
  };
  /** `hidden`: the place whose entry no packet shall find yet, or any more. */
  const write = (index: number, hidden?: number): void => {
    const flag = spilled.get(index) ? LbFrontendFlags.SPILLED : 0;
    const frontends = bucketAt(index).map((entry, place) => encoded(entry, place === hidden, place === 0 ? flag : 0));
    map.set(u32.encode(index), lbBucketCodec.encode({ frontends }));
  };
  const spill = (entry: FrontendEntry, index: number, by: number): void => {
    const [first] = bucketsOf(entry, buckets);
    if (first === index) return;
    const count = (spilled.get(first) ?? 0) + by;
    spilled.set(first, count);
    if (count === (by > 0 ? 1 : 0)) write(first);
  };
  const put = (entry: FrontendEntry, index: number, place: number): void => {
    bucketAt(index)[place] = entry;
    places.set(keyOf(entry), index);
    spill(entry, index, 1);
    write(index, place);
    write(index);
  };
  const take = (entry: FrontendEntry, index: number): void => {
    const bucket = bucketAt(index);
    const place = bucket.indexOf(entry);
    write(index, place);
    bucket[place] = undefined;
    write(index);
    spill(entry, index, -1);
  };
  /** Makes room in the bucket. False: it would take too many moves. */
  const clear = (index: number, left: number): boolean => {
    const bucket = bucketAt(index);
    if (bucket.includes(undefined)) return true;
    for (const entry of [...bucket]) {
      const other = entry === undefined ? index : bucketsOf(entry, buckets).find((choice) => choice !== index);
      if (entry === undefined || other === undefined || left === 0 || !clear(other, left - 1) || !bucket.includes(entry)) continue;
      if (!bucket.includes(undefined)) {
        put(entry, other, bucketAt(other).indexOf(undefined));
        take(entry, index);
      }
      return true;
    }
    return false;
  };

  const set: FrontendTable["set"] = (entry) => {
    const at = places.get(keyOf(entry));
    if (at !== undefined) {
      const bucket = bucketAt(at);
      bucket[bucket.findIndex((one) => one !== undefined && keyOf(one) === keyOf(entry))] = entry;
      write(at);
      return;
    }
    const choices = bucketsOf(entry, buckets);
    const chosen = choices.find((index) => bucketAt(index).includes(undefined)) ?? choices.find((index) => clear(index, moves));
    if (chosen === undefined) throw new HawserError("TABLE_FULL", `no place is left for the service address ${entry.address}, port ${entry.port}`);
    put(entry, chosen, bucketAt(chosen).indexOf(undefined));
  };
  const setAll: FrontendTable["setAll"] = async (entries, pause) => {
    /** In a free place each, which is not written yet; with the buckets that are to be. */
    const fresh = new Set<FrontendEntry>();
    const touched = new Set<number>();
    // What is written first and then differs by the service alone is made once.
    const keys = new Uint32Array(2 * together);
    const values = new Uint8Array(keys.length * lbBucketCodec.size);
    const view = new DataView(values.buffer);
    const flush = (): void => {
      const hidden: { readonly at: number; readonly service: number }[] = [];
      let count = 0;
      values.fill(0);
      for (const index of touched) {
        const flag = spilled.get(index) ? LbFrontendFlags.SPILLED : 0;
        bucketAt(index).forEach((entry, place) => {
          const flags = place === 0 ? flag : 0;
          const at = count * lbBucketCodec.size + place * lbFrontendCodec.size;
          if (entry === undefined && flags === 0) return;
          const unseen = entry !== undefined && fresh.has(entry);
          lbFrontendCodec.write(view, at, encoded(entry, unseen, flags));
          if (unseen) hidden.push({ at: at + serviceAt, service: entry.service });
        });
        keys[count++] = index;
      }
      if (count > 0) {
        const [some, those] = [new Uint8Array(keys.buffer, 0, 4 * count), values.subarray(0, count * lbBucketCodec.size)];
        map.setPacked(some, those);
        for (const { at, service } of hidden) u16.write(view, at, service);
        if (hidden.length > 0) map.setPacked(some, those);
      }
      fresh.clear();
      touched.clear();
    };
    for (const entry of entries) {
      const choices = places.has(keyOf(entry)) ? [] : bucketsOf(entry, buckets);
      const index = choices.find((one) => bucketAt(one).includes(undefined));
      if (index === undefined) {
        flush();
        set(entry);
      } else {
        const bucket = bucketAt(index);
        bucket[bucket.indexOf(undefined)] = entry;
        places.set(keyOf(entry), index);
        const [first = index] = choices;
        if (first !== index) spilled.set(first, (spilled.get(first) ?? 0) + 1);
        for (const one of [first, index]) touched.add(one);
        fresh.add(entry);
      }
      if (fresh.size === together) flush();
      await pause();
    }
    flush();
  };

  const lost = new Set<number>();
  const know = (key: Uint8Array, value: Uint8Array): void => {
    const index = u32.decode(key);
    lbBucketCodec.decode(value).frontends.forEach((frontend, place) => {
      const entry = decoded(frontend);
      if (entry === undefined) return;
      // Of a version that laid them elsewhere.
      if (!bucketsOf(entry, buckets).includes(index)) return void lost.add(index);
      bucketAt(index)[place] = entry;
      places.set(keyOf(entry), index);
      const [first] = bucketsOf(entry, buckets);
      if (first !== index) spilled.set(first, (spilled.get(first) ?? 0) + 1);
    });
  };
  const table: FrontendTable = {
    get room() {
      return Math.floor(sure * buckets * LbLayout.BUCKET) - places.size;
    },
    set, setAll,
    all: () => [...held.values()].flatMap((bucket) => bucket.filter((one) => one !== undefined)),
    delete: (frontend) => {
      const at = places.get(keyOf(frontend));
      const entry = at === undefined ? undefined : bucketAt(at).find((one) => one !== undefined && keyOf(one) === keyOf(frontend));
      if (at === undefined || entry === undefined) return false;
      take(entry, at);
      places.delete(keyOf(frontend));
      return true;
    },
  };
  return { table, know, end: () => lost.forEach((index) => write(index)) };
}

function keyOf({ address, port, protocol }: FrontendAddress): string {
  return `${address} ${port} ${protocol}`;
}

function encoded(entry: FrontendEntry | undefined, hidden: boolean, flags: number): LbFrontend {
  if (entry === undefined) return { addr: null, port: 0, proto: 0, flags, service: 0, number: 0, table: 0, slots: 0 };
  const { address, port, protocol, service, number, shared, table = noTable } = entry;
  return { addr: address, port, proto: protocol, flags: flags | (shared ? LbFrontendFlags.SHARED : 0), service: hidden ? 0 : service, number, table: table.first, slots: formedSlots(table) };
}

function decoded({ addr, port, proto, flags, service, number, table, slots }: LbFrontend): FrontendEntry | undefined {
  if (addr === null || service === 0) return undefined;
  return { address: addr, port, protocol: proto, service, number, shared: (flags & LbFrontendFlags.SHARED) !== 0, ...(slots === 0 ? {} : { table: rangeAt(table, slots) }) };
}
