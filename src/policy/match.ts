// Whom a rule's words mean, read off one end of a flow at a time: scopes, peers, entities, ports. No tables, no haste.
import { contains, parseCidr } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { unreachable } from "../std/errors.ts";
import { identityKey } from "./identity.ts";
import type { AddressRange, End, Entity, IdentityLabels, Peer, PolicyFacts, PortRange, Protocol, Scope } from "./types.ts";

/** Private and special ranges: of the world, but not of the internet (RFC 6890 and its registry). */
export const specialRanges: readonly Cidr[] = [
  "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
  "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
  "::/128", "::1/128", "64:ff9b:1::/48", "2001:db8::/32", "fc00::/7", "fe80::/10", "ff00::/8",
].map((range) => parseCidr(range));

export function inScope(scope: Scope, labels: IdentityLabels): boolean {
  switch (scope.kind) {
    case "all": return true;
    case "network": return labels.network === scope.name;
    case "project": return labels.project === scope.name;
    case "label": return hasLabel(labels, scope.key, scope.value);
    case "identity": return identityKey(labels) === scope.key;
    default: return unreachable(scope);
  }
}

/** `scope`: of the policy that the peer is written in. Of a container whose labels are not known speaks only what is said of all. */
export function isPeer(peer: Peer, scope: Scope, end: End, facts: PolicyFacts): boolean {
  if (end.unidentified === true) return peer.kind === "entity" && (peer.entity === "any" || (peer.entity === "self" && scope.kind === "all"));
  switch (peer.kind) {
    case "entity": return isEntity(peer.entity, scope, end, facts);
    case "name": return end.identity !== null && isName(peer.name, peer.network, scope, end.identity);
    case "labels": return end.identity !== null && hasLabels(end.identity, peer.labels);
    case "network": return end.identity !== null && end.identity.network === peer.name;
    case "addresses": return isAddress(end) && (facts.poolByAddress || isHost(end, facts) || !inAnyOf(facts.pool, end)) && peer.ranges.some((range) => inRange(range, end.address));
    default: return unreachable(peer);
  }
}

/** For what closes: a label that may be the container's own is taken for one (R88). */
export function mayBeInScope(scope: Scope, labels: IdentityLabels): boolean {
  return inScope(scope, labels) || (labels.doubtful !== undefined && inScope(scope, labels.doubtful));
}

export function mayBePeer(peer: Peer, scope: Scope, end: End, facts: PolicyFacts): boolean {
  const doubtful = end.identity?.doubtful;
  return isPeer(peer, scope, end, facts) || (doubtful !== undefined && isPeer(peer, scope, { ...end, identity: doubtful }, facts));
}

export function isEntity(entity: Entity, scope: Scope, end: End, facts: PolicyFacts): boolean {
  switch (entity) {
    case "any": return true;
    case "self": return end.identity !== null && inScope(scope, end.identity);
    case "host": return isHost(end, facts);
    case "nodes": return isNode(end, facts);
    case "lan": return isWorld(end, facts) && inAnyOf(facts.lan, end);
    case "world": return isWorld(end, facts);
    case "internet": return isWorld(end, facts) && !inAnyOf(specialRanges, end);
    default: return unreachable(entity);
  }
}

export function isContainer(end: End): boolean {
  return end.identity !== null;
}

export function isHost(end: End, facts: PolicyFacts): boolean {
  return isAddress(end) && facts.host.includes(end.address);
}

/** Empty `ports`: every port of every protocol. A question without a port is answered by such rules alone. */
export function isPort(ports: readonly PortRange[], protocol: Protocol | null, port: number | null): boolean {
  if (ports.length === 0) return true;
  return ports.some((range) => range.protocol === protocol && port !== null && range.first <= port && port <= range.last);
}

/** A label's key may also be one of the identity's own fields. */
export function hasLabels(labels: IdentityLabels, wanted: Readonly<Record<string, string | null>>): boolean {
  return Object.entries(wanted).every(([key, value]) => hasLabel(labels, key, value));
}

function isNode(end: End, facts: PolicyFacts): boolean {
  return !isHost(end, facts) && inAnyOf(facts.nodes, end);
}

function isWorld(end: End, facts: PolicyFacts): boolean {
  return isAddress(end) && !isHost(end, facts) && !isNode(end, facts) && !inAnyOf(facts.pool, end);
}

/** What has an identity is a container and is never meant by its address. */
function isAddress(end: End): end is End & { readonly identity: null; readonly address: Ip } {
  return end.identity === null && end.address !== null;
}

function inAnyOf(prefixes: readonly Cidr[], end: End): boolean {
  return isAddress(end) && prefixes.some((prefix) => contains(prefix, end.address));
}

function inRange({ include, except }: AddressRange, address: Ip): boolean {
  return contains(include, address) && !except.some((prefix) => contains(prefix, address));
}

function isName(name: string, network: string | null, scope: Scope, labels: IdentityLabels): boolean {
  if (labels.service !== name && labels.name !== name) return false;
  if (network !== null) return labels.network === network;
  if (scope.kind === "network") return labels.network === scope.name;
  if (scope.kind === "project") return labels.project === scope.name;
  return true;
}

function hasLabel(labels: IdentityLabels, key: string, value: string | null): boolean {
  const found = labelOf(labels, key);
  return found !== null && (value === null || found === value);
}

function labelOf(labels: IdentityLabels, key: string): string | null {
  switch (key) {
    case "network": return labels.network;
    case "project": return labels.project;
    case "service": return labels.service;
    case "name": return labels.name;
    default: return Object.hasOwn(labels.own, key) ? (labels.own[key] ?? null) : null;
  }
}
