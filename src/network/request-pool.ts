// RequestPool: a subnet that the user names, or a free one out of the node's own pool.
import { HawserError } from "../std/errors.ts";
import type { Cidr, Family } from "../std/ip.ts";
import { bitsOf, cidrOf, contains, familyOf, firstOf, formatIp, lastOf, lengthOf, networkOf, overlaps, parseCidr } from "../std/ip.ts";
import { slicesOf } from "./cluster.ts";
import type { RequestPool, RequestPoolReply } from "./commands.ts";
import { withPool } from "./state.ts";
import type { Taken } from "./subnet.ts";
import { parseSubnet, refuseOverlap, takenBlocks } from "./subnet.ts";
import type { Context, Decision, Pool, PoolId, State } from "./types.ts";

/** What a network gets when the user names no subnet: 62 containers' worth of IPv4, and IPv6 that leaves 48 bits for hosts. */
const lengths: Readonly<Record<Family, number>> = { 4: 26, 6: 80 };

/** @throws HawserError BAD_REQUEST, BAD_OPTION, UNSUPPORTED, OVERLAP, NO_FREE_POOL */
export function requestPool(state: State, command: RequestPool, context: Context): Decision<RequestPoolReply> {
  const family: Family = command.ipv6 ? 6 : 4;
  if (family === 6 && !context.ipv6) {
    throw new HawserError("UNSUPPORTED", "this node does not speak IPv6; create the network without --ipv6, or turn IPv6 on (pool.ipv6)");
  }
  const taken = takenBlocks(state, context);
  const prefix = command.pool === "" ? choose(family, taken, state, context) : named(command.pool, family, taken);
  const pool: Pool = {
    id: prefix as string as PoolId,
    prefix,
    family,
    range: command.subPool === "" ? null : rangeIn(prefix, command.subPool),
    automatic: command.pool === "",
    allocated: {},
    next: null,
    createdAt: context.now,
  };
  return { next: withPool(state, pool), steps: [], reply: { id: pool.id, prefix } };
}

function named(text: string, family: Family, taken: readonly Taken[]): Cidr {
  const prefix = parseSubnet(text, "Pool");
  if (familyOf(prefix) !== family) throw new HawserError("BAD_REQUEST", `Pool: ${prefix} is not an IPv${family} prefix`);
  refuseOverlap(prefix, taken, "Pool");
  return prefix;
}

function rangeIn(prefix: Cidr, text: string): Cidr {
  const range = networkOf(parseCidr(text, "SubPool"));
  if (contains(prefix, range)) return range;
  throw new HawserError("BAD_OPTION", `SubPool: the range ${range} does not lie within the subnet ${prefix} (--ip-range)`);
}

/**
 * The lowest free block. Blocks are aligned and no larger than a node's slice, so that a slice fills up before the
 * next one is begun. Whatever is in the way is jumped over whole: an IPv6 slice has too many blocks to try each.
 */
function choose(family: Family, taken: readonly Taken[], state: State, context: Context): Cidr {
  const pool = family === 4 ? context.pool.ipv4 : context.pool.ipv6;
  if (pool === null) {
    throw new HawserError("UNSUPPORTED", "there is no IPv6 pool to take a subnet from; give --subnet or set pool.ipv6 in the configuration");
  }
  const wholes = ownParts(state, pool, family);
  const slice = family === 4 ? context.pool.ipv4NodePrefix : context.pool.ipv6NodePrefix;
  const length = Math.max(lengths[family], slice, ...wholes.map(lengthOf));
  const inTheWay = taken.filter(({ prefix }) => wholes.some((whole) => overlaps(prefix, whole)));
  const blocks = inTheWay.map(({ prefix }) => prefix);
  for (const whole of wholes) {
    const found = firstFree(whole, length, blocks);
    if (found !== undefined) return found;
  }
  const [where, remedy] = wholes.includes(pool)
    ? [pool, `enlarge pool.ipv${family} in the configuration`]
    : [`${wholes.join(", ")}, this node's ${wholes.length === 1 ? "slice" : "slices"} of ${pool}`, remedyOf(state, family)];
  throw new HawserError("NO_FREE_POOL", `no free /${length} is left in ${where} (${listed(inTheWay)}); ${remedy}, or give --subnet`);
}

function firstFree(whole: Cidr, length: number, blocks: readonly Cidr[]): Cidr | undefined {
  const family = familyOf(whole);
  const size = 1n << BigInt(bitsOf(family) - length);
  let first = firstOf(whole);
  while (first <= lastOf(whole)) {
    const candidate = cidrOf(formatIp(first, family), length);
    const obstacle = blocks.find((block) => overlaps(block, candidate));
    if (!obstacle) return candidate;
    const after = lastOf(obstacle) + 1n;
    first = after > first + size ? ((after + size - 1n) / size) * size : first + size;
  }
  return undefined;
}

function remedyOf({ cluster }: State, family: Family): string {
  return cluster.kind === "static" ? "remove a network, give this node a larger slice in `peers`" : `remove a network, let nodes have larger slices (a smaller pool.ipv${family}NodePrefix)`;
}

/** All of the pool where there is no other node, else this node's slices: only those are nobody else's. */
function ownParts({ cluster }: State, pool: Cidr, family: Family): readonly Cidr[] {
  if (cluster.kind === "alone") return [pool];
  const slices = slicesOf(cluster).filter((slice) => familyOf(slice) === family);
  if (slices.length > 0) return slices;
  const remedy = cluster.kind === "etcd" ? "see the store in `hawser status` and try again" : "no peer's configuration leaves it one";
  throw new HawserError("NO_FREE_POOL", `no slice of ${pool} is known to be this node's yet; ${remedy}, or give --subnet`);
}

function listed(taken: readonly Taken[]): string {
  const named = [...new Set(taken.map(({ prefix, by }) => `${prefix} is ${by}`))];
  return `${named.slice(0, 3).join(", ")}${named.length > 3 ? ` and ${named.length - 3} more` : ""}`;
}
