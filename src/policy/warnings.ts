// What is probably not meant as it is written: names that nothing carries, addresses that are containers', rules that change nothing.
import { overlaps } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { nearest, slip } from "../std/nearest.ts";
import { isPeer, mayBeInScope } from "./match.ts";
import type { Identity, Peer, Place, Policy, PolicyFacts, Rule } from "./types.ts";

export interface Finding {
  readonly severity: "warning" | "error";
  readonly place: Place;
  /** `shop.yaml:7:5: …` */
  readonly message: string;
}

export interface WarningOptions {
  /** Names that nothing carries are errors. */
  readonly strict: boolean;
  /** The networks' own subnets, by network. */
  readonly subnets?: ReadonlyMap<string, readonly Cidr[]>;
  /** Names of containers to suggest: an identity has its name only when a rule refers to it. */
  readonly names?: readonly string[];
}

type Found = Omit<Finding, "message"> & { readonly says: string };

/** In the order in which the policies are written; each thing is said once. */
export function warningsOf(policies: readonly Policy[], facts: PolicyFacts, options: WarningOptions): readonly Finding[] {
  const found = policies.flatMap((policy) => [...coversNobody(policy, facts, options), ...policy.rules.flatMap((rule) => findingsIn(rule, policy, facts, options)), ...contradictions(policy)]);
  const messages = new Map(found.map((one) => [`${one.place.file}:${one.place.line}:${one.place.column}: ${one.says}`, one]));
  return [...messages].map(([message, { severity, place }]) => ({ severity, place, message }));
}

function findingsIn(rule: Rule, policy: Policy, facts: PolicyFacts, options: WarningOptions): readonly Found[] {
  return [...rule.from, ...rule.to].flatMap((peer) => {
    switch (peer.kind) {
      case "name": return nameOfNobody(peer, policy, facts, options);
      case "network": return networkOfNobody(peer.name, peer.place, facts, options);
      case "labels": return labelsOfNobody(peer, policy, facts);
      case "addresses": return containersAddresses(peer, options);
      default: return [];
    }
  });
}

function nameOfNobody(peer: Peer & { readonly kind: "name" }, policy: Policy, facts: PolicyFacts, options: WarningOptions): readonly Found[] {
  const { name, network, place } = peer;
  const { closedNames } = policy;
  if (network === null && closedNames !== null) {
    return closedNames.includes(name) ? [] : [{ severity: "error", place, says: `no service of the file is called "${name}"${suggestion(name, closedNames)}` }];
  }
  if (matchesSomebody(peer, policy, facts)) return [];
  if (network !== null && !knowsNetwork(network, facts)) return networkOfNobody(network, place, facts, options);
  const there = facts.identities.filter(({ labels }) => isNear(labels, network, policy));
  const near = suggestion(name, [...there.flatMap(({ labels }) => [labels.service, labels.name]), ...(options.names ?? [])].filter((known) => known !== null && known !== name) as string[]);
  const where = network === null ? ofScope(policy) : ` on network "${network}"`;
  return [{ severity: options.strict ? "error" : "warning", place, says: `nothing is called "${name}"${where}${near === "" ? "; until something is, the name matches nothing" : near}` }];
}

function isNear(labels: Identity["labels"], network: string | null, { scope }: Policy): boolean {
  if (network !== null) return labels.network === network;
  if (scope.kind === "network") return labels.network === scope.name;
  return scope.kind === "project" ? labels.project === scope.name : true;
}

function networkOfNobody(name: string, place: Place, facts: PolicyFacts, { strict }: WarningOptions): readonly Found[] {
  if (knowsNetwork(name, facts)) return [];
  const near = suggestion(name, [...facts.networks.keys()]);
  return [{ severity: strict ? "error" : "warning", place, says: `no network is called "${name}"${near === "" ? "; until one is, it matches nothing" : near}` }];
}

/** A label's value may come with the next container; a key that nobody has is more likely mistyped. */
function labelsOfNobody(peer: Peer & { readonly kind: "labels" }, policy: Policy, facts: PolicyFacts): readonly Found[] {
  if (facts.identities.length === 0 || matchesSomebody(peer, policy, facts)) return [];
  const known = [...new Set(facts.identities.flatMap(({ labels }) => Object.keys(labels.own)))];
  const strange = Object.keys(peer.labels).filter((key) => !known.includes(key) && !["network", "project", "service", "name"].includes(key));
  return strange.map((key) => ({ severity: "warning", place: peer.place, says: `no container has a label "${key}"${suggestion(key, known) || "; labels of an image do not count"}` }));
}

function containersAddresses({ ranges, place }: Peer & { readonly kind: "addresses" }, { subnets = new Map() }: WarningOptions): readonly Found[] {
  // Nobody who writes a prefix as wide as these means containers by it.
  const meant = ranges.map(({ include }) => include).filter((prefix) => !widest.has(prefix));
  return [...subnets].flatMap(([network, prefixes]: readonly [string, readonly Cidr[]]) => {
    const prefix = meant.find((one) => prefixes.some((own) => overlaps(one, own)));
    if (prefix === undefined) return [];
    return [{ severity: "warning", place, says: `${prefix} overlaps network "${network}", but addresses never mean containers; write net(${network}) for them` } as const];
  });
}

const widest: ReadonlySet<string> = new Set(["0.0.0.0/0", "::/0", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]);

function coversNobody({ scope, place, closedNames }: Policy, facts: PolicyFacts, { strict }: WarningOptions): readonly Found[] {
  // A Compose file lists its services itself, and is best applied before they are there.
  const severity = strict && closedNames === null ? "error" : "warning";
  if (scope.kind === "network" && !knowsNetwork(scope.name, facts)) {
    return [{ severity, place, says: `the policy is for network "${scope.name}", which does not exist yet${suggestion(scope.name, [...facts.networks.keys()])}` }];
  }
  if (scope.kind !== "project" && scope.kind !== "label") return [];
  if (facts.identities.length === 0 || facts.identities.some(({ labels }) => mayBeInScope(scope, labels))) return [];
  const known = scope.kind === "project" ? facts.identities.flatMap(({ labels }) => labels.project ?? []) : facts.identities.flatMap(({ labels }) => Object.keys(labels.own));
  const [what, word] = scope.kind === "project" ? [`project "${scope.name}"`, scope.name] : [`label "${scope.key}${scope.value === null ? "" : `=${scope.value}`}"`, scope.key];
  return [{ severity, place, says: `the policy is for ${what}, which no container has yet${suggestion(word, known.filter((one) => one !== word))}` }];
}

/** The same words under two actions: only the stronger one counts. */
function contradictions({ rules }: Policy): readonly Found[] {
  const strength = { deny: 2, audit: 1, allow: 0 } as const;
  const strongest = Map.groupBy(rules, ({ text, ends }) => `${ends} ${text.replace(/\s+/g, " ")}`);
  return [...strongest.values()].flatMap((same) => {
    const [winner] = same.toSorted((a, b) => strength[b.action] - strength[a.action]);
    if (winner === undefined) return [];
    return same.filter(({ action }) => strength[action] < strength[winner.action]).map(({ action, place, text }) => ({
      severity: "warning" as const, place, says: `${action} "${text}" has no effect: ${winner.action} says the same in line ${winner.place.line}, and ${winner.action} wins`,
    }));
  });
}

function matchesSomebody(peer: Peer, { scope }: Policy, facts: PolicyFacts): boolean {
  return facts.identities.some(({ labels }) => isPeer(peer, scope, { identity: labels, address: null }, facts));
}

function knowsNetwork(name: string, facts: PolicyFacts): boolean {
  return facts.networks.has(name) || facts.identities.some(({ labels }) => labels.network === name);
}

function ofScope({ scope }: Policy): string {
  if (scope.kind === "network") return ` on network "${scope.name}"`;
  return scope.kind === "project" ? ` in project "${scope.name}"` : "";
}

function suggestion(word: string, known: readonly string[]): string {
  const near = nearest(word, known, slip);
  return near === undefined ? "" : `; did you mean "${near}"?`;
}
