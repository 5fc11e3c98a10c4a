// How the bytes of maps, events and configuration become values and back; src/abi/generated.ts is written in these words.
import { HawserError, messageOf } from "../std/errors.ts";
import { groupsOf, ipFromBytes16, macFromBytes, macToBytes } from "../std/ip.ts";
import type { Ip, Mac } from "../std/ip.ts";

/** One shape of the ABI. `read` and `write` work inside a larger buffer, `encode` and `decode` on exactly `size` bytes. */
export interface Codec<T> {
  /** As C names it: `__be16`, `struct hw_ip`. */
  readonly name: string;
  readonly size: number;
  /** Of a struct, in order and without its padding; empty otherwise. */
  readonly layout: readonly FieldLayout[];
  read(view: DataView, at: number): T;
  /** @throws HawserError INTERNAL naming the field whose value does not fit. */
  write(view: DataView, at: number, value: T): void;
  encode(value: T): Uint8Array;
  /** @throws HawserError INTERNAL when the bytes are not `size` long. */
  decode(bytes: Uint8Array): T;
}

export interface FieldLayout {
  /** As C names it. */
  readonly name: string;
  readonly offset: number;
  readonly codec: Codec<unknown>;
}

export interface Field<T> {
  readonly name: string;
  readonly offset: number;
  readonly codec: Codec<T>;
}

/** The map kinds that the ABI knows. */
export type AbiMapKind = "hash" | "array" | "lru_hash" | "percpu_array" | "percpu_hash" | "lpm_trie" | "sk_storage";

export interface MapShape<K, V> {
  readonly name: string;
  readonly kind: AbiMapKind;
  readonly key: Codec<K>;
  readonly value: Codec<V>;
  readonly maxEntries: number;
  /** BPF_F_*. */
  readonly flags: number;
}

/** Its entries are maps, by number; a program looks one up and then in it. */
export interface MapOfMapsShape<K, V> {
  readonly name: string;
  readonly kind: "array_of_maps";
  readonly maxEntries: number;
  /** As declared; the maps put in may have more or fewer entries. */
  readonly inner: MapShape<K, V>;
}

/** A ring has no keys and no values: its records are hw_event. */
export interface RingShape {
  readonly name: string;
  readonly kind: "ringbuf";
  /** Bytes. */
  readonly maxEntries: number;
}

/** Maps, programs and these codecs share the machine's own byte order. */
const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export const u8 = number("__u8", 8, (view, at) => view.getUint8(at), (view, at, value) => view.setUint8(at, value));
export const u16 = number("__u16", 16, (view, at) => view.getUint16(at, little), (view, at, value) => view.setUint16(at, value, little));
export const u32 = number("__u32", 32, (view, at) => view.getUint32(at, little), (view, at, value) => view.setUint32(at, value, little));
export const be16 = number("__be16", 16, (view, at) => view.getUint16(at), (view, at, value) => view.setUint16(at, value));
export const be32 = number("__be32", 32, (view, at) => view.getUint32(at), (view, at, value) => view.setUint32(at, value));
export const u64 = bigint("__u64", little);
export const be64 = bigint("__be64", false);

/** struct hw_ip: IPv4 is kept v4-mapped; all zero (which is also ::) reads as null, and null writes as all zero. */
export const ip: Codec<Ip | null> = make(
  "struct hw_ip",
  16,
  (view, at) => {
    const [high, middle] = [view.getBigUint64(at), view.getUint32(at + 8)];
    if (high === 0n && middle === 0xffff) return ipv4Text(view, at + 12);
    return high === 0n && middle === 0 && view.getUint32(at + 12) === 0 ? null : ipFromBytes16(slice(view, at, 16));
  },
  (view, at, value) => {
    if (value === null) return void slice(view, at, 16).fill(0);
    if (value.includes(":")) return groupsOf(value).forEach((group, i) => view.setUint16(at + 2 * i, group));
    view.setBigUint64(at, 0n);
    view.setUint32(at + 8, 0xffff);
    writeIpv4(view, at + 12, value);
  },
);

/** Addresses are the most of what is read and written, so those of IPv4 take no way through large numbers. */
function ipv4Text(view: DataView, at: number): Ip {
  return `${view.getUint8(at)}.${view.getUint8(at + 1)}.${view.getUint8(at + 2)}.${view.getUint8(at + 3)}` as Ip;
}

function writeIpv4(view: DataView, at: number, text: Ip): void {
  let part = 0;
  let place = at;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0) {
      part = part * 10 + digit;
      continue;
    }
    view.setUint8(place++, part);
    part = 0;
  }
  view.setUint8(place, part);
}

export const mac: Codec<Mac> = make(
  "__u8[6]",
  6,
  (view, at) => macFromBytes(slice(view, at, 6)),
  (view, at, value) => slice(view, at, 6).set(macToBytes(value)),
);

export function bytes(length: number): Codec<Uint8Array> {
  return make(
    `__u8[${length}]`,
    length,
    (view, at) => slice(view, at, length).slice(),
    (view, at, value) => {
      if (value.length !== length) throw new RangeError(`${value.length} bytes instead of ${length}`);
      slice(view, at, length).set(value);
    },
  );
}

export function array<T>(of: Codec<T>, length: number): Codec<readonly T[]> {
  return make(
    `${of.name}[${length}]`,
    of.size * length,
    (view, at) => Array.from({ length }, (_, i) => of.read(view, at + i * of.size)),
    (view, at, value) => {
      if (value.length !== length) throw new RangeError(`${value.length} elements instead of ${length}`);
      value.forEach((element, i) => of.write(view, at + i * of.size, element));
    },
  );
}

export function field<T>(name: string, offset: number, codec: Codec<T>): Field<T> {
  return { name, offset, codec };
}

/** Bytes that no field covers are padding and stay zero: map keys are compared byte by byte. */
export function struct<T extends object>(name: string, size: number, fields: { readonly [K in keyof T]: Field<T[K]> }): Codec<T> {
  const entries = Object.entries(fields) as [keyof T & string, Field<T[keyof T]>][];
  const layout = entries.map(([, one]) => one as unknown as FieldLayout);
  const count = entries.length;
  const keys = entries.map(([key]) => key);
  const offsets = entries.map(([, one]) => one.offset);
  const writers = entries.map(([, one]) => one.codec);
  return make(
    `struct ${name}`,
    size,
    (view, at) => Object.fromEntries(entries.map(([key, one]) => [key, one.codec.read(view, at + one.offset)])) as T,
    (view, at, value) => {
      // Tens of thousands are written at once where no compiler takes the pairs' arrays away.
      let i = 0;
      try {
        for (; i < count; i++) (writers[i] as Codec<T[keyof T]>).write(view, at + (offsets[i] as number), value[keys[i] as keyof T]);
      } catch (error) {
        throw new HawserError("INTERNAL", `${name}.${entries[i]?.[1].name}: ${messageOf(error)}`, { cause: error });
      }
    },
    layout,
  );
}

/** The values of a per-CPU map's entry, one a CPU; the kernel rounds each up to 8 bytes. */
export function decodePerCpu<T>(codec: Codec<T>, raw: Uint8Array): readonly T[] {
  const stride = Math.ceil(codec.size / 8) * 8;
  return Array.from({ length: Math.floor(raw.length / stride) }, (_, cpu) =>
    codec.decode(raw.subarray(cpu * stride, cpu * stride + codec.size)));
}

function number(
  name: string,
  bits: 8 | 16 | 32,
  read: (view: DataView, at: number) => number,
  write: (view: DataView, at: number, value: number) => void,
): Codec<number> {
  const beyond = 2 ** bits;
  return make(name, bits / 8, read, (view, at, value) => {
    if (!Number.isInteger(value) || value < 0 || value >= beyond) throw new RangeError(`${value} is no unsigned ${bits}-bit number`);
    write(view, at, value);
  });
}

function bigint(name: string, littleEndian: boolean): Codec<bigint> {
  return make(
    name,
    8,
    (view, at) => view.getBigUint64(at, littleEndian),
    (view, at, value) => {
      if (typeof value !== "bigint" || value < 0n || value >> 64n !== 0n) throw new RangeError(`${value} is no unsigned 64-bit number`);
      view.setBigUint64(at, value, littleEndian);
    },
  );
}

function make<T>(
  name: string,
  size: number,
  read: Codec<T>["read"],
  write: Codec<T>["write"],
  layout: readonly FieldLayout[] = [],
): Codec<T> {
  return {
    name,
    size,
    layout,
    read,
    write,
    encode: (value) => {
      const raw = new Uint8Array(size);
      write(viewOf(raw), 0, value);
      return raw;
    },
    decode: (raw) => {
      if (raw.length !== size) throw new HawserError("INTERNAL", `${name}: ${raw.length} bytes instead of ${size}`);
      return read(viewOf(raw), 0);
    },
  };
}

function viewOf(raw: Uint8Array): DataView {
  return new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
}

function slice(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length);
}
