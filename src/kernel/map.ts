// An open map: single operations, and whole-map ones in batches.
import type { NativeMap } from "./addon.ts";
import { asKernelError, errno, kernelCall, refusedWith } from "./errors.ts";
import type { KernelMap, MapInfo } from "./types.ts";
import { mapKindOf, updateFlags } from "./uapi.ts";

const entriesPerBatch = 512;

export class MapHandle implements KernelMap {
  readonly native: NativeMap;
  readonly #info: MapInfo;
  readonly #valueBytes: number;

  constructor(native: NativeMap) {
    const { id, name, type, keySize, valueSize, valueBytes, maxEntries, flags } = native.info();
    this.native = native;
    this.#info = { id, name, kind: mapKindOf(type), keySize, valueSize, maxEntries, flags };
    this.#valueBytes = valueBytes;
  }

  /** What the map is, known from when it was opened: readable after close() too. */
  get info(): MapInfo {
    return this.#info;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return kernelCall(() => this.native.get(key));
  }

  set(key: Uint8Array, value: Uint8Array, flags: "any" | "create" | "update" = "any"): void {
    kernelCall(() => this.native.set(key, value, updateFlags[flags]));
  }

  delete(key: Uint8Array): boolean {
    return kernelCall(() => this.native.delete(key));
  }

  entries(): Iterable<readonly [key: Uint8Array, value: Uint8Array]> {
    kernelCall(() => this.native.info()); // a closed map is refused now, not at the first step
    return { [Symbol.iterator]: () => this.#walk(false) };
  }

  filled(): Iterable<readonly [key: Uint8Array, value: Uint8Array]> {
    kernelCall(() => this.native.info());
    return { [Symbol.iterator]: () => this.#walk(true) };
  }

  filledInTurns(pause: () => Promise<void>): AsyncIterable<Iterable<readonly [key: Uint8Array, value: Uint8Array]>> {
    kernelCall(() => this.native.info());
    return this.#inTurns(pause);
  }

  async *#inTurns(pause: () => Promise<void>): AsyncGenerator<Iterable<readonly [key: Uint8Array, value: Uint8Array]>> {
    for (const some of this.#batches(true)) {
      if (some.length > 0) yield some;
      await pause();
    }
  }

  values(first: number, count: number): Uint8Array {
    // An array's cursor is the key before the next one.
    const cursor = first === 0 ? undefined : new Uint8Array(Uint32Array.of(first - 1).buffer);
    return kernelCall(() => this.native.lookupBatch(cursor, count)).values;
  }

  setInner(key: Uint8Array, inner: KernelMap): void {
    kernelCall(() => {
      this.native.info(); // a closed map is refused before its argument is looked at
      this.native.setInner(key, nativeMap(inner));
    });
  }

  setInners(keys: Uint8Array, inner: readonly KernelMap[]): Promise<void> {
    return kernelCall(() => this.native.setInners(keys, inner.map(nativeMap))).catch((error: unknown) => {
      throw asKernelError(error);
    });
  }

  store(first: number, values: Uint8Array | Uint16Array): void {
    kernelCall(() => this.native.store(first, values));
  }

  setBatch(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    const { keySize } = this.#info;
    for (const [key, value] of entries) this.#check(key, value);
    const keys = new Uint8Array(entries.length * keySize);
    const values = new Uint8Array(entries.length * this.#valueBytes);
    entries.forEach(([key, value], i) => {
      keys.set(key, i * keySize);
      values.set(value, i * this.#valueBytes);
    });
    this.setPacked(keys, values);
  }

  setPacked(keys: Uint8Array, values: Uint8Array): void {
    kernelCall(() => this.native.updateBatch(keys, values, updateFlags.any));
  }

  deleteBatch(keys: readonly Uint8Array[]): number {
    const { keySize } = this.#info;
    for (const key of keys) this.#check(key);
    const packed = new Uint8Array(keys.length * keySize);
    keys.forEach((key, i) => packed.set(key, i * keySize));
    let deleted = 0;
    // The kernel stops at the first key that is not there: step over it and go on.
    for (let at = 0; ; ) {
      const done = kernelCall(() => this.native.deleteBatch(packed.subarray(at * keySize)));
      deleted += done;
      at += done + 1;
      if (at >= keys.length) return deleted;
    }
  }

  pin(path: string): void {
    kernelCall(() => this.native.pin(path));
  }

  close(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #check(key: Uint8Array, value?: Uint8Array): void {
    const { name, keySize } = this.#info;
    if (key.length !== keySize) throw new TypeError(`${name}: key has ${key.length} bytes, not ${keySize}`);
    if (value && value.length !== this.#valueBytes) {
      throw new TypeError(`${name}: value has ${value.length} bytes, not ${this.#valueBytes}`);
    }
  }

  *#walk(filled: boolean): Generator<readonly [Uint8Array, Uint8Array]> {
    for (const some of this.#batches(filled)) yield* some;
  }

  *#batches(filled: boolean): Generator<readonly (readonly [Uint8Array, Uint8Array])[]> {
    const { keySize } = this.#info;
    const zero = Buffer.alloc(filled ? entriesPerBatch * this.#valueBytes : 0);
    const isZero = (bytes: Uint8Array): boolean => filled && bytes.length <= zero.length && zero.compare(bytes, 0, bytes.length, 0, bytes.length) === 0;
    let cursor: Uint8Array | undefined;
    let count = Math.min(entriesPerBatch, Math.max(1, this.#info.maxEntries));
    do {
      try {
        const batch = kernelCall(() => this.native.lookupBatch(cursor, count));
        const some: [Uint8Array, Uint8Array][] = [];
        for (let i = 0; !isZero(batch.values) && i * keySize < batch.keys.length; i++) {
          const value = batch.values.subarray(i * this.#valueBytes, (i + 1) * this.#valueBytes);
          if (!isZero(value)) some.push([batch.keys.subarray(i * keySize, (i + 1) * keySize), value]);
        }
        yield some;
        cursor = batch.cursor;
      } catch (error) {
        // A hash bucket holds more than the batch: the kernel gives whole buckets only.
        if (!refusedWith(error, errno.ENOSPC) || count > this.#info.maxEntries) throw error;
        count *= 2;
        continue;
      }
    } while (cursor);
  }
}

/** The addon's handle of a map that this room opened. */
export function nativeMap(map: KernelMap): NativeMap {
  if (!(map instanceof MapHandle)) throw new TypeError(`map ${map.info.name} was not opened by this kernel`);
  return map.native;
}
