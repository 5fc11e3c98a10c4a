// A container that somebody else wired: judged at the host end of its veth, never carried for. The device is never ours to change.
import { NetworkFlags } from "../abi/generated.ts";
import type { Endpoint } from "../abi/generated.ts";
import type { GuestPlan } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import { isOurDevice } from "./host.ts";
import type { Host } from "./host.ts";

export const guestPrograms = [
  { program: "from_guest", hook: "ingress" },
  { program: "to_guest", hook: "egress" },
] as const;

/** What a packet may measure is for its own wire to say. */
const anyMtu = 65_535;

/**
 * The maps know it before its programs ask them. Flows that conntrack knows of its addresses, when another device or MAC had them, were those of
 * a stranger and are forgotten.
 * @throws HawserError KERNEL when the device is another or gone, IN_USE when an endpoint of ours has the device or an address
 */
export async function publishGuest(host: Host, plan: GuestPlan): Promise<void> {
  const { endpoints, addresses } = host.tables;
  const link = await host.link(plan.device);
  if (link.index !== plan.ifindex) {
    throw new HawserError("KERNEL", `device ${plan.device} is number ${link.index} and not ${plan.ifindex}: it was made anew meanwhile`);
  }
  refuseOurs(host, plan);
  const known = endpoints.get(plan.ifindex);
  const entry = entryOf(plan);
  for (const address of [known?.ipv4, known?.ipv6].filter((one) => one !== undefined && one !== null)) {
    if (!addressesOf(plan).includes(address)) forget(host, address, plan.ifindex);
  }
  endpoints.set(plan.ifindex, entry);
  for (const address of addressesOf(plan)) {
    const holder = addresses.get(address);
    addresses.set(address, entry);
    if (holder?.ifindex !== plan.ifindex || holder.mac !== plan.mac) host.conntrack.flushAddress(address);
  }
  if (known !== undefined && known.identity !== plan.identity) host.policy.touch();
  for (const { program, hook } of guestPrograms) host.attachments.attach(program, plan.device, plan.ifindex, hook);
}

/** Its programs go first: what is no guest any more is left alone, not cut off. */
export async function removeGuest(host: Host, plan: GuestPlan): Promise<void> {
  const { endpoints } = host.tables;
  const link = await host.netlink.link(plan.device);
  const heir = link !== undefined && link.index !== plan.ifindex && isGuest(endpoints.get(link.index));
  if (!heir) {
    const index = link?.index === plan.ifindex ? plan.ifindex : undefined;
    for (const { program, hook } of guestPrograms.toReversed()) host.attachments.detach(program, plan.device, index, hook);
  }
  for (const address of addressesOf(plan).toReversed()) forget(host, address, plan.ifindex);
  const known = endpoints.get(plan.ifindex);
  if (isGuest(known) && known?.mac === plan.mac) endpoints.delete(plan.ifindex);
}

export function isGuest(entry: Endpoint | undefined): boolean {
  return entry !== undefined && (entry.flags & NetworkFlags.GUEST) !== 0;
}

function forget(host: Host, address: Ip, ifindex: number): void {
  const entry = host.tables.addresses.get(address);
  if (entry === undefined || !isGuest(entry) || entry.ifindex !== ifindex) return;
  host.tables.addresses.delete(address);
  host.conntrack.flushAddress(address);
}

function refuseOurs(host: Host, plan: GuestPlan): void {
  const holder = host.tables.endpoints.get(plan.ifindex);
  if (isOurDevice(plan.device) || (holder !== undefined && !isGuest(holder))) {
    throw new HawserError("IN_USE", `device ${plan.device} is an endpoint of Hawser's own and no guest`);
  }
  for (const address of addressesOf(plan)) {
    const entry = host.tables.addresses.get(address);
    if (entry === undefined || isGuest(entry)) continue;
    throw new HawserError("IN_USE", `address ${address} of ${plan.device} belongs to an endpoint of Hawser's own; give the container another`);
  }
}

function addressesOf(plan: GuestPlan): Ip[] {
  return [plan.ipv4, plan.ipv6].filter((address) => address !== null);
}

function entryOf(plan: GuestPlan): Endpoint {
  const { ifindex, identity, ipv4, ipv6, mac } = plan;
  return { ifindex, network: 0, identity, mtu: anyMtu, ipv4, ipv6, mac, flags: NetworkFlags.GUEST };
}
