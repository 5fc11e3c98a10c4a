// What a verdict costs a packet, with more and more rules: a flow's first packet, which policy judges, and one of an established flow.
// Twice: Hawser's program alone (BPF_PROG_TEST_RUN), and real packets through Hawser beside nftables and iptables with the same rules.
// Prints tables and writes build/bench/policy-verdict.json. Options: --rounds N (9), --program-only, --packets-only.
// Needs nft, iptables-legacy and, for one row, ipset.
import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { programCosts } from "./policy-program.ts";
import type { ProgramRow } from "./policy-program.ts";
import { packetCosts } from "./policy-packets.ts";
import type { PacketRow } from "./policy-packets.ts";
import { inPrivateHost, root } from "./run.ts";
import { shown, table } from "./summary.ts";

await inPrivateHost(import.meta.url, async () => {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "9" }, "program-only": { type: "boolean" }, "packets-only": { type: "boolean" } } });
  const rounds = Number(values.rounds);
  const programs = values["packets-only"] === true ? [] : await programCosts(rounds);
  if (programs.length > 0) console.log(`${programTable(programs)}\n`);
  const packets = values["program-only"] === true ? [] : await packetCosts(rounds);
  if (packets.length > 0) console.log(packetTable(packets));
  mkdirSync(join(root, "build/bench"), { recursive: true });
  writeFileSync(join(root, "build/bench/policy-verdict.json"), `${JSON.stringify({ kernel: release(), rounds, programs, packets }, null, 2)}\n`);
});

function programTable(rows: readonly ProgramRow[]): string {
  return table([
    ["from_container alone, ns above an empty program", "rules", "first packet", "of it policy's rules", "established packet", "to its own without rules"],
    ...rows.map((row) => [row.way, row.rules, shown(row.first), String(row.firstRules), shown(row.established), ratio(row.establishedRatio)]),
  ]);
}

function packetTable(rows: readonly PacketRow[]): string {
  return table([
    ["real packets, ns each", "rules", "first packet", "new flows/s", "host's part to Hawser's", "established packet", "packets/s", "host's part to Hawser's", "to its own without rules", "loaded in ms"],
    ...rows.map((row) => [
      row.filter, row.rules, shown(row.first), perSecond(row.first.median), ratio(row.firstRatio), shown(row.established), perSecond(row.established.median),
      ratio(row.establishedRatio), ratio(row.growth), row.loaded.toFixed(0),
    ]),
  ]);
}

function ratio(value: number): string {
  return value >= 10 ? value.toFixed(0) : value.toFixed(2);
}

function perSecond(nanoseconds: number): string {
  return Math.round(1e9 / nanoseconds).toString();
}
