// Another node for the datapath's tests: what the model would plan of it, and containers here that speak with its.
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

export async function setUp(world: World, datapath: Datapath, steps: readonly Step[]): Promise<void> {
  prepare(world);
  await doAll(datapath.doers, steps);
  plug(world, "a", cableA.containerInterface, 2);
  plug(world, "b", cableB.containerInterface, 3);
}

export function dropped(datapath: Datapath, reason: string): bigint {
  return datapath.counters().filter((row) => row.reason === reason).reduce((sum, row) => sum + row.packets, 0n);
}

export const pings = (namespace: string, target: string): boolean => {
  try {
    ping(namespace, target);
    return true;
  } catch {
    return false;
  }
};
