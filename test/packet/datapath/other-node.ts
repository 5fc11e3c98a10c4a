// A node with two containers, and beside it a plain VXLAN device of the kernel's, which stands for another node.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwtun ── wan0 192.0.2.10 ══ lan0 192.0.2.1 in ns lan ── vx (key 300) 10.44.1.2, fd44:0:0:1::2
import type { Datapath } from "../../../src/datapath/types.ts";
import type { ClusterPlan, RemotePlan } from "../../../src/network/cluster.ts";
import { networkKey } from "../../../src/network/plan.ts";
import type { Step } from "../../../src/network/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import type { Ip } from "../../../src/std/ip.ts";
import type { World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, endpointA, endpointB, shop } from "./plans.ts";
import { ping, plug, prepare } from "./plug.ts";

export const routing = { mode: "overlay", encapsulation: "vxlan", port: 8472, direct: true } as const;
/** Every container's here: the other side's device has one key for both ways. */
export const identity = 300;
const row = { class: 1, denyIn: false, denyOut: false, covered: false };
const tables: PolicyTables = { classes: new Map([[identity, row], [301, row]]), prefixes: new Map(), pairs: new Map(), ports: new Map(), rules: [] };

export function remotes(changes: Readonly<Record<string, Partial<RemotePlan>>> = {}): ReadonlyMap<Ip, RemotePlan> {
  const all = { "10.44.1.2": {}, "fd44:0:0:1::2": {}, ...changes };
  return new Map(Object.entries(all).map(([address, change]) => [parseIp(address), { node: 1, identity, network: 1, ...change }]));
}

export function cluster(changes: Partial<ClusterPlan> = {}): Extract<Step, { readonly kind: "cluster" }> {
  return {
    kind: "cluster", before: null,
    cluster: {
      kind: "etcd",
      nodes: [
        { number: 1, name: "other", addresses: [parseIp("192.0.2.1"), parseIp("2001:db8:1::1")], slices: [parseCidr("10.44.1.0/24"), parseCidr("fd44:0:0:1::/64")], mtu: 1500 },
        { number: 2, name: "third", addresses: [parseIp("192.0.2.3")], slices: [parseCidr("10.44.2.0/24")], mtu: 1500 },
      ],
      remotes: remotes(), pools: [parseCidr("10.44.0.0/16"), parseCidr("fd44::/48")], names: new Map(), ...changes,
    },
  };
}

const known = { ...shop, key: networkKey("shop") };
export const local: readonly Step[] = [
  { kind: "policy", tables, before: null },
  { kind: "network", network: known },
  { kind: "cable", cable: cableA }, { kind: "attach", cable: cableA }, { kind: "endpoint", endpoint: { ...endpointA, identity } },
  { kind: "cable", cable: cableB }, { kind: "attach", cable: cableB }, { kind: "endpoint", endpoint: { ...endpointB, identity } },
];

/** The other node: the key is a device's id, so that each test says which it speaks with. */
export function otherNode({ ip }: World, key: number, underlay: "192.0.2.1" | "192.0.2.7" | "192.0.2.66" | "2001:db8:1::1" = "192.0.2.1", outside: "udpcsum" | "noudpcsum" = "noudpcsum"): void {
  const remote = underlay.includes(":") ? "2001:db8:1::10" : "192.0.2.10";
  if (underlay === "192.0.2.7" || underlay === "192.0.2.66") ip(`-n lan address add ${underlay}/24 dev lan0`);
  if (underlay.includes(":")) ip("-n lan -6 address add 2001:db8:1::1/64 dev lan0 nodad");
  ip(`-n lan link add vx type vxlan id ${key} local ${underlay} remote ${remote} dstport 8472 nolearning ${outside}`);
  // The overlay's frames go to the host's MAC, and nobody answers ARP: containers here are behind one MAC.
  ip("-n lan link set vx address 02:48:57:00:00:01");
  for (const words of [
    "link set vx up mtu 1430", "address add 10.44.1.2/16 dev vx", "-6 address add fd44:0:0:1::2/48 dev vx nodad",
    "neighbour replace 10.44.0.2 lladdr 02:00:00:00:00:99 dev vx", "neighbour replace 10.44.0.3 lladdr 02:00:00:00:00:99 dev vx",
    "-6 neighbour replace fd44::2 lladdr 02:00:00:00:00:99 dev vx",
  ]) ip(`-n lan ${words}`);
}

export async function setUp(world: World, datapath: Datapath, steps: readonly Step[]): Promise<void> {
  prepare(world);
  await doAll(datapath.doers, steps);
  plug(world, "a", cableA.containerInterface, 2);
  plug(world, "b", cableB.containerInterface, 3);
}

export function dropped(datapath: Datapath, reason: string): bigint {
  return datapath.counters().filter((row) => row.reason === reason).reduce((sum, row) => sum + row.packets, 0n);
}

export async function told(datapath: Datapath, reason: string, cause: () => void): Promise<unknown> {
  const abort = new AbortController();
  const first = (async () => {
    for await (const event of datapath.events(abort.signal)) if (event.reason === reason) return event;
    return undefined;
  })();
  cause();
  const event = await first;
  abort.abort();
  return event && { source: event.source, destination: event.destination };
}

export const pings = (namespace: string, target: string): boolean => {
  try {
    ping(namespace, target);
    return true;
  } catch {
    return false;
  }
};
