// Services that are not in force as they are written, and why: told once, and looked at again, because what stands in the way may go by itself.
import type { ServicePlan } from "../lb/types.ts";
import type { Clock } from "../std/clock.ts";
import type { HawserError } from "../std/errors.ts";
import type { Log } from "../std/log.ts";

/** Milliseconds. */
const retryTime = 30_000;

export interface RefusalsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly again: () => Promise<void>;
}

export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #ended = new AbortController();
  #waiting = false;
  /** By the service's name. */
  all: ReadonlyMap<string, HawserError> = new Map();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** @throws HawserError why one of these services is not in force */
  check(names: readonly string[]): void {
    for (const name of names) {
      const why = this.all.get(name);
      if (why !== undefined) throw why;
    }
  }

  become(all: ReadonlyMap<string, HawserError>): void {
    const { log } = this.#options;
    for (const [service, error] of all) if (this.all.get(service)?.message !== error.message) log.warn("a service is not in force as it is written", { service, error });
    for (const service of this.all.keys()) if (!all.has(service)) log.info("what stood in the way of a service is gone", { service });
    this.all = all;
    this.#wait();
  }

  #wait(): void {
    const { clock, again } = this.#options;
    if (this.all.size === 0 || this.#waiting) return;
    this.#waiting = true;
    void clock.sleep(retryTime, this.#ended.signal).then(async () => {
      this.#waiting = false;
      await again().catch(() => undefined);
      this.#wait();
    }, () => undefined);
  }

  close(): void {
    this.#ended.abort();
  }
}

/** Those of `before` stand in the place of the refused ones. */
export function standing(plans: readonly ServicePlan[], refused: ReadonlyMap<ServicePlan, unknown>, before: readonly ServicePlan[]): readonly ServicePlan[] {
  const had = new Map(before.map((plan) => [plan.number, plan]));
  return plans.flatMap((plan) => (refused.has(plan) ? had.get(plan.number) ?? [] : [plan]));
}
