// Random policies: every kind of peer, scope, port and default, over words and addresses few enough that they often meet.
import { identityKey } from "../../src/policy/identity.ts";
import type { Action, AddressRange, Direction, Entity, IdentityLabels, Peer, Place, Policy, PortRange, Rule, Scope } from "../../src/policy/types.ts";
import { contains, parseCidr } from "../../src/std/ip.ts";
import type { Cidr } from "../../src/std/ip.ts";
import { networkNames } from "./policy-place.ts";
import type { Random } from "./policy-place.ts";

export const projects = ["shop", "lab"];
export const services = ["web", "api", "db"];
export const labels: Readonly<Record<string, readonly string[]>> = { tier: ["front", "back"], zone: ["1", "2"] };

/** Nested, so that except has something to leave out and deny something to cut out. */
export const prefixes: readonly Cidr[] = [
  "0.0.0.0/0", "9.0.0.0/8", "9.9.0.0/16", "9.9.9.0/24", "9.9.9.128/25", "9.9.9.129/32", "10.0.0.0/8", "10.9.0.0/16", "10.9.1.0/24", "10.44.0.0/16", "10.44.1.2/32",
  "100.64.0.0/10", "172.16.0.0/12", "192.0.2.0/24", "192.0.2.1/32", "192.0.2.8/29", "192.168.0.0/16", "169.254.0.0/16", "169.254.169.254/32", "128.0.0.0/1",
  "::/0", "2000::/3", "2a00::/16", "2a00:1::/32", "2a00:1:2::/48", "2a00:1:2::7/128", "2001:db8::/32", "2001:db8::/64", "2001:db8::1/128", "fc00::/7",
  "fd00:ec2::254/128", "fd44::/16", "64:ff9b:1::/48",
].map((text) => parseCidr(text));

const entities: readonly Entity[] = ["any", "any", "any", "self", "host", "nodes", "lan", "world", "world", "internet"];
const place: Place = { file: "random", line: 1, column: 1 };

export function randomPolicies(random: Random, containers: readonly IdentityLabels[]): readonly Policy[] {
  const written = random.list(1, 3, () => 0).map((_, i) => randomPolicy(random, `p${i}`, randomScope(random)));
  const readings = containers.flatMap((labels) => (labels.doubtful === undefined ? [labels] : [labels, labels.doubtful]));
  const own = readings.filter(() => random.chance(0.15)).map((labels, i) => ownPolicy(random, `own${i}`, { kind: "identity", key: identityKey(labels) }));
  return [...written, ...own];
}

/** Of some containers nobody can tell whether some of their labels, or all, are their own. */
export function withDoubts(random: Random, all: IdentityLabels): IdentityLabels {
  if (random.chance(0.6)) return all;
  const own = random.chance(0.5) ? {} : Object.fromEntries(Object.entries(all.own).filter(() => random.chance(0.5)));
  const sure: IdentityLabels = { ...all, project: random.chance(0.7) ? null : all.project, service: random.chance(0.7) ? null : all.service, own };
  return identityKey(all) === identityKey(sure) ? all : { ...sure, doubtful: all };
}

function randomPolicy(random: Random, name: string, scope: Scope): Policy {
  const rules = random.list(0, 7, () => randomRule(random, name, randomPeers(random), randomPeers(random), "both"));
  return { name, place, scope, defaults: { in: randomDefault(random), out: randomDefault(random) }, rules, tests: [], closedNames: null };
}

/** As of a container's labels: its own end alone. */
function ownPolicy(random: Random, name: string, scope: Scope): Policy {
  const itself: readonly Peer[] = [{ kind: "entity", entity: "self", place }];
  const rules = random.list(0, 3, () => {
    const [end, peers] = [random.pick<Direction>(["in", "out"]), randomPeers(random)];
    return end === "in" ? randomRule(random, name, peers, itself, end) : randomRule(random, name, itself, peers, end);
  });
  return { name, place, scope, defaults: { in: randomDefault(random), out: randomDefault(random) }, rules, tests: [], closedNames: null };
}

function randomDefault(random: Random): "allow" | "deny" | null {
  return random.pick(["allow", "deny", "deny", null, null, null]);
}

function randomScope(random: Random): Scope {
  switch (random.number(5)) {
    case 0: return { kind: "all" };
    case 1: return { kind: "project", name: random.pick(projects) };
    case 2: return { kind: "label", ...randomLabel(random) };
    default: return { kind: "network", name: random.pick(networkNames) };
  }
}

function randomRule(random: Random, policy: string, from: readonly Peer[], to: readonly Peer[], ends: Rule["ends"]): Rule {
  const action = random.pick<Action>(["allow", "allow", "allow", "deny", "deny", "audit"]);
  const ports = random.chance(0.4) ? [] : random.list(1, 3, () => randomPorts(random));
  return { policy, action, place, text: `${from.map(peerText).join(", ")} -> ${to.map(peerText).join(", ")}${portsText(ports)}`, from, to, ports, ends };
}

function randomPeers(random: Random): readonly Peer[] {
  return random.list(1, 2, () => randomPeer(random));
}

function randomPeer(random: Random): Peer {
  switch (random.number(9)) {
    case 0: case 1: return { kind: "name", network: random.chance(0.3) ? random.pick(networkNames) : null, name: random.pick([...services, "c1", "c2"]), place };
    case 2: return { kind: "labels", labels: randomLabels(random), place };
    case 3: return { kind: "network", name: random.pick(networkNames), place };
    case 4: case 5: return { kind: "addresses", ranges: random.list(1, 3, () => randomRange(random)), set: null, place };
    default: return { kind: "entity", entity: random.pick(entities), place };
  }
}

function randomLabels(random: Random): Readonly<Record<string, string | null>> {
  return Object.fromEntries(random.list(1, 2, () => randomLabel(random)).map(({ key, value }) => [key, value]));
}

function randomLabel(random: Random): { readonly key: string; readonly value: string | null } {
  if (random.chance(0.2)) return random.pick([{ key: "service", value: "web" }, { key: "project", value: "lab" }, { key: "network", value: "blue" }, { key: "name", value: "c1" }]);
  const key = random.pick(Object.keys(labels));
  return { key, value: random.chance(0.25) ? null : random.pick(labels[key] ?? []) };
}

function randomRange(random: Random): AddressRange {
  const include = random.pick(prefixes);
  const inside = prefixes.filter((prefix) => prefix !== include && contains(include, prefix));
  return { include, except: inside.length === 0 || random.chance(0.6) ? [] : random.list(1, 2, () => random.pick(inside)) };
}

function randomPorts(random: Random): PortRange {
  if (random.chance(0.2)) return randomMessages(random);
  const protocol = random.pick(["tcp", "tcp", "udp", "sctp"] as const);
  const first = random.pick(interesting);
  const last = random.chance(0.5) ? first : Math.min(65535, first + random.pick([1, 2, 7, 100, 1000, 65535]));
  return { protocol, first, last };
}

/** type × 256 + code: one message, one type, or all. */
function randomMessages(random: Random): PortRange {
  const protocol = random.pick(["icmp", "icmpv6"] as const);
  const type = random.pick(protocol === "icmp" ? [0, 3, 8, 13, 40] : [1, 128, 129, 139, 150]);
  return random.pick([{ protocol, first: 0, last: 65535 }, { protocol, first: type * 256, last: type * 256 + 255 }, { protocol, first: type * 256, last: type * 256 }]);
}

/** Ports that something is said of, and their neighbours. */
export const interesting: readonly number[] = [1, 53, 67, 79, 80, 81, 443, 546, 1985, 2375, 2376, 5353, 5355, 5432, 7999, 8000, 8001, 8100, 8101, 8443];

export function peerText(peer: Peer): string {
  switch (peer.kind) {
    case "entity": return peer.entity;
    case "name": return peer.network === null ? peer.name : `${peer.network}/${peer.name}`;
    case "labels": return `label(${Object.entries(peer.labels).map(([key, value]) => (value === null ? key : `${key}=${value}`)).join(", ")})`;
    case "network": return `net(${peer.name})`;
    case "addresses": return peer.ranges.map(({ include, except }) => (except.length === 0 ? include : `${include} except ${except.join(" and ")}`)).join(", ");
  }
}

function portsText(ports: readonly PortRange[]): string {
  if (ports.length === 0) return "";
  return `:${ports.map(({ protocol, first, last }) => (protocol.startsWith("icmp") ? `${protocol}(${first >> 8}/${first & 255}-${last >> 8}/${last & 255})` : `${first}-${last}/${protocol}`)).join(",")}`;
}
