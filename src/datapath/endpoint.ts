// One endpoint in the maps: known by its device first, reachable by its addresses last.
import type { Endpoint } from "../abi/generated.ts";
import type { EndpointPlan } from "../network/types.ts";
import type { Ip } from "../std/ip.ts";
import type { Host } from "./host.ts";
import { joinGroups, leaveGroups } from "./members.ts";
import { flagsOf } from "./network.ts";

/**
 * Whatever conntrack still knows of the addresses belonged to someone else and is forgotten before they answer again (R58).
 * An endpoint that stands already is left alone, with its flows (R11).
 */
export async function publishEndpoint(host: Host, plan: EndpointPlan): Promise<void> {
  const { endpoints, addresses } = host.tables;
  const link = await host.link(plan.hostInterface);
  const known = endpoints.get(link.index);
  const entry = entryOf(plan, link.index);
  const stale = addressesOf(plan).filter((address) => !sameEndpoint(addresses.get(address), entry));
  if (stale.length > 0 || !sameEndpoint(known, entry)) {
    for (const address of stale) {
      if (addresses.get(address)?.ifindex !== entry.ifindex) host.conntrack.flushAddress(address);
    }
    const other = [known, ...addressesOf(plan).map((address) => addresses.get(address))]
      .some((one) => one !== undefined && isOf(plan, one) && one.identity !== plan.identity);
    endpoints.set(link.index, entry);
    for (const address of addressesOf(plan)) addresses.set(address, entry);
    if (other) host.policy.touch(); // its flows were judged as another's
  }
  joinGroups(host.tables, entry.network, link.index);
  if (!link.up) await host.netlink.setLink(link.index, { up: true });
}

/**
 * Entries that meanwhile belong to another endpoint stay. The host end goes down first: what a namespace in its last
 * breath still sends is then no packet of an unknown endpoint.
 */
export async function withdrawEndpoint(host: Host, plan: EndpointPlan): Promise<void> {
  const { endpoints, addresses } = host.tables;
  const link = await host.netlink.link(plan.hostInterface);
  if (link?.up === true) await host.netlink.setLink(link.index, { up: false });
  for (const address of addressesOf(plan).toReversed()) {
    const entry = addresses.get(address);
    if (entry === undefined || isOf(plan, entry)) {
      addresses.delete(address);
      host.conntrack.flushAddress(address);
    }
  }
  if (link !== undefined) {
    leaveGroups(host.tables, plan.network, link.index);
    endpoints.delete(link.index);
    return;
  }
  // The device went with the container's namespace: its number is known to the entry alone.
  for (const [index, entry] of endpoints.entries()) {
    if (!isOf(plan, entry)) continue;
    leaveGroups(host.tables, plan.network, index);
    endpoints.delete(index);
  }
}

function addressesOf(plan: EndpointPlan): Ip[] {
  return [plan.ipv4, plan.ipv6].filter((address) => address !== null);
}

function entryOf(plan: EndpointPlan, ifindex: number): Endpoint {
  return {
    ifindex,
    network: plan.network,
    identity: plan.identity,
    mtu: plan.mtu,
    ipv4: plan.ipv4,
    ipv6: plan.ipv6,
    mac: plan.mac,
    flags: flagsOf({ ...plan, ipv6: plan.ipv6 !== null }),
  };
}

function isOf(plan: EndpointPlan, entry: Endpoint): boolean {
  return entry.network === plan.network && entry.mac === plan.mac && entry.ipv4 === plan.ipv4 && entry.ipv6 === plan.ipv6;
}

function sameEndpoint(a: Endpoint | undefined, b: Endpoint): boolean {
  return (
    a !== undefined && a.ifindex === b.ifindex && a.network === b.network && a.identity === b.identity && a.mtu === b.mtu &&
    a.ipv4 === b.ipv4 && a.ipv6 === b.ipv6 && a.mac === b.mac && a.flags === b.flags
  );
}
