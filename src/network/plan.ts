// What the state means on the host: the plans that steps carry, and the steps that build the whole datapath.
import type { Cidr, Ip } from "../std/ip.ts";
import { addressOf, familyOf } from "../std/ip.ts";
import type { CablePlan, Endpoint, EndpointPlan, GuestPlan, GuestRecord, Network, NetworkPlan, PortPlan, PublishedPort, State, Step } from "./types.ts";

/**
 * All steps that build the datapath of a state, in order; what makes a thing reachable comes after what it needs.
 * Ports are not claimed: they are ours already.
 */
export function desired(state: State): readonly Step[] {
  const steps: Step[] = [];
  for (const network of state.networks.values()) steps.push({ kind: "network", network: networkPlan(network) });
  for (const [endpoint] of pairs(state)) {
    const cable = cablePlan(endpoint);
    steps.push({ kind: "cable", cable }, { kind: "attach", cable });
  }
  for (const [endpoint, network] of pairs(state)) {
    if (endpoint.joined) steps.push({ kind: "endpoint", endpoint: endpointPlan(endpoint, network) });
  }
  for (const guest of state.guests.values()) steps.push({ kind: "guest", guest: guestPlan(guest) });
  for (const [endpoint, network] of pairs(state)) {
    for (const port of endpoint.ports) steps.push({ kind: "port", port: portPlan(endpoint, network, port) });
  }
  return steps;
}

export function networkPlan(network: Network): NetworkPlan {
  const { number, ipv4, ipv6, internal, icc, masquerade, snat4, snat6 } = network;
  return { number, ipv4, ipv6, internal, icc, masquerade, snat4, snat6, key: networkKey(network.name) };
}

/** FNV-1a (draft-eastlake-fnv) of the name, folded to 23 bits, never one of the first 256 (enum hw_tunnel_key); 0: no name. */
export function networkKey(name: string | null): number {
  if (name === null) return 0;
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const folded = (hash >>> 23 ^ hash) & 0x7f_ffff;
  return folded < 256 ? folded + 256 : folded;
}

export function cablePlan(endpoint: Endpoint): CablePlan {
  const { hostInterface, containerInterface, mac, mtu } = endpoint;
  return { hostInterface, containerInterface, mac, mtu };
}

export function endpointPlan(endpoint: Endpoint, network: Network): EndpointPlan {
  const { hostInterface, mac, mtu, identity } = endpoint;
  const { number, internal, icc, masquerade } = network;
  return {
    hostInterface, network: number, ipv4: bare(endpoint.ipv4), ipv6: bare(endpoint.ipv6), mac, mtu, internal, icc, masquerade, identity,
  };
}

export function guestPlan({ device, ifindex, ipv4, ipv6, mac, identity }: GuestRecord): GuestPlan {
  return { device, ifindex, ipv4, ipv6, mac, identity };
}

/** The backend is of the host address's family where the endpoint has one; else the sock-lb translates from ::1 to IPv4. */
export function portPlan(endpoint: Endpoint, network: Network, port: PublishedPort): PortPlan {
  const { protocol, hostIp, hostPort, containerPort } = port;
  const [same, other] = familyOf(hostIp) === 4 ? [endpoint.ipv4, endpoint.ipv6] : [endpoint.ipv6, endpoint.ipv4];
  const address = bare(same ?? other);
  if (address === null) throw new RangeError(`endpoint ${endpoint.id} has no address to publish`);
  return { protocol, hostIp, hostPort, address, containerPort, network: network.number };
}

/** Takes an endpoint off the host again, reachability first. */
export function removalOf(endpoint: Endpoint, network: Network): readonly Step[] {
  const cable = cablePlan(endpoint);
  return [...unpublishing(endpoint, network), { kind: "detach", cable }, { kind: "removeCable", cable }];
}

/** Makes an endpoint unreachable, its ports first. */
export function unpublishing(endpoint: Endpoint, network: Network): readonly Step[] {
  const steps: Step[] = endpoint.ports.map((port) => ({ kind: "removePort", port: portPlan(endpoint, network, port) }));
  if (endpoint.joined) steps.push({ kind: "removeEndpoint", endpoint: endpointPlan(endpoint, network) });
  return steps;
}

function bare(cidr: Cidr | null): Ip | null {
  return cidr === null ? null : addressOf(cidr);
}

function* pairs(state: State): Generator<readonly [Endpoint, Network]> {
  for (const endpoint of state.endpoints.values()) {
    const network = state.networks.get(endpoint.network);
    if (network) yield [endpoint, network];
  }
}
