// Whether the other nodes have taken this one for dead while it went on: its lease has ended, and some of them do not see it.
import type { Clock } from "../std/clock.ts";
import type { SharedStore } from "../store/shared.ts";

export interface StruckOutOptions {
  readonly store: Pick<SharedStore, "leasedUntil" | "onLeaseLost">;
  /** Whether a node that was seen does not answer now. */
  readonly someoneIsSilent: () => boolean;
  /** Once each time. */
  readonly told: () => void;
  readonly clock: Clock;
}

/** Milliseconds. */
const pause = 1000;
/** So long after a node was silent it may have ended what it knew of this one. */
const doubt = 60_000;

/** Until the signal aborts. */
export async function watchStruckOut({ store, someoneIsSilent, told, clock }: StruckOutOptions, signal: AbortSignal): Promise<void> {
  let [silent, stood] = [-Infinity, false];
  const ended = (): void => {
    if (!stood || clock.now() - silent > doubt) return;
    stood = false;
    told();
  };
  using _lost = store.onLeaseLost(ended);
  while (!signal.aborted) {
    if (someoneIsSilent()) silent = clock.now();
    const until = store.leasedUntil();
    if (until !== null && until > clock.now()) stood = true;
    else ended();
    await clock.sleep(pause, signal).catch(() => undefined);
  }
}
