// Real packets: what a small datagram costs on its way between two namespaces, through Hawser, nftables and iptables with the same rules.
// The sender's time for each packet, sending included; the way to the receiver's socket lies within it (datagrams.c).
import { setTimeout } from "node:timers/promises";
import { parseIp } from "../src/std/ip.ts";
import { partner, port, tablesOf } from "./policy-rules.ts";
import type { Rules } from "./policy-rules.ts";
import { said } from "./policy-program.ts";
import { makeRouter } from "./routers.ts";
import type { Filter } from "./routers.ts";
import { compile, run, runIn, start } from "./run.ts";
import { summary } from "./summary.ts";
import type { Summary } from "./summary.ts";
import { hawserWorld } from "./worlds.ts";

export interface PacketRow {
  readonly filter: string;
  readonly rules: string;
  readonly first: Summary;
  /** Of the medians, what a wire without a host takes left out: above 1 is slower than Hawser with the same rules. */
  readonly firstRatio: number;
  readonly established: Summary;
  readonly establishedRatio: number;
  /** Of the whole established packet, beside the same filter without rules. */
  readonly growth: number;
  /** Milliseconds; how long the rules took to get into the kernel. */
  readonly loaded: number;
}

interface Way {
  readonly filter: "hawser" | Filter;
  readonly rules: Rules;
  readonly sender: string;
  readonly receiver: string;
  readonly server: string;
  readonly loaded: number;
  /** Puts the rules in force. */
  enter(): Promise<void>;
  /** Every flow. */
  forget(): void;
}

const counts = { services: [0, 1, 100, 10_000], prefixes: [0, 100_000] } as const;
const allRules: readonly Rules[] = (["services", "prefixes"] as const).flatMap((of) => counts[of].map((count) => ({ of, count })));
/** First packets of one sample, each of a flow of its own; packets of an established flow; seconds that a sample may take. */
const [flows, packets, patience] = [8000, 100_000, 0.4];
/** Ports of senders: of flows to be opened, and of the one that is established. */
const [firstPort, ownPort] = [1024, 800];

export async function packetCosts(rounds: number): Promise<readonly PacketRow[]> {
  run("mount -t tmpfs bench /run");
  run("ip link set lo up");
  await using stack = new AsyncDisposableStack();
  const tool = compile("datagrams");
  const ways = [...await hawserWays(stack), ...routerWays(tool)];
  const servers = new Map(ways.map(({ receiver, server }) => [receiver, server]));
  for (const [receiver, server] of servers) stack.use(start(receiver, `${tool} serve ${server} ${port}`));
  const samples = ways.map(() => ({ first: [] as number[], established: [] as number[] }));
  for (let round = 0; round <= rounds; round++) {
    for (const [i, way] of ways.entries()) {
      await way.enter();
      if (round === 0) await mustRefuse(way, tool);
      const established = await measured(way, tool, 1, packets);
      const first = await measured(way, tool, flows, flows);
      // The first round warms up.
      if (round > 0) samples[i]?.established.push(established);
      if (round > 0) samples[i]?.first.push(first);
    }
  }
  const rows = ways.map(({ filter, rules, loaded }, i) => ({
    filter, rules, loaded, first: summary(samples[i]?.first ?? []), established: summary(samples[i]?.established ?? []),
  }));
  const find = (filter: string, { of, count }: Rules): (typeof rows)[number] | undefined => rows.find((row) => row.filter === filter && row.rules.of === of && row.rules.count === count);
  const wire = rows.find(({ filter }) => filter === "wire");
  const ratio = (a: Summary | undefined, b: Summary | undefined, floor = 0): number => ((a?.median ?? Number.NaN) - floor) / ((b?.median ?? Number.NaN) - floor);
  return rows.map(({ filter, rules, loaded, first, established }) => {
    const [ours, own] = [find("hawser", rules), find(filter, { ...rules, count: 0 })];
    return {
      filter: `${filter}${rules.of === "prefixes" && filter === "hawser" ? ", to the world" : ""}`, rules: said(rules), loaded, first, established,
      firstRatio: ratio(first, ours?.first, wire?.first.median), establishedRatio: ratio(established, ours?.established, wire?.established.median),
      growth: ratio(established, (own ?? { established }).established),
    };
  });
}

/** One world whose tables are changed, as they are on a host. */
async function hawserWays(stack: AsyncDisposableStack): Promise<readonly Way[]> {
  const identities = { client: 256, server: 257 };
  const world = await hawserWorld(stack, { identities: [identities.client, identities.server], masquerade: false });
  run(`ip route add ${partner.prefix} via ${world.clientAddress}`);
  runIn(world.client, `ip address add ${partner.address}/32 dev lo`);
  runIn(world.client, `ip route add 10.44.0.0/24 via ${world.hostAddress}`);
  const ways: Way[] = [];
  for (const rules of allRules) {
    const tables = tablesOf(rules, identities, [parseIp(world.hostAddress)]);
    const before = performance.now();
    await world.install(tables);
    const loaded = performance.now() - before;
    const [receiver, server] = rules.of === "prefixes" ? [world.client, partner.address] : [world.b, world.addressB];
    ways.push({ filter: "hawser", rules, sender: world.a, receiver, server, loaded, enter: () => world.install(tables), forget: () => world.forgetFlows() });
  }
  return ways;
}

function routerWays(tool: string): readonly Way[] {
  const wanted: (readonly [Filter, readonly Rules[]])[] = [
    ["wire", [{ of: "services", count: 0 }]],
    ["forwarding", [{ of: "services", count: 0 }]],
    ["nftables, a chain", allRules.filter(({ of, count }) => of === "services" || count > 0)],
    ["nftables, a set", allRules.filter(({ count }) => count > 0)],
    ["iptables, a chain", allRules.filter(({ of, count }) => of === "services" || count > 0)],
    ["iptables, an ipset", hasIpset() ? [{ of: "prefixes", count: counts.prefixes[1] }] : []],
  ];
  return wanted.flatMap(([filter, list], i) => list.map((rules, j): Way => {
    const { a, b, router, server, loaded } = makeRouter(`r${i}${j}`, filter, rules);
    return { filter, rules, sender: a, receiver: b, server, loaded, enter: async () => {}, forget: () => void runIn(router, `${tool} forget`) };
  }));
}

function hasIpset(): boolean {
  try {
    run("ipset version");
    return true;
  } catch {
    console.log("there is no ipset here: its row is left out");
    return false;
  }
}

/** Nanoseconds a packet. A sample of which the receiver's queue lost packets says nothing, and is taken again. */
async function measured(way: Way, tool: string, of: number, count: number): Promise<number> {
  for (let attempt = 0; attempt < 20; attempt++) {
    way.forget();
    if (of === 1) runIn(way.sender, `${tool} open ${way.server} ${port} ${ownPort}`);
    const before = delivered(way.receiver);
    const [sent, time = 0] = runIn(way.sender, `${tool} send ${way.server} ${port} ${of === 1 ? ownPort : firstPort} ${of} ${count} ${patience}`).split(" ").map(Number);
    await setTimeout(2);
    if (delivered(way.receiver) - before === sent) return time;
  }
  throw new Error(`packets are lost on the way through ${way.filter} with ${said(way.rules)} rules`);
}

/** What the rules do not allow must not arrive: a tool that loaded nothing would look fast. */
async function mustRefuse(way: Way, tool: string): Promise<void> {
  const before = delivered(way.receiver);
  runIn(way.sender, `${tool} send ${way.server} ${port + 1} ${firstPort} 16 16 1`);
  await setTimeout(2);
  if ((delivered(way.receiver) === before) !== (way.rules.count > 0)) throw new Error(`${way.filter} with ${said(way.rules)} rules does not enforce them`);
}

/** Datagrams that came as far as the receiver's stack, read or not. */
function delivered(namespace: string): number {
  const [names = [], values = []] = runIn(namespace, "grep Udp: /proc/net/snmp").split("\n").map((line) => line.split(" "));
  return ["InDatagrams", "InErrors", "NoPorts"].reduce((sum, name) => sum + Number(values[names.indexOf(name)]), 0);
}
