// What this node's probes found of its own containers, and when the others are told.
import type { Backend, Service } from "../lb/types.ts";
import type { NodeHealth } from "../network/cluster.ts";
import type { Clock } from "../std/clock.ts";
import { ownHealth } from "./service-views.ts";

/** Milliseconds. */
const pause = 200;

export class OwnHealth {
  readonly #node: string;
  readonly #clock: Clock;
  readonly #tell: () => void;
  readonly #ended = new AbortController();
  #telling = false;
  known: NodeHealth = new Map();

  /** `tell`: `known` is another. */
  constructor(node: string, clock: Clock, tell: () => void) {
    [this.#node, this.#clock, this.#tell] = [node, clock, tell];
  }

  /** Told at once, and then at most so often: many backends that fail together are one telling. `backends`: by the service's name. */
  follow(services: readonly Service[], backends: ReadonlyMap<string, readonly Backend[]>): void {
    const health = ownHealth(services, backends, this.#node);
    if (sameHealth(health, this.known)) return;
    this.known = health;
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

function sameHealth(a: NodeHealth, b: NodeHealth): boolean {
  return a.size === b.size && [...a].every(([key, up]) => b.get(key) === up);
}
