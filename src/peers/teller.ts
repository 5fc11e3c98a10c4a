// Tells the engine what is known of the others: one telling at a time, and what changes meanwhile makes one more.
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";

export interface Teller {
  /** Soon. Never fails: what the engine did not take is told again. */
  nudge(): void;
  /** @throws what the engine throws. */
  tell(signal: AbortSignal): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
  trouble(): string | undefined;
}

/** Milliseconds. The first of many changes is told at once, the others together. */
const pause = 50;
const afterFailure = 1000;

export function createTeller<T>(current: () => T, sync: (now: T, signal?: AbortSignal) => Promise<void>, clock: Clock, log: Log): Teller {
  let wake = Promise.withResolvers<void>();
  let trouble: string | undefined;

  const tell = async (signal: AbortSignal): Promise<void> => {
    await sync(current(), signal);
    trouble = undefined;
  };

  return {
    tell,
    nudge: () => wake.resolve(),
    run: async (signal) => {
      signal.addEventListener("abort", () => wake.resolve(), { once: true });
      while (!signal.aborted) {
        await wake.promise;
        if (signal.aborted) return;
        wake = Promise.withResolvers();
        let wait = pause;
        try {
          await tell(signal);
        } catch (error) {
          if (signal.aborted) return;
          log.warn("the engine could not take up what the other nodes told", { error });
          trouble = "the engine could not take up what the other nodes told; it is tried again";
          wait = afterFailure;
          wake.resolve();
        }
        await clock.sleep(wait, signal).catch(() => undefined);
      }
    },
    trouble: () => trouble,
  };
}
