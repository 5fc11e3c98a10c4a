// The reference: what policy says about one packet, written as the contract reads. The kernel's tables must agree with it.
import { isEntity, isHost, isPeer, isPort, inScope, mayBeInScope, mayBePeer } from "./match.ts";
import { contains, parseCidr, parseIp } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { Action, Decider, Direction, End, Judgement, PacketQuestion, Policy, PolicyFacts, Rule } from "./types.ts";

export const metadataAddresses: readonly Ip[] = [parseIp("169.254.169.254"), parseIp("fd00:ec2::254")];
/** Multicast and the limited broadcast. */
const groups: readonly Cidr[] = [parseCidr("224.0.0.0/4"), parseCidr("255.255.255.255/32"), parseCidr("ff00::/8")];
/** DHCP, its IPv6 sister, mDNS, LLMNR, HSRP (R49). */
export const localServicePorts: readonly number[] = [67, 68, 546, 547, 1985, 5353, 5355];

/** One end's answer; null: no rule speaks of the flow. */
type Answer = { readonly verdict: Action; readonly decidedBy: Decider } | null;

interface Asked {
  readonly policies: readonly Policy[];
  readonly facts: PolicyFacts;
  readonly question: PacketQuestion;
}

interface World extends Asked {
  readonly answers: Readonly<Record<Direction, Answer>>;
}

/** A flow's first packet: its source before any translation, its destination behind a published port. Replies are never asked about. */
export function evaluate(policies: readonly Policy[], facts: PolicyFacts, question: PacketQuestion): Judgement {
  const asked: Asked = { policies, facts, question };
  const world: World = { ...asked, answers: { out: answerAt(asked, "out"), in: answerAt(asked, "in") } };
  return internalNetwork(world)
    ?? notIdentified(world)
    ?? deniedByRule(world)
    ?? deniedByDefault(world, "out")
    ?? deniedByDefault(world, "in")
    ?? closedGroup(world)
    ?? betweenNetworks(world)
    ?? withoutIcc(world)
    ?? closedPublishedPort(world)
    ?? audited(world)
    ?? allowedByRule(world)
    ?? allowedByDefault(world);
}

/** A wall that no rule opens: containers of an internal network speak with one another and with the host. */
function internalNetwork({ facts, question }: World): Judgement | null {
  const walled = ({ identity, guest }: End, other: End): boolean => identity !== null && guest !== true
    && facts.networks.get(identity.network)?.internal === true && !isHost(other, facts)
    && (other.guest === true || other.identity?.network !== identity.network);
  if (walled(question.from, question.to)) return denied("internal", "out");
  return walled(question.to, question.from) ? denied("internal", "in") : null;
}

/** What a container that nobody knows yet opens, or is opened to, waits until it is known. */
function notIdentified({ facts, question }: World): Judgement | null {
  if (facts.untilIdentified === "allow") return null;
  if (question.from.unidentified === true) return denied("not-identified", "out");
  return question.to.unidentified === true ? denied("not-identified", "in") : null;
}

/** Deny always wins, at either end. */
function deniedByRule(world: World): Judgement | null {
  return answeredWith(world, "deny");
}

/**
 * Reported as if enforced, never dropped: a sentence of a policy speaks for both ends, so that no default is asked. One in a
 * container's own label keeps only that container's default from being asked, or else it would open others.
 */
function audited(world: World): Judgement | null {
  return answeredWith(world, "audit");
}

function allowedByRule(world: World): Judgement | null {
  return answeredWith(world, "allow");
}

/** What no rule of an end speaks of is for that end's default. */
function deniedByDefault(world: World, end: Direction): Judgement | null {
  if (hasRule(world, end)) return null;
  const policy = covering(world, end, mayBeInScope).find(({ defaults }) => defaults[end] === "deny");
  return policy === undefined ? null : denied(`default:${end}`, end, policy);
}

/** What goes to a group is dropped unless a rule speaks of the group (R49). */
function closedGroup(world: World): Judgement | null {
  const { from, to } = world.question;
  if (from.identity === null || to.address === null || !groups.some((group) => contains(group, to.address as Ip)) || hasRule(world, "out")) return null;
  return denied("default:multicast", "out");
}

/** Containers of different networks meet when a rule says so, at both ends, or by a published port, as anybody may. */
function betweenNetworks(world: World): Judgement | null {
  const { from, to, published } = world.question;
  if (published || world.facts.betweenNetworks === "allow" || !areOurs(from, to) || from.identity?.network === to.identity?.network) return null;
  const closed = endWithoutRule(world);
  return closed === null ? null : denied("between-networks", closed);
}

/** With `icc` off the containers of a network are strangers to one another, but not to themselves. */
function withoutIcc(world: World): Judgement | null {
  const { from, to, published } = world.question;
  if (published || !areOurs(from, to) || from.identity?.network !== to.identity?.network || isSame(from, to)) return null;
  if (world.facts.networks.get(from.identity?.network ?? "")?.icc !== false) return null;
  const closed = endWithoutRule(world);
  return closed === null ? null : denied("default:icc", closed);
}

/** A client from outside, at the port of a container that no policy is for. */
function closedPublishedPort(world: World): Judgement | null {
  const { from, published } = world.question;
  if (!published || from.identity !== null || world.facts.published === "allow" || hasRule(world, "in")) return null;
  return covering(world, "in").length > 0 ? null : denied("default:published", "in");
}

/** Names the default that lets it pass: a policy's, or Docker's way. */
function allowedByDefault(world: World): Judgement {
  const end: Direction = endOf(world, "in").identity === null && endOf(world, "out").identity !== null ? "out" : "in";
  const policy = covering(world, end).find(({ defaults }) => defaults[end] === "allow");
  return { verdict: "allow", decidedBy: defaultOf(`default:${end}`, policy), end };
}

// ---- One end.

/** Out first, then in. */
function answeredWith(world: World, verdict: Action): Judgement | null {
  for (const end of ["out", "in"] as const) {
    const answer = world.answers[end];
    if (answer?.verdict === verdict) return { ...answer, end };
  }
  return null;
}

/** deny before audit before allow before built-in rules; among equals the one written first is named. */
function answerAt(asked: Asked, end: Direction): Answer {
  if (endOf(asked, end).identity === null) return null;
  const rules = rulesThatSpeak(asked, end);
  for (const verdict of ["deny", "audit", "allow"] as const) {
    const rule = rules.find(({ action }) => action === verdict);
    if (rule !== undefined) return { verdict, decidedBy: { kind: "rule", rule } };
  }
  return end === "out" ? builtinAnswer(asked) : null;
}

function rulesThatSpeak(asked: Asked, end: Direction): readonly Rule[] {
  return asked.policies.flatMap((policy) => policy.rules.filter((rule) => speaks(rule, policy, asked, end)));
}

/** A sentence speaks for both ends; a container's own label for that container's end alone. */
function speaks(rule: Rule, { scope }: Policy, { facts, question }: Asked, end: Direction): boolean {
  if (rule.ends !== "both" && rule.ends !== end) return false;
  const means = rule.action === "deny" ? mayBePeer : isPeer;
  return isPort(rule.ports, question.protocol, question.port)
    && rule.from.some((peer) => means(peer, scope, question.from, facts))
    && rule.to.some((peer) => means(peer, scope, question.to, facts));
}

/** Refused unless a rule allows it (R49, R52). */
function builtinAnswer({ facts, question: { to, protocol, port } }: Asked): Answer {
  const refused = (name: string): Answer => ({ verdict: "deny", decidedBy: defaultOf(name) });
  if (to.identity === null && to.address !== null && metadataAddresses.includes(to.address)) return refused("default:metadata");
  if (isEntity("host", { kind: "all" }, to, facts) && protocol === "tcp" && port !== null && facts.hostServices.includes(port)) return refused("default:host-services");
  if (to.identity !== null && protocol === "udp" && port !== null && localServicePorts.includes(port)) return refused("default:local-services");
  return null;
}

function hasRule(world: World, end: Direction): boolean {
  return world.answers[end] !== null;
}

function endWithoutRule(world: World): Direction | null {
  if (!hasRule(world, "out")) return "out";
  return hasRule(world, "in") ? null : "in";
}

function endOf({ question }: Asked, end: Direction): End {
  return end === "out" ? question.from : question.to;
}

/** The policies that are for the container at that end. */
function covering(world: World, end: Direction, isFor = inScope): readonly Policy[] {
  const { identity, unidentified } = endOf(world, end);
  return identity === null || unidentified === true ? [] : world.policies.filter(({ scope }) => isFor(scope, identity));
}

/** Containers that we carry for; what others wired keeps its own networks. */
function areOurs(from: End, to: End): boolean {
  return from.identity !== null && to.identity !== null && from.guest !== true && to.guest !== true;
}

function isSame(from: End, to: End): boolean {
  return from.address !== null && from.address === to.address;
}

function denied(name: string, end: Direction, policy?: Policy): Judgement {
  return { verdict: "deny", decidedBy: defaultOf(name, policy), end };
}

function defaultOf(name: string, policy?: Policy): Decider {
  return { kind: "default", name, policy: policy?.name ?? null, place: policy?.place ?? null };
}
