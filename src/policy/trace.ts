// What policy says of a flow that a person describes, without a packet: who is meant, and each different answer.
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import { nearest, slip } from "../std/nearest.ts";
import { addressFrom, addressNamed, parseTarget, questionOf, standInFor } from "./asked.ts";
import type { Candidate } from "./asked.ts";
import { evaluate } from "./evaluate.ts";
import { displayLabels } from "./identity.ts";
import { hasLabels } from "./match.ts";
import type { Decider, Direction, Identity, Policy, PolicyFacts, Protocol, Verdict } from "./types.ts";

/** A container's attachment to one network. `identity.id` 0: its labels are not known yet. */
export interface KnownEndpoint {
  readonly id: string;
  readonly containerId: string;
  readonly name: string;
  readonly network: string;
  readonly identity: Identity;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  /** True: somebody else wired it. */
  readonly guest?: boolean;
}

export interface TracedEnd {
  /** As it was asked for. */
  readonly name: string;
  /** The one that was judged: what stands for `world` is named here. */
  readonly address: string;
  /** 0: no container. */
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
  /** null: no container. */
  readonly endpoint: string | null;
}

export interface Traced {
  readonly verdict: Verdict;
  readonly decidedBy: Decider;
  readonly end: Direction;
  readonly from: TracedEnd;
  readonly to: TracedEnd;
  readonly protocol: Protocol | null;
  readonly port: number | null;
}

/** Of a flow between two that are no containers. */
export class NoContainer extends HawserError {}

/** What is denied first. */
export const severity: Readonly<Record<Verdict, number>> = { deny: 0, audit: 1, allow: 2 };

/**
 * One answer for each pair of identities that the words may mean, what is denied first; never empty. Of a name's endpoints on several
 * networks those count that share a network with the other end, because that is where the other finds them by name.
 * @throws HawserError NOT_FOUND with the nearest name, BAD_REQUEST
 */
export function trace(policies: readonly Policy[], facts: PolicyFacts, from: string, to: string, known: readonly KnownEndpoint[]): readonly Traced[] {
  const target = parseTarget(to);
  const senders = resolve(from.trim(), policies, facts, known);
  const receivers = resolve(target.who, policies, facts, known);
  // Nothing judges such a flow as it stands; through a published port it is the container that is asked for.
  if ([...senders, ...receivers].every(({ id }) => id === null)) {
    throw new NoContainer("BAD_REQUEST", `neither "${from.trim()}" nor "${target.who}" is a container, and policy is for containers' flows; for a published port name the container and its own port, such as web:80`);
  }
  return pairsOf(senders, receivers)
    .map(([sender, receiver]): Traced => {
      const question = questionOf(sender, receiver, target, facts);
      const judgement = evaluate(policies, facts, question);
      const ends = { from: traced(from.trim(), sender, question.from.address), to: traced(target.who, receiver, question.to.address) };
      return { ...judgement, ...ends, protocol: question.protocol, port: question.port };
    })
    .toSorted((a, b) => severity[a.verdict] - severity[b.verdict]);
}

function resolve(who: string, policies: readonly Policy[], facts: PolicyFacts, known: readonly KnownEndpoint[]): readonly Candidate[] {
  if (who === "host" || who === "world" || who === "internet" || who === "lan" || who === "nodes") {
    const one = standInFor(who, policies, facts);
    if (one === undefined) throw new HawserError("NOT_FOUND", `"${who}": no address of that kind is known on this host`);
    return [one];
  }
  const address = addressFrom(who);
  if (address !== null) {
    const owner = known.filter(({ ipv4, ipv6 }) => ipv4 === address || ipv6 === address);
    return owner.length > 0 ? owner.map((one) => candidateAt(one, address)) : [addressNamed(address)];
  }
  if (who === "any" || who === "self" || who.startsWith("@")) {
    throw new HawserError("BAD_REQUEST", `"${who}" stands for many, who may fare differently; name one of them: a container, an address, host, lan, internet or world`);
  }
  const found = endpointsCalled(who, known);
  if (found.length === 0) throw unknown(who, known);
  return found.map(candidate);
}

/** The first meaning that fits anybody, so that a whole name is never taken for the beginning of an id. */
function endpointsCalled(who: string, known: readonly KnownEndpoint[]): readonly KnownEndpoint[] {
  if (who === "") return [];
  const group = /^(label|net)\(([^)]*)\)$/.exec(who);
  if (group) return known.filter((one) => (group[1] === "net" ? one.network === group[2]?.trim() : hasLabels(one.identity.labels, labelsIn(group[2] ?? ""))));
  const meanings: readonly ((one: KnownEndpoint) => boolean)[] = [
    ({ id, containerId }) => id === who || containerId === who,
    ({ network, name }) => name === who || `${network}/${name}` === who,
    ({ network, identity: { labels } }) => labels.service !== null && (labels.service === who || `${network}/${labels.service}` === who),
    ({ id, containerId }) => /^[0-9a-f]{4,}$/.test(who) && (id.startsWith(who) || containerId.startsWith(who)),
  ];
  for (const meaning of meanings) {
    const found = known.filter(meaning);
    if (found.length > 0) return found;
  }
  return [];
}

/** `k=v, k2` */
export function labelsIn(text: string): Readonly<Record<string, string | null>> {
  return Object.fromEntries(text.split(",").map((part) => {
    const [key = "", ...value] = part.trim().split("=");
    return [key, value.length === 0 ? null : value.join("=").replace(/^"(.*)"$/, "$1")];
  }));
}

/** One pair for each two identities; an endpoint is paired with another of its own identity rather than with itself. */
function pairsOf(senders: readonly Candidate[], receivers: readonly Candidate[]): readonly (readonly [Candidate, Candidate])[] {
  const sharing = [...grouped(senders)].flatMap(([, same]) => pairsWith(same, receivers)).filter(([a, b]) => a.labels?.network === b.labels?.network);
  return sharing.length > 0 ? sharing : [...grouped(senders)].flatMap(([, same]) => pairsWith(same, receivers));
}

function pairsWith([sender]: readonly Candidate[], receivers: readonly Candidate[]): readonly (readonly [Candidate, Candidate])[] {
  if (sender === undefined) return [];
  return [...grouped(receivers)].flatMap(([, same]) => {
    const receiver = same.find(({ id }) => id === null || id !== sender.id) ?? same[0];
    return receiver === undefined ? [] : [[sender, receiver] as const];
  });
}

function grouped(candidates: readonly Candidate[]): ReadonlyMap<string, readonly Candidate[]> {
  return Map.groupBy(candidates, ({ identity, labels, id, guest }) => (identity === 0 ? `${id} ${labels?.network}` : `${identity} ${guest}`));
}

function candidate({ id, identity, ipv4, ipv6, guest = false }: KnownEndpoint): Candidate {
  return { labels: identity.labels, identity: identity.id, id, ipv4, ipv6, unidentified: identity.id === 0, guest };
}

/** Asked for by one of its addresses: that family is meant. */
function candidateAt(endpoint: KnownEndpoint, address: Ip): Candidate {
  return { ...candidate(endpoint), ipv4: endpoint.ipv4 === address ? address : null, ipv6: endpoint.ipv6 === address ? address : null };
}

function traced(name: string, { labels, identity, id }: Candidate, address: Ip | null): TracedEnd {
  return { name, address: address ?? "", identity, labels: labels === null ? {} : displayLabels(labels), endpoint: id };
}

function unknown(who: string, known: readonly KnownEndpoint[]): HawserError {
  const names = [...new Set(known.filter(({ name }) => name !== "").flatMap(({ name, network, identity: { labels } }) => [name, `${network}/${name}`, labels.service ?? name]))];
  const near = nearest(who, names, slip);
  const hint = near === undefined ? "`hawser endpoint list` shows what there is" : `did you mean "${near}"?`;
  return new HawserError("NOT_FOUND", `nothing here is called "${who}": no container, service, address or entity; ${hint}`);
}
