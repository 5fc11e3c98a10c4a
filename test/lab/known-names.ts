// Writes names of containers on other nodes into a host's pinned maps, with no agent: node known-names.ts BPFFS NUMBER/NAME=ADDRESS,…
import { installNames } from "../../src/datapath/names.ts";
import { mapPath } from "../../src/datapath/pins.ts";
import { openTables, tableNames } from "../../src/datapath/tables.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { parseIp } from "../../src/std/ip.ts";

const [bpffs = "", ...names] = process.argv.slice(2);
const kernel = createKernel();
const tables = openTables(new Map(tableNames.map((name) => [name, kernel.openPinnedMap(mapPath(bpffs, name))])));
const { skipped } = await installNames(tables, new Map(names.map((text) => {
  const [key = "", addresses = ""] = text.split("=");
  return [key, addresses.split(",").map((address) => parseIp(address))];
})));
if (skipped.length > 0) throw new Error(`cannot be asked for: ${skipped.join(", ")}`);
