// What a map shall hold when several want the same of it: each key with how many want it, and what the map holds meanwhile.

interface Taken<V> {
  value: V;
  /** How many want it so. */
  users: number;
  /** What it is when nobody does any more. */
  under: Taken<V> | undefined;
}

export class Wanted<K, V> {
  readonly #same: (a: V, b: V) => boolean;
  readonly #written: Map<K, V>;
  readonly #wanted = new Map<K, Taken<V>>();
  /** Keys of which it is to be looked whether the map holds what is wanted. */
  readonly #looked: Set<K>;

  /** `written`: what the map holds, as `V`s. */
  constructor(written: ReadonlyMap<K, V>, same: (a: V, b: V) => boolean) {
    this.#written = new Map(written);
    this.#looked = new Set(written.keys());
    this.#same = same;
  }

  /** What the map holds. */
  get written(): ReadonlyMap<K, V> {
    return this.#written;
  }

  /** One more wants it so; the last one's value counts. */
  take(entries: Iterable<readonly [K, V]>): void {
    for (const entry of entries) {
      const key = entry[0];
      const value = entry[1];
      const had = this.#wanted.get(key);
      if (had === undefined || !this.#same(had.value, value)) {
        this.#wanted.set(key, { value, users: 1, under: had });
      } else {
        had.value = value;
        had.users++;
      }
      this.#looked.add(key);
    }
  }

  /** One that took it so wants it no longer: the last value of those who still do counts. */
  drop(entries: Iterable<readonly [K, V]>): void {
    for (const [key, value] of entries) {
      const left = this.#without(this.#wanted.get(key), value);
      if (left === undefined) this.#wanted.delete(key);
      else this.#wanted.set(key, left);
      this.#looked.add(key);
    }
  }

  #without(taken: Taken<V> | undefined, value: V): Taken<V> | undefined {
    if (taken === undefined) return undefined;
    if (!this.#same(taken.value, value)) taken.under = this.#without(taken.under, value);
    else if (--taken.users === 0) return taken.under;
    return taken;
  }

  /** What is in the map and nobody wants; taken for deleted as it is gone through. `pause` lets others have their turns. */
  async *unwanted(pause: () => Promise<void>): AsyncIterable<readonly [K, V]> {
    for (const key of this.#looked) {
      await pause();
      const value = this.#written.get(key);
      if (value === undefined || this.#wanted.has(key)) continue;
      yield [key, value];
      this.#written.delete(key);
    }
  }

  /** What the map does not hold as it is wanted, and what it held instead; taken for written as it is gone through. */
  async *missing(pause: () => Promise<void>): AsyncIterable<readonly [K, V, before: V | undefined]> {
    for (const key of this.#looked) {
      await pause();
      const wanted = this.#wanted.get(key);
      const written = this.#written.get(key);
      if (wanted === undefined || (written !== undefined && this.#same(written, wanted.value))) continue;
      yield [key, wanted.value, written];
      this.#written.set(key, wanted.value);
    }
  }

  /** After both were gone through. */
  done(): void {
    this.#looked.clear();
  }
}
