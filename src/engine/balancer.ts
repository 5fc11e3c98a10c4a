// What is remembered of services from change to change, and what each change means for the datapath and for a later start. Runs on a thread of its own.
import type { Elsewhere } from "../datapath/types.ts";
import { advance, afterProbes, noBalancing } from "../lb/plan.ts";
import type { Fill } from "../lb/maglev.ts";
import type { Balancing, Told } from "../lb/plan.ts";
import type { Backend, Service, ServiceMode, ServicePlan, ServingContainer, Slots } from "../lb/types.ts";
import type { Change, Json } from "../store/types.ts";
import { recallBalancing, restingKey, restingRow, rowKey, serviceRow } from "./balancing-rows.ts";
import type { HeardHealth } from "./service-types.ts";
import { createSettling } from "./settling.ts";
import { SharedRows } from "./shared-rows.ts";

export interface BalancerSettings {
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Slots of a table at most; left out: as the model has it. */
  readonly largestTable?: number;
  /** This node; left out: no other takes its containers for gone. */
  readonly node?: string;
  /** As an earlier balancer wrote them. */
  readonly rows: ReadonlyMap<string, Json>;
}

/** Those that are new or not as they were, and the keys of those that are no more. */
export interface Difference<T> {
  readonly set: readonly T[];
  readonly gone: readonly string[];
}

/** What is new since the turn before. */
export interface Turn {
  /** By name. */
  readonly services: Difference<Service>;
  /** By `containerKey`. */
  readonly containers: Difference<ServingContainer>;
  readonly heard: readonly HeardHealth[];
  /** What other nodes say of their containers, by the service's name; null: as before. */
  readonly told: ReadonlyMap<string, Told> | null;
  /** Other nodes took this one's containers for gone, and have them back. */
  readonly wereGone: boolean;
  /** null: nobody looked. */
  readonly elsewhere: Elsewhere | null;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface Outcome {
  /** Plans that are new or not what they were, by `planKey`; `slots` may be those that the plan of a key had before, its own or another's. */
  readonly plans: Difference<Omit<ServicePlan, "slots"> & { readonly slots: Slots | { readonly of: string } }>;
  /** Backends of services of which something changed, by the service's name. */
  readonly backends: ReadonlyMap<string, readonly Backend[]>;
  /** As `Advance.again`. */
  readonly again: number | null;
  /** As `Advance.refused`. */
  readonly refused: ReadonlyMap<string, string>;
  /** There are slots that may settle: somebody should look at `elsewhere` again. */
  readonly unsettled: boolean;
  /** To be kept before the plans are carried out: whoever starts anew then knows at least what the kernel knows. */
  readonly rows: readonly Change[];
}

export interface Balancer {
  turn(turn: Turn): Outcome;
}

export const balancingTable = "balancing";
export const planKey = ({ name, family }: Pick<ServicePlan, "name" | "family">): string => `${name} ${family}`;
export const containerKey = ({ node, id }: Pick<ServingContainer, "node" | "id">): string => `${node}/${id}`;

/** `fill`: how tables are filled; left out: by the model itself. */
export function createBalancer({ mode, largestTable, node, rows }: BalancerSettings, fill?: Fill): Balancer {
  const services = new Map<string, Service>();
  const byKey = new Map<string, ServingContainer>();
  let containers: readonly ServingContainer[] = [];
  let balancing: Balancing = noBalancing;
  const settling = createSettling();
  let told: ReadonlyMap<string, ServicePlan> = new Map();
  let recalled = false;
  let others: ReadonlyMap<string, Told> = new Map();
  const shared = new SharedRows();
  let resting = JSON.stringify(rows.get(restingKey) ?? null);

  const rowsAfter = (before: Balancing, after: Balancing): readonly Change[] => {
    const changes: Change[] = [];
    for (const [name, one] of after.services) {
      const was = before.services.get(name);
      if (was === one) continue;
      const { text, named } = serviceRow(one, after, shared);
      // Answers that only count towards a change are not worth a write each.
      if (recalled && was !== undefined && text === serviceRow(was, before, shared).text) continue;
      shared.become(name, named);
      changes.push({ table: balancingTable, key: rowKey(name), value: text });
    }
    for (const name of before.services.keys()) {
      if (after.services.has(name)) continue;
      shared.become(name, []);
      changes.push({ table: balancingTable, key: rowKey(name), value: undefined });
    }
    const { came, gone } = shared.changes();
    const row = restingRow(after);
    if (JSON.stringify(row) !== resting) changes.push({ table: balancingTable, key: restingKey, value: row });
    resting = JSON.stringify(row);
    return [...came.map(([key, value]) => ({ table: balancingTable, key, value })), ...changes, ...gone.map((key) => ({ table: balancingTable, key, value: undefined }))];
  };

  return {
    turn: ({ services: services_, containers: containers_, heard, told: said, wereGone, elsewhere, now }) => {
      others = said ?? others;
      for (const name of services_.gone) services.delete(name);
      for (const service of services_.set) services.set(service.name, service);
      for (const key of containers_.gone) byKey.delete(key);
      for (const container of containers_.set) byKey.set(containerKey(container), container);
      if (containers_.gone.length + containers_.set.length > 0) containers = [...byKey.values()];
      // Known before the services are: the first turn says which of them are still there.
      if (!recalled) balancing = recallBalancing(rows, [...services.values()], now, fill);
      const settled = elsewhere === null ? balancing : settling.look(balancing, elsewhere, now);
      const before = afterProbes(settled, heard.map(({ service, backend, port, passed }) => ({ service, id: backend, port, passed })), now);
      const around = { services: [...services.values()], mode, now, fill, ...(largestTable === undefined ? {} : { largestTable }) };
      const missed = wereGone ? advance(before, { ...around, containers: containers.filter((one) => one.node !== node), told: others }).next : before;
      const { next, plans, again, refused } = advance(missed, { ...around, containers, told: wereGone ? withOwn(others, before, node) : others });

      const after = new Map(plans.map((plan) => [planKey(plan), plan]));
      const fresh = plans.filter((plan) => told.get(planKey(plan)) !== plan);
      const known = new Map(fresh.length === 0 ? [] : Array.from(told, ([key, { slots }]) => [slots, { of: key }] as const));
      const set = fresh.map((plan) => ({ ...plan, slots: known.get(plan.slots) ?? plan.slots }));
      const backends = new Map([...next.services].filter(([name, one]) => balancing.services.get(name)?.backends !== one.backends || !recalled).map(([name, one]) => [name, one.backends]));
      for (const name of balancing.services.keys()) if (!next.services.has(name)) backends.set(name, []);
      const writes = [...rowsAfter(balancing, next), ...(recalled ? [] : strangers(rows, next, shared.keys()))];
      const gone = [...told.keys()].filter((key) => !after.has(key));
      [balancing, told, recalled] = [next, after, true];
      return { plans: { set, gone }, backends, again, refused, unsettled: settling.wanted(next), rows: writes };
    },
  };
}

/** And what this node knows of its own containers' health, which they keep though they were gone for the others. */
function withOwn(others: ReadonlyMap<string, Told>, { services }: Balancing, self: string | undefined): ReadonlyMap<string, Told> {
  return new Map([...services].map(([name, { backends }]) => {
    const own = backends.filter(({ node, health }) => node === self && health.state !== "unknown");
    return [name, new Map([...others.get(name) ?? [], ...own.map(({ node, id, port, health }) => [`${node} ${id}:${port}`, health.state === "up"] as const)])] as const;
  }));
}

/** Rows of services that went while no agent ran. */
function strangers(rows: ReadonlyMap<string, Json>, { services }: Balancing, shared: readonly string[]): readonly Change[] {
  const known = new Set([restingKey, ...shared, ...[...services.keys()].map(rowKey)]);
  return [...rows.keys()].filter((key) => !known.has(key)).map((key) => ({ table: balancingTable, key, value: undefined }));
}
