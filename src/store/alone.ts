// The shared store of a node that shares with nobody: what it claims and writes stays in its own file, and what is leased goes with the process.
import { HawserError } from "../std/errors.ts";
import { Pending } from "./pending.ts";
import type { SharedChange, SharedEvent, SharedStore } from "./shared.ts";
import type { Change, Store, StoreHealth } from "./types.ts";

const table = "shared";
const largestBatch = 100;

/** `store` stays its owner's to close. */
export function openAlone(store: Pick<Store, "load" | "write" | "health">): SharedStore {
  return new AloneStore(store);
}

class AloneStore implements SharedStore {
  readonly #store: Pick<Store, "load" | "write" | "health">;
  readonly #watchers = new Set<{ readonly prefix: string; readonly pending: Pending }>();
  readonly #ended = new AbortController();
  #entries: Promise<Map<string, string>> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(store: Pick<Store, "load" | "write" | "health">) {
    this.#store = store;
  }

  async list(prefix: string, signal?: AbortSignal): Promise<ReadonlyMap<string, string>> {
    return await this.#inTurn(signal, (entries) => below(entries, prefix));
  }

  async claim(key: string, value: string, options: { readonly leased?: boolean; readonly signal?: AbortSignal } = {}): Promise<string> {
    return await this.#inTurn(options.signal, async (entries) => {
      const standing = entries.get(key);
      if (standing !== undefined && standing !== value) return standing;
      await this.#apply(entries, [{ key, value, leased: options.leased ?? false }]);
      return value;
    });
  }

  async write(changes: readonly SharedChange[], signal?: AbortSignal): Promise<void> {
    await this.#inTurn(signal, async (entries) => {
      for (let at = 0; at < changes.length; at += largestBatch) await this.#apply(entries, changes.slice(at, at + largestBatch));
    });
  }

  async exchange(expected: { readonly key: string; readonly value: string | undefined }, changes: readonly SharedChange[], signal?: AbortSignal): Promise<boolean> {
    return await this.#inTurn(signal, async (entries) => {
      if (entries.get(expected.key) !== expected.value) return false;
      await this.#apply(entries, changes);
      return true;
    });
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncIterable<SharedEvent> {
    const until = AbortSignal.any([signal, this.#ended.signal]);
    const pending = new Pending();
    const watcher = { prefix, pending };
    const end = (): void => pending.fail(until.reason);
    until.addEventListener("abort", end, { once: true });
    try {
      const entries = await this.#inTurn(until, (all) => {
        this.#watchers.add(watcher);
        return below(all, prefix);
      });
      yield { kind: "snapshot", entries };
      for (;;) yield { kind: "changes", changes: await pending.next() };
    } catch (error) {
      if (!until.aborted) throw error;
    } finally {
      until.removeEventListener("abort", end);
      this.#watchers.delete(watcher);
    }
  }

  /** Never: the process and what it leased end together. */
  onLeaseLost(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  /** As long as the process. */
  leasedUntil(): number {
    return Number.POSITIVE_INFINITY;
  }

  health(): StoreHealth {
    return this.#store.health();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#turn;
  }

  /** One at a time, so that a claim looks and writes undisturbed. */
  #inTurn<T>(signal: AbortSignal | undefined, work: (entries: Map<string, string>) => T | Promise<T>): Promise<T> {
    const turn = this.#turn.then(async () => {
      signal?.throwIfAborted();
      if (this.#ended.signal.aborted) throw new HawserError("STORE", "this node's shared records are closed");
      this.#entries ??= this.#load();
      return await work(await this.#entries);
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  #load(): Promise<Map<string, string>> {
    return this.#store.load().then(
      (tables) => new Map([...(tables.get(table) ?? [])].map(([key, value]) => [key, String(value)])),
      (error: unknown) => {
        this.#entries = undefined;
        throw error;
      },
    );
  }

  async #apply(entries: Map<string, string>, changes: readonly SharedChange[]): Promise<void> {
    await this.#store.write(changes.map(({ key, value, leased = false }): Change => ({ table, key, value: leased ? undefined : value })));
    for (const { key, value } of changes) {
      if (value === undefined) entries.delete(key);
      else entries.set(key, value);
      for (const { prefix, pending } of this.#watchers) if (key.startsWith(prefix)) pending.push(key, value);
    }
  }
}

function below(entries: ReadonlyMap<string, string>, prefix: string): Map<string, string> {
  return new Map([...entries].filter(([key]) => key.startsWith(prefix)));
}
