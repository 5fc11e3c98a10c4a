// What each program costs a packet: BPF_PROG_TEST_RUN, one run at a time (programs rewrite their packet), beside a program that
// does nothing. Rounds alternate between the ways; medians are printed as a table and written to build/bench/program-cost.json.
// Options: --rounds N (21), --runs N of each way in each round (500). It runs what `make bpf` built.
import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { a, b, hostMac, openBench } from "../test/packet/bench.ts";
import { frame, ip, protocols, tcp } from "../test/packet/packets.ts";
import type { Packet } from "../test/packet/packets.ts";
import { root, run } from "./run.ts";

interface Way {
  readonly name: string;
  readonly program: string;
  readonly device: string;
  readonly bytes: Uint8Array;
}

const { values } = parseArgs({ options: { rounds: { type: "string", default: "21" }, runs: { type: "string", default: "500" } } });
await using bench = await openBench();
const folder = join(root, "build/bench");
mkdirSync(folder, { recursive: true });
run(`clang-16 -g -O2 -target bpf -mcpu=v3 -I/usr/include/${run("gcc -print-multiarch").trim()} -c ${join(root, "bench/empty.bpf.c")} -o ${join(folder, "empty.bpf.o")}`);
await bench.addObject(join(folder, "empty.bpf.o"));
await bench.publish("0.0.0.0", 8080, protocols.tcp, "10.44.0.3", 80);

const out = (device: string, mac: string, packet: Packet): Omit<Way, "name"> => ({ program: "from_container", device, bytes: frame(mac, hostMac, packet) });
const wire = (packet: Packet): Omit<Way, "name"> => ({ program: "netdev", device: "wan0", bytes: frame("02:00:00:00:00:fe", "02:00:00:00:00:01", packet) });
const data = "x".repeat(100);
const segment = ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "A", data));
const opened = await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", tcp(5000, 80, "S")));
const port = Number(/192\.0\.2\.1:(\d+) >/.exec(opened.packet)?.[1]);
const ways: readonly Way[] = [
  { name: "nothing (the floor)", program: "empty", device: "wan0", bytes: frame("02:00:00:00:00:fe", "02:00:00:00:00:01", segment) },
  { name: "container to container", ...out(a.device, a.mac, segment) },
  { name: "container to container, IPv6", ...out(a.device, a.mac, ip("fd44::2", "fd44::3", tcp(5000, 80, "A", data))) },
  { name: "container to wire, masqueraded", ...out(a.device, a.mac, ip("10.44.0.2", "198.51.100.7", tcp(5000, 80, "A", data))) },
  { name: "wire to container, masqueraded", ...wire(ip("198.51.100.7", "192.0.2.1", tcp(80, port, "A", data))) },
  { name: "wire to published port", ...wire(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "A", data))) },
  { name: "published port's answer", ...out(b.device, b.mac, ip("10.44.0.3", "192.0.2.9", tcp(80, 4000, "A", data))) },
  { name: "wire to host, not ours", ...wire(ip("192.0.2.9", "192.0.2.1", tcp(4000, 22, "A", data))) },
  { name: "host to container", program: "to_container", device: a.device, bytes: frame(hostMac, hostMac, ip("10.44.0.1", "10.44.0.2", tcp(4000, 80, "A", data))) },
];

const samples = ways.map((): number[] => []);
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [i, way] of ways.entries()) {
    const times = await bench.time(way.program, way.device, way.bytes, Number(values.runs));
    // The first round opens the flows.
    if (round > 0) samples[i]?.push(median(times));
  }
}
const floor = median(samples[0] ?? []);
const rows = ways.map(({ name }, i) => {
  const sorted = (samples[i] ?? []).toSorted((x, y) => x - y);
  return { way: name, median: median(sorted), lowest: sorted[0] ?? 0, highest: sorted.at(-1) ?? 0, aboveFloor: median(sorted) - floor };
});
const width = Math.max(...rows.map(({ way }) => way.length));
console.log(`${"way".padEnd(width)}  ns (lowest…highest)  above the floor`);
for (const row of rows) console.log(`${row.way.padEnd(width)}  ${`${row.median} (${row.lowest}…${row.highest})`.padEnd(19)}  ${row.aboveFloor}`);
writeFileSync(join(folder, "program-cost.json"), `${JSON.stringify({ kernel: release(), rounds: Number(values.rounds), runs: Number(values.runs), rows }, null, 2)}\n`);

function median(numbers: readonly number[]): number {
  return numbers.toSorted((x, y) => x - y)[Math.floor(numbers.length / 2)] ?? 0;
}
