// RequestAddress: one address of a pool, the one asked for or the next free one.
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import { contains, familyOf, formatIp, ipToBigInt, lengthOf, parseIp } from "../std/ip.ts";
import type { RemoteEndpoint } from "./cluster.ts";
import { remoteOwners } from "./cluster-plan.ts";
import type { RequestAddress } from "./commands.ts";
import { isDead } from "./dead.ts";
import { addressesOf, withPool } from "./state.ts";
import type { Span } from "./subnet.ts";
import { isUsable, usableIn } from "./subnet.ts";
import type { Context, Decision, Pool, State } from "./types.ts";

/** Answers `address/length`. @throws HawserError NOT_FOUND, BAD_REQUEST, IN_USE, NO_FREE_ADDRESS */
export function requestAddress(state: State, command: RequestAddress, context: Context): Decision<string> {
  const pool = state.pools.get(command.pool);
  if (!pool) throw new HawserError("NOT_FOUND", `address pool ${command.pool} is not known to Hawser; it is taken over from Docker within 30 seconds, try again`);
  const named = command.address !== "";
  const elsewhere = takenElsewhere(state, pool);
  const address = named ? exactly(state, pool, command.address, elsewhere, context) : anyOf(pool, command.purpose, elsewhere);
  const allocated = { ...pool.allocated, [address]: { purpose: command.purpose, at: context.now } };
  // A gateway is not taken from the round, so that a network's first container gets the address after it.
  const next = named || command.purpose === "gateway" ? pool.next : formatIp(ipToBigInt(address) + 1n, pool.family);
  return { next: withPool(state, { ...pool, allocated, next }), steps: [], reply: `${address}/${lengthOf(pool.prefix)}` };
}

/** A subnet that the user names may be the same on several nodes; of this node's own slice nobody else has any. */
function takenElsewhere({ cluster }: State, pool: Pool): ReadonlyMap<Ip, RemoteEndpoint> {
  return pool.automatic ? new Map() : remoteOwners(cluster.endpoints);
}

function exactly(state: State, pool: Pool, text: string, elsewhere: ReadonlyMap<Ip, RemoteEndpoint>, context: Context): Ip {
  const address = parseIp(text.split("/", 1)[0] ?? "", "Address");
  if (familyOf(address) !== pool.family || !contains(pool.prefix, address)) {
    throw new HawserError("BAD_REQUEST", `Address: ${address} does not lie in the subnet ${pool.prefix}`);
  }
  if (!isUsable(pool.prefix, address)) {
    throw new HawserError("BAD_REQUEST", `Address: ${address} is the network's own or broadcast address in ${pool.prefix}; choose another`);
  }
  const held = pool.allocated[address];
  const holder = [...state.endpoints.values()].find((endpoint) => addressesOf(endpoint).includes(address));
  if (held && !(held.purpose === "endpoint" && holder && isDead(holder, context))) throw new HawserError("IN_USE", `address ${address} of ${pool.prefix} is in use already (${held.purpose}); choose another`);
  const other = elsewhere.get(address);
  if (other !== undefined) throw new HawserError("IN_USE", `address ${address} of ${pool.prefix} is container ${other.name}'s on node ${other.node}; choose another`);
  return address;
}

/** Next fit: the search goes on where the last one ended, so that a freed address rests as long as it can (R58). */
function anyOf(pool: Pool, purpose: RequestAddress["purpose"], elsewhere: ReadonlyMap<Ip, RemoteEndpoint>): Ip {
  const span = usableIn(pool.prefix, pool.range);
  const start = purpose === "gateway" ? span.first : startOf(pool, span);
  const found = search(pool, { first: start, last: span.last }, elsewhere) ?? search(pool, { first: span.first, last: start - 1n }, elsewhere);
  if (found) return found;
  const larger = pool.range ? "--subnet or --ip-range" : "--subnet";
  throw new HawserError(
    "NO_FREE_ADDRESS", `no address of ${pool.range ?? pool.prefix} is free; remove containers, or create a network with a larger ${larger}`,
  );
}

function startOf(pool: Pool, span: Span): bigint {
  if (pool.next === null) return span.first;
  const value = ipToBigInt(pool.next);
  return value < span.first || value > span.last ? span.first : value;
}

function search(pool: Pool, span: Span, elsewhere: ReadonlyMap<Ip, RemoteEndpoint>): Ip | undefined {
  for (let value = span.first; value <= span.last; value++) {
    const address = formatIp(value, pool.family);
    if (!Object.hasOwn(pool.allocated, address) && !elsewhere.has(address)) return address;
  }
  return undefined;
}
