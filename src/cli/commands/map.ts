// `hawser map`: the BPF maps, decoded.
import { InvalidArgumentError, type Command } from "commander";
import type { MapEntryView, MapView } from "../../api/client.ts";
import { withAgent } from "../agent-socket.ts";
import { CompletingArgument } from "../completing.ts";
import type { CliDependencies } from "../dependencies.ts";
import { examples } from "../help.ts";
import { formatOf, jsonLine, outputOption, printJson, type Format } from "../output.ts";
import { styleFor, type Style } from "../style.ts";
import { table } from "../table.ts";

const usualLimit = 10_000;

export function addMap(program: Command, deps: CliDependencies): void {
  const map = program
    .command("map")
    .helpCommand(false)
    .summary("the BPF maps, decoded")
    .description("What the programs in the kernel know. docs/maps.md says what each map is for.");
  map
    .command("list")
    .alias("ls")
    .summary("list maps")
    .description("Lists the BPF maps with their sizes and how full they are.")
    .addOption(outputOption())
    .addHelpText("after", examples([["hawser map list", "one line each"]]))
    .action(async (_options: unknown, command: Command) => {
      const maps = await withAgent(command, deps, (agent) => agent.maps());
      if (formatOf(command) === "json") printJson(deps, maps);
      else deps.stdout.write(mapTable(maps, styleFor(deps)));
    });
  map
    .command("dump")
    .summary("show what is in a map")
    .description("Prints the entries of one map: addresses as text, numbers as numbers. Of an array, which always has all of its entries, those that are not zero.")
    .addArgument(new CompletingArgument("<NAME>", "the map's name, see `hawser map list`", "maps"))
    .option("-n, --limit <count>", "at most so many entries; 0: as many as the agent gives out", parseLimit, usualLimit)
    .addOption(outputOption("table", "json", "jsonl"))
    .addHelpText("after", examples([
      ["hawser map dump hw_endpoints", "key and value, one entry a line"],
      ["hawser map dump hw_ct4 -n 0 -o jsonl | jq -c .key", "every entry, as it comes"],
    ]))
    .action(async (name: string, options: { limit: number }, command: Command) => {
      const shown = await withAgent(command, deps, (agent) => dump(deps, agent.dumpMap(name, options.limit), formatOf(command)));
      if (shown === options.limit) deps.stderr.write(`hawser: only the first ${shown} entries are shown; --limit 0 shows all\n`);
    });
}

export function mapTable(maps: readonly MapView[], style: Style): string {
  return table<MapView>([
    { title: "NAME", value: (row) => row.name },
    { title: "TYPE", value: (row) => row.type },
    { title: "KEY", value: (row) => row.keySize, right: true },
    { title: "VALUE", value: (row) => row.valueSize, right: true },
    { title: "ENTRIES", value: (row) => row.entries, right: true },
    { title: "CAPACITY", value: (row) => row.capacity, right: true },
    {
      title: "FULL",
      value: (row) => (canFill(row) ? `${Math.floor((100 * row.entries) / row.capacity)}%` : ""),
      right: true,
      paint: (row) => (canFill(row) && row.entries > 0.9 * row.capacity ? style.yellow : undefined),
    },
  ], maps, style.dim);
}

/** An array has all its entries from the start, and a ring has none to count. */
function canFill(map: MapView): boolean {
  return map.capacity > 0 && !map.type.includes("array") && map.type !== "ringbuf";
}

/** Streams what can be streamed; a table needs all rows to know its widths. Returns how many entries came. */
async function dump(deps: CliDependencies, entries: AsyncIterable<MapEntryView>, format: Format): Promise<number> {
  let count = 0;
  if (format === "table") {
    const rows: MapEntryView[] = [];
    for await (const entry of entries) rows.push(entry);
    deps.stdout.write(table<MapEntryView>([
      { title: "KEY", value: (row) => compact(row.key) },
      { title: "VALUE", value: (row) => compact(row.value) },
    ], rows, styleFor(deps).dim));
    return rows.length;
  }
  for await (const entry of entries) {
    const start = count === 0 ? "[\n" : ",\n";
    deps.stdout.write(format === "jsonl" ? jsonLine(entry) : `${start}  ${jsonLine(entry).trimEnd()}`);
    count++;
  }
  if (format === "json") deps.stdout.write(count === 0 ? "[]\n" : "\n]\n");
  return count;
}

/** `saddr=10.44.0.2 sport=4711`: names and values without JSON's quotes. */
export function compact(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(compact).join(" ")}]`;
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([name, inner]) => `${name}=${typeof inner === "object" && inner !== null && !Array.isArray(inner) ? `{${compact(inner)}}` : compact(inner)}`)
      .join(" ");
  }
  return String(value);
}

function parseLimit(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Expected a whole number, 0 or more.");
  return Number(text);
}
