// Other nodes in the maps and routes: where tunnels end, whose slices and containers are whose.
import { setTimeout } from "node:timers/promises";
import { NodeFlags } from "../abi/generated.ts";
import type { Node } from "../abi/generated.ts";
import type { Netlink, RouteInfo } from "../kernel/types.ts";
import type { ClusterPlan, NodePlan } from "../network/cluster.ts";
import { contains, familyOf, networkOf } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { Conntrack } from "./conntrack.ts";
import { hostDevice } from "./host-device.ts";
import { hashOfAddress } from "./lb-hash.ts";
import { installNames } from "./names.ts";
import type { InstalledNames } from "./names.ts";
import type { Policy } from "./policy.ts";
import { installRemotes, removeRemotes } from "./remotes.ts";
import { createRoom } from "./room.ts";
import type { Room } from "./room.ts";
import { mainTable, routeProtocol, unicast } from "./route-marks.ts";
import type { Tables } from "./tables.ts";
import { syncTable } from "./sync-table.ts";
import { overhead } from "./tunnel.ts";
import type { HostFacts, Routing } from "./types.ts";
import type { HostReading, KnownBy } from "./uplinks.ts";

/** What every IPv6 way carries (RFC 8200): a tunnel over less is cut up outside, where it can be. */
const smallestMtu = 1280;
/** Of so many containers the flows are looked for; of more, the policy judges them again as whose they are now. */
const mostFlushed = 16;
/** Milliseconds. */
const namesWaited = 100;

export interface ClusterParts {
  /** Makes maps and routes what the plan says, touching only what differs. What an earlier agent wrote is taken over. */
  install(plan: ClusterPlan): Promise<void>;
  /** Sizes, addresses and routes follow the host's devices (R102). */
  hostChanged(reading: HostReading, facts: HostFacts, known: KnownBy): Promise<void>;
  /** Where the other node of that name is reached, in a family that this one has; undefined: it is not known. */
  addressOf(node: string): Ip | undefined;
  /** What cannot be reached or asked for because it found no room: one sentence each, with the mend. */
  readonly problems: readonly string[];
}

export interface ClusterSurroundings {
  readonly tables: Tables;
  readonly netlink: Netlink;
  readonly conntrack: Pick<Conntrack, "flushAddress">;
  readonly policy: Pick<Policy, "touch">;
  /** null: no other nodes. */
  readonly routing: Routing | null;
  readonly log: Log;
}

interface HostNow {
  readonly reading: HostReading;
  readonly facts: HostFacts;
  readonly known: KnownBy;
}

interface Wanted {
  readonly nodes: ReadonlyMap<number, Node>;
  readonly peers: ReadonlyMap<Ip, number>;
  /** By hash. */
  readonly balancers: ReadonlyMap<number, number>;
  readonly slices: ReadonlyMap<Cidr, number>;
}

interface WantedRoute {
  readonly destination: Cidr;
  readonly index: number;
  readonly gateway?: Ip;
  readonly source?: Ip;
}

const noPlan: ClusterPlan = { kind: "alone", nodes: [], remotes: new Map(), pools: [], names: new Map() };

export function createCluster({ tables, netlink, conntrack, policy, routing, log }: ClusterSurroundings): ClusterParts {
  let plan = noPlan;
  let host: HostNow | undefined;
  /** What the maps are known to hold. */
  let remotes: ClusterPlan["remotes"] | undefined;
  let names: ClusterPlan["names"] | undefined;
  let installing: Promise<void> = Promise.resolve();
  let naming: Promise<void> = Promise.resolve();
  const room = { remotes: createRoom(tables.remotes.map), names: createRoom(tables.names.map), pointers: createRoom(tables.pointers.map) };

  let short = false;
  const tellShort = (): void => {
    const problems = problemsOf(room);
    if (!short) for (const problem of problems) log.warn("what other nodes have finds no room in the maps", { problem });
    short = problems.length > 0;
  };

  const writeNodes = (): void => {
    const wanted = wantedOf(plan, routing, host?.facts);
    syncTable(tables.nodes, wanted.nodes, sameNode);
    syncTable(tables.peers, wanted.peers, Object.is);
    syncTable(tables.balancers, wanted.balancers, Object.is);
    syncTable(tables.slices, wanted.slices, Object.is);
  };

  const writeRoutes = async (): Promise<void> => {
    if (host === undefined) return;
    const wanted = routesOf(plan, routing, host);
    const way = ({ destination, index }: { readonly destination: string; readonly index: number }): string => `${destination} ${index}`;
    const key = (route: WantedRoute | RouteInfo): string => `${way(route)} ${route.gateway ?? ""} ${route.source ?? ""}`;
    const ways = new Set(wanted.map(way));
    const standing = host.reading.routes.filter((route) => route.protocol === routeProtocol && route.table === mainTable && route.type === unicast);
    const known = new Set(standing.map(key));
    // One of the same way is replaced, in one step.
    for (const route of standing) if (!ways.has(way(route))) await netlink.deleteRoute({ destination: route.destination, index: route.index });
    for (const route of wanted) if (!known.has(key(route))) await netlink.replaceRoute({ ...route, protocol: routeProtocol });
  };

  /** Whoever goes, or is somebody else now, takes the flows of his address with him (R58). */
  const writeRemotes = async (next: ClusterPlan["remotes"], gone: readonly Ip[]): Promise<void> => {
    const whole = remotes === undefined;
    const others = await installRemotes(tables.remotes, next, remotes, gone, mostFlushed);
    remotes = next;
    if (await room.remotes.note(others.left, () => next.size, whole)) {
      const { left } = await installRemotes(tables.remotes, next, undefined, [], mostFlushed);
      await room.remotes.note(left, () => next.size, true);
    }
    tellShort();
    if (others.count === 0) return;
    if (others.count <= mostFlushed) for (const address of others.moved) conntrack.flushAddress(address);
    policy.touch();
  };

  /** @returns whether so much has become free that those which found no room should be tried again. */
  const noteNames = async ({ left }: InstalledNames, wanted: ClusterPlan["names"], whole: boolean): Promise<boolean> => {
    const again = await room.names.note(left.names, () => wanted.size, whole);
    return (await room.pointers.note(left.addresses, () => addressesIn(wanted), whole)) || again;
  };

  const writeNames = async (next: ClusterPlan["names"], known: (address: Ip) => boolean): Promise<void> => {
    if (next === names) return;
    try {
      const done = await installNames(tables, next, names === undefined ? {} : { before: names, known });
      if (await noteNames(done, next, names === undefined)) await noteNames(await installNames(tables, next), next, true);
      names = next;
      tellShort();
    } catch (error) {
      // What it left half-done is compared with the maps the next time.
      names = undefined;
      log.warn("names of containers on other nodes could not be written; it is tried again", { error });
    }
  };

  const install = async (next: ClusterPlan): Promise<void> => {
    const nodesChange = next.nodes !== plan.nodes || next.pools !== plan.pools || next.kind !== plan.kind;
    const remotesChange = next.remotes !== plan.remotes || remotes === undefined;
    const namesChange = next.names !== plan.names || names === undefined;
    // Who is gone is unpublished before his node goes, and who comes is published after it has come.
    const gone = remotesChange ? await removeRemotes(tables.remotes, next.remotes, remotes) : [];
    plan = next;
    if (nodesChange) writeNodes();
    if (remotesChange) await writeRemotes(next.remotes, gone);
    if (namesChange) {
      naming = naming.then(() => writeNames(next.names, (address) => next.remotes.has(address)));
      // A hundred thousand take seconds, for which nobody's start nor the next change waits.
      await Promise.race([naming, setTimeout(namesWaited, undefined, { ref: false })]);
    }
    if (nodesChange && host !== undefined) {
      host = { ...host, reading: { ...host.reading, routes: await netlink.routes() } };
      await writeRoutes();
    }
  };

  /** It has turns for others in between: one that was given up after its time must not go on beside the next. */
  const installAfter = async (earlier: Promise<void>, next: ClusterPlan): Promise<void> => {
    await earlier.catch(() => undefined);
    try {
      await install(next);
    } catch (error) {
      // What it leaves half-done is read from the maps.
      remotes = undefined;
      throw error;
    }
  };

  return {
    install: (next) => (installing = installAfter(installing, next)),
    hostChanged: async (reading, facts, known) => {
      host = { reading, facts, known };
      if (plan === noPlan) return;
      writeNodes();
      await writeRoutes();
    },
    addressOf: (node) => {
      const families = new Set(host?.facts.nodeAddresses.map(familyOf));
      return plan.nodes.find(({ name }) => name === node)?.addresses.find((address) => families.has(familyOf(address)));
    },
    get problems() {
      return problemsOf(room);
    },
  };
}

/** Each counts once in each of its networks. */
function addressesIn(names: ClusterPlan["names"]): number {
  const known = new Set<string>();
  for (const [key, addresses] of names) for (const address of addresses) known.add(`${key.slice(0, key.indexOf("/"))} ${address}`);
  return known.size;
}

function problemsOf({ remotes, names, pointers }: Readonly<Record<"remotes" | "names" | "pointers", Room>>): readonly string[] {
  return [
    ...(remotes.short === 0 ? [] : [
      `addresses of containers on other nodes without room: ${remotes.short} (hw_remotes holds ${remotes.capacity}); nothing passes between them and this node: run fewer containers, turn IPv6 off (pool.ipv6: null), or make two installations (store.prefix and pool)`,
    ]),
    ...(names.short + pointers.short === 0 ? [] : [
      `names of containers on other nodes without room: ${names.short} (hw_names holds ${names.capacity}), and addresses to ask the names of: ${pointers.short} (hw_pointers holds ${pointers.capacity}); they cannot be asked for here: a node keeps the names of the networks that it has itself, so use smaller networks, fewer aliases, or fewer networks here`,
    ]),
  ];
}

function wantedOf(plan: ClusterPlan, routing: Routing | null, facts: HostFacts | undefined): Wanted {
  const nodes = new Map<number, Node>();
  const peers = new Map<Ip, number>();
  const balancers = new Map<number, number>();
  const slices = new Map<Cidr, number>(plan.pools.map((pool) => [networkOf(pool), 0]));
  for (const node of plan.nodes) {
    const address = reachedBy(node, facts);
    if (address === undefined) continue;
    const path = Math.min(node.mtu, facts?.uplinkMtu ?? node.mtu) - (routing?.mode === "overlay" ? overhead[familyOf(address)] : 0);
    // Linux cuts up a tunnel's IPv4 packets, but not its IPv6 ones.
    nodes.set(node.number, { address, mtu: familyOf(address) === 4 ? Math.max(smallestMtu, path) : path, flags: plan.kind === "static" ? NodeFlags.STATIC : 0 });
    for (const one of node.addresses) {
      peers.set(one, node.number);
      if (familyOf(one) === 6) balancers.set(hashOfAddress(one), node.number);
    }
    for (const slice of node.slices) slices.set(networkOf(slice), node.number);
  }
  return { nodes, peers, balancers, slices };
}

/** The first of its addresses that this node has the family for. */
function reachedBy(node: NodePlan, facts: HostFacts | undefined): Ip | undefined {
  const families = new Set<Family>(facts?.nodeAddresses.map((address) => familyOf(address)));
  return node.addresses.find((address) => families.has(familyOf(address))) ?? node.addresses[0];
}

/**
 * Overlay: the host's own way to each slice is by hwhost, in its own name; not to the whole pool, because Docker takes no subnet that a route
 * of the host's overlaps. Native: by the slice's node, where that is on a subnet of ours; what lies beyond a router is a routing daemon's.
 * Both from an address by which others know this node, where we know one.
 */
function routesOf(plan: ClusterPlan, routing: Routing | null, { reading, facts, known }: HostNow): readonly WantedRoute[] {
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
    if (index === undefined) return [];
    const source = known.by.get(index)?.[familyOf(slice) === 4 ? "ipv4" : "ipv6"] ?? null;
    return [{ destination: networkOf(slice), index, gateway, ...(source === null ? {} : { source }) }];
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
