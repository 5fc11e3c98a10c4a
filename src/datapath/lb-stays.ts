// Clients that stay with a backend: who takes no more of them, and that no number which they are remembered by stands for something else meanwhile.
import { u32 } from "../abi/codec.ts";
import { lbClientCodec, lbStayCodec } from "../abi/generated.ts";
import type { LbSlot } from "../abi/generated.ts";
import { errno, refusedWith } from "../kernel/index.ts";
import type { KernelMap } from "../kernel/types.ts";
import type { ServicePlan } from "../lb/types.ts";

export interface Stays {
  /**
   * Before these numbers stand for services with affinity and for backends: forgets the clients of numbers that stood for others and stand for nothing
   * now, if there may be any. `standing`: backends by number.
   */
  renew(services: readonly number[], backends: readonly number[], standing: ReadonlyMap<number, unknown>, pause: () => Promise<void>): Promise<void>;
  /** It has no affinity any more, or is gone. */
  leaveService(number: number): void;
  leaveBackend(number: number): void;
  /** A backend takes nothing new of a service, by `closedEntries`' key, or does again. Where there is no room its clients stay. */
  close(key: number): void;
  open(key: number): void;
}

/** Of a service with affinity: who takes nothing new, by the key as hw_lb_closed has it. */
export function closedEntries({ number: service, affinity, backends }: ServicePlan): readonly (readonly [number, true])[] {
  return affinity === null ? [] : backends.filter(({ takes }) => !takes).map(({ number }) => [((number << 16) | service) >>> 0, true]);
}

/** Clients that are looked at before others have a turn. */
const chunk = 512;

/** `staying`: services of an earlier agent's that have affinity. `jiffies`: now. */
export function openStays(clients: KernelMap, closed: KernelMap, staying: Set<number>, jiffies: () => number): Stays {
  // An earlier agent may have been ended before it had come to it.
  let all = true;
  const [leftServices, leftBackends] = [new Set<number>(), new Set<number>()];

  const forget = async (isService: (number: number) => boolean, isBackend: (number: number) => boolean, pause: () => Promise<void>): Promise<void> => {
    let looked = 0;
    for (const [key, value] of clients.entries()) {
      const { slot, ...times } = lbStayCodec.decode(value);
      const left = isService(lbClientCodec.decode(key).service) ? without(slot, isBackend) : undefined;
      if (left === undefined) clients.delete(key);
      else if (left !== slot) clients.set(key, lbStayCodec.encode({ slot: left, ...times }));
      if (++looked % chunk === 0) await pause();
    }
  };

  return {
    renew: async (services, backends, standing, pause) => {
      const [came, others] = [new Set(services.filter((number) => !staying.has(number))), new Set(backends)];
      if (all ? came.size + others.size > 0 : !came.isDisjointFrom(leftServices) || !others.isDisjointFrom(leftBackends)) {
        await forget((number) => staying.has(number), (number) => standing.has(number) && !others.has(number), pause);
        all = false;
        leftServices.clear();
        leftBackends.clear();
      }
      for (const number of came) staying.add(number);
    },
    leaveService: (number) => {
      if (staying.delete(number)) leftServices.add(number);
    },
    leaveBackend: (number) => void leftBackends.add(number),
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

/** The same slot when all of it stands; undefined: nothing is left. */
function without(slot: LbSlot, stands: (number: number) => boolean): LbSlot | undefined {
  const { current, previous, changed } = slot;
  const [one, other] = [current, previous].filter((number) => number !== 0 && stands(number));
  if (one === undefined) return undefined;
  return one === current && (other === previous || changed === 0) ? slot : { current: one, previous: changed === 0 ? 0 : one, changed };
}
