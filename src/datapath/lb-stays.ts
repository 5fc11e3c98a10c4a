// Clients that stay with a backend: who takes no more of them.
import { u32 } from "../abi/codec.ts";
import { errno, refusedWith } from "../kernel/index.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { ServicePlan } from "../lb/types.ts";

export interface Stays {
  /** A backend takes nothing new of a service, by `closedEntries`' key, or does again. Where there is no room its clients stay. */
  close(key: number): void;
  open(key: number): void;
}

/** Of a service with affinity: who takes nothing new, by the key as hw_lb_closed has it. */
export function closedEntries({ number: service, affinity, backends }: ServicePlan): readonly (readonly [number, true])[] {
  return affinity === null ? [] : backends.filter(({ takes }) => !takes).map(({ number }) => [((number << 16) | service) >>> 0, true]);
}

/** `jiffies`: now. */
export function openStays(closed: KernelMap, jiffies: () => number): Stays {
  return {
    close: (key) => {
      try {
        closed.set(u32.encode(key), u32.encode(jiffies() >>> 0 || 1));
      } catch (error) {
        if (!refusedWith(error, errno.E2BIG, errno.ENOSPC)) throw error;
      }
    },
    open: (key) => void closed.delete(u32.encode(key)),
  };
}
