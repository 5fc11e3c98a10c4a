// Other nodes in the maps and routes: where tunnels end, whose slices and containers are whose.
import { NodeFlags } from "../abi/generated.ts";
import type { Node, Remote } from "../abi/generated.ts";
import type { Netlink } from "../kernel/types.ts";
import type { ClusterPlan, NodePlan } from "../network/cluster.ts";
import { contains, familyOf, networkOf } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Conntrack } from "./conntrack.ts";
import { hostDevice } from "./host-device.ts";
import { installNames } from "./names.ts";
import type { Policy } from "./policy.ts";
import { mainTable, routeProtocol, unicast } from "./route-marks.ts";
import type { Tables } from "./tables.ts";
import { syncTable } from "./sync-table.ts";
import { overhead } from "./tunnel.ts";
import type { HostFacts, Routing } from "./types.ts";
import type { HostReading } from "./uplinks.ts";

/** What every IPv6 way carries (RFC 8200): a tunnel over less is cut up outside, where it can be. */
const smallestMtu = 1280;
/** Of so many containers the flows are looked for; of more, the policy judges them again as whose they are now. */
const mostFlushed = 16;

export interface ClusterParts {
  /** Makes maps and routes what the plan says, touching only what differs. What an earlier agent wrote is taken over. */
  install(plan: ClusterPlan): Promise<void>;
  /** Sizes, addresses and routes follow the host's devices (R102). */
  hostChanged(reading: HostReading, facts: HostFacts): Promise<void>;
}

export interface ClusterSurroundings {
  readonly tables: Tables;
  readonly netlink: Netlink;
  readonly conntrack: Pick<Conntrack, "flushAddress">;
  readonly policy: Pick<Policy, "touch">;
  /** null: no other nodes. */
  readonly routing: Routing | null;
}

interface Wanted {
  readonly nodes: ReadonlyMap<number, Node>;
  readonly peers: ReadonlyMap<Ip, number>;
  readonly slices: ReadonlyMap<Cidr, number>;
}

interface WantedRoute {
  readonly destination: Cidr;
  readonly index: number;
  readonly gateway?: Ip;
  readonly source?: Ip;
}

const noPlan: ClusterPlan = { kind: "alone", nodes: [], remotes: new Map(), pools: [], names: new Map() };

export function createCluster({ tables, netlink, conntrack, policy, routing }: ClusterSurroundings): ClusterParts {
  let plan = noPlan;
  let host: { readonly reading: HostReading; readonly facts: HostFacts } | undefined;
  let remotes: ReadonlyMap<Ip, Remote> | undefined;

  const writeNodes = (): void => {
    const wanted = wantedOf(plan, routing, host?.facts);
    syncTable(tables.nodes, wanted.nodes, sameNode);
    syncTable(tables.peers, wanted.peers, Object.is);
    syncTable(tables.slices, wanted.slices, Object.is);
  };

  const writeRoutes = async (): Promise<void> => {
    if (host === undefined) return;
    const wanted = routesOf(plan, routing, host.reading, host.facts);
    const key = (route: { readonly destination: string; readonly index: number; readonly gateway?: string | null }): string => `${route.destination} ${route.index} ${route.gateway ?? ""}`;
    const keys = new Set(wanted.map(key));
    const standing = host.reading.routes.filter((route) => route.protocol === routeProtocol && route.table === mainTable && route.type === unicast);
    const known = new Set(standing.map(key));
    for (const route of standing) if (!keys.has(key(route))) await netlink.deleteRoute({ destination: route.destination, index: route.index });
    for (const route of wanted) if (!known.has(key(route))) await netlink.replaceRoute({ ...route, protocol: routeProtocol });
  };

  /** Whoever goes, or is somebody else now, takes the flows of his address with him (R58). */
  const writeRemotes = (next: ReadonlyMap<Ip, Remote>): void => {
    const before = remotes ?? new Map([...tables.remotes.entries()]);
    const others = syncTable(tables.remotes, next, sameRemote, before);
    remotes = next;
    if (others.length === 0) return;
    if (others.length <= mostFlushed) for (const address of others) if (next.get(address)?.node !== before.get(address)?.node) conntrack.flushAddress(address);
    policy.touch();
  };

  return {
    install: async (next) => {
      if (next.remotes !== plan.remotes || remotes === undefined) {
        // Who is gone is unpublished before his node goes, and who comes is published after it has come.
        const kept = new Map([...(remotes ?? [])].filter(([address]) => next.remotes.has(address)));
        if (remotes !== undefined && kept.size < remotes.size) writeRemotes(kept);
      }
      const nodesChange = next.nodes !== plan.nodes || next.pools !== plan.pools || next.kind !== plan.kind;
      const remotesChange = next.remotes !== plan.remotes || remotes === undefined;
      const namesChange = next.names !== plan.names || plan === noPlan;
      plan = next;
      if (nodesChange) writeNodes();
      if (remotesChange) writeRemotes(next.remotes);
      if (namesChange) installNames(tables, next.names);
      if (nodesChange && host !== undefined) {
        host = { ...host, reading: { ...host.reading, routes: await netlink.routes() } };
        await writeRoutes();
      }
    },
    hostChanged: async (reading, facts) => {
      host = { reading, facts };
      if (plan === noPlan) return;
      writeNodes();
      await writeRoutes();
    },
  };
}

function wantedOf(plan: ClusterPlan, routing: Routing | null, facts: HostFacts | undefined): Wanted {
  const nodes = new Map<number, Node>();
  const peers = new Map<Ip, number>();
  const slices = new Map<Cidr, number>(plan.pools.map((pool) => [networkOf(pool), 0]));
  for (const node of plan.nodes) {
    const address = reachedBy(node, facts);
    if (address === undefined) continue;
    const path = Math.min(node.mtu, facts?.uplinkMtu ?? node.mtu) - (routing?.mode === "overlay" ? overhead[familyOf(address)] : 0);
    // Linux cuts up a tunnel's IPv4 packets, but not its IPv6 ones.
    nodes.set(node.number, { address, mtu: familyOf(address) === 4 ? Math.max(smallestMtu, path) : path, flags: plan.kind === "static" ? NodeFlags.STATIC : 0 });
    for (const one of node.addresses) peers.set(one, node.number);
    for (const slice of node.slices) slices.set(networkOf(slice), node.number);
  }
  return { nodes, peers, slices };
}

/** The first of its addresses that this node has the family for. */
function reachedBy(node: NodePlan, facts: HostFacts | undefined): Ip | undefined {
  const families = new Set<Family>(facts?.nodeAddresses.map((address) => familyOf(address)));
  return node.addresses.find((address) => families.has(familyOf(address))) ?? node.addresses[0];
}

/**
 * Overlay: the host's own way to each slice is by hwhost, in its own name; not to the whole pool, because Docker takes no subnet that a route
 * of the host's overlaps. Native: by the slice's node, where that is on a subnet of ours; what lies beyond a router is a routing daemon's.
 */
function routesOf(plan: ClusterPlan, routing: Routing | null, reading: HostReading, facts: HostFacts): readonly WantedRoute[] {
  if (routing === null || plan.nodes.length === 0) return [];
  if (routing.mode === "overlay") {
    const index = reading.links.find(({ name }) => name === hostDevice)?.index;
    if (index === undefined) return [];
    return plan.nodes.flatMap(({ slices }) => slices.flatMap((slice) => {
      const source = facts.nodeAddresses.find((address) => familyOf(address) === familyOf(slice));
      return source === undefined ? [] : [{ destination: networkOf(slice), index, source }];
    }));
  }
  return plan.nodes.flatMap((node) => node.slices.flatMap((slice): readonly WantedRoute[] => {
    const gateway = node.addresses.find((address) => familyOf(address) === familyOf(slice));
    if (gateway === undefined) return [];
    const index = onLink(reading, facts, gateway);
    return index === undefined ? [] : [{ destination: networkOf(slice), index, gateway }];
  }));
}

/** The uplink whose own subnet holds the address. */
function onLink(reading: HostReading, facts: HostFacts, address: Ip): number | undefined {
  const uplinks = new Set(reading.links.filter(({ name }) => facts.uplinks.includes(name)).map(({ index }) => index));
  return reading.addresses.find(({ index, prefix, scope }) => uplinks.has(index) && scope === "global" && contains(networkOf(prefix as Cidr), address))?.index;
}

function sameNode(a: Node, b: Node): boolean {
  return a.address === b.address && a.mtu === b.mtu && a.flags === b.flags;
}

function sameRemote(a: Remote, b: Remote): boolean {
  return a.node === b.node && a.identity === b.identity && a.network === b.network;
}
