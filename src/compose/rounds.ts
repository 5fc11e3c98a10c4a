// What the agent does over and over: asks Docker, mends the host, forgets dead flows, keeps an older generation of its state.
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";

export interface Duty {
  readonly name: string;
  run(): Promise<void>;
}

/** Does the duties, one after another, every `pause` milliseconds until the signal aborts. A failing one does not stop the rest. */
export async function makeRounds(duties: readonly Duty[], pause: number, clock: Clock, log: Log, signal: AbortSignal): Promise<void> {
  const failing = new Set<string>();
  for (;;) {
    try {
      await clock.sleep(pause, signal);
    } catch {
      return;
    }
    for (const duty of duties) {
      if (signal.aborted) return;
      try {
        await duty.run();
        failing.delete(duty.name);
      } catch (error) {
        // Said once: a Docker that is stopped for a day is one line, not three thousand.
        log[failing.has(duty.name) ? "debug" : "warn"]("a periodic duty failed", { duty: duty.name, error });
        failing.add(duty.name);
      }
    }
  }
}
