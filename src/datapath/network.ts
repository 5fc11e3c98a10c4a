// The host's side of one network: its gateway addresses and routes on hwhost, and its entries in the maps.
import { HostAddressFlags, NetworkFlags, TunnelKey } from "../abi/generated.ts";
import type { NetworkPlan, Subnet } from "../network/types.ts";
import { bitsOf, cidrOf, familyOf, lastOf, lengthOf, networkOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import type { Host } from "./host.ts";

export async function makeNetwork(host: Host, plan: NetworkPlan): Promise<void> {
  await writeNetwork(host, plan);
  host.networks.set(plan.number, plan);
}

/** Routes come last: they are what makes the network reachable for the host. */
export async function writeNetwork(host: Host, plan: NetworkPlan): Promise<void> {
  host.tables.networks.set(plan.number, {
    gateway4: plan.ipv4?.gateway ?? null,
    gateway6: plan.ipv6?.gateway ?? null,
    snat4: plan.snat4,
    snat6: plan.snat6,
    flags: flagsOf({ ...plan, ipv6: plan.ipv6 !== null }),
    broadcast4: plan.ipv4 === null ? 0 : broadcastOf(plan.ipv4.prefix),
    key: plan.key === 0 || !plan.internal ? plan.key : plan.key + TunnelKey.INTERNAL,
  });
  for (const subnet of subnetsOf(plan)) {
    host.tables.hostAddresses.set(subnet.gateway, { flags: HostAddressFlags.GATEWAY, network: plan.number });
    await host.netlink.addAddress(host.hostIndex, gatewayPrefix(subnet));
    await host.netlink.replaceRoute({ destination: networkOf(subnet.prefix), index: host.hostIndex, source: subnet.gateway });
  }
}

export async function removeNetwork(host: Host, plan: NetworkPlan): Promise<void> {
  host.networks.delete(plan.number);
  for (const subnet of subnetsOf(plan).toReversed()) {
    await host.netlink.deleteRoute({ destination: networkOf(subnet.prefix), index: host.hostIndex });
    await host.netlink.deleteAddress(host.hostIndex, gatewayPrefix(subnet));
    if (host.tables.hostAddresses.get(subnet.gateway)?.network === plan.number) host.tables.hostAddresses.delete(subnet.gateway);
  }
  host.tables.networks.delete(plan.number);
}

export function subnetsOf(plan: NetworkPlan): Subnet[] {
  return [plan.ipv4, plan.ipv6].filter((subnet) => subnet !== null);
}

/** /32 or /128: the subnet's own route is ours to make, with the gateway as source address. */
export function gatewayPrefix(subnet: Subnet): Cidr {
  return cidrOf(subnet.gateway, bitsOf(familyOf(subnet.gateway)));
}

/** As a number; 0 where the subnet has none (RFC 3021). */
function broadcastOf(prefix: Cidr): number {
  return lengthOf(prefix) > 30 ? 0 : Number(lastOf(prefix));
}

export function flagsOf(has: { readonly internal: boolean; readonly icc: boolean; readonly masquerade: boolean; readonly ipv6: boolean }): number {
  return (
    (has.internal ? NetworkFlags.INTERNAL : 0) |
    (has.icc ? 0 : NetworkFlags.NO_ICC) |
    (has.masquerade ? NetworkFlags.MASQUERADE : 0) |
    (has.ipv6 ? NetworkFlags.IPV6 : 0)
  );
}
