// Short ways to write policies and facts for the compiler's tests, and its tables as text.
import type {
  Defaults, Entity, Identity, IdentityLabels, Peer, Place, Policy, PolicyFacts, PolicyTables, PortRange, Protocol, Rule, Scope,
} from "../../../src/policy/types.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";

export const place: Place = { file: "test.yaml", line: 1, column: 1 };

export const entity = (name: Entity): Peer => ({ kind: "entity", entity: name, place });
export const named = (name: string, network: string | null = null): Peer => ({ kind: "name", network, name, place });
export const labelled = (labels: Readonly<Record<string, string | null>>): Peer => ({ kind: "labels", labels, place });
export const inNetwork = (name: string): Peer => ({ kind: "network", name, place });

/** Each text a prefix, `10.0.0.0/8 except 10.1.0.0/16`. */
export function addresses(...texts: readonly string[]): Peer {
  const ranges = texts.map((text) => {
    const [include = "", ...except] = text.split(/ except | and /);
    return { include: parseCidr(include), except: except.map((one) => parseCidr(one)) };
  });
  return { kind: "addresses", ranges, set: null, place };
}

export function ports(protocol: Protocol, ...ranges: readonly (number | readonly [first: number, last: number])[]): readonly PortRange[] {
  return ranges.map((range) => (typeof range === "number" ? { protocol, first: range, last: range } : { protocol, first: range[0], last: range[1] }));
}

export function rule(
  action: Rule["action"], from: Peer | readonly Peer[], to: Peer | readonly Peer[], open: readonly PortRange[] = [], ends: Rule["ends"] = "both",
): Rule {
  return { policy: "p", action, place, text: "", from: [from].flat() as Peer[], to: [to].flat() as Peer[], ports: open, ends };
}

export const shop: Scope = { kind: "network", name: "shop" };

export function policy(scope: Scope, rules: readonly Rule[], defaults: Partial<Defaults> = {}): Policy {
  return { name: "p", place, scope, defaults: { in: null, out: null, ...defaults }, rules, tests: [], closedNames: null };
}

export function identity(id: number, labels: Partial<IdentityLabels>): Identity {
  return { id, labels: { network: "shop", project: null, service: null, name: null, own: {}, ...labels } };
}

/** Identities 1, 2 and so on of the network shop. */
export function services(...names: readonly string[]): readonly Identity[] {
  return names.map((service, i) => identity(i + 1, { service }));
}

export function facts(identities: readonly Identity[], more: { readonly [K in "host" | "nodes" | "lan" | "pool"]?: readonly string[] } & { readonly hostServices?: readonly number[]; readonly poolByAddress?: boolean } = {}): PolicyFacts {
  return {
    identities,
    host: (more.host ?? []).map((ip): Ip => parseIp(ip)),
    nodes: (more.nodes ?? []).map((cidr): Cidr => parseCidr(cidr)),
    lan: (more.lan ?? []).map((cidr): Cidr => parseCidr(cidr)),
    pool: (more.pool ?? []).map((cidr): Cidr => parseCidr(cidr)),
    poolByAddress: more.poolByAddress ?? true,
    networks: new Map(),
    hostServices: more.hostServices ?? [],
    betweenNetworks: "deny", published: "allow", untilIdentified: "deny",
  };
}

/** Sorted, one row a line. Rulesets are written out, built-in rules by their number in hex. */
export function show(tables: PolicyTables): readonly string[] {
  const rulesets = new Map<number, string[]>();
  for (const { ruleset, protocol, port, bits, verdict, rule: number } of tables.ports.values()) {
    const where = protocol === null ? "*" : bits === 0 ? String(protocol) : `${protocol}:${port}${bits === 16 ? "" : `/${bits}`}`;
    rulesets.set(ruleset, [...(rulesets.get(ruleset) ?? []), `${where} ${verdict} ${number > 0xffff ? number.toString(16) : number}`]);
  }
  const named = (ruleset: number): string => (ruleset === 0 ? "none" : (rulesets.get(ruleset) ?? ["missing"]).toSorted().join(", "));
  return [
    ...[...tables.classes].map(([id, row]) => `identity ${id}: class ${row.class}${row.covered ? " covered" : ""}${row.denyIn ? " deny-in" : ""}${row.denyOut ? " deny-out" : ""}`),
    ...[...tables.prefixes].map(([cidr, found]) => `${cidr}: class ${found}`),
    ...[...tables.pairs].map(([key, ruleset]) => `${key}: ${named(ruleset)}`),
  ].toSorted();
}
