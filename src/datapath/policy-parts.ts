// The four tables of a policy as the kernel keeps them: what goes into each, and what may change while it is in force. Pure.
import type { Codec, MapOfMapsShape } from "../abi/codec.ts";
import { maps, PolicyClassFlags, PolicyDirection, PolicyVerdict } from "../abi/generated.ts";
import type { ClassRow, PolicyTables, PortRow, Rule } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import { addressOf, familyOf, lengthOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";

export type PolicyMapName = "hw_policy_classes" | "hw_policy_prefixes" | "hw_policy_pairs" | "hw_policy_ports";

/** Keys and values, each one after the other. */
export interface Packed {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

export interface Part<K, V> {
  readonly map: PolicyMapName;
  readonly shape: MapOfMapsShape<unknown, unknown>["inner"];
  /** Entries that it may have (R32). */
  readonly limit: number;
  of(tables: PolicyTables): ReadonlyMap<K, V>;
  same(a: V, b: V): boolean;
  pack(rows: ReadonlyMap<K, V>): Packed;
  packKeys(keys: readonly K[]): readonly Uint8Array[];
}

const million = 1_048_576;

export const ports: Part<string, PortRow> = {
  ...part(maps.hw_policy_ports, portKey, (row: PortRow) => ({ rule: row.rule, verdict: verdicts[row.verdict], wide: row.wide ? 1 : 0 })),
  map: "hw_policy_ports",
  limit: million,
  of: (tables) => tables.ports,
  same: (a, b) => a.ruleset === b.ruleset && a.protocol === b.protocol && a.port === b.port && a.bits === b.bits && a.verdict === b.verdict && a.wide === b.wide && a.rule === b.rule,
};
export const pairs: Part<string, number> = {
  ...part(maps.hw_policy_pairs, pairKey, (ruleset: number) => ruleset),
  map: "hw_policy_pairs",
  limit: million,
  of: (tables) => tables.pairs,
  same: (a, b) => a === b,
};
export const prefixes: Part<Cidr, number> = {
  ...part(maps.hw_policy_prefixes, prefixKey, (number: number) => number),
  map: "hw_policy_prefixes",
  limit: million,
  of: (tables) => tables.prefixes,
  same: (a, b) => a === b,
};
export const classes: Part<number, ClassRow> = {
  ...part(maps.hw_policy_classes, (identity: number) => identity, (row: ClassRow) => ({ class: row.class, flags: flagsOf(row) })),
  map: "hw_policy_classes",
  limit: 65_536,
  of: (tables) => tables.classes,
  same: (a, b) => a.class === b.class && a.denyIn === b.denyIn && a.denyOut === b.denyOut && a.covered === b.covered,
};

const verdicts = { allow: PolicyVerdict.ALLOW, deny: PolicyVerdict.DENY, audit: PolicyVerdict.AUDIT } as const;
const directions = { in: PolicyDirection.IN, out: PolicyDirection.OUT } as const;

/** @throws HawserError TABLE_FULL naming the table, what the policy needs and what it may have */
export function checkSizes(tables: PolicyTables): void {
  for (const one of [classes, prefixes, pairs, ports]) {
    const needed = one.of(tables).size;
    if (needed <= one.limit) continue;
    throw new HawserError(
      "TABLE_FULL",
      `the policy needs ${needed} entries in ${one.map}, which may have ${one.limit}; use fewer or wider addresses, ports or peers`,
    );
  }
}

export interface Rows {
  readonly ports: readonly string[];
  readonly pairs: readonly string[];
  readonly classes: readonly number[];
}

/** What leads from one policy to the next: `add` and `remove` may be done to the tables in force, `replace` needs new ones. */
export type Change = { readonly kind: "none" } | { readonly kind: "replace" } | { readonly kind: "add" | "remove"; readonly rows: Rows };

const replace: Change = { kind: "replace" };

/**
 * Added in place is only what no packet can ask for before the last of it, the identity's class, is there; removed in place
 * only what nobody asks for any more. Numbers of rules must keep their meaning either way.
 */
export function changeOf(from: PolicyTables, to: PolicyTables): Change {
  const [p, q, c] = [difference(ports, from, to), difference(pairs, from, to), difference(classes, from, to)];
  if (p === undefined || q === undefined || c === undefined || !sameRows(prefixes, from, to)) return replace;
  const [added, removed] = [p.added.length + q.added.length + c.added.length, p.removed.length + q.removed.length + c.removed.length];
  if (added > 0 && removed > 0) return replace;
  if (removed > 0) {
    const fits = startsWith(from.rules, to.rules) && nobodyAsks(q.removed, p.removed, to);
    return fits ? { kind: "remove", rows: { ports: p.removed, pairs: q.removed, classes: c.removed } } : replace;
  }
  if (!startsWith(to.rules, from.rules)) return replace;
  if (added === 0) return { kind: "none" };
  return nobodyAsks(q.added, p.added, from) ? { kind: "add", rows: { ports: p.added, pairs: q.added, classes: c.added } } : replace;
}

export function sameRows<K, V>(one: Part<K, V>, a: PolicyTables, b: PolicyTables): boolean {
  const found = difference(one, a, b);
  return found !== undefined && found.added.length === 0 && found.removed.length === 0;
}

/** The rows of a part that these keys name. */
export function pick<K, V>(one: Part<K, V>, tables: PolicyTables, keys: readonly K[]): ReadonlyMap<K, V> {
  const all = one.of(tables);
  return new Map(keys.flatMap((key) => { const row = all.get(key); return row === undefined ? [] : [[key, row] as const]; }));
}

/** undefined: a row that both have says something else. */
function difference<K, V>(one: Part<K, V>, from: PolicyTables, to: PolicyTables): { readonly added: K[]; readonly removed: K[] } | undefined {
  const [old, now] = [one.of(from), one.of(to)];
  const added: K[] = [];
  if (old === now) return { added, removed: [] };
  for (const [key, row] of now) {
    const known = old.get(key);
    if (known === undefined) added.push(key);
    else if (known !== row && !one.same(known, row)) return undefined;
  }
  // Equal numbers of rows, none of them new: none is gone either.
  if (added.length === 0 && old.size === now.size) return { added, removed: [] };
  return { added, removed: [...old.keys()].filter((key) => !now.has(key)) };
}

/** Pairs of a class that `tables` do not have, and ports of a ruleset that they have none of and that none of their pairs names. */
function nobodyAsks(pairKeys: readonly string[], portKeys: readonly string[], tables: PolicyTables): boolean {
  if (pairKeys.length === 0 && portKeys.length === 0) return true;
  const there = new Set([...[...tables.classes.values()].map((row) => row.class), ...tables.prefixes.values()]);
  const asked = new Set([...[...tables.ports.values()].map((row) => row.ruleset), ...tables.pairs.values()]);
  return (
    pairKeys.every((key) => { const { subject, peer } = pairKey(key); return !there.has(subject) || (peer !== 0 && !there.has(peer)); }) &&
    portKeys.every((key) => !asked.has(portKey(key).ruleset))
  );
}

function startsWith(rules: readonly Rule[], start: readonly Rule[]): boolean {
  return rules === start || (rules.length >= start.length && start.every((rule, i) => sameRule(rule, rules[i])));
}

function sameRule(a: Rule, b: Rule | undefined): boolean {
  return a === b || (
    b !== undefined && a.policy === b.policy && a.text === b.text && a.action === b.action && a.ends === b.ends &&
    a.place.file === b.place.file && a.place.line === b.place.line && a.place.column === b.place.column
  );
}

function part<K, V, CK, CV>(
  outer: MapOfMapsShape<CK, CV>, keyOf: (key: K) => CK, valueOf: (row: V) => CV,
): Pick<Part<K, V>, "shape" | "pack" | "packKeys"> {
  const { key, value }: { readonly key: Codec<CK>; readonly value: Codec<CV> } = outer.inner;
  return {
    shape: outer.inner,
    pack: (rows) => {
      const [keys, values] = [new Uint8Array(rows.size * key.size), new Uint8Array(rows.size * value.size)];
      const [keyView, valueView] = [new DataView(keys.buffer), new DataView(values.buffer)];
      let i = 0;
      for (const [k, row] of rows) {
        key.write(keyView, i * key.size, keyOf(k));
        value.write(valueView, i * value.size, valueOf(row));
        i++;
      }
      return { keys, values, count: rows.size };
    },
    packKeys: (wanted) => wanted.map((one) => key.encode(keyOf(one))),
  };
}

function prefixKey(cidr: Cidr): { readonly length: number; readonly addr: ReturnType<typeof addressOf> } {
  return { length: lengthOf(cidr) + (familyOf(cidr) === 4 ? 96 : 0), addr: addressOf(cidr) };
}

/** `in 7 3`: what class 7 may be sent by class 3. */
function pairKey(key: string): { readonly subject: number; readonly peer: number; readonly direction: number } {
  const [direction, subject, peer] = key.split(" ");
  return { subject: Number(subject), peer: Number(peer), direction: directions[direction as keyof typeof directions] };
}

/** `5 6 80/16`: ruleset, protocol or *, port and how many of its bits count. */
function portKey(key: string): { readonly length: number; readonly ruleset: number; readonly proto: number; readonly port: number } {
  const [ruleset, protocol, range = ""] = key.split(" ");
  const [port, bits] = range.split("/");
  return {
    length: protocol === "*" ? 32 : 48 + Number(bits), ruleset: Number(ruleset), proto: protocol === "*" ? 0 : Number(protocol), port: Number(port),
  };
}

function flagsOf(row: ClassRow): number {
  return (row.denyIn ? PolicyClassFlags.DENY_IN : 0) | (row.denyOut ? PolicyClassFlags.DENY_OUT : 0) | (row.covered ? PolicyClassFlags.COVERED : 0);
}
