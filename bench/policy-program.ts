// Hawser's program alone: nanoseconds of from_container above an empty program, one run at a time, with more and more rules.
import { join } from "node:path";
import { a, b, hostMac, openBench } from "../test/packet/bench.ts";
import type { Bench } from "../test/packet/bench.ts";
import { hostAddresses } from "../test/packet/policy-tables.ts";
import { frame, ip, udp } from "../test/packet/packets.ts";
import { addressOf, ip4FromNumber, ip4ToNumber, parseCidr, parseIp } from "../src/std/ip.ts";
import { port, prefixes, tablesOf } from "./policy-rules.ts";
import type { Rules } from "./policy-rules.ts";
import { root, run } from "./run.ts";
import { quantile, summary } from "./summary.ts";
import type { Summary } from "./summary.ts";

export interface ProgramRow {
  readonly way: string;
  readonly rules: string;
  readonly first: Summary;
  /** Of the first packet, above the same without rules. */
  readonly firstRules: number;
  readonly established: Summary;
  /** Of the established packet, beside the same without rules. */
  readonly establishedRatio: number;
}

interface Way {
  readonly way: string;
  readonly rules: Rules;
  readonly destinations: readonly string[];
}

/** In each round, of each way. */
const runs = 400;
const many = 100_000;
const data = "x".repeat(32);
/** Where the last half of the destination's address and the source port lie, side by side, in an IPv4 frame. */
const at = 14 + 18;

const ways: readonly Way[] = [
  ...[0, 1, 100, 10_000].map((count): Way => ({ way: "container to container", rules: { of: "services", count }, destinations: ["10.44.0.3"] })),
  ...[0, many].map((count): Way => ({ way: "container to the world", rules: { of: "prefixes", count }, destinations: spread(prefixes(many), 40) })),
];

/** Rounds alternate between the ways; a round's sample is the median of its runs. */
export async function programCosts(rounds: number): Promise<readonly ProgramRow[]> {
  await using bench = await openBench();
  const object = join(root, "build/bench/empty.bpf.o");
  run(`mkdir -p ${join(root, "build/bench")}`);
  run(`clang-16 -g -O2 -target bpf -mcpu=v3 -I/usr/include/${run("gcc -print-multiarch").trim()} -c ${join(root, "bench/empty.bpf.c")} -o ${object}`);
  await bench.addObject(object);
  const tables = ways.map(({ rules }) => tablesOf(rules, { client: a.identity, server: b.identity }, hostAddresses.map((address) => parseIp(address))));
  const samples = ways.map(() => ({ first: [] as number[], established: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    for (const [i, { destinations }] of ways.entries()) {
      const [wanted, sample] = [tables[i], samples[i]];
      if (wanted === undefined || sample === undefined) continue;
      await bench.policy(wanted);
      // What was just written is in no cache yet: the first ones do not count.
      await firstPackets(bench, destinations);
      await bench.forget();
      const floor = quantile(await bench.time("empty", "wan0", bytesTo(destinations[0] ?? ""), runs), 0.5);
      sample.first.push(quantile(await firstPackets(bench, destinations), 0.5) - floor);
      sample.established.push(quantile(await established(bench, destinations[0] ?? ""), 0.5) - floor);
    }
  }
  return ways.map(({ way, rules }, i) => {
    const [own, without] = [i, ways.findIndex((other) => other.way === way)].map((index) => {
      const { first = [], established: known = [] } = samples[index] ?? {};
      return { first: summary(first), established: summary(known) };
    });
    if (own === undefined || without === undefined) throw new Error(`nothing was measured of ${way}`);
    return { way, rules: said(rules), ...own, firstRules: own.first.median - without.first.median, establishedRatio: own.established.median / without.established.median };
  });
}

export function said({ of, count }: Rules): string {
  return count === 0 ? "none" : `${count}${of === "prefixes" ? " prefixes" : ""}`;
}

async function firstPackets(bench: Bench, destinations: readonly string[]): Promise<readonly number[]> {
  const times: number[] = [];
  const each = runs / destinations.length;
  for (const [i, destination] of destinations.entries()) {
    const first = (ip4ToNumber(parseIp(destination)) & 0xffff) * 2 ** 16 + 1024 + i * each;
    times.push(...await bench.flood(a, packetTo(destination), { at, first, count: each }));
  }
  const opened = (await bench.flows()).length / 2;
  if (opened < runs) throw new Error(`of ${runs} flows only ${opened} were opened: the rules do not let them pass`);
  return times;
}

async function established(bench: Bench, destination: string): Promise<readonly number[]> {
  await bench.fromContainer(a, packetTo(destination));
  return bench.time("from_container", a.device, bytesTo(destination), runs);
}

const packetTo = (destination: string): ReturnType<typeof ip> => ip("10.44.0.2", destination, udp(800, port, data));
const bytesTo = (destination: string): Uint8Array => frame(a.mac, hostMac, packetTo(destination));

/** Addresses of some of them, from all over the list. */
function spread(list: readonly string[], count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => ip4FromNumber(ip4ToNumber(addressOf(parseCidr(list[Math.floor((i * list.length) / count)] ?? ""))) + 1));
}
