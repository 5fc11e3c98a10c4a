// Which changed slots may settle: nothing went to another backend than their current one for longer than any silent flow is remembered.
import type { Elsewhere } from "../datapath/types.ts";
import { afterSettling } from "../lb/plan.ts";
import type { Balancing } from "../lb/plan.ts";
import { quietSeconds } from "../lb/slots.ts";
import type { Slots } from "../lb/types.ts";

export interface Settling {
  /** After a look; `now` in milliseconds since the epoch. The same object when nothing settled. */
  look(balancing: Balancing, elsewhere: Elsewhere, now: number): Balancing;
  /** Whether there is anything to look at. */
  wanted(balancing: Balancing): boolean;
}

export function createSettling(): Settling {
  /**
   * When slots that changed at one time were first seen at their place, in seconds of uptime: a clock that is set makes nothing look old, and what
   * was noted at the place that a table had before counts for nothing.
   */
  let seen: ReadonlyMap<string, number> = new Map();
  const known = new WeakMap<Slots, boolean>();
  const isChanged = (slots: Slots): boolean => {
    let changed = known.get(slots);
    if (changed === undefined) {
      changed = anyChanged(slots);
      known.set(slots, changed);
    }
    return changed;
  };
  return {
    look: (balancing, { epochs, epoch, quiet, uptime, places }, now) => {
      const still = new Map<string, number>();
      const next = afterSettling(balancing, (service, size) => {
        const place = places.get(service);
        if (place === undefined || place.slots !== size) return null;
        const isOld = new Map<number, boolean>();
        const look = (since: number): boolean => {
          const key = `${service} ${place.first} ${size} ${since}`;
          const first = seen.get(key) ?? uptime;
          still.set(key, first);
          const old = Math.min(uptime - first, now / 1000 - since) >= quietSeconds;
          isOld.set(since, old);
          return old;
        };
        return (slot, since) => (isOld.get(since) ?? look(since)) && ((epoch - (epochs[(place.first + slot) % epochs.length] as number)) & 0xff) >= quiet;
      });
      seen = still;
      return next;
    },
    wanted: ({ services }) => [...services.values()].some(({ service, parts }) => service.affinity === null && parts.some(({ table }) => isChanged(table.slots))),
  };
}

function anyChanged({ words }: Slots): boolean {
  if (words !== undefined) for (let i = 1; i < words.length; i += 2) if (words[i] !== 0) return true;
  return false;
}
