// Runs the `tests:` of policies: by names and labels, whether or not such a container runs (R64).
import { messageOf } from "../std/errors.ts";
import { contains, firstOf, familyOf, formatIp, lastOf, parseCidr, parseIp } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import { HawserError } from "../std/errors.ts";
import { addressFrom, addressNamed, containerNamed, parseTarget, questionOf, standInFor } from "./asked.ts";
import type { Candidate } from "./asked.ts";
import { evaluate } from "./evaluate.ts";
import { displayLabels } from "./identity.ts";
import { isPeer } from "./match.ts";
import { labelsIn } from "./trace.ts";
import type { AddressRange, Decider, IdentityLabels, Judgement, Peer, Policy, PolicyFacts, PolicyTest, Verdict } from "./types.ts";

export interface TestResult {
  readonly policy: string;
  readonly test: PolicyTest;
  readonly ok: boolean;
  /** The first that is not as expected, or else the first; null: the test could not be understood. */
  readonly got: Judgement | null;
  /** What was expected, what came and which rule decided; empty when all is well. */
  readonly message: string;
}

/** On a network that no container can be on. */
const stranger: Candidate = containerNamed({ network: "?", project: null, service: null, name: null, own: {} });
const said: Readonly<Record<Verdict, string>> = { allow: "allowed", deny: "denied", audit: "audited" };

/**
 * A bare name in a policy for a network or a project stands for a container of that name there, and for every running one as it really
 * is: all must be as expected. In a policy for a label it stands for the running ones; when there is none, for one with that label.
 */
export function runTests(policies: readonly Policy[], facts: PolicyFacts): readonly TestResult[] {
  const complete = withStandIns(facts);
  return policies.flatMap((policy) => policy.tests.map((test) => runTest(policy, test, policies, complete)));
}

function runTest(policy: Policy, test: PolicyTest, policies: readonly Policy[], facts: PolicyFacts): TestResult {
  try {
    const target = parseTarget(test.to);
    const [senders, receivers] = bothEnds(test.from.trim(), target.who, policy, policies, facts);
    const results = senders.flatMap((from) => receivers.map((to) => ({ from, to, got: evaluate(policies, facts, questionOf(from, to, target, facts)) })));
    const wrong = results.find(({ got }) => got.verdict !== test.expect);
    if (wrong === undefined) return { policy: policy.name, test, ok: true, got: results[0]?.got ?? null, message: "" };
    const whom = results.length === 1 ? "" : ` for ${described(wrong.from)} -> ${described(wrong.to)}`;
    const came = `is expected to be ${said[test.expect]}, but is ${said[wrong.got.verdict]}${whom} by ${deciderText(wrong.got.decidedBy)}`;
    return { policy: policy.name, test, ok: false, got: wrong.got, message: `${sentence(policy, test)} ${came}` };
  } catch (error) {
    return { policy: policy.name, test, ok: false, got: null, message: `${sentence(policy, test)} cannot be judged: ${messageOf(error)}` };
  }
}

function sentence(policy: Policy, { place, from, to }: PolicyTest): string {
  return `${place.file}:${place.line}:${place.column}: test of "${policy.name}": "${from} -> ${to}"`;
}

/** The rule with its place, or the default and whose it is. */
export function deciderText(decider: Decider): string {
  if (decider.kind === "rule") {
    const { place, text, policy, action } = decider.rule;
    return `"${text}" (${action}, ${policy}, ${place.file}:${place.line})`;
  }
  const { name, policy, place } = decider;
  if (policy !== null) return `${name} of "${policy}"${place === null ? "" : ` (${place.file}:${place.line})`}`;
  return `${name}: no rule speaks of it`;
}

// ---- Who is meant.

function bothEnds(from: string, to: string, policy: Policy, policies: readonly Policy[], facts: PolicyFacts): readonly [readonly Candidate[], readonly Candidate[]] {
  // Where a policy says nothing of networks, a bare name is on the network that the other end names.
  const elsewhere = networkIn(from) ?? networkIn(to) ?? "";
  const meant = (who: string): readonly Candidate[] => {
    const found = whoIs(who, elsewhere, policy, policies, facts);
    if (found.length === 0) throw new HawserError("NOT_FOUND", `"${who}" stands for nobody`);
    return found;
  };
  return [meant(from), meant(to)];
}

function whoIs(who: string, elsewhere: string, policy: Policy, policies: readonly Policy[], facts: PolicyFacts): readonly Candidate[] {
  const inside = hypothetical(policy, elsewhere);
  switch (who) {
    case "self": return [containerNamed(inside), ...running(facts, { kind: "entity", entity: "self", place: policy.place }, policy)];
    case "any": return [containerNamed(inside), stranger, ...standIn("host", policies, facts), ...standIn("world", policies, facts)];
    case "host": case "world": case "internet": case "lan": case "nodes": return standIn(who, policies, facts);
    default:
  }
  const address = addressFrom(who);
  if (address !== null) return [addressNamed(address)];
  if (who.startsWith("@")) return addressesOfSet(who.slice(1), policy);
  const group = /^(label|net)\(([^)]*)\)$/.exec(who);
  if (group?.[1] === "net") return ofNetwork(group[2]?.trim() ?? "", policy, facts);
  if (group) return withLabels(labelsIn(group[2] ?? ""), inside, policy, facts);
  const named = /^(?:([\w][\w.-]*)\/)?([\w][\w.-]*)$/.exec(who);
  if (!named?.[2]) throw new HawserError("BAD_REQUEST", `"${who}" is no name, NETWORK/NAME, label(…), net(…), @SET, address or entity`);
  return withName(named[1] ?? null, named[2], inside, policy, facts);
}

function withName(network: string | null, name: string, inside: IdentityLabels, policy: Policy, facts: PolicyFacts): readonly Candidate[] {
  const real = running(facts, { kind: "name", network, name, place: policy.place }, policy);
  if (policy.scope.kind === "label" && network === null && real.length > 0) return real;
  const labels = network === null ? inside : { ...inside, network, project: null, own: {} };
  return [containerNamed({ ...labels, service: name, name }), ...real];
}

function withLabels(wanted: Readonly<Record<string, string | null>>, inside: IdentityLabels, policy: Policy, facts: PolicyFacts): readonly Candidate[] {
  const { network = inside.network, project = inside.project, service = null, name = null, ...own } = wanted;
  const values = Object.fromEntries(Object.entries(own).map(([key, value]) => [key, value ?? ""]));
  const labels: IdentityLabels = { network: network ?? inside.network, project, service, name, own: { ...inside.own, ...values } };
  return [containerNamed(labels), ...running(facts, { kind: "labels", labels: wanted, place: policy.place }, policy)];
}

function ofNetwork(network: string, policy: Policy, facts: PolicyFacts): readonly Candidate[] {
  const one = containerNamed({ network, project: null, service: null, name: null, own: {} });
  return [one, ...running(facts, { kind: "network", name: network, place: policy.place }, policy)];
}

/** A container that the policy is for, and of which nothing else is known. */
function hypothetical({ scope }: Policy, elsewhere: string): IdentityLabels {
  const nobody: IdentityLabels = { network: elsewhere, project: null, service: null, name: null, own: {} };
  switch (scope.kind) {
    case "network": return { ...nobody, network: scope.name };
    // As Compose calls a project's network.
    case "project": return { ...nobody, network: `${scope.name}_default`, project: scope.name };
    case "label": return withScopeLabel(nobody, scope.key, scope.value ?? "");
    default: return nobody;
  }
}

function withScopeLabel(labels: IdentityLabels, key: string, value: string): IdentityLabels {
  const isField = key === "network" || key === "project" || key === "service" || key === "name";
  return isField ? { ...labels, [key]: value } : { ...labels, own: { [key]: value } };
}

function running(facts: PolicyFacts, peer: Peer, { scope }: Policy): readonly Candidate[] {
  return facts.identities
    .filter(({ labels }) => isPeer(peer, scope, { identity: labels, address: null }, facts))
    .map(({ id, labels }) => ({ ...containerNamed(labels), identity: id }));
}

function standIn(entity: "host" | "world" | "internet" | "lan" | "nodes", policies: readonly Policy[], facts: PolicyFacts): readonly Candidate[] {
  const one = standInFor(entity, policies, facts);
  return one === undefined ? [] : [one];
}

function addressesOfSet(set: string, { rules }: Policy): readonly Candidate[] {
  const peer = rules.flatMap(({ from, to }) => [...from, ...to]).find((peer) => peer.kind === "addresses" && peer.set === set);
  if (peer?.kind !== "addresses") throw new HawserError("NOT_FOUND", `no rule of the policy uses a set "@${set}"`);
  return peer.ranges.flatMap((range) => {
    const address = someAddressIn(range);
    return address === undefined ? [] : [addressNamed(address)];
  });
}

/** The lowest address that is not excepted. */
function someAddressIn({ include, except }: AddressRange): Ip | undefined {
  let at = firstOf(include);
  while (at <= lastOf(include)) {
    const address = formatIp(at, familyOf(include));
    const outside = except.find((prefix) => contains(prefix, address));
    if (outside === undefined) return address;
    at = lastOf(outside) + 1n;
  }
  return undefined;
}

function networkIn(who: string): string | undefined {
  return /^([\w][\w.-]*)\/[\w]/.exec(who)?.[1] ?? /^net\(([^)]*)\)$/.exec(who)?.[1]?.trim();
}

/** A check on a host without an agent knows no addresses; those that stand for them are no one's (RFC 2544). */
function withStandIns(facts: PolicyFacts): PolicyFacts {
  return {
    ...facts,
    host: facts.host.length > 0 ? facts.host : [parseIp("198.18.0.1")],
    nodes: facts.nodes.length > 0 ? facts.nodes : [parseCidr("198.18.0.2/32")],
    lan: facts.lan.length > 0 ? facts.lan : [parseCidr("198.18.0.4/30")],
  };
}

function described({ labels, identity, ipv4, ipv6 }: Candidate): string {
  if (labels === null) return ipv4 ?? ipv6 ?? "an address";
  const words = Object.entries(displayLabels(labels)).map(([key, value]) => `${key}=${value}`).join(",");
  return `${identity === 0 ? "" : "the running "}{${words}}`;
}
