// A map that is changed without a copy of all of it: a large one that stays as it is, and what is different from it.
import type { Descended } from "./cluster.ts";

/** Immutable: changes make another one, which shares with it what did not change. Iterates in no particular order. */
export class Layered<K, V> implements Descended<K, V> {
  readonly #base: ReadonlyMap<K, V>;
  /** The base that this one's was made of, as long as anybody has it, and the keys that differ between the two. */
  #earlier: { readonly base: WeakRef<ReadonlyMap<K, V>>; readonly keys: readonly K[] } | undefined;
  /** undefined: it is not there any more. */
  readonly #over: ReadonlyMap<K, V | undefined>;
  readonly size: number;

  /** Left out: empty. */
  constructor(base: ReadonlyMap<K, V> = new Map(), over: ReadonlyMap<K, V | undefined> = new Map(), size = base.size) {
    this.#base = base;
    this.#over = over;
    this.size = size;
  }

  /** The same object when nothing is different. `undefined`: the key goes. */
  with(changes: ReadonlyMap<K, V | undefined>): Layered<K, V> {
    if (this.size === 0) return this.#filled(changes);
    let { size } = this;
    let over: Map<K, V | undefined> | undefined;
    for (const [key, value] of changes) {
      const before = this.get(key);
      if (before === value) continue;
      over ??= new Map(this.#over);
      over.set(key, value);
      size += Number(value !== undefined) - Number(before !== undefined);
    }
    if (over === undefined) return this;
    const next = new Layered(this.#base, over, size);
    next.#earlier = this.#earlier;
    // So that a change costs what it is large, and all changes together not much more than one copy in so many.
    if (over.size <= 64 + this.#base.size / 64) return next;
    const copy = new Layered(new Map(next));
    copy.#earlier = { base: new WeakRef(this.#base), keys: [...over.keys()] };
    return copy;
  }

  /** Keys under which this one holds something else than the other, perhaps with some under which both hold the same. Quick where one was made of the other. */
  differing(other: Layered<K, V>): Iterable<K> {
    if (this === other) return [];
    if (this.#base === other.#base) return new Set([...this.#over.keys(), ...other.#over.keys()]);
    const between = this.#keysSince(other) ?? other.#keysSince(this);
    if (between !== undefined) return new Set([...this.#over.keys(), ...between, ...other.#over.keys()]);
    // One that has nothing to share needs no set of tens of thousands.
    return this.size === 0 ? other.keys() : other.size === 0 ? this.keys() : new Set([...this.keys(), ...other.keys()]);
  }

  /** The first that come are as many as there are, and are copied once. */
  #filled(changes: ReadonlyMap<K, V | undefined>): Layered<K, V> {
    const all = new Map<K, V>();
    for (const [key, value] of changes) if (value !== undefined) all.set(key, value);
    return all.size === 0 ? this : new Layered(all);
  }

  /** undefined: the other's base is not the one that this one's was made of. */
  #keysSince(other: Layered<K, V>): readonly K[] | undefined {
    return this.#earlier !== undefined && this.#earlier.base.deref() === other.#base ? this.#earlier.keys : undefined;
  }

  get(key: K): V | undefined {
    const found = this.#over.get(key);
    return found !== undefined || this.#over.has(key) ? found : this.#base.get(key);
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  *entries(): MapIterator<[K, V]> {
    for (const entry of this.#base) if (!this.#over.has(entry[0])) yield entry;
    for (const [key, value] of this.#over) if (value !== undefined) yield [key, value];
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }
}
