// What the kernel's lookup finds in compiled tables, step by step as the BPF programs do it.
import type { Direction, PolicyTables, Verdict } from "../../../src/policy/types.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { bitsOf, cidrOf, familyOf, networkOf } from "../../../src/std/ip.ts";

export interface Found {
  readonly verdict: Verdict | "none";
  /** 0: none. */
  readonly rule: number;
}

const nothing: Found = { verdict: "none", rule: 0 };

/** @param peer an identity's number, or an address that is no container's */
export function lookUp(tables: PolicyTables, subject: number, peer: number | Ip, direction: Direction, protocol: number, port: number): Found {
  const one = classOf(tables, subject);
  const other = classOf(tables, peer);
  const ruleset = tables.pairs.get(`${direction} ${one} ${other}`) ?? tables.pairs.get(`${direction} ${one} 0`) ?? 0;
  return ruleset === 0 ? nothing : portOf(tables, ruleset, protocol, port);
}

/** @throws when there is no entry: the kernel would drop the packet (POLICY_MISSING) */
export function classOf(tables: PolicyTables, peer: number | Ip): number {
  const found = typeof peer === "number" ? tables.classes.get(peer)?.class : longestPrefix(tables.prefixes, peer);
  if (found === undefined || found === 0) throw new Error(`no class for ${peer}`);
  return found;
}

/** Of each table, what was found before: a test asks for one address thousands of times. */
const longest = new WeakMap<ReadonlyMap<Cidr, number>, Map<Ip, number | undefined>>();

function longestPrefix(prefixes: ReadonlyMap<Cidr, number>, address: Ip): number | undefined {
  const before = longest.get(prefixes) ?? new Map<Ip, number | undefined>();
  longest.set(prefixes, before);
  if (!before.has(address)) before.set(address, searchPrefixes(prefixes, address));
  return before.get(address);
}

function searchPrefixes(prefixes: ReadonlyMap<Cidr, number>, address: Ip): number | undefined {
  for (let length: number = bitsOf(familyOf(address)); length >= 0; length--) {
    const found = prefixes.get(networkOf(cidrOf(address, length)));
    if (found !== undefined) return found;
  }
  return undefined;
}

function portOf(tables: PolicyTables, ruleset: number, protocol: number, port: number): Found {
  for (let bits = 16; bits >= 0; bits--) {
    const row = tables.ports.get(`${ruleset} ${protocol} ${Math.floor(port / 2 ** (16 - bits)) * 2 ** (16 - bits)}/${bits}`);
    if (row) return row;
  }
  return tables.ports.get(`${ruleset} * 0/0`) ?? nothing;
}
