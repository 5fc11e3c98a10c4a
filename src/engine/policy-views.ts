// Policy as users read it: identities, policies, verdicts without a packet, and who has which address.
import { displayLabels } from "../policy/identity.ts";
import { trace } from "../policy/trace.ts";
import type { KnownEndpoint, Traced } from "../policy/trace.ts";
import type { Policy } from "../policy/types.ts";
import { sliceOwner } from "../network/cluster-plan.ts";
import { addressesOf, gatewaysOf, nameOfNetwork } from "../network/state.ts";
import type { State } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import { addressOf, contains } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import { hostIdentity, nodeIdentity } from "./flow-log.ts";
import type { AddressBook } from "./flow-log.ts";
import type { HostView, PolicyBook } from "./policy-book.ts";
import type { ServiceView } from "./service-types.ts";
import { judgedAll, judgedInstead } from "./traced-service.ts";
import type { DecidedBy, FlowEnd, IdentityView, PartStatus, PolicyView, TraceEnd, TraceView } from "./types.ts";

export function identityViews(state: State, book: PolicyBook): readonly IdentityView[] {
  const carried = new Map(book.remoteCounts(state));
  for (const { identity } of [...state.endpoints.values(), ...state.guests.values()]) carried.set(identity, (carried.get(identity) ?? 0) + 1);
  return [...book.labelsEverywhere(state)]
    .filter(([id]) => id !== 0)
    .map(([id, labels]) => ({ id, labels: displayLabels(labels), endpoints: carried.get(id) ?? 0 }))
    .toSorted((a, b) => a.id - b.id);
}

export function policyViews(state: State, book: PolicyBook, problems: ReadonlyMap<string, string>): readonly PolicyView[] {
  const policies = book.policies(state);
  const covered = book.coveredBy(state);
  const carriers = book.carriersOf(state);
  const view = (policy: Policy | undefined, rest: Pick<PolicyView, "name" | "source" | "revision">, error: string | null): PolicyView => ({
    ...rest, rules: policy?.rules.length ?? 0, endpoints: covered.get(rest.name) ?? 0, state: error === null ? "enforced" : "rejected", error,
  });
  const standing = [...state.policies.values()].map(({ name, file, source, revision }) =>
    view(policies.find((policy) => policy.name === name), { name, source: `${source} ${file}`, revision }, source === "directory" ? (problems.get(file) ?? null) : null));
  const files = new Set([...state.policies.values()].map(({ file }) => file));
  const never = [...problems].filter(([file]) => /\.ya?ml$/.test(file) && !files.has(file))
    .map(([file, error]) => view(undefined, { name: file.slice(file.lastIndexOf("/") + 1), source: `directory ${file}`, revision: 0 }, error));
  const ofLabels = policies.filter((policy) => policy.scope.kind === "identity")
    .map((policy) => {
      const key = policy.scope.kind === "identity" ? policy.scope.key : "";
      const names = (carriers.get(key) ?? []).join(", ");
      return { ...view(policy, { name: policy.name, source: `labels of ${names}`, revision: 1 }, book.labelProblem(state, key)), name: `labels of ${names}` };
    });
  return [...standing, ...never, ...ofLabels];
}

/** What containers' own labels come to, a rule a line. */
export function labelText(state: State, book: PolicyBook, source: string): string {
  const carriers = book.carriersOf(state);
  const policies = book.policies(state).filter(({ scope }) => scope.kind === "identity" && source === `labels of ${(carriers.get(scope.key) ?? []).join(", ")}`);
  return policies.flatMap(({ defaults, rules }) => [
    ...(["in", "out"] as const).flatMap((end) => (defaults[end] === null ? [] : [`default.${end}: ${defaults[end]}\n`])),
    ...rules.map(({ action, ends, text }) => `${action}${ends === "both" ? "" : `.${ends}`}: ${text}\n`),
  ]).join("");
}

export function policyPart(state: State, book: PolicyBook, problems: ReadonlyMap<string, string>, revision: number): PartStatus {
  const wrong = [...[...problems].map(([file, problem]) => (problem.startsWith(file) ? problem : `${file}: ${problem}`)), ...book.labelProblems(state)];
  if (wrong.length > 0) return { part: "policy", state: "degraded", detail: wrong.join("; ") };
  const policies = book.policies(state);
  const rules = policies.reduce((sum, policy) => sum + policy.rules.length, 0);
  const waiting = [...state.endpoints.values()].filter((endpoint) => endpoint.joined && endpoint.identity === 0).length;
  return {
    part: "policy", state: "ok",
    detail: `${count(policies.length, "policy", "policies")}, ${count(rules, "rule", "rules")}, revision ${revision}${waiting === 0 ? "" : `; ${count(waiting, "endpoint", "endpoints")} not identified yet`}`,
  };
}

/** Of a service's address its backends are judged, as they are when packets come. @throws HawserError NOT_FOUND, BAD_REQUEST */
export function traceView(state: State, book: PolicyBook, host: HostView, from: string, to: string, services: readonly ServiceView[]): TraceView {
  const everybody = [...knownEndpoints(state, book), ...knownElsewhere(state)];
  const own = new Set<string>(host.hostPrefixes.map(addressOf));
  const judge = (target: string): readonly Traced[] => trace(book.policiesEverywhere(state), book.facts([state], host), from, target, everybody);
  const targets = judgedInstead(to, services, (address) => own.has(address));
  const views = (targets.length === 1 && targets[0] === to ? judge(to) : judgedAll(from, to, targets, judge)).map(({ decidedBy, ...rest }): TraceView => {
    const by: DecidedBy | string = decidedBy.kind === "default"
      ? decidedBy.name
      : { policy: decidedBy.rule.policy, rule: decidedBy.rule.text, file: decidedBy.rule.place.file, line: decidedBy.rule.place.line };
    return { ...rest, decidedBy: by, others: [] };
  });
  refuseFree(state, views.flatMap((view) => [view.from, view.to]), host);
  const [first, ...others] = views;
  if (first === undefined) throw new HawserError("NOT_FOUND", `nobody is meant by "${from}" or "${to}"; see hawser endpoint list`);
  return { ...first, others: others.filter(({ verdict }) => verdict !== first.verdict) };
}

/** @throws HawserError NOT_FOUND for an address of a network's that nobody has: nothing would carry a packet there. */
function refuseFree(state: State, ends: readonly TraceEnd[], host: HostView): void {
  const taken = new Set<string>([...host.hostPrefixes.map(addressOf), ...gatewaysOf(state), ...[...state.endpoints.values()].flatMap(addressesOf)]);
  for (const { address, identity } of ends) {
    if (identity !== 0 || address === "" || taken.has(address)) continue;
    const network = [...state.networks.values()].find(({ ipv4, ipv6 }) => [ipv4, ipv6].some((subnet) => subnet !== null && contains(subnet.prefix, address as Ip)));
    if (network !== undefined) throw new HawserError("NOT_FOUND", `${address} lies in network ${nameOfNetwork(network)}, and no container has it; see hawser endpoint list`);
    const node = state.cluster.kind === "etcd" ? sliceOwner(state.cluster, address as Ip) : undefined;
    if (node !== undefined) throw new HawserError("NOT_FOUND", `${address} lies in node ${node.name}'s slice of the pool, and no container has it; see hawser endpoint list --all`);
  }
}

export function knownEndpoints(state: State, book: PolicyBook): readonly KnownEndpoint[] {
  const labels = book.labelsOf(state);
  const known: KnownEndpoint[] = [];
  for (const endpoint of state.endpoints.values()) {
    const network = state.networks.get(endpoint.network);
    if (network === undefined || (endpoint.identity === 0 && !endpoint.joined)) continue;
    // Nobody yet, but not the world either.
    const nobody = { network: nameOfNetwork(network), project: null, service: null, name: null, own: {} };
    const found = endpoint.identity === 0 ? nobody : labels.get(endpoint.identity);
    if (found === undefined) continue;
    known.push({
      id: endpoint.id, containerId: endpoint.container?.id ?? "", name: endpoint.container?.name ?? "", network: nameOfNetwork(network),
      identity: { id: endpoint.identity, labels: found },
      ipv4: endpoint.ipv4 && addressOf(endpoint.ipv4), ipv6: endpoint.ipv6 && addressOf(endpoint.ipv6),
    });
  }
  for (const guest of state.guests.values()) {
    const found = labels.get(guest.identity);
    if (found !== undefined) known.push({ id: guest.id, containerId: guest.containerId, name: guest.name, network: guest.network, identity: { id: guest.identity, labels: found }, ipv4: guest.ipv4, ipv6: guest.ipv6, guest: true });
  }
  return known;
}

/** Containers on other nodes: they are judged as their nodes say who they are. */
function knownElsewhere({ cluster }: State): readonly KnownEndpoint[] {
  return [...cluster.endpoints.values()].map(({ id, containerId, name, network, identity, labels, ipv4, ipv6 }) => ({
    id, containerId, name, network, identity: { id: identity, labels }, ipv4, ipv6,
  }));
}

/** Without containers on other nodes: there may be thousands, and of a flow's two ends each is looked up by itself. */
export function addressBook(state: State, book: PolicyBook, host: HostView, node: string): AddressBook {
  const ends = new Map<string, Omit<FlowEnd, "address" | "port">>();
  const own = { identity: hostIdentity, labels: { reserved: "host" }, name: "", containerId: "", network: "" };
  for (const address of [...host.hostPrefixes.map(addressOf), ...gatewaysOf(state)]) ends.set(address, own);
  for (const { identity, name, containerId, network, ipv4, ipv6 } of knownEndpoints(state, book)) {
    const end = { identity: identity.id, labels: displayLabels(identity.labels), name, containerId, network };
    for (const address of [ipv4, ipv6]) if (address !== null) ends.set(address, end);
  }
  const { nodes, pool } = book.prefixesOf(state);
  for (const prefix of nodes) if (!ends.has(addressOf(prefix))) ends.set(addressOf(prefix), { ...own, identity: nodeIdentity, labels: { reserved: "remote-node" } });
  return { ends, pool, node };
}

function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
