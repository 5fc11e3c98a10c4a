// A server of shared records in this process: keys, leases, watchers, and everything that goes wrong with a real one.
import { HawserError } from "../../../src/std/errors.ts";
import type { SharedChange, SharedEvent, SharedStore } from "../../../src/store/shared.ts";

interface Kept {
  readonly value: string;
  readonly lease: string | undefined;
}

export interface Client extends SharedStore {
  /** The server is not reached from now on. */
  cut(why?: string): void;
  heal(): void;
  /** Requests are not done, or done and not answered, until they are released. */
  hold(what?: "requests" | "answers"): void;
  release(): void;
  /** The node was silent for the time to live: everything leased goes at once. */
  expire(): void;
  /** After so many more requests the client's node is dead. */
  dieAfter(requests: number): void;
  /** What was asked, newest last: `write KEY`, `claim KEY`. */
  readonly asked: string[];
}

export class Server {
  readonly data = new Map<string, Kept>();
  readonly #watchers = new Map<string, Set<{ push(event: SharedEvent): void }>>();
  readonly #down = new Map<string, string>();
  readonly #leaseLost = new Map<string, Set<() => void>>();
  /** Clients whose lease ended while they could not be told. */
  readonly #untold = new Set<string>();
  #leases = 0;

  get(key: string): string | undefined {
    return this.data.get(key)?.value;
  }

  keys(prefix = ""): readonly string[] {
    return [...this.data.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  }

  /** As somebody else writes: what is not said to be leased is nobody's. */
  put(values: Readonly<Record<string, string | undefined>>): void {
    this.#change(Object.entries(values).map(([key, value]) => ({ key, value })), undefined);
  }

  /** Restarted with an empty disk: everything is gone, leases too. */
  wipe(): void {
    this.data.clear();
    for (const name of this.#watchers.keys()) {
      if (this.#down.has(name)) this.#untold.add(name);
      else this.#renew(name);
    }
  }

  connect(name: string): Client {
    let lease = `${name} ${this.#leases++}`;
    let left = Infinity;
    let held: PromiseWithResolvers<void> | undefined;
    let holding: "requests" | "answers" = "requests";
    const asked: string[] = [];
    const request = async (what: string): Promise<void> => {
      asked.push(what);
      await new Promise(setImmediate);
      if (holding === "requests") await held?.promise;
      if (left-- <= 0) throw new HawserError("STORE", "the node is dead");
      const why = this.#down.get(name);
      if (why !== undefined) throw new HawserError("STORE", why);
    };
    const listeners = new Set<() => void>();
    this.#leaseLost.set(name, listeners);
    this.#watchers.set(name, new Set());
    listeners.add(() => (lease = `${name} ${this.#leases++}`));
    return {
      asked,
      list: async (prefix) => {
        await request(`list ${prefix}`);
        return new Map([...this.data].flatMap(([key, { value }]) => (key.startsWith(prefix) ? [[key, value] as const] : [])));
      },
      claim: async (key, value, { leased = false } = {}) => {
        await request(`claim ${key}`);
        // What is this value already, of an earlier life, is under this life's lease from now on.
        const standing = this.data.get(key);
        if (standing === undefined || (standing.value === value && leased && standing.lease !== lease)) this.#change([{ key, value, leased }], lease);
        return this.get(key) ?? value;
      },
      write: async (changes) => {
        await request(`write ${changes.map(({ key }) => key).join(" ")}`);
        this.#change(changes, lease);
        if (holding === "answers") await held?.promise;
      },
      exchange: async ({ key, value }, changes) => {
        await request(`exchange ${changes.map((one) => one.key).join(" ")}`);
        if (this.get(key) !== value) return false;
        this.#change(changes, lease);
        if (holding === "answers") await held?.promise;
        return true;
      },
      watch: (prefix, signal) => this.#watch(name, prefix, signal),
      onLeaseLost: (listener) => {
        listeners.add(listener);
        return { [Symbol.dispose]: () => void listeners.delete(listener) };
      },
      leasedUntil: () => Number.POSITIVE_INFINITY,
      health: () => ({ state: "ok", detail: "a server in this process" }),
      cut: (why = "etcd at 192.0.2.1:2379 does not answer") => {
        this.#down.set(name, why);
        for (const watcher of this.#watchers.get(name) ?? []) watcher.push({ kind: "lost", why });
      },
      heal: () => {
        this.#down.delete(name);
        this.#renew(name, this.#untold.delete(name));
      },
      hold: (what = "requests") => {
        holding = what;
        held = Promise.withResolvers();
      },
      release: () => held?.resolve(),
      expire: () => {
        const gone = [...this.data].flatMap(([key, kept]) => (kept.lease === lease ? [{ key, value: undefined }] : []));
        this.#change(gone, undefined);
        if (this.#down.has(name)) this.#untold.add(name);
        else for (const listener of listeners) listener();
      },
      dieAfter: (requests) => (left = requests),
      [Symbol.asyncDispose]: async () => {},
    };
  }

  /** A watcher that missed something is given everything. */
  #renew(name: string, leaseLost = true): void {
    for (const watcher of this.#watchers.get(name) ?? []) watcher.push(this.#snapshot());
    if (leaseLost) for (const listener of this.#leaseLost.get(name) ?? []) listener();
  }

  #snapshot(): SharedEvent {
    return { kind: "snapshot", entries: new Map([...this.data].map(([key, { value }]) => [key, value])) };
  }

  #change(changes: readonly SharedChange[], lease: string | undefined): void {
    if (changes.length === 0) return;
    for (const { key, value, leased = false } of changes) {
      if (value === undefined) this.data.delete(key);
      else this.data.set(key, { value, lease: leased ? lease : undefined });
    }
    for (const [name, watchers] of this.#watchers) {
      if (!this.#down.has(name)) for (const watcher of watchers) watcher.push({ kind: "changes", changes: changes.map(({ key, value }) => ({ key, value })) });
    }
  }

  async *#watch(name: string, prefix: string, signal: AbortSignal): AsyncIterable<SharedEvent> {
    const queue: SharedEvent[] = [];
    let wake = Promise.withResolvers<void>();
    const watcher = {
      push: (event: SharedEvent) => {
        queue.push(below(event, prefix));
        wake.resolve();
      },
    };
    signal.addEventListener("abort", () => wake.resolve(), { once: true });
    this.#watchers.get(name)?.add(watcher);
    const why = this.#down.get(name);
    watcher.push(why === undefined ? this.#snapshot() : { kind: "lost", why });
    try {
      while (!signal.aborted) {
        await wake.promise;
        wake = Promise.withResolvers();
        await new Promise(setImmediate);
        while (queue.length > 0 && !signal.aborted) yield queue.shift() as SharedEvent;
      }
    } finally {
      this.#watchers.get(name)?.delete(watcher);
    }
  }
}

function below(event: SharedEvent, prefix: string): SharedEvent {
  if (event.kind === "lost") return event;
  if (event.kind === "changes") return { ...event, changes: event.changes.filter(({ key }) => key.startsWith(prefix)) };
  return { ...event, entries: new Map([...event.entries].filter(([key]) => key.startsWith(prefix))) };
}
