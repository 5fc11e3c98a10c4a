// Numbers for rulesets: equal functions of protocol and port share one, whatever rules they were made of.
import { flatten } from "./flatten.ts";
import type { FlatRule } from "./flatten.ts";
import type { PortRow } from "./types.ts";

export interface Rulesets {
  /** Of the rules with these ranks, in any order, each as often as one likes. 0: no rule. */
  number(ranks: readonly number[]): number;
  /** The rows of every ruleset so far. The same object while no new one came. */
  rows(): ReadonlyMap<string, PortRow>;
}

/** @param ranked every rule; its place is its rank, the strongest first */
export function createRulesets(ranked: readonly FlatRule[]): Rulesets {
  const byRanks = new Map<string, number>([["", 0]]);
  const byRows = new Map<string, number>();
  const fresh: PortRow[] = [];
  let table: ReadonlyMap<string, PortRow> = new Map();
  const find = (ranks: readonly number[]): number => {
    const rows = flatten(ranks.map((rank) => ranked[rank] as FlatRule));
    const text = rows.map(({ protocol, port, bits, rule }) => `${protocol ?? "*"} ${port}/${bits} ${rule}`).join();
    const known = byRows.get(text);
    if (known !== undefined) return known;
    const ruleset = byRows.size + 1;
    byRows.set(text, ruleset);
    for (const row of rows) fresh.push({ ruleset, ...row });
    return ruleset;
  };
  return {
    number: (ranks) => {
      const ordered = inOrder(ranks, ranked);
      const key = ordered.join();
      let found = byRanks.get(key);
      if (found === undefined) byRanks.set(key, (found = find(ordered)));
      return found;
    },
    rows: () => {
      if (fresh.length === 0) return table;
      const next = new Map(table);
      for (const row of fresh.splice(0)) next.set(`${row.ruleset} ${row.protocol ?? "*"} ${row.port}/${row.bits}`, row);
      return (table = next);
    },
  };
}

/** Strongest first, each once, up to the first that speaks of everything. */
function inOrder(ranks: readonly number[], ranked: readonly FlatRule[]): number[] {
  const ordered: number[] = [];
  for (const rank of ranks.length > 1 ? ranks.toSorted((a, b) => a - b) : ranks) {
    if (rank === ordered.at(-1)) continue;
    ordered.push(rank);
    if (ranked[rank]?.ports.length === 0) break;
  }
  return ordered;
}
