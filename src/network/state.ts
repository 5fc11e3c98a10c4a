// Small pure changes to the state, and the words by which messages call networks and endpoints.
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import { addressOf } from "../std/ip.ts";
import type { EndpointRef } from "./commands.ts";
import type { Endpoint, EndpointId, Network, NetworkId, Pool, PoolId, State } from "./types.ts";

export function withNetwork(state: State, network: Network): State {
  return { ...state, networks: new Map(state.networks).set(network.id, network) };
}

export function withoutNetwork(state: State, id: NetworkId): State {
  return { ...state, networks: without(state.networks, id) };
}

export function withEndpoint(state: State, endpoint: Endpoint): State {
  return { ...state, endpoints: new Map(state.endpoints).set(endpoint.id, endpoint) };
}

export function withoutEndpoint(state: State, id: EndpointId): State {
  return { ...state, endpoints: without(state.endpoints, id) };
}

export function withPool(state: State, pool: Pool): State {
  return { ...state, pools: new Map(state.pools).set(pool.id, pool) };
}

export function withoutPool(state: State, id: PoolId): State {
  return { ...state, pools: without(state.pools, id) };
}

export function endpointsOf(state: State, network: NetworkId): readonly Endpoint[] {
  return [...state.endpoints.values()].filter((endpoint) => endpoint.network === network);
}

/** The endpoint, if it is there and on the network that Docker says. */
export function findEndpoint(state: State, ref: EndpointRef): Endpoint | undefined {
  const endpoint = state.endpoints.get(ref.id);
  return endpoint?.network === ref.network ? endpoint : undefined;
}

/** @throws HawserError NOT_FOUND */
export function needEndpoint(state: State, ref: EndpointRef): Endpoint {
  const endpoint = findEndpoint(state, ref);
  if (endpoint) return endpoint;
  throw new HawserError("NOT_FOUND", `endpoint ${shortId(ref.id)} is not known on network ${shortId(ref.network)}; start the container again`);
}

/** @throws HawserError NOT_FOUND */
export function needNetwork(state: State, id: NetworkId): Network {
  const network = state.networks.get(id);
  if (network) return network;
  throw new HawserError(
    "NOT_FOUND",
    `network ${shortId(id)} is not known to Hawser; it is taken over from Docker within 30 seconds, see hawser network list`,
  );
}

/** Every address that a network's gateway holds: the host answers to them on hwhost. */
export function gatewaysOf(state: Pick<State, "networks">): ReadonlySet<Ip> {
  const gateways = new Set<Ip>();
  for (const network of state.networks.values()) {
    if (network.ipv4) gateways.add(network.ipv4.gateway);
    if (network.ipv6) gateways.add(network.ipv6.gateway);
  }
  return gateways;
}

export function addressesOf(endpoint: Endpoint): readonly Ip[] {
  return [endpoint.ipv4, endpoint.ipv6].filter((cidr) => cidr !== null).map(addressOf);
}

export function nameOfNetwork(network: Network): string {
  return network.name ?? shortId(network.id);
}

export function nameOfEndpoint(endpoint: Endpoint): string {
  return endpoint.container ? `container ${endpoint.container.name}` : `endpoint ${shortId(endpoint.id)}`;
}

/** The first 12 digits of an id, as Docker prints it. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}

function without<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}
