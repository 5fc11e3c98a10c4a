// One container opens flow after flow that nobody answers: which flows of another container outlive that, idle ones and busy ones?
// Prints a table and writes build/bench/conntrack-flood.json.
import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { a, b, openBench } from "../test/packet/bench.ts";
import { ip, tcp } from "../test/packet/packets.ts";
import { root } from "./run.ts";

/** Flows of each kind; a busy one has a packet after every `step` flows of the flood. */
const [flows, step] = [50, 2000];
const world = "198.51.100.7";

await using bench = await openBench();
const rows: { readonly flood: number; readonly idle: number; readonly busy: number }[] = [];
for (const flood of [20_000, 40_000, 50_000, 60_000, 66_000, 80_000, 120_000, 200_000]) {
  await bench.forget();
  for (let i = 0; i < 2 * flows; i++) {
    const { packet } = await bench.fromContainer(a, ip("10.44.0.2", world, tcp(5000 + i, 80, "S")));
    const port = Number(/192\.0\.2\.1:(\d+) >/.exec(packet)?.[1]);
    await bench.fromUplink(ip(world, "192.0.2.1", tcp(80, port, "SA")));
    await bench.fromContainer(a, ip("10.44.0.2", world, tcp(5000 + i, 80, "A")));
  }
  for (let first = 0; first < flood; first += step) {
    await bench.flood(b, ip("10.44.0.3", world, tcp(1, 1, "S")), { at: 14 + 20, first: 2 ** 24 + first, count: Math.min(step, flood - first) });
    for (let i = flows; i < 2 * flows; i++) await bench.flood(a, ip("10.44.0.2", world, tcp(5000 + i, 80, "A")), { at: 14 + 20, first: (5000 + i) * 2 ** 16 + 80, count: 1 });
  }
  const alive = new Set((await bench.flows()).filter(([key]) => key.dport === 80 && key.sport >= 5000 && key.sport < 5000 + 2 * flows).map(([key]) => key.sport));
  const left = [...alive];
  rows.push({ flood, idle: left.filter((port) => port < 5000 + flows).length, busy: left.filter((port) => port >= 5000 + flows).length });
}
console.log("unanswered flows opened  idle flows left  busy flows left");
for (const row of rows) console.log(`${String(row.flood).padStart(23)}  ${`${row.idle}/${flows}`.padStart(15)}  ${`${row.busy}/${flows}`.padStart(15)}`);
mkdirSync(join(root, "build/bench"), { recursive: true });
writeFileSync(join(root, "build/bench/conntrack-flood.json"), `${JSON.stringify({ kernel: release(), flows, step, rows }, null, 2)}\n`);
