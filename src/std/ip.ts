// Addresses, prefixes and MACs as branded text, and as the bytes the kernel wants.
import { isIPv4, isIPv6 } from "node:net";
import { HawserError } from "./errors.ts";

declare const brand: unique symbol;
/** An IPv4 or IPv6 address in its canonical text form (RFC 5952 for IPv6). */
export type Ip = string & { readonly [brand]: "Ip" };
/** A prefix `address/length`. The address may have host bits (an interface address) unless made by `networkOf`. */
export type Cidr = string & { readonly [brand]: "Cidr" };
/** A unicast MAC address, six lower-case hex pairs. */
export type Mac = string & { readonly [brand]: "Mac" };
export type Family = 4 | 6;

/** @throws HawserError BAD_REQUEST naming `what` when the text is no address. IPv6 zones and IPv4-mapped text are refused. */
export function parseIp(text: string, what = "address"): Ip {
  if (isIPv4(text)) return text as Ip;
  if (isIPv6(text) && !text.includes("%")) {
    const value = toBigInt6(text);
    if (value >> 32n !== 0xffffn) return formatIp(value, 6);
  }
  throw new HawserError("BAD_REQUEST", `${what}: "${text}" is not an IPv4 or IPv6 address`);
}

/** @throws HawserError BAD_REQUEST naming `what` when the text is no `address/length`. */
export function parseCidr(text: string, what = "prefix"): Cidr {
  const slash = text.indexOf("/");
  const [address, length] = [text.slice(0, slash), text.slice(slash + 1)];
  if (slash < 0 || !/^(0|[1-9]\d{0,2})$/.test(length)) {
    throw new HawserError("BAD_REQUEST", `${what}: "${text}" is not an address with a prefix length, such as 10.44.0.0/24`);
  }
  const ip = parseIp(address, what);
  if (Number(length) > bitsOf(familyOf(ip))) {
    throw new HawserError("BAD_REQUEST", `${what}: "${text}" has a prefix longer than its address`);
  }
  return `${ip}/${length}` as Cidr;
}

/** @throws HawserError BAD_REQUEST naming `what` when the text is no unicast MAC. */
export function parseMac(text: string, what = "MAC address"): Mac {
  const mac = text.toLowerCase();
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) || Number.parseInt(mac.slice(0, 2), 16) & 1 || mac === "00:00:00:00:00:00") {
    throw new HawserError("BAD_REQUEST", `${what}: "${text}" is not a unicast MAC address such as 02:42:0a:2c:00:02`);
  }
  return mac as Mac;
}

export function familyOf(address: Ip | Cidr): Family {
  return address.includes(":") ? 6 : 4;
}

export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function addressOf(cidr: Cidr): Ip {
  return cidr.slice(0, cidr.indexOf("/")) as Ip;
}

export function lengthOf(cidr: Cidr): number {
  return Number(cidr.slice(cidr.indexOf("/") + 1));
}

export function cidrOf(address: Ip, length: number): Cidr {
  return `${address}/${length}` as Cidr;
}

/** The prefix with its host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  return cidrOf(formatIp(firstOf(cidr), familyOf(cidr)), lengthOf(cidr));
}

/** The lowest address of the prefix, as a number. */
export function firstOf(cidr: Cidr): bigint {
  const host = BigInt(bitsOf(familyOf(cidr)) - lengthOf(cidr));
  return (ipToBigInt(addressOf(cidr)) >> host) << host;
}

/** The highest address of the prefix, as a number. */
export function lastOf(cidr: Cidr): bigint {
  const host = BigInt(bitsOf(familyOf(cidr)) - lengthOf(cidr));
  return firstOf(cidr) + (1n << host) - 1n;
}

export function contains(cidr: Cidr, inner: Ip | Cidr): boolean {
  if (familyOf(cidr) !== familyOf(inner)) return false;
  const [low, high] = inner.includes("/")
    ? [firstOf(inner as Cidr), lastOf(inner as Cidr)]
    : [ipToBigInt(inner as Ip), ipToBigInt(inner as Ip)];
  return firstOf(cidr) <= low && high <= lastOf(cidr);
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return familyOf(a) === familyOf(b) && firstOf(a) <= lastOf(b) && firstOf(b) <= lastOf(a);
}

export function ipToBigInt(ip: Ip): bigint {
  return familyOf(ip) === 4 ? toBigInt4(ip) : toBigInt6(ip);
}

export function formatIp(value: bigint, family: Family): Ip {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".") as Ip;
  const groups = Array.from({ length: 8 }, (_, i) => (value >> BigInt(112 - 16 * i)) & 0xffffn);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0n) length++;
    if (length > best.length) best = { at: i, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(":") as Ip;
  return `${hex.slice(0, best.at).join(":")}::${hex.slice(best.at + best.length).join(":")}` as Ip;
}

/** Sixteen bytes in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), as every BPF map keeps addresses. */
export function ipToBytes16(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(16);
  if (familyOf(ip) === 4) {
    bytes[10] = bytes[11] = 255;
    bytes.set(ip.split(".").map(Number), 12);
    return bytes;
  }
  // Without a way through large numbers: addresses are the most of what is written into maps.
  const [head = "", tail = ""] = ip.split("::");
  const [left, right] = [head, tail].map((half) => (half === "" ? [] : half.split(":").map((group) => Number.parseInt(group, 16)))) as [number[], number[]];
  for (const [groups, at] of [[left, 0], [right, 16 - 2 * right.length]] as const) {
    for (const [i, group] of groups.entries()) bytes.set([group >> 8, group & 255], at + 2 * i);
  }
  return bytes;
}

/** The reverse of `ipToBytes16`. */
export function ipFromBytes16(bytes: Uint8Array): Ip {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value >> 32n === 0xffffn ? formatIp(value & 0xffffffffn, 4) : formatIp(value, 6);
}

/** Four or sixteen bytes in network order, by family. */
export function ipToBytes(ip: Ip): Uint8Array {
  return familyOf(ip) === 4 ? ipToBytes16(ip).slice(12) : ipToBytes16(ip);
}

/** The reverse of `ipToBytes`. */
export function ipFromBytes(bytes: Uint8Array): Ip {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return formatIp(value, bytes.length === 4 ? 4 : 6);
}

/** An IPv4 address as the number whose most significant byte is its first (how the codec shows __be32). */
export function ip4ToNumber(ip: Ip): number {
  return Number(toBigInt4(ip));
}

export function ip4FromNumber(value: number): Ip {
  return formatIp(BigInt(value >>> 0), 4);
}

export function macToBytes(mac: Mac): Uint8Array {
  return Uint8Array.from(mac.split(":"), (pair) => Number.parseInt(pair, 16));
}

export function macFromBytes(bytes: Uint8Array): Mac {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
}

function toBigInt4(text: string): bigint {
  return text.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function toBigInt6(text: string): bigint {
  let source = text;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(source);
  if (dotted) {
    const low = toBigInt4(dotted[2] ?? "");
    source = `${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
  }
  const [head = "", tail] = source.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = tail === undefined ? [] : Array<string>(8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...right].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}
