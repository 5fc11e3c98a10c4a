// How long to wait before something is written again, so that flash memory lasts (R111).
import type { Clock } from "../std/clock.ts";

export interface WriteBudget {
  spent(bytes: number): void;
  /** Milliseconds until as much as was written last may be written again. */
  pause(): number;
}

const day = 24 * 3600 * 1000;
const bytesADay = 1024 * 1024;
/** Milliseconds. What is too large for the day's bytes is written after the longest pause all the same: it would be too old. */
const [shortest, longest] = [30_000, 3600 * 1000];

/** A day's bytes may be spent at once; they come back evenly over the day. */
export function createWriteBudget(clock: Pick<Clock, "now">): WriteBudget {
  let left = bytesADay;
  let last = 0;
  let since = clock.now();

  const refill = (): void => {
    const now = clock.now();
    left = Math.min(bytesADay, left + Math.max(0, now - since) * (bytesADay / day));
    since = now;
  };

  return {
    spent: (bytes) => {
      refill();
      last = bytes;
      left = Math.max(0, left - bytes);
    },
    pause: () => {
      refill();
      return Math.min(longest, Math.max(shortest, (last - left) * (day / bytesADay)));
    },
  };
}
