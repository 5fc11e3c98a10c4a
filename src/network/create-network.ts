// CreateNetwork: every option and subnet is checked before the network is put on the host.
import { HawserError } from "../std/errors.ts";
import type { Family, Ip } from "../std/ip.ts";
import { addressOf, contains, familyOf, formatIp, parseCidr, parseIp } from "../std/ip.ts";
import type { CreateNetwork, SubnetRequest } from "./commands.ts";
import { parseNetworkOptions } from "./options.ts";
import { networkPlan } from "./plan.ts";
import { shortId, withNetwork, withPool } from "./state.ts";
import type { Taken } from "./subnet.ts";
import { isUsable, parseSubnet, refuseOverlap, takenBlocks, usable } from "./subnet.ts";
import type { Context, Decision, Network, PoolId, State, Subnet } from "./types.ts";

/** @throws HawserError BAD_REQUEST, BAD_OPTION, UNSUPPORTED, OVERLAP, ALREADY_EXISTS */
export function createNetwork(state: State, command: CreateNetwork, context: Context): Decision<void> {
  const options = parseNetworkOptions(command.options, command.enableIpv6, context.hostPrefixes.map(addressOf));
  if (!command.enableIpv4 && !command.enableIpv6) {
    throw new HawserError("BAD_REQUEST", "a network needs IPv4 or IPv6; leave out --ipv4=false or add --ipv6");
  }
  if (command.enableIpv6 && !context.ipv6) {
    throw new HawserError("UNSUPPORTED", "this node does not speak IPv6; create the network without --ipv6, or turn IPv6 on (pool.ipv6)");
  }
  const existing = state.networks.get(command.id);
  const asked4 = command.enableIpv4 ? only(command.ipv4, 4) : null;
  const asked6 = command.enableIpv6 ? only(command.ipv6, 6) : null;
  if (existing) return again(state, existing, command);

  const taken = takenBlocks(state, context);
  const ipv4 = asked4 && subnetOf(state, asked4, 4, taken);
  const ipv6 = asked6 && subnetOf(state, asked6, 6, taken);
  const network: Network = {
    id: command.id,
    number: numberFor(state, command.id),
    name: null,
    ipv4,
    ipv6,
    internal: command.internal,
    createdAt: context.now,
    options: command.options,
    ...options,
  };
  const reserved = [asked4, asked6].reduce((next, asked) => (asked ? reserveAux(next, asked, context) : next), state);
  return { next: withNetwork(reserved, network), steps: [{ kind: "network", network: networkPlan(network) }], reply: undefined };
}

/** Docker repeats a request whose connection broke; the same network again is no fault. */
function again(state: State, existing: Network, command: CreateNetwork): Decision<void> {
  const same =
    existing.internal === command.internal &&
    samePrefix(existing.ipv4, command.enableIpv4 ? command.ipv4[0] : undefined) &&
    samePrefix(existing.ipv6, command.enableIpv6 ? command.ipv6[0] : undefined) &&
    JSON.stringify(Object.entries(existing.options).toSorted()) === JSON.stringify(Object.entries(command.options).toSorted());
  if (same) return { next: state, steps: [], reply: undefined };
  throw new HawserError("ALREADY_EXISTS", `network ${shortId(command.id)} exists already with other settings; remove it first`);
}

function samePrefix(subnet: Subnet | null, asked: SubnetRequest | undefined): boolean {
  if (!subnet || !asked) return !subnet && !asked;
  return subnet.prefix === parseSubnet(asked.pool, "Pool") && (asked.gateway === null || subnet.gateway === gatewayOf(asked.gateway));
}

function only(requests: readonly SubnetRequest[], family: Family): SubnetRequest {
  const [first, second] = requests;
  if (!first) throw new HawserError("BAD_REQUEST", `IPv${family}Data: Docker gave no IPv${family} subnet; give --subnet`);
  if (second) {
    const both = `${first.pool} and ${second.pool}`;
    throw new HawserError("UNSUPPORTED", `IPv${family}Data: ${both}: a Hawser network has one IPv${family} subnet; create two networks`);
  }
  return first;
}

function subnetOf(state: State, asked: SubnetRequest, family: Family, taken: readonly Taken[]): Subnet {
  const what = `IPv${family}Data.Pool`;
  const prefix = parseSubnet(asked.pool, what);
  if (familyOf(prefix) !== family) throw new HawserError("BAD_REQUEST", `${what}: ${prefix} is not an IPv${family} prefix`);
  // The pool that our own IPAM driver gave out for this network is no obstacle to it.
  refuseOverlap(prefix, taken.filter((block) => block.prefix !== prefix || !block.isPool), what);
  const gateway = asked.gateway === null ? firstFree(state, asked, prefix) : gatewayOf(asked.gateway);
  if (!contains(prefix, gateway) || !isUsable(prefix, gateway)) {
    throw new HawserError("BAD_OPTION", `IPv${family}Data.Gateway: ${gateway} is no host's address in the subnet ${prefix} (--gateway)`);
  }
  for (const [name, text] of Object.entries(asked.aux)) {
    const address = addressIn(text, "AuxAddresses");
    const aux = `AuxAddresses: ${name}=${address}`;
    if (!contains(prefix, address)) throw new HawserError("BAD_OPTION", `${aux} does not lie in the subnet ${prefix} (--aux-address)`);
    if (address === gateway) throw new HawserError("BAD_OPTION", `${aux} is the gateway; choose another (--aux-address)`);
  }
  return { prefix, gateway };
}

function gatewayOf(text: string): Ip {
  return addressIn(text, "Gateway");
}

function addressIn(text: string, what: string): Ip {
  return text.includes("/") ? addressOf(parseCidr(text, what)) : parseIp(text, what);
}

function firstFree(state: State, asked: SubnetRequest, prefix: Subnet["prefix"]): Ip {
  const allocated = state.pools.get(prefix as string as PoolId)?.allocated ?? {};
  const aux = new Set(Object.values(asked.aux).map((text) => addressIn(text, "AuxAddresses")));
  const { first, last } = usable(prefix);
  for (let value = first; value <= last; value++) {
    const address = formatIp(value, familyOf(prefix));
    if (!aux.has(address) && !Object.hasOwn(allocated, address)) return address;
  }
  throw new HawserError("NO_FREE_ADDRESS", `no address of ${prefix} is free for the gateway; use a larger --subnet`);
}

/** Docker asks our IPAM driver for aux addresses as for any other; here we learn which they were, and keep them for good. */
function reserveAux(state: State, asked: SubnetRequest, context: Context): State {
  const pool = state.pools.get(parseSubnet(asked.pool, "Pool") as string as PoolId);
  const addresses = Object.values(asked.aux).map((text) => addressIn(text, "AuxAddresses"));
  if (!pool || addresses.length === 0) return state;
  const aux = Object.fromEntries(addresses.map((address) => [address, { purpose: "aux" as const, at: context.now }]));
  return withPool(state, { ...pool, allocated: { ...pool.allocated, ...aux } });
}

/**
 * A number for the BPF maps: 24 bits of the id, so that one that has just been freed does not come again while
 * conntrack entries or events may still carry it. On a clash the next free one.
 */
export function numberFor(state: State, id: string): number {
  const held = new Set([...state.networks.values()].map((network) => network.number));
  const parsed = Number.parseInt(id.slice(0, 6), 16);
  let number = Number.isNaN(parsed) ? 1 : parsed;
  while (number === 0 || held.has(number)) number = (number + 1) % 0x1000000;
  return number;
}
