// What it costs to build a table of Maglev hashing and to carry a change into the slots, how even tables are, and how many slots move that need not.
// Prints a table and writes build/bench/maglev.json. Options: --rounds N (31), of which the median and the best are told. The agent runs without V8's
// optimising compilers (bin/hawser): `node --no-opt --no-maglev bench/maglev.ts` is what it costs there.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fillTableNatively } from "../src/kernel/index.ts";
import { buildTable } from "../src/lb/maglev.ts";
import type { TableMember } from "../src/lb/maglev.ts";
import { follow, newSlots } from "../src/lb/slots.ts";
import { root } from "./run.ts";
import { summary, table } from "./summary.ts";

const { values } = parseArgs({ options: { rounds: { type: "string", default: "31" } } });
const rounds = Number(values.rounds);
const cases = [[1021, 10], [16_381, 100], [65_537, 10], [65_537, 100], [65_537, 1000], [65_537, 5000], [655_373, 1000]] as const;

const rows = cases.map(([size, backends]) => {
  const members = Array.from({ length: backends }, (_, i): TableMember => ({ identity: `10.44.${i >> 8}.${i & 255}:8080`, number: i + 1, weight: 1 }));
  const times = Array.from({ length: rounds }, () => timed(() => buildTable(members, size)));
  const native = summary(Array.from({ length: rounds }, () => timed(() => buildTable(members, size, fillTableNatively))));
  const whole = buildTable(members, size);
  const { median, lowest } = summary(times);
  const left = (backends >> 1) + 1;
  const without = buildTable(members.filter(({ number }) => number !== left), size);
  const [slots, alive] = [newSlots(whole), new Uint8Array(65_536).fill(1)];
  const carried = summary(Array.from({ length: rounds }, () => timed(() => follow(slots, without, alive, 1))));
  return { size, backends, median, best: lowest, native: native.median, nativeBest: native.lowest, follow: carried.median, unevenness: unevenness(whole, size / backends), moved: moved(whole, without, left) / size };
});
console.log(table([
  ["slots", "backends", "build ms", "best", "by the addon ms", "best", "into slots ms", "max/avg", "others moved by removing one"],
  ...rows.map((row) => [String(row.size), String(row.backends), row.median.toFixed(2), row.best.toFixed(2), row.native.toFixed(2), row.nativeBest.toFixed(2), row.follow.toFixed(2), row.unevenness.toFixed(4), `${(100 * row.moved).toFixed(2)} %`]),
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
