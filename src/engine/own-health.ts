// What this node's probes found of its own containers, and when the others are told.
import type { Backend, Service } from "../lb/types.ts";
import type { NodeHealth } from "../network/cluster.ts";
import type { Clock } from "../std/clock.ts";
import { ownHealth } from "./service-views.ts";

/** Milliseconds. */
const pause = 200;
const nothing: NodeHealth = new Map();

export class OwnHealth {
  readonly #node: string;
  readonly #clock: Clock;
  readonly #tell: () => void;
  readonly #ended = new AbortController();
  #telling = false;
  /** Keys of `known`, by the service's name. */
  readonly #keys = new Map<string, readonly string[]>();
  known: NodeHealth = new Map();

  /** `tell`: `known` is another. */
  constructor(node: string, clock: Clock, tell: () => void) {
    [this.#node, this.#clock, this.#tell] = [node, clock, tell];
  }

  /** As `ProbeList`. Told at once, and then at most so often: many backends that fail together are one telling. */
  follow(names: Iterable<string>, services: ReadonlyMap<string, Service>, backends: ReadonlyMap<string, readonly Backend[]>): void {
    let after: Map<string, boolean> | undefined;
    for (const name of names) {
      const service = services.get(name);
      const own = service === undefined ? nothing : ownHealth(service, backends.get(name) ?? [], this.#node);
      const before = this.#keys.get(name) ?? [];
      if (own.size === before.length && before.every((key) => own.get(key) === this.known.get(key))) continue;
      after ??= new Map(this.known);
      for (const key of before) after.delete(key);
      for (const [key, up] of own) after.set(key, up);
      if (own.size === 0) this.#keys.delete(name);
      else this.#keys.set(name, [...own.keys()]);
    }
    if (after === undefined) return;
    this.known = after;
    if (!this.#telling) void this.#tellAll();
  }

  async #tellAll(): Promise<void> {
    this.#telling = true;
    for (let told: NodeHealth | undefined; told !== this.known && !this.#ended.signal.aborted;) {
      told = this.known;
      this.#tell();
      await this.#clock.sleep(pause, this.#ended.signal).catch(() => undefined);
    }
    this.#telling = false;
  }

  close(): void {
    this.#ended.abort();
  }
}
