// Rows that a later balancer starts with: those that a store cannot write wait, and count as written.
import type { Change, Json, Store } from "../store/types.ts";
import { balancingTable } from "./balancer.ts";
import { within } from "./commit.ts";
import { isSharedKey } from "./shared-rows.ts";
import { portionsOf } from "./write-portions.ts";

/** Milliseconds. */
const storeTime = 10_000;

export class KeptRows {
  readonly #store: Pick<Store, "load" | "write">;
  readonly #unwritten = new Map<string, Change>();

  constructor(store: Pick<Store, "load" | "write">) {
    this.#store = store;
  }

  get allWritten(): boolean {
    return this.#unwritten.size === 0;
  }

  /** With those that wait. @throws whatever the store throws */
  async load(): Promise<ReadonlyMap<string, Json>> {
    const rows = new Map((await this.#store.load()).get(balancingTable));
    for (const { key, value } of this.#unwritten.values()) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
    return rows;
  }

  /** A store that cannot write says so itself, and keeps no service from following its containers. */
  async keep(rows: readonly Change[]): Promise<void> {
    for (const row of rows) this.#unwritten.set(row.key, row);
    const portions = portionsOf([...this.#unwritten.values()].toSorted((a, b) => rankOf(a) - rankOf(b)));
    await new Promise(setImmediate);
    for (const [i, some] of portions.entries()) {
      // Thousands of rows would wait for the disk a hundred times.
      const more = i + 1 < portions.length ? "more" : undefined;
      const done = await within(storeTime, "the store's write", this.#store.write(some, more)).then(() => true, () => false);
      if (!done) return;
      for (const { key } of some) this.#unwritten.delete(key);
      await new Promise(setImmediate);
    }
  }
}

/** What rows name is there before they are, and goes after them, whenever each of them was to be written. */
function rankOf({ key, value }: Change): number {
  return !isSharedKey(key) ? 1 : value === undefined ? 2 : 0;
}
