// Services as users read them, and whom this node is to probe.
import { frontendText } from "../lb/read.ts";
import type { Backend, Service, ServiceMode, ServicePlan } from "../lb/types.ts";
import type { StoredService } from "../lb/stored.ts";
import type { PartStatus, ProbeTarget, ServiceView } from "./types.ts";

export interface ServicesKnown {
  /** As the state has them. */
  readonly written: readonly Service[];
  /** What the datapath was given last. */
  readonly inForce: { readonly plans: readonly ServicePlan[]; readonly services: readonly Service[] };
  /** What is not in force as its file says, by file. */
  readonly problems: ReadonlyMap<string, string>;
  /** Why the last change did not reach the datapath. */
  readonly trouble: string | undefined;
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Address → the node that answers for it. */
  readonly holders: ReadonlyMap<string, string>;
}

export function serviceViews(rows: ReadonlyMap<string, StoredService>, { written, inForce, problems, trouble, mode, holders }: ServicesKnown): readonly ServiceView[] {
  const plans = Map.groupBy(inForce.plans, ({ name }) => name);
  const carried = new Set(inForce.services);
  const standing = [...rows.values()].map((row): ServiceView => {
    const service = written.find(({ name }) => name === row.name);
    const wrong = row.source === "directory" ? problems.get(row.file) : undefined;
    const pending = service === undefined || !carried.has(service);
    const why = wrong ?? (service === undefined ? "its text is not understood any more; apply it anew" : pending ? trouble : undefined);
    return {
      name: row.name, frontends: (service?.frontends ?? []).map(({ address, port, protocol }) => ({ address, port, protocol, holder: holders.get(address) ?? "" })),
      backends: (plans.get(row.name) ?? []).flatMap(({ backends }) => backends.map(({ address, port, weight, node, state, identity }) => ({ address, port, weight, node: node ?? "", state, identity }))),
      mode: service?.mode ?? mode, algorithm: "maglev", flows: null, source: `${row.source} ${row.file}`, revision: row.revision,
      state: wrong !== undefined ? "rejected" : pending ? "pending" : "enforced", error: why ?? null,
    };
  });
  const files = new Set([...rows.values()].map(({ file }) => file));
  const never = [...problems].filter(([file]) => /\.ya?ml$/.test(file) && !files.has(file)).map(([file, error]): ServiceView => ({
    name: file.slice(file.lastIndexOf("/") + 1), frontends: [], backends: [], mode, algorithm: "maglev", flows: null, source: `directory ${file}`, revision: 0, state: "rejected", error,
  }));
  return [...standing.toSorted((a, b) => (a.name < b.name ? -1 : 1)), ...never];
}

export function servicePart({ inForce: { plans, services }, problems, trouble, written }: ServicesKnown): PartStatus {
  const wrong = [...[...problems].map(([file, problem]) => (problem.startsWith(file) ? problem : `${file}: ${problem}`)), ...(trouble === undefined ? [] : [trouble])];
  if (wrong.length > 0) return { part: "services", state: "degraded", detail: wrong.join("; ") };
  if (written.length === 0) return { part: "services", state: "ok", detail: "none" };
  const closed = plans.filter(({ open }) => !open).map(({ frontends }) => frontends.map(frontendText).join(", "));
  const backends = new Map(plans.flatMap((plan) => plan.backends.map((backend) => [`${plan.name} ${backend.identity}`, backend.state] as const)));
  const counts = (["active", "draining", "down"] as const).map((state) => [state, [...backends.values()].filter((one) => one === state).length] as const).filter(([, count]) => count > 0);
  return {
    part: "services", state: "ok",
    detail: `${services.length} ${services.length === 1 ? "service" : "services"}${counts.length === 0 ? "" : `; backends: ${counts.map(([state, count]) => `${count} ${state}`).join(", ")}`}`
      + (closed.length === 0 ? "" : `; nobody serves ${closed.join(", ")}`),
  };
}

/** A container is probed by its own node, a server by every node that balances to it. */
export function probeTargets(services: readonly Service[], backends: ReadonlyMap<string, readonly Backend[]>, node: string): readonly ProbeTarget[] {
  return services.flatMap(({ name, health, frontends }) => (health.kind === "none" ? [] : (backends.get(name) ?? []).flatMap((backend) => {
    if (backend.drainsUntil !== null || (backend.node !== null && backend.node !== node)) return [];
    const four = frontends.some(({ address }) => !address.includes(":")) ? backend.ipv4 : null;
    const address = four ?? backend.ipv6 ?? backend.ipv4;
    return address === null ? [] : [{ service: name, backend: backend.id, address, port: backend.port, health }];
  })));
}
