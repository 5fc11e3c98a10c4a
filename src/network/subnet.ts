// Which addresses of a subnet may be given out, and which subnets may be used at all.
import { HawserError } from "../std/errors.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { addressOf, bitsOf, cidrOf, contains, familyOf, firstOf, formatIp, ipToBigInt, lastOf, lengthOf, overlaps, parseCidr } from "../std/ip.ts";
import { slicesOf } from "./cluster.ts";
import { gatewaysOf, nameOfNetwork } from "./state.ts";
import type { Context, State } from "./types.ts";

export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

/** Special-purpose blocks that can be no container network (RFC 6890). */
const unusable: readonly (readonly [Cidr, string])[] = (
  [
    ["0.0.0.0/8", "this network"], ["127.0.0.0/8", "loopback"], ["224.0.0.0/4", "multicast"], ["240.0.0.0/4", "reserved"],
    ["::/96", "loopback and IPv4-compatible"], ["::ffff:0:0/96", "IPv4-mapped"], ["fe80::/10", "link-local"], ["ff00::/8", "multicast"],
  ] as const
).map(([prefix, what]) => [prefix as Cidr, what]);

/**
 * Addresses that hosts may have: without the network and broadcast addresses of IPv4 and without IPv6's subnet-router
 * anycast address (RFC 4291, 2.6.1). Prefixes of two addresses use both (RFC 3021, RFC 6164).
 */
export function usable(prefix: Cidr): Span {
  const [first, last] = [firstOf(prefix), lastOf(prefix)];
  if (lengthOf(prefix) >= bitsOf(familyOf(prefix)) - 1) return { first, last };
  return familyOf(prefix) === 4 ? { first: first + 1n, last: last - 1n } : { first: first + 1n, last };
}

/** The usable addresses of `prefix` that lie in `range`, when there is one. */
export function usableIn(prefix: Cidr, range: Cidr | null): Span {
  const whole = usable(prefix);
  if (range === null) return whole;
  const [first, last] = [firstOf(range), lastOf(range)];
  return { first: first > whole.first ? first : whole.first, last: last < whole.last ? last : whole.last };
}

export function isUsable(prefix: Cidr, ip: Ip): boolean {
  if (!contains(prefix, ip)) return false;
  const { first, last } = usable(prefix);
  const value = ipToBigInt(ip);
  return first <= value && value <= last;
}

export function firstUsable(prefix: Cidr): Ip {
  return formatIp(usable(prefix).first, familyOf(prefix));
}

/** @throws HawserError BAD_REQUEST when the text is no prefix, BAD_OPTION when containers cannot have such addresses. */
export function parseSubnet(text: string, what: string): Cidr {
  const cidr = parseCidr(text, what);
  const family = familyOf(cidr);
  if (lengthOf(cidr) === bitsOf(family)) {
    throw new HawserError("BAD_OPTION", `${what}: ${cidr} has one address only; a network needs two or more (--subnet)`);
  }
  if (lengthOf(cidr) === 0) {
    throw new HawserError("UNSUPPORTED", `${what}: ${cidr} is no subnet; Hawser needs an IPAM driver that hands out addresses`);
  }
  const prefix = cidrOf(formatIp(firstOf(cidr), family), lengthOf(cidr));
  for (const [block, name] of unusable) {
    if (overlaps(block, prefix)) throw new HawserError("BAD_OPTION", `${what}: ${prefix} overlaps ${block} (${name}); choose another --subnet`);
  }
  return prefix;
}

export interface Taken {
  readonly prefix: Cidr;
  /** By whom, for messages. */
  readonly by: string;
  /** An address pool: no obstacle to the network that it was taken for. */
  readonly isPool: boolean;
}

/** Every block that a new pool or network must not overlap. */
export function takenBlocks(state: State, context: Context): readonly Taken[] {
  const taken: Taken[] = [];
  for (const network of state.networks.values()) {
    for (const subnet of [network.ipv4, network.ipv6]) {
      if (subnet) taken.push({ prefix: subnet.prefix, by: `network ${nameOfNetwork(network)}`, isPool: false });
    }
  }
  for (const pool of state.pools.values()) taken.push({ prefix: pool.prefix, by: "an address pool that Docker holds", isPool: true });
  for (const node of state.cluster.nodes.values()) {
    for (const slice of slicesOf(node)) taken.push({ prefix: slice, by: `node ${node.name}'s slice of the pool`, isPool: false });
  }
  for (const { address, service } of context.frontends()) taken.push({ prefix: cidrOf(address, bitsOf(familyOf(address))), by: `service ${service}`, isPool: false });
  const gateways = gatewaysOf(state);
  for (const prefix of context.hostPrefixes) {
    if (!gateways.has(addressOf(prefix))) taken.push({ prefix, by: `the host's own address ${addressOf(prefix)}`, isPool: false });
  }
  return taken;
}

/** @throws HawserError OVERLAP naming what is in the way. */
export function refuseOverlap(prefix: Cidr, taken: readonly Taken[], what: string): void {
  const found = taken.find((block) => overlaps(block.prefix, prefix));
  if (!found) return;
  throw new HawserError("OVERLAP", `${what}: ${prefix} overlaps ${found.prefix} of ${found.by}; choose another --subnet`);
}
