// What is remembered of services from change to change, and what each change means for the datapath and for a later start. Runs on a thread of its own.
import { advance, afterProbe, noBalancing } from "../lb/plan.ts";
import type { Balancing } from "../lb/plan.ts";
import type { Backend, Service, ServiceMode, ServicePlan, ServingContainer, Slots } from "../lb/types.ts";
import type { Change, Json } from "../store/types.ts";
import { recallBalancing, rowsOf } from "./balancing-rows.ts";
import type { HeardHealth } from "./service-types.ts";

export interface BalancerSettings {
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: as the model has it. */
  readonly largestTable?: number;
  /** As an earlier balancer wrote them. */
  readonly rows: ReadonlyMap<string, Json>;
}

/** What is new since the turn before. */
export interface Turn {
  /** Left out: as before. */
  readonly services?: readonly Service[];
  /** Left out: as before. */
  readonly containers?: readonly ServingContainer[];
  readonly heard: readonly HeardHealth[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface Outcome {
  /** Plans that are new or not what they were; `slots` null: the same as before. */
  readonly changed: readonly (Omit<ServicePlan, "slots"> & { readonly slots: Slots | null })[];
  /** `NAME FAMILY` of plans that are no more. */
  readonly gone: readonly string[];
  /** Backends of services of which something changed, by the service's name. */
  readonly backends: ReadonlyMap<string, readonly Backend[]>;
  /** As `Advance.again`. */
  readonly again: number | null;
  /** To be kept before the plans are carried out: whoever starts anew then knows at least what the kernel knows. */
  readonly rows: readonly Change[];
}

export interface Balancer {
  /** @throws HawserError TABLE_FULL, and then all is as it was before. */
  turn(turn: Turn): Outcome;
}

export const balancingTable = "balancing";
export const planKey = ({ name, family }: Pick<ServicePlan, "name" | "family">): string => `${name} ${family}`;

export function createBalancer({ mode, largestTable, rows }: BalancerSettings): Balancer {
  let services: readonly Service[] = [];
  let containers: readonly ServingContainer[] = [];
  /** Known before the services are: the first turn says which of them are still there. */
  let balancing: Balancing = noBalancing;
  let recalled = false;
  /** What was told last. */
  let heads = new Map<string, string>();
  let slots = new Map<string, Slots>();
  let backends = new Map<string, string>();
  let kept = new Map([...rows].map(([key, value]) => [key, JSON.stringify(value)]));

  return {
    turn: ({ services: newServices = services, containers: newContainers = containers, heard, now }) => {
      [services, containers] = [newServices, newContainers];
      if (!recalled) balancing = recallBalancing(rows, services, now);
      recalled = true;
      const before = heard.reduce((known, { service, backend, passed }) => afterProbe(known, service, backend, passed, now), balancing);
      const { next, plans, again } = advance(before, { services, containers, mode, now, ...(largestTable === undefined ? {} : { largestTable }) });
      balancing = next;

      const nextHeads = new Map(plans.map(({ slots: _, ...head }) => [planKey(head), JSON.stringify(head)]));
      const nextSlots = new Map(plans.map((plan) => [planKey(plan), plan.slots]));
      const changed = plans.flatMap(({ slots: table, ...head }) => {
        const key = planKey(head);
        const same = slots.get(key) === table;
        return same && heads.get(key) === nextHeads.get(key) ? [] : [{ ...head, slots: same ? null : table }];
      });
      const gone = [...heads.keys()].filter((key) => !nextHeads.has(key));
      const nextBackends = new Map([...next.services].map(([name, one]) => [name, JSON.stringify(one.backends)]));
      const changedBackends = new Map([...next.services].filter(([name]) => backends.get(name) !== nextBackends.get(name)).map(([name, one]) => [name, one.backends]));
      for (const name of backends.keys()) if (!nextBackends.has(name)) changedBackends.set(name, []);
      const nextKept = new Map([...rowsOf(next)].map(([key, value]) => [key, JSON.stringify(value)]));
      const writes: Change[] = [...nextKept].filter(([key, text]) => kept.get(key) !== text)
        .map(([key, text]) => ({ table: balancingTable, key, value: JSON.parse(text) as Json }));
      for (const key of kept.keys()) if (!nextKept.has(key)) writes.push({ table: balancingTable, key, value: undefined });
      [heads, slots, backends, kept] = [nextHeads, nextSlots, nextBackends, nextKept];
      return { changed, gone, backends: changedBackends, again, rows: writes };
    },
  };
}
