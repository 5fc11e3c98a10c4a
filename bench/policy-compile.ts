// What it costs to compile policies: cold, again with one container more of a known kind, and with one of a new kind.
// Prints a table and writes build/bench/policy-compile.json. Options: --rounds N (5), of which the median is told.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCompiler } from "../src/policy/compile.ts";
import type { Identity, Peer, Place, Policy, PolicyFacts, PortRange, Rule } from "../src/policy/types.ts";
import type { Cidr, Ip } from "../src/std/ip.ts";
import { root } from "./run.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "5" } } });
const rounds = Number(values.rounds);
const place: Place = { file: "bench.yaml", line: 1, column: 1 };

const name = (text: string): Peer => ({ kind: "name", network: null, name: text, place });
const addresses = (...includes: readonly string[]): Peer => ({ kind: "addresses", ranges: includes.map((include) => ({ include: include as Cidr, except: [] })), set: null, place });
const entity = (text: "any" | "world" | "internet"): Peer => ({ kind: "entity", entity: text, place });
const tcp = (first: number, last = first): PortRange => ({ protocol: "tcp", first, last });
const rule = (policy: string, action: Rule["action"], from: Peer, to: Peer, ports: readonly PortRange[] = []): Rule => ({ policy, action, place, text: "", from: [from], to: [to], ports, ends: "both" });
const policy = (title: string, rules: readonly Rule[]): Policy => ({
  name: title, place, scope: { kind: "network", name: "shop" }, defaults: { in: "deny", out: null }, rules, tests: [], closedNames: null,
});

/** Every tenth rule speaks of addresses, every hundredth of the whole world, the others of one service and another. */
function services(rules: number, identities: number, perPolicy: number): readonly Policy[] {
  const policies: Policy[] = [];
  for (let first = 0; first < rules; first += perPolicy) {
    const title = `policy${first}`;
    const sentences = Array.from({ length: Math.min(perPolicy, rules - first) }, (_, i) => {
      const at = first + i;
      const [a, b] = [name(`s${at % identities}`), name(`s${(at * 7 + 3) % identities}`)];
      if (at % 100 === 99) return rule(title, "allow", entity("world"), b, [tcp(443), tcp(8000, 8100)]);
      if (at % 10 === 9) return rule(title, at % 20 === 9 ? "allow" : "deny", a, addresses(`10.${at % 200}.0.0/16`), [tcp(1000 + (at % 50))]);
      return rule(title, "allow", a, b, [tcp(1000 + (at % 100))]);
    });
    policies.push(policy(title, sentences));
  }
  return policies;
}

function identity(id: number, service: string): Identity {
  return { id, labels: { network: "shop", project: null, service, name: null, own: {} } };
}

function facts(identities: number): PolicyFacts {
  return {
    identities: Array.from({ length: identities }, (_, i) => identity(i + 1, `s${i}`)),
    host: ["192.0.2.1", "10.44.0.1", "fd44::1"] as string[] as Ip[], nodes: [], lan: ["192.0.2.0/24" as Cidr], pool: [], poolByAddress: true, networks: new Map([["shop", { internal: false, icc: true }]]),
    hostServices: [2375, 2376], betweenNetworks: "deny", published: "allow", untilIdentified: "deny",
  };
}

const manyPrefixes = Array.from({ length: 100_000 }, (_, i) => {
  const spread = (i * 2_654_435_761) % 2 ** 32;
  return i % 4 === 3 ? `2001:${(i % 4096).toString(16)}:${(spread >>> 16).toString(16)}::/48` : `${spread >>> 24}.${(spread >>> 16) & 255}.${(spread >>> 8) & 255}.0/24`;
});
const cases: readonly { readonly name: string; readonly policies: () => readonly Policy[]; readonly identities: number }[] = [
  { name: "100 policies, 1000 rules, 100 identities", policies: () => services(1000, 100, 10), identities: 100 },
  { name: "250 policies, 250 rules, 50 identities", policies: () => services(250, 50, 1), identities: 50 },
  { name: "1000 policies, 10000 rules, 1000 identities", policies: () => services(10_000, 1000, 10), identities: 1000 },
  { name: "one container with 12500 rules", policies: () => [policy("p", Array.from({ length: 12_500 }, (_, i) => rule("p", "allow", addresses(`10.${i >> 8}.${i & 255}.0/24`), name("s0"), [tcp(i)])))], identities: 50 },
  { name: "a set of 100000 prefixes", policies: () => [policy("p", [rule("p", "deny", entity("any"), addresses(...manyPrefixes))])], identities: 50 },
];

const rows = cases.map(({ name: title, policies: write, identities }) => {
  const times = { cold: [] as number[], known: [] as number[], fresh: [] as number[] };
  const before = facts(identities);
  const known = { ...before, identities: [...before.identities, identity(1_000_000, "s1")] };
  const fresh = { ...known, identities: [...known.identities, { id: 1_000_001, labels: { network: "other", project: null, service: "s1", name: null, own: {} } }] };
  for (let round = 0; round < rounds; round++) {
    const policies = write();
    const compiler = createCompiler();
    times.cold.push(timed(() => compiler.compile(policies, before)));
    times.known.push(timed(() => compiler.compile(policies, known)));
    times.fresh.push(timed(() => compiler.compile(policies, fresh)));
  }
  const { prefixes, pairs, ports } = createCompiler().compile(write(), before);
  return {
    name: title, cold: median(times.cold), known: median(times.known), fresh: median(times.fresh),
    prefixes: prefixes.size, pairs: pairs.size, ports: ports.size, mebibytes: kept(write(), before),
  };
});
const width = Math.max(...rows.map((row) => row.name.length));
console.log(`${"policies".padEnd(width)}  cold ms  one more ms  of a new kind ms  prefixes   pairs   ports  kept MiB (with --expose-gc)`);
for (const row of rows) {
  const numbers = [[row.cold.toFixed(1), 7], [row.known.toFixed(1), 11], [row.fresh.toFixed(1), 16], [row.prefixes, 8], [row.pairs, 6], [row.ports, 6], [row.mebibytes?.toFixed(1) ?? "-", 8]] as const;
  console.log(`${row.name.padEnd(width)}  ${numbers.map(([value, size]) => String(value).padStart(size)).join("  ")}`);
}
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/policy-compile.json"), `${JSON.stringify({ node: process.version, rounds, rows }, null, 2)}\n`);

/** What a compiler and its tables hold, besides the policies; null without --expose-gc. */
function kept(policies: readonly Policy[], about: PolicyFacts): number | null {
  if (!globalThis.gc) return null;
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  const compiler = createCompiler();
  compiler.compile(policies, about);
  globalThis.gc();
  const after = process.memoryUsage().heapUsed;
  // Asked once more, so that nothing of it was garbage before.
  compiler.compile(policies, about);
  return (after - before) / 2 ** 20;
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}
