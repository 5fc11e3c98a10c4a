// Which routes containers need beside their default one, so that each of their networks reaches its containers on other nodes by its own interface.
import { familyOf, firstOf, lastOf, networkOf } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import { numbersOf } from "./cluster-plan.ts";
import { slicesOf } from "./cluster.ts";
import type { ClusterNode } from "./cluster.ts";
import type { ContainerRoutesPlan, Endpoint, EndpointId, Network, NetworkId, Route, State } from "./types.ts";

type Known = Pick<State, "cluster" | "networks" | "endpoints">;

export interface RoutePlanner {
  /** Of every container that is on an internal network, or on several; the same object while nothing of it changed. */
  plan(state: Known): ReadonlyMap<EndpointId, ContainerRoutesPlan>;
}

export function createRoutePlanner(): RoutePlanner {
  let known: Known | undefined;
  /** Of the networks that anybody needed them of so far. */
  let ways: ReadonlyMap<NetworkId, readonly Way[]> = new Map();
  let last: ReadonlyMap<EndpointId, ContainerRoutesPlan> = new Map();
  return {
    plan: (state) => {
      const before = known;
      known = state;
      const sameWays = before !== undefined && sameForWays(before, state);
      if (sameWays && before.endpoints === state.endpoints) return last;
      if (!sameWays) ways = new Map();
      const needy = [...needyOf(state)];
      const unknown = new Set(needy.map(([{ network }]) => network)).difference(ways);
      if (unknown.size > 0) ways = new Map([...ways, ...waysOf(state, [...unknown].flatMap((id) => state.networks.get(id) ?? []))]);
      const plans = new Map(needy.flatMap(([endpoint, first]) => {
        const plan = planOf(endpoint, state, first, ways.get(endpoint.network) ?? []);
        const old = last.get(endpoint.id);
        return plan === undefined ? [] : [[endpoint.id, old !== undefined && isSame(old, plan) ? old : plan] as const];
      }));
      if (plans.size !== last.size || [...plans].some(([id, plan]) => last.get(id) !== plan)) last = plans;
      return last;
    },
  };
}

/**
 * What Docker can be told at Join, so that it stands before the container's first packet. Docker fails the container's start over a route that is
 * there already (moby 20.10, osl/route_linux.go), so only ways into other nodes' slices are, which no network here and no other node can have, and
 * none that the container was given once on another network, or that a bridge of Docker's has. `hostPrefixes`: as the context's.
 */
export function routesAtJoin(state: Known, endpoint: Endpoint, hostPrefixes: readonly Cidr[]): readonly Route[] {
  const network = state.networks.get(endpoint.network);
  const needy = network && [...needyOf(state)].find(([{ id }]) => id === endpoint.id);
  if (!network || !needy) return [];
  const ways = waysOf(state, [network]).get(network.id) ?? [];
  const others = [...state.endpoints.values()].filter(({ id, sandboxKey }) => id !== endpoint.id && sandboxKey === endpoint.sandboxKey);
  const there = new Set([...others.flatMap(({ routes = [] }) => routes), ...hostPrefixes.map(networkOf)]);
  return routesOf(endpoint, state, needy[1], ways.filter(({ inSlice, route }) => inSlice && !there.has(route.destination)));
}

interface Way {
  readonly route: Route;
  readonly family: Family;
  readonly inSlice: boolean;
}

function sameForWays(a: Known, b: Known): boolean {
  return a.networks === b.networks && (a.cluster === b.cluster || (a.cluster.kind === b.cluster.kind && a.cluster.nodes === b.cluster.nodes && a.cluster.networks === b.cluster.networks));
}

/**
 * Endpoints whose container's default route does not lead to their network's containers elsewhere, or may not: it has none on an internal network, and one
 * alone on several. Each with whether it is the first of its container's.
 */
function* needyOf({ cluster, networks, endpoints }: Known): Generator<readonly [Endpoint, first: boolean]> {
  if (cluster.kind === "alone") return;
  const inside = [...endpoints.values()].filter(({ joined, sandboxKey }) => joined && sandboxKey !== null);
  for (const together of Map.groupBy(inside, ({ sandboxKey }) => sandboxKey).values()) {
    const sorted = together.toSorted((a, b) => Number(hasGiven(b)) - Number(hasGiven(a)) || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
    for (const endpoint of sorted) {
      const needs = sorted.length > 1 || endpoint.container?.several === true || networks.get(endpoint.network)?.internal === true;
      if (needs) yield [endpoint, endpoint === sorted[0]];
    }
  }
}

/** What Docker put into a container must not come there a second time. */
function hasGiven({ routes = [] }: Endpoint): boolean {
  return routes.length > 0;
}

function planOf(endpoint: Endpoint, state: Known, first: boolean, ways: readonly Way[]): ContainerRoutesPlan | undefined {
  const address = endpoint.ipv4 ?? endpoint.ipv6;
  if (address === null || endpoint.sandboxKey === null) return undefined;
  return { sandbox: endpoint.sandboxKey, address, routes: routesOf(endpoint, state, first, ways), given: endpoint.routes ?? [] };
}

/** Where nobody tells whose subnets are whose, the ways to all of them can be of one network only. */
function routesOf({ ipv4, ipv6 }: Endpoint, { cluster }: Known, first: boolean, ways: readonly Way[]): readonly Route[] {
  if (cluster.kind === "static" && !first) return [];
  return ways.filter(({ family }) => (family === 4 ? ipv4 : ipv6) !== null).map(({ route }) => route);
}

/** To the subnets that other nodes have of each network's name, but for those that a network here has itself. */
function waysOf({ cluster, networks }: Known, wanted: Iterable<Network>): ReadonlyMap<NetworkId, readonly Way[]> {
  const here = [...networks.values()].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].flatMap((subnet) => (subnet === null ? [] : [rangeOf(subnet.prefix)])));
  const elsewhere = elsewhereOf({ cluster, networks });
  const ways = new Map<NetworkId, readonly Way[]>();
  for (const { id, number, ipv4, ipv6 } of wanted) {
    const own = new Map<Cidr, Way>();
    for (const { destination, node } of elsewhere.get(cluster.kind === "static" ? 0 : number) ?? []) {
      const range = rangeOf(destination);
      const gateway = (range.family === 4 ? ipv4 : ipv6)?.gateway;
      if (gateway === undefined || here.some((one) => holds(one, range))) continue;
      own.set(destination, { route: { destination, gateway }, family: range.family, inSlice: slicesOf(node).some((slice) => holds(rangeOf(slice), range)) });
    }
    ways.set(id, [...own.values()].toSorted((a, b) => (a.route.destination < b.route.destination ? -1 : 1)));
  }
  return ways;
}

interface Elsewhere {
  readonly destination: Cidr;
  readonly node: ClusterNode;
}

/** By the number of the network here that has the name; by 0 what may be of any. */
function elsewhereOf({ cluster, networks }: Pick<Known, "cluster" | "networks">): ReadonlyMap<number, readonly Elsewhere[]> {
  const found = new Map<number, Elsewhere[]>();
  const numbers = numbersOf(networks);
  const add = (number: number, node: ClusterNode, subnets: readonly (Cidr | null)[]): void => {
    const list = found.get(number) ?? [];
    found.set(number, list);
    for (const destination of subnets) if (destination !== null) list.push({ destination, node });
  };
  for (const node of cluster.nodes.values()) {
    if (cluster.kind === "static") add(0, node, [node.ipv4, node.ipv6]);
    for (const { name, ipv4, ipv6 } of cluster.networks.get(node.name) ?? []) {
      const number = numbers.get(name);
      if (number !== undefined) add(number, node, [ipv4, ipv6]);
    }
  }
  return found;
}

interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

function rangeOf(cidr: Cidr): Range {
  return { family: familyOf(cidr), first: firstOf(cidr), last: lastOf(cidr) };
}

function holds(outer: Range, inner: Range): boolean {
  return outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;
}

function isSame(a: ContainerRoutesPlan, b: ContainerRoutesPlan): boolean {
  return a.sandbox === b.sandbox && a.address === b.address && a.given.join() === b.given.join()
    && a.routes.length === b.routes.length && a.routes.every(({ destination, gateway }, i) => b.routes[i]?.destination === destination && b.routes[i].gateway === gateway);
}
