// What is new to the thread that plans services, and what it says of backends' health.
import type { Told } from "../lb/plan.ts";
import type { Backend, Service, ServingContainer } from "../lb/types.ts";
import type { Cluster } from "../network/cluster.ts";
import type { Log } from "../std/log.ts";
import type { Difference } from "./balancer.ts";
import type { HeardHealth } from "./service-types.ts";

/** What the thread was told of. */
export interface Known {
  /** In order of names. */
  readonly services: readonly Service[];
  readonly containers: ReadonlyMap<string, ServingContainer>;
  /** As the cluster has it. */
  readonly health: Cluster["health"];
}

export const nothingKnown: Known = { services: [], containers: new Map(), health: undefined };

/** By service, then by `NODE ID:PORT`: of its own containers alone a node is believed. */
export function toldBy(health: Cluster["health"]): ReadonlyMap<string, Told> {
  const told = new Map<string, Map<string, boolean>>();
  for (const [node, one] of health ?? []) {
    for (const [key, up] of one) {
      const [service = "", backend = ""] = key.split(" ");
      const those = told.get(service) ?? new Map<string, boolean>();
      told.set(service, those.set(`${node} ${backend}`, up));
    }
  }
  return told;
}

/** Whether the service must know who its clients are. */
export function asksClients({ sources: { allow, deny }, affinity }: Service): boolean {
  return allow !== null || deny.length > 0 || affinity !== null;
}

/** What `after` has and `before` has not, and the other way round. Equal are those that are the same object. */
export function between<T>(before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): Difference<T> {
  if (before === after) return { set: [], gone: [] };
  const [set, gone]: [T[], string[]] = [[], []];
  for (const [key, one] of after) if (before.get(key) !== one) set.push(one);
  for (const key of before.keys()) if (!after.has(key)) gone.push(key);
  return { set, gone };
}

/** Backends by the names of services. Each is said once, with what was heard last. */
export function sayHealth(log: Log, heard: readonly HeardHealth[], before: ReadonlyMap<string, readonly Backend[]>, after: ReadonlyMap<string, readonly Backend[]>): void {
  const said = new Set<Backend>();
  for (const { service, backend, port, why } of heard.toReversed()) {
    const find = (all: readonly Backend[] | undefined): Backend | undefined => all?.find((one) => one.id === backend && one.port === port);
    const [was, is] = [find(before.get(service)), find(after.get(service))];
    if (is === undefined || was?.health.state === is.health.state || said.has(is)) continue;
    said.add(is);
    if (is.health.state === "up") log.info("a backend answers its probes", { service, backend: is.identity });
    else log.warn("a backend fails its probes", { service, backend: is.identity, why });
  }
}
