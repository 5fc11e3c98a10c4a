// What the programs note of changed slots: when a packet of each last went to another backend than the current one.
import { LbElsewhereLayout, LbTimes } from "../abi/generated.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { SlotRange } from "./lb-slots.ts";
import type { Elsewhere } from "./types.ts";

/** Lines for each system call. */
const piece = 1024;

/** `jiffies` are their low 32 bits; `pause` lets others have their turns. */
export async function readElsewhere(map: KernelMap, places: ReadonlyMap<number, SlotRange>, { jiffies, hz }: { readonly jiffies: () => number; readonly hz: number }, pause: () => Promise<void>): Promise<Elsewhere> {
  const lines = map.info.maxEntries;
  const epochs = new Uint8Array(lines * LbElsewhereLayout.ELSEWHERE);
  for (let line = 0; line < lines; line += piece) {
    epochs.set(map.values(line, Math.min(piece, lines - line)), line * LbElsewhereLayout.ELSEWHERE);
    await pause();
  }
  // One more, because the epoch of the note may have ended right behind it.
  const quiet = Math.ceil((LbTimes.QUIET_SECONDS * hz) / 2 ** LbTimes.EPOCH_BITS) + 1;
  return { epochs, epoch: Math.floor(jiffies() / 2 ** LbTimes.EPOCH_BITS) & 0xff, quiet, uptime: performance.now() / 1000, places };
}
