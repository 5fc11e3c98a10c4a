// The state as users read it: endpoints, networks and published ports, in the contract's words.
import type { Endpoint, Network, NetworkId, State } from "../network/types.ts";
import type { PolicyTables } from "../policy/types.ts";
import { addressOf } from "../std/ip.ts";
import type { EndpointView, NetworkView, PortView } from "./types.ts";

export function endpointViews(state: State, node: string, tables: PolicyTables | null): readonly EndpointView[] {
  return [...state.endpoints.values()].map((endpoint) => {
    const network = state.networks.get(endpoint.network);
    return {
      id: endpoint.id,
      name: endpoint.container?.name ?? "",
      containerId: endpoint.container?.id ?? "",
      network: nameOf(network, endpoint.network),
      networkId: endpoint.network,
      node,
      ipv4: endpoint.ipv4 === null ? "" : addressOf(endpoint.ipv4),
      ipv6: endpoint.ipv6 === null ? "" : addressOf(endpoint.ipv6),
      mac: endpoint.mac,
      identity: endpoint.identity,
      labels: endpoint.container?.labels ?? {},
      state: endpoint.state,
      hostInterface: endpoint.hostInterface,
      default: defaultsOf(tables, endpoint.identity, network),
      mtu: endpoint.mtu,
      ports: endpoint.ports,
      notes: endpoint.container?.notes ?? [],
    };
  });
}

/** Containers that somebody else wired, in the same words. */
export function guestViews(state: State, node: string, tables: PolicyTables | null): readonly EndpointView[] {
  return [...state.guests.values()].map((guest) => ({
    id: guest.id as EndpointView["id"],
    name: guest.name,
    containerId: guest.containerId,
    network: guest.network,
    networkId: "" as EndpointView["networkId"],
    node,
    ipv4: guest.ipv4 ?? "",
    ipv6: guest.ipv6 ?? "",
    mac: guest.mac,
    identity: guest.identity,
    labels: guest.labels,
    state: "ready",
    hostInterface: guest.device,
    default: defaultsOf(tables, guest.identity, undefined),
    mtu: 0,
    ports: [],
    notes: ["wired by somebody else: Hawser judges its packets and does not carry them"],
  }));
}

/** Containers on other nodes, as those told of them; what happens by default is what this node would do. */
export function remoteViews(state: State, tables: PolicyTables | null): readonly EndpointView[] {
  const networks = new Map([...state.networks.values()].map((network) => [nameOf(network, network.id), network]));
  return [...state.cluster.endpoints.values()].map((endpoint) => {
    const { id, name, containerId, network, node, ipv4, ipv6, mac, identity, labels } = endpoint;
    const home = networks.get(network);
    return {
      id: id as EndpointView["id"], name, containerId, network, networkId: home?.id ?? ("" as EndpointView["networkId"]), node, ipv4: ipv4 ?? "", ipv6: ipv6 ?? "", mac,
      identity, labels: labels.own, state: "ready", hostInterface: "", default: defaultsOf(tables, identity, home), mtu: 0, ports: [], notes: [],
    };
  });
}

function defaultsOf(tables: PolicyTables | null, identity: number, network: Network | undefined): EndpointView["default"] {
  const row = tables?.classes.get(identity);
  return {
    in: row?.denyIn === true || network?.icc === false ? "deny" : "allow",
    out: row?.denyOut === true || network?.internal === true ? "deny" : "allow",
  };
}

export function networkViews(state: State): readonly NetworkView[] {
  const sizes = new Map<NetworkId, number>();
  for (const { network } of state.endpoints.values()) sizes.set(network, (sizes.get(network) ?? 0) + 1);
  return [...state.networks.values()].map((network) => ({
    id: network.id,
    name: nameOf(network, network.id),
    ipv4: network.ipv4?.prefix ?? "",
    gateway4: network.ipv4?.gateway ?? "",
    ipv6: network.ipv6?.prefix ?? "",
    gateway6: network.ipv6?.gateway ?? "",
    internal: network.internal,
    endpoints: sizes.get(network.id) ?? 0,
    mtu: network.mtu,
    options: network.options,
  }));
}

export function portViews(state: State): readonly PortView[] {
  return [...state.endpoints.values()].flatMap((endpoint) => endpoint.ports.map((port) => ({ ...head(state, endpoint), ...port })));
}

function head(state: State, endpoint: Endpoint): Pick<PortView, "container" | "containerId" | "endpoint" | "network"> {
  return {
    container: endpoint.container?.name ?? "",
    containerId: endpoint.container?.id ?? "",
    endpoint: endpoint.id,
    network: nameOf(state.networks.get(endpoint.network), endpoint.network),
  };
}

function nameOf(network: Network | undefined, id: NetworkId): string {
  return network?.name ?? id.slice(0, 12);
}
