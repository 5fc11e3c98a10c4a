// The longest-prefix table of addresses that are no container's: sorts every prefix that is spoken of and sweeps over them once.
import type { Cidr } from "../std/ip.ts";
import { bitsOf, cidrOf, familyOf } from "../std/ip.ts";
import type { PolicyClass } from "./classes.ts";
import { comparePrefixes, encloses, readPrefix, textOf } from "./prefix.ts";
import type { Prefix } from "./prefix.ts";
import type { Program } from "./program.ts";
import { wellKnown } from "./selectors.ts";
import type { PolicyFacts } from "./types.ts";

/** What is no internet's (IANA's special-purpose registries, private and shared blocks, multicast). */
const special: readonly Cidr[] = [
  "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
  "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128",
  "64:ff9b:1::/48", "2001:db8::/32", "fc00::/7", "fe80::/10", "ff00::/8",
].map((text) => text as Cidr);
/** Instance metadata of clouds: whoever reads it becomes the machine. */
const metadata: readonly Cidr[] = ["169.254.169.254/32", "fd00:ec2::254/128"].map((text) => text as Cidr);
const everything: readonly Cidr[] = ["0.0.0.0/0", "::/0"].map((text) => text as Cidr);

/** Numbers, for the sweep only, of what lies in `special` and in the pool. */
const specialSelector = -1;
const poolSelector = -2;
type AddressFacts = Pick<PolicyFacts, "host" | "nodes" | "lan" | "pool" | "poolByAddress">;

/** One range, or all ranges without exceptions of one selector: met where it is included and not excepted. */
interface Group {
  readonly selector: number;
  included: number;
  excepted: number;
}

interface Mark {
  readonly prefix: Prefix;
  readonly group: Group | null;
  readonly side: "included" | "excepted";
}

/** A prefix with every mark on it. */
interface Level {
  readonly prefix: Prefix;
  readonly marks: readonly Mark[];
  readonly class: PolicyClass;
}

/**
 * Every address is in the class of the longest prefix that contains it; prefixes that change nothing are left out. There is
 * always one for all of IPv4 and one for all of IPv6.
 */
export function addressTable(
  program: Program, facts: AddressFacts, classOf: (selectors: readonly number[]) => PolicyClass,
): ReadonlyMap<Cidr, number> {
  const marks = gatherMarks(program, facts).toSorted((a, b) => comparePrefixes(a.prefix, b.prefix));
  const table = new Map<Cidr, number>();
  /** Selectors that are met where the sweep stands, and by how many of their groups. */
  const met = new Map<number, number>();
  const levels: Level[] = [];
  const count = ({ group, side }: Mark, by: number): void => {
    if (group === null) return;
    const before = isMet(group);
    group[side] += by;
    const change = Number(isMet(group)) - Number(before);
    if (change === 0) return;
    const times = (met.get(group.selector) ?? 0) + change;
    if (times === 0) met.delete(group.selector);
    else met.set(group.selector, times);
  };
  for (let at = 0; at < marks.length; ) {
    const { prefix } = marks[at] as Mark;
    const start = at;
    while (at < marks.length && comparePrefixes((marks[at] as Mark).prefix, prefix) === 0) at++;
    const here = marks.slice(start, at);
    for (let top = levels.at(-1); top && !encloses(top.prefix, prefix); top = levels.at(-1)) {
      for (const mark of top.marks) count(mark, -1);
      levels.pop();
    }
    for (const mark of here) count(mark, 1);
    const found = classOf(selectorsOf(met, program, facts));
    if (levels.at(-1)?.class !== found) table.set(textOf(prefix), found.number);
    levels.push({ prefix, marks: here, class: found });
  }
  return table;
}

function gatherMarks(program: Program, { host, nodes, lan, pool }: AddressFacts): Mark[] {
  const marks: Mark[] = [];
  const mark = (cidr: Cidr, group: Group | null, side: Mark["side"] = "included"): void => void marks.push({ prefix: readPrefix(cidr), group, side });
  const all = (cidrs: readonly Cidr[], selector: number): void => {
    const group = { selector, included: 0, excepted: 0 };
    for (const cidr of cidrs) mark(cidr, group);
  };
  for (const cidr of everything) mark(cidr, null);
  all(special, specialSelector);
  all(host.map((ip) => cidrOf(ip, bitsOf(familyOf(ip)))), wellKnown.host);
  all(nodes, wellKnown.nodes);
  all(lan, wellKnown.lan);
  all(pool, poolSelector);
  all(metadata, wellKnown.metadata);
  for (const [selector, ranges] of program.addresses) {
    const plain = { selector, included: 0, excepted: 0 };
    for (const { include, except } of ranges) {
      const group = except.length === 0 ? plain : { selector, included: 0, excepted: 0 };
      mark(include, group);
      for (const cidr of except) mark(cidr, group, "excepted");
    }
  }
  return marks;
}

function isMet(group: Group): boolean {
  return group.included > 0 && group.excepted === 0;
}

/** Ascending, only what rules name. The host is no node, `lan` and `internet` are parts of `world`, which is neither of both nor of the pool. */
function selectorsOf(met: ReadonlyMap<number, number>, program: Program, { poolByAddress }: AddressFacts): number[] {
  const has = (selector: number): boolean => met.has(selector);
  const isHost = has(wellKnown.host);
  const isNode = !isHost && has(wellKnown.nodes);
  const isPool = has(poolSelector);
  const isWorld = !isHost && !isNode && !isPool;
  const entities = [
    [wellKnown.host, isHost], [wellKnown.nodes, isNode], [wellKnown.lan, isWorld && has(wellKnown.lan)],
    [wellKnown.world, isWorld], [wellKnown.internet, isWorld && !has(specialSelector)], [wellKnown.metadata, has(wellKnown.metadata)],
  ] as const;
  const found: number[] = [];
  for (const [selector, isIt] of entities) if (isIt && program.isNamed(selector)) found.push(selector);
  const byAddress = poolByAddress || isHost || !isPool;
  const ranges = byAddress ? [...met.keys()].filter((selector) => selector > wellKnown.metadata) : [];
  return [...found, ...ranges.toSorted((a, b) => a - b)];
}
