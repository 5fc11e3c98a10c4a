// Services as users read them, and whom this node is to probe.
import { frontendText } from "../lb/read.ts";
import type { Backend, Service, ServiceMode, ServicePlan } from "../lb/types.ts";
import type { NodeHealth } from "../network/cluster.ts";
import type { SharedServices, StoredService } from "../lb/stored.ts";
import { HawserError } from "../std/errors.ts";
import { holdersOf } from "./shared-services.ts";
import type { PartStatus, ProbeTarget, ServiceView } from "./types.ts";

export interface ServicesKnown {
  /** As the state has them. */
  readonly written: readonly Service[];
  /** What the datapath was given last. */
  readonly inForce: { readonly plans: readonly ServicePlan[]; readonly services: readonly Service[] };
  /** What is not in force as its file says, by file. */
  readonly problems: ReadonlyMap<string, string>;
  /** Why others do not know yet what a file says, by file. */
  readonly waiting: ReadonlyMap<string, string>;
  /** As `SharedServices.files`. */
  readonly files: SharedServices["files"];
  /** This node. */
  readonly node: string;
  /** Why a service is not in force as it is written, by its name: this node cannot carry it out, or has no room. */
  readonly refused: ReadonlyMap<string, Error>;
  /** Why the last change did not reach the datapath. */
  readonly trouble: string | undefined;
  /** Of services that say none. */
  readonly mode: ServiceMode;
  /** Address → the node that answers for it. */
  readonly holders: ReadonlyMap<string, string>;
}

export function serviceViews(rows: ReadonlyMap<string, StoredService>, known: ServicesKnown): readonly ServiceView[] {
  const { written, inForce, problems, waiting, files, node, refused, trouble, mode, holders: answering } = known;
  const plans = Map.groupBy(inForce.plans, ({ name }) => name);
  const carried = new Set(inForce.services);
  const byName = new Map(written.map((service) => [service.name, service]));
  const standing = [...rows.values()].map((row): ServiceView => {
    const service = byName.get(row.name);
    const holders = row.source === "directory" ? holdersOf({ files }, row.name) : [];
    const own = ownFile(row, holders, known);
    const file = own ?? files.get(holders[0] ?? "")?.get(row.name) ?? row.file;
    const [wrong, untold] = [problems, waiting].map((those) => (own === undefined ? undefined : those.get(own)));
    const refusal = refused.get(row.name)?.message;
    const pending = untold !== undefined || refusal !== undefined || service === undefined || !carried.has(service);
    const why = wrong ?? untold ?? refusal ?? (service === undefined ? "its text is not understood any more, or a service that was there before has its frontend; write it anew" : pending ? trouble : undefined);
    return {
      name: row.name, frontends: (service?.frontends ?? []).map(({ address, port, protocol }) => ({ address, port, protocol, holder: answering.get(address) ?? "" })),
      backends: (plans.get(row.name) ?? []).flatMap(({ backends }) => backends.map(({ address, port, weight, node, state, identity }) => ({ address, port, weight, node: node ?? "", state, identity }))),
      mode: service?.mode ?? mode, algorithm: "maglev", flows: null, source: `${row.source} ${file}`, nodes: holders.length > 0 ? holders : [row.node ?? node], revision: row.revision,
      state: wrong !== undefined ? "rejected" : pending ? "pending" : "enforced", error: why ?? null,
    };
  });
  const shown = new Set([...rows.values()].map((row) => ownFile(row, holdersOf({ files }, row.name), known)));
  const never = [...problems, ...waiting].filter(([file]) => /\.ya?ml$/.test(file) && !shown.has(file)).map(([file, error]): ServiceView => ({
    name: file.slice(file.lastIndexOf("/") + 1), frontends: [], backends: [], mode, algorithm: "maglev", flows: null, source: `directory ${file}`, nodes: [node], revision: 0,
    state: problems.has(file) ? "rejected" : "pending", error,
  }));
  return [...standing.toSorted((a, b) => (a.name < b.name ? -1 : 1)), ...never];
}

/** Of the name under which a file is listed that never was in force. @throws HawserError IN_USE */
export function refuseFile(name: string, rows: ReadonlyMap<string, StoredService>, known: ServicesKnown): void {
  const view = rows.has(name) ? undefined : serviceViews(rows, known).find((one) => one.name === name);
  if (view !== undefined) throw new HawserError("IN_USE", `${view.source.slice("directory ".length)} has never been in force; mend it, or remove it there`);
}

/** The file in this node's watched directory; undefined: it stands in none there. */
function ownFile({ name, source, file, node: on }: StoredService, holders: readonly string[], { files, node }: Pick<ServicesKnown, "files" | "node">): string | undefined {
  if (source === "apply") return undefined;
  return files.get(node)?.get(name) ?? (holders.length === 0 && (on === undefined || on === node) ? file : undefined);
}

/** So many are told; `service list` has them all. */
const refusalsTold = 5;

export function servicePart({ inForce: { plans, services }, problems, waiting, refused, trouble, written }: ServicesKnown): PartStatus {
  const refusals = Array.from(refused.values(), ({ message }) => message);
  const wrong = [
    ...[...problems, ...waiting].map(([file, problem]) => (problem.startsWith(file) ? problem : `${file}: ${problem}`)), ...(trouble === undefined ? [] : [trouble]),
    ...refusals.slice(0, refusalsTold), ...(refusals.length > refusalsTold ? [`and ${refusals.length - refusalsTold} services more`] : []),
  ];
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

/** What this node's probes found of its own containers; of those that leave nobody asks any more. */
export function ownHealth({ name, health: { kind } }: Service, backends: readonly Backend[], node: string): NodeHealth {
  return new Map(kind === "none" ? [] : backends.flatMap(({ node: home, id, port, drainsUntil, health: { state } }) =>
    (home !== node || drainsUntil !== null || state === "unknown" ? [] : [[`${name} ${id}:${port}`, state === "up"] as const])));
}

/** A container is probed by its own node, a server, and who is on a node that tells nothing, by every node that balances to it. */
export function probeTargets(services: readonly Service[], backends: ReadonlyMap<string, readonly Backend[]>, node: string): readonly ProbeTarget[] {
  return services.flatMap(({ name, health, frontends }) => (health.kind === "none" ? [] : (backends.get(name) ?? []).flatMap((backend) => {
    if (backend.drainsUntil !== null || (backend.kind === "container" && backend.node !== node)) return [];
    const four = frontends.some(({ address }) => !address.includes(":")) ? backend.ipv4 : null;
    const address = four ?? backend.ipv6 ?? backend.ipv4;
    return address === null ? [] : [{ service: name, backend: backend.id, address, port: backend.port, health }];
  })));
}
