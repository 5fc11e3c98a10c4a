// Compiled tables, looked up as the kernel does, against policies read one rule after another.
import test from "ava";
import fc from "fast-check";
import { compile } from "../../../src/policy/compile.ts";
import { protocolNumbers } from "../../../src/policy/flatten.ts";
import { identityKey } from "../../../src/policy/identity.ts";
import { builtinRules } from "../../../src/policy/types.ts";
import type {
  AddressRange, Direction, Entity, Identity, IdentityLabels, Peer, Policy, PolicyFacts, PortRange, Protocol, Rule, Scope,
} from "../../../src/policy/types.ts";
import { contains } from "../../../src/std/ip.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { facts as factsOf, place } from "./compile-given.ts";
import { lookUp } from "./lookup.ts";
import type { Found } from "./lookup.ts";

const cidrs = [
  "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.0.2.0/24", "192.0.2.128/25", "8.0.0.0/7", "0.0.0.0/0", "169.254.0.0/16",
  "2001:db8::/32", "2001:db8:1::/48", "2600::/12", "::/0", "fd00:ec2::/32", "fd44::/64", "10.1.9.9/16",
] as readonly string[] as readonly Cidr[];
const addresses = [
  "10.0.0.1", "10.1.0.1", "10.1.2.1", "10.1.2.3", "192.0.2.1", "192.0.2.9", "192.0.2.200", "8.8.8.8", "9.9.9.9", "169.254.169.254", "169.254.1.1", "224.0.0.251",
  "2001:db8::1", "2001:db8:1::1", "2600::1", "fd00:ec2::254", "fd44::1", "fe80::1", "::1", "::",
] as readonly string[] as readonly Ip[];
const portsOfInterest = [0, 1, 22, 67, 79, 80, 81, 1985, 2048, 2375, 5353, 8000, 8050, 8100, 8101, 32767, 32768, 65535];
const protocols: readonly Protocol[] = ["tcp", "udp", "sctp", "icmp", "icmpv6"];
const words = ["web", "db", "shop"];

const word = fc.constantFrom(...words);
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(arbitrary, { freq: 2 });
const sure: fc.Arbitrary<IdentityLabels> = fc.record({
  network: word, project: maybe(word), service: maybe(word), name: maybe(word),
  own: fc.dictionary(fc.constantFrom("tier", "app", "project", "name"), word, { noNullPrototype: true, maxKeys: 2 }),
});
/** With one more label, project or service that may be its image's, or as if all that it has were so. */
const labels: fc.Arbitrary<IdentityLabels> = fc.oneof({ weight: 2, arbitrary: sure }, {
  weight: 1, arbitrary: fc.tuple(sure, fc.constantFrom("tier", "app", "project"), word, maybe(word)).map(([one, key, value, service]) => {
    const { network, name } = one;
    const doubtful = { ...one, service: one.service ?? service, own: { [key]: value, ...one.own } };
    return value === "web" ? { network, name, project: null, service: null, own: {}, doubtful } : { ...one, doubtful };
  }),
});
const range: fc.Arbitrary<AddressRange> = fc.record({ include: fc.constantFrom(...cidrs), except: fc.array(fc.constantFrom(...cidrs), { maxLength: 2 }) });
const peer: fc.Arbitrary<Peer> = fc.oneof(
  fc.record({ kind: fc.constant("entity" as const), entity: fc.constantFrom<Entity>("any", "self", "host", "nodes", "lan", "world", "internet"), place: fc.constant(place) }),
  fc.record({ kind: fc.constant("name" as const), network: maybe(word), name: word, place: fc.constant(place) }),
  fc.record({
    kind: fc.constant("labels" as const), place: fc.constant(place),
    labels: fc.dictionary(fc.constantFrom("tier", "app", "network", "project", "service", "name"), maybe(word), { noNullPrototype: true, minKeys: 1, maxKeys: 2 }),
  }),
  fc.record({ kind: fc.constant("network" as const), name: word, place: fc.constant(place) }),
  fc.record({ kind: fc.constant("addresses" as const), ranges: fc.array(range, { minLength: 1, maxLength: 3 }), set: fc.constant(null), place: fc.constant(place) }),
);
const portRange: fc.Arbitrary<PortRange> = fc
  .tuple(fc.constantFrom(...protocols), fc.constantFrom(...portsOfInterest), fc.constantFrom(...portsOfInterest))
  .map(([protocol, a, b]) => ({ protocol, first: Math.min(a, b), last: Math.max(a, b) }));
const rule: fc.Arbitrary<Rule> = fc.record({
  policy: fc.constant("p"), action: fc.constantFrom("allow", "deny", "audit"), place: fc.constant(place), text: fc.constant(""),
  from: fc.array(peer, { minLength: 1, maxLength: 2 }), to: fc.array(peer, { minLength: 1, maxLength: 2 }),
  ports: fc.oneof(fc.constant([]), fc.array(portRange, { minLength: 1, maxLength: 3 })), ends: fc.constantFrom("both", "both", "in", "out"),
});
const policy = (identities: readonly Identity[]): fc.Arbitrary<Policy> => fc.record({
  name: fc.constant("p"), place: fc.constant(place), tests: fc.constant([]), closedNames: fc.constant(null), rules: fc.array(rule, { maxLength: 5 }),
  defaults: fc.record({ in: fc.constantFrom("allow", "deny", null), out: fc.constantFrom("allow", "deny", null) }),
  scope: fc.oneof<fc.Arbitrary<Scope>[]>(
    fc.constant({ kind: "all" }), word.map((name) => ({ kind: "network", name })), word.map((name) => ({ kind: "project", name })),
    fc.tuple(fc.constantFrom("tier", "network", "project"), maybe(word)).map(([key, value]) => ({ kind: "label", key, value })),
    fc.constantFrom(...identities.flatMap((one) => readings(one.labels))).map((one) => ({ kind: "identity", key: identityKey(one) })),
  ),
});
const world: fc.Arbitrary<readonly [readonly Policy[], PolicyFacts]> = fc
  .array(labels, { minLength: 1, maxLength: 5 })
  .map((all) => all.map((one, i): Identity => ({ id: i + 1, labels: one })))
  .chain((identities) => fc.tuple(fc.array(policy(identities), { minLength: 1, maxLength: 4 }), fc.tuple(fc.subarray([22, 80, 2375]), fc.boolean()).map(([hostServices, poolByAddress]) =>
    factsOf(identities, {
      host: ["192.0.2.1", "fd44::1"], nodes: ["192.0.2.200/32", "192.0.2.1/32"], lan: ["192.0.2.0/24", "2600::/64"], pool: ["10.1.0.0/16", "192.0.2.192/26", "fd44::/48"], poolByAddress, hostServices,
    }))));

test("R53 every packet's rule at either end is the one that reading all rules in order gives", (t) => {
  fc.assert(
    fc.property(world, ([policies, facts]) => {
      const tables = compile(policies, facts);
      for (const subject of facts.identities) {
        const row = tables.classes.get(subject.id);
        t.deepEqual([row?.covered, row?.denyIn, row?.denyOut], stanceOf(policies, subject.labels));
        for (const other of [...facts.identities, ...addresses]) {
          for (const direction of ["in", "out"] as const) {
            const rules = between(policies, facts, subject, other, direction);
            for (const protocol of [...protocols, null]) {
              for (const port of portsOfInterest) {
                const found = lookUp(tables, subject.id, typeof other === "string" ? other : other.id, direction, protocol === null ? 47 : protocolNumbers[protocol], port);
                const { verdict, rule: number } = strongest(rules, protocol, port);
                if (found.verdict !== verdict || found.rule !== number) {
                  t.fail(`${subject.id} ${direction} ${JSON.stringify(other)} ${protocol}:${port} is ${found.verdict} by ${found.rule}, not ${verdict} by ${number}`);
                  return false;
                }
              }
            }
          }
        }
      }
      return true;
    }),
    { numRuns: 300 },
  );
});

interface Applies {
  readonly strength: number;
  readonly found: Found;
  readonly ports: readonly PortRange[];
}

/** In the order in which they are written, the built-in ones last. */
function between(policies: readonly Policy[], facts: PolicyFacts, subject: Identity, other: Identity | Ip, direction: Direction): readonly Applies[] {
  const applies: Applies[] = [];
  let number = 0;
  for (const { scope, rules } of policies) {
    for (const { action, from, to, ports, ends } of rules) {
      number++;
      const [mine, theirs] = direction === "out" ? [from, to] : [to, from];
      const counts = ends === "both" || ends === direction;
      const means = (one: Peer, who: Identity | Ip): boolean => {
        const labelled = typeof who === "string" ? [who] : readings(who.labels).map((labels) => ({ ...who, labels }));
        return (action === "deny" ? labelled : labelled.slice(0, 1)).some((reading) => isMeant(one, scope, facts, reading));
      };
      if (!counts || !mine.some((one) => means(one, subject)) || !theirs.some((one) => means(one, other))) continue;
      applies.push({ strength: { deny: 0, audit: 1, allow: 2 }[action], found: { verdict: action, rule: number }, ports });
    }
  }
  if (direction === "in") return applies;
  const refuse = (name: keyof typeof builtinRules, ports: readonly PortRange[]): void => void applies.push({ strength: 3, found: { verdict: "deny", rule: builtinRules[name] }, ports });
  const list = (protocol: Protocol, numbers: readonly number[]): readonly PortRange[] => numbers.map((port) => ({ protocol, first: port, last: port }));
  if (other === "169.254.169.254" || other === "fd00:ec2::254") refuse("metadata", []);
  if (typeof other === "string" && facts.host.includes(other) && facts.hostServices.length > 0) refuse("hostServices", list("tcp", facts.hostServices));
  if (typeof other !== "string") refuse("localServices", list("udp", [67, 68, 546, 547, 1985, 5353, 5355]));
  return applies;
}

function strongest(rules: readonly Applies[], protocol: Protocol | null, port: number): Found {
  let best: Applies | null = null;
  for (const one of rules) {
    const matches = one.ports.length === 0 || one.ports.some((range) => range.protocol === protocol && range.first <= port && port <= range.last);
    if (matches && (best === null || one.strength < best.strength)) best = one;
  }
  return best?.found ?? { verdict: "none", rule: 0 };
}

function isMeant(peer: Peer, scope: Scope, facts: PolicyFacts, other: Identity | Ip): boolean {
  if (typeof other === "string") {
    if (peer.kind === "entity") return isOfEntity(peer.entity, facts, other);
    if (!facts.poolByAddress && !facts.host.includes(other) && facts.pool.some((cidr) => contains(cidr, other))) return false;
    return peer.kind === "addresses" && peer.ranges.some(({ include, except }) => contains(include, other) && !except.some((cidr) => contains(cidr, other)));
  }
  const { labels: one } = other;
  switch (peer.kind) {
    case "entity":
      return peer.entity === "any" || (peer.entity === "self" && isFor(scope, one));
    case "name": {
      const isNamed = one.service === peer.name || one.name === peer.name;
      if (peer.network !== null) return isNamed && one.network === peer.network;
      return isNamed && (scope.kind === "network" || scope.kind === "project" ? isFor(scope, one) : true);
    }
    case "labels":
      return Object.entries(peer.labels).every(([key, value]) => hasLabel(one, key, value));
    case "network":
      return one.network === peer.name;
    case "addresses":
      return false;
  }
}

function isOfEntity(entity: Entity, facts: PolicyFacts, address: Ip): boolean {
  const isHost = facts.host.includes(address);
  const isNode = !isHost && facts.nodes.some((cidr) => contains(cidr, address));
  const isWorld = !isHost && !isNode && !facts.pool.some((cidr) => contains(cidr, address));
  switch (entity) {
    case "any":
      return true;
    case "self":
      return false;
    case "host":
      return isHost;
    case "nodes":
      return isNode;
    case "world":
      return isWorld;
    case "lan":
      return isWorld && facts.lan.some((cidr) => contains(cidr, address));
    case "internet":
      return isWorld && !/^(10\.|192\.0\.2\.|169\.254\.|224\.|2001:db8:|f[de]|::)/.test(address);
  }
}

function isFor(scope: Scope, one: IdentityLabels): boolean {
  switch (scope.kind) {
    case "all":
      return true;
    case "network":
      return one.network === scope.name;
    case "project":
      return one.project === scope.name;
    case "label":
      return hasLabel(one, scope.key, scope.value);
    case "identity":
      return identityKey(one) === scope.key;
  }
}

function hasLabel(one: IdentityLabels, key: string, wanted: string | null): boolean {
  const { network, project, service, name, own } = one;
  const value = new Map<string, string | null>([...Object.entries(own), ...Object.entries({ network, project, service, name })]).get(key) ?? null;
  return value !== null && (wanted === null || value === wanted);
}

/** For sure, then as it may be (R88). */
function readings(one: IdentityLabels): readonly IdentityLabels[] {
  return one.doubtful === undefined ? [one] : [one, one.doubtful];
}

function stanceOf(policies: readonly Policy[], one: IdentityLabels): readonly boolean[] {
  const closing = policies.filter(({ scope }) => readings(one).some((reading) => isFor(scope, reading)));
  const isCovered = policies.some(({ scope }) => isFor(scope, one));
  return [isCovered, closing.some(({ defaults }) => defaults.in === "deny"), closing.some(({ defaults }) => defaults.out === "deny")];
}
