// What it costs to build a table of Maglev hashing and to carry a change into the slots, how even tables are, and how many slots move that need not.
// Prints a table and writes build/bench/maglev.json. Options: --rounds N (31), of which the median and the best are told.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildTable } from "../src/lb/maglev.ts";
import type { TableMember } from "../src/lb/maglev.ts";
import { root } from "./run.ts";
import { summary, table } from "./summary.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "31" } } });
const rounds = Number(values.rounds);
const cases = [[1021, 10], [16_381, 100], [65_537, 10], [65_537, 100], [65_537, 1000], [65_537, 5000], [655_373, 1000]] as const;

const rows = cases.map(([size, backends]) => {
  const members = Array.from({ length: backends }, (_, i): TableMember => ({ identity: `10.44.${i >> 8}.${i & 255}:8080`, number: i + 1, weight: 1 }));
  const times = Array.from({ length: rounds }, () => timed(() => buildTable(members, size)));
  const whole = buildTable(members, size);
  const { median, lowest } = summary(times);
  const fewer = members.filter((_, i) => i !== backends >> 1);
  return { size, backends, median, best: lowest, unevenness: unevenness(whole, size / backends), moved: moved(whole, buildTable(fewer, size), (backends >> 1) + 1) / size };
});
console.log(table([
  ["slots", "backends", "build ms", "best", "max/avg", "others moved by removing one"],
  ...rows.map((row) => [String(row.size), String(row.backends), row.median.toFixed(2), row.best.toFixed(2), row.unevenness.toFixed(4), `${(100 * row.moved).toFixed(2)} %`]),
]));
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/maglev.json"), `${JSON.stringify({ node: process.version, rounds, rows }, null, 2)}\n`);

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function unevenness(slots: Uint16Array, average: number): number {
  const shares = new Uint32Array(65_536);
  for (const number of slots) shares[number] = (shares[number] ?? 0) + 1;
  return Math.max(...shares) / average;
}

/** Slots of others than the one that left. */
function moved(before: Uint16Array, after: Uint16Array, left: number): number {
  return before.reduce((sum, number, slot) => sum + (number !== left && after[slot] !== number ? 1 : 0), 0);
}
