// What a person asks about, `web -> db:5432`, as questions: the port read off the end, and addresses that stand for entities.
import { contains, familyOf, firstOf, formatIp, lengthOf, parseIp } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import { HawserError } from "../std/errors.ts";
import { specialRanges } from "./match.ts";
import type { End, Entity, IdentityLabels, PacketQuestion, Policy, PolicyFacts, Protocol } from "./types.ts";

/** What `TO[:PORT[/PROTOCOL]]` ends in. */
export interface Target {
  readonly who: string;
  /** null: any. `icmp` is of the family that the two ends speak. */
  readonly protocol: Protocol | null;
  readonly port: number | null;
  /** The message in the other family; null: the same number. */
  readonly icmpv6: number | null;
}

/** One who may be meant by what was asked. */
export interface Candidate {
  /** null: no container. */
  readonly labels: IdentityLabels | null;
  /** 0: has no number. */
  readonly identity: number;
  readonly id: string | null;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly unidentified: boolean;
  readonly guest: boolean;
}

/** Type × 256 + code in ICMP and in ICMPv6 (RFC 792, RFC 4443). */
const icmpMessages: Readonly<Record<string, readonly [number, number]>> = {
  echo: [8 << 8, 128 << 8],
  "echo-request": [8 << 8, 128 << 8],
  "echo-reply": [0, 129 << 8],
  unreachable: [3 << 8, 1 << 8],
  "too-big": [(3 << 8) | 4, 2 << 8],
  "time-exceeded": [11 << 8, 3 << 8],
};

/** @throws HawserError BAD_REQUEST for a port or protocol that is none. */
export function parseTarget(text: string): Target {
  const asked = text.trim();
  const icmp = /^(.+?)(?:\s+|[:/])(icmp|icmpv6)(?:\(([^)]*)\))?$/.exec(asked);
  if (icmp) return { who: (icmp[1] ?? "").trim(), ...icmpMessage(icmp[2] === "icmpv6" ? "icmpv6" : "icmp", icmp[3] ?? "echo", asked) };
  const ported = /^(\[[^\]]*\]|.*[^:]):([^:[\]()\s]+)$/.exec(asked);
  if (!ported || addressFrom(asked) !== null) return { who: asked.replace(/^\[(.*)\]$/, "$1"), protocol: null, port: null, icmpv6: null };
  const [digits = "", protocol = "tcp"] = (ported[2] ?? "").split("/");
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") throw new HawserError("BAD_REQUEST", `"${asked}": "${protocol}" is no protocol with ports; tcp, udp and sctp are`);
  const port = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65535) throw new HawserError("BAD_REQUEST", `"${asked}": "${digits}" is not one port from 1 to 65535`);
  return { who: (ported[1] ?? "").replace(/^\[(.*)\]$/, "$1"), protocol, port, icmpv6: null };
}

function icmpMessage(protocol: "icmp" | "icmpv6", text: string, asked: string): Omit<Target, "who"> {
  const word = text.trim();
  const named = Object.hasOwn(icmpMessages, word) ? icmpMessages[word] : undefined;
  if (named !== undefined) return { protocol, port: named[protocol === "icmp" ? 0 : 1], icmpv6: named[1] };
  const numbers = /^(\d{1,3})(?:\/(\d{1,3}))?$/.exec(word);
  const [type, code] = [Number(numbers?.[1] ?? 256), Number(numbers?.[2] ?? 0)];
  if (type > 255 || code > 255) {
    throw new HawserError("BAD_REQUEST", `"${asked}": "${word}" is no ICMP message; take a number, type/code, or one of ${Object.keys(icmpMessages).join(", ")}`);
  }
  return { protocol, port: (type << 8) | code, icmpv6: null };
}

/** The question about one pair of candidates, in a family that both have. */
export function questionOf(from: Candidate, to: Candidate, { protocol, port, icmpv6 }: Target, facts: PolicyFacts): PacketQuestion {
  const family = commonFamily(from, to, protocol === "icmpv6" ? 6 : 4);
  const [sender, receiver] = [endOf(from, family), endOf(to, family)];
  const message = protocol === "icmp" && icmpv6 !== null && family === 6 ? { protocol: "icmpv6" as const, port: icmpv6 } : { protocol, port };
  // From outside, a container is only reached through a port that it publishes; what others wired has ports of theirs, which are not ours to see.
  const outside = sender.identity === null && sender.address !== null && !facts.host.includes(sender.address) && !inAny(facts.pool, sender.address);
  const published = outside && receiver.identity !== null && receiver.guest !== true;
  return { from: sender, to: receiver, ...message, published };
}

export function containerNamed(labels: IdentityLabels): Candidate {
  return { labels, identity: 0, id: null, ipv4: null, ipv6: null, unidentified: false, guest: false };
}

export function addressNamed(...addresses: readonly Ip[]): Candidate {
  const [ipv4, ipv6] = ([4, 6] as const).map((family) => addresses.find((address) => familyOf(address) === family) ?? null);
  return { labels: null, identity: 0, id: null, ipv4: ipv4 ?? null, ipv6: ipv6 ?? null, unidentified: false, guest: false };
}

/** Addresses that stand for an entity; undefined: nobody of that kind is known. */
export function standInFor(entity: Exclude<Entity, "any" | "self">, policies: readonly Policy[], facts: PolicyFacts): Candidate | undefined {
  switch (entity) {
    case "host": return facts.host.length === 0 ? undefined : addressNamed(...facts.host);
    case "nodes": return facts.nodes.length === 0 ? undefined : addressNamed(...facts.nodes.map(someAddress));
    case "lan": return facts.lan.length === 0 ? undefined : addressNamed(...facts.lan.map((prefix) => strangerIn(prefix, facts)));
    case "world":
    case "internet": return addressNamed(...farAway(policies, facts));
  }
}

/** null: it is written as none. @throws HawserError BAD_REQUEST for a whole prefix, whose addresses may fare differently. */
export function addressFrom(text: string): Ip | null {
  const prefix = /^(\S+)\/\d+$/.exec(text)?.[1];
  if (prefix !== undefined && addressFrom(prefix) !== null) throw new HawserError("BAD_REQUEST", `"${text}" is not one address; name one in it`);
  try {
    return parseIp(text.replace(/^\[(.*)\]$/, "$1"));
  } catch {
    return null;
  }
}

/** Public addresses, one of each family, that no policy and no fact speaks of in particular. */
function farAway(policies: readonly Policy[], facts: PolicyFacts): readonly Ip[] {
  const mentioned = [...specialRanges, ...facts.nodes, ...facts.lan, ...facts.pool, ...policies.flatMap(mentionedIn)].filter((prefix) => lengthOf(prefix) > 0);
  const isFree = (address: Ip): boolean => !facts.host.includes(address) && !inAny(mentioned, address);
  const candidates4 = Array.from({ length: 223 }, (_, i) => parseIp(`${i + 1}.${i + 1}.${i + 1}.${i + 1}`));
  const candidates6 = Array.from({ length: 256 }, (_, i) => parseIp(`2a00:${(i + 1).toString(16)}::1`));
  return [candidates4, candidates6].map((all) => all.find(isFree) ?? all[0]).filter((address) => address !== undefined);
}

function mentionedIn({ rules }: Policy): readonly Cidr[] {
  const ranges = rules.flatMap(({ from, to }) => [...from, ...to]).flatMap((peer) => (peer.kind === "addresses" ? peer.ranges : []));
  return ranges.map(({ include }) => include);
}

function someAddress(prefix: Cidr): Ip {
  const bits = familyOf(prefix) === 4 ? 32 : 128;
  return formatIp(firstOf(prefix) + (lengthOf(prefix) < bits - 1 ? 1n : 0n), familyOf(prefix));
}

/** Somebody in the subnet who is neither the host nor a node nor of the pool. */
function strangerIn(prefix: Cidr, facts: PolicyFacts): Ip {
  const size = BigInt((familyOf(prefix) === 4 ? 32 : 128) - lengthOf(prefix));
  const last = size > 8n ? 256n : 1n << size;
  for (let i = 1n; i < last; i++) {
    const address = formatIp(firstOf(prefix) + i, familyOf(prefix));
    if (!facts.host.includes(address) && !inAny([...facts.nodes, ...facts.pool], address)) return address;
  }
  return someAddress(prefix);
}

function inAny(prefixes: readonly Cidr[], address: Ip): boolean {
  return prefixes.some((prefix) => contains(prefix, address));
}

function commonFamily(from: Candidate, to: Candidate, wanted: Family): Family {
  const speaks = ({ ipv4, ipv6 }: Candidate, family: Family): boolean => (ipv4 === null && ipv6 === null) || (family === 4 ? ipv4 : ipv6) !== null;
  const other = wanted === 4 ? 6 : 4;
  return !(speaks(from, wanted) && speaks(to, wanted)) && speaks(from, other) && speaks(to, other) ? other : wanted;
}

function endOf({ labels, ipv4, ipv6, unidentified, guest }: Candidate, family: Family): End {
  const address = family === 4 ? (ipv4 ?? ipv6) : (ipv6 ?? ipv4);
  return { identity: labels, address, ...(unidentified ? { unidentified } : {}), ...(guest ? { guest } : {}) };
}
