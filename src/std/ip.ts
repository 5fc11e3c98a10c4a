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
    const groups = groupsOf(text);
    if (groups[5] !== 0xffff || groups.subarray(0, 5).some((group) => group !== 0)) return format6(groups);
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
  const groups = new Uint16Array(8);
  for (let [i, rest] = [7, value]; i >= 0; i--, rest >>= 16n) groups[i] = Number(rest & 0xffffn);
  return format6(groups);
}

/** The eight groups of an IPv6 address. Without large numbers, and in one pass: an agent reads and writes tens of thousands of addresses at once. */
export function groupsOf(text: string): Uint16Array {
  const groups = new Uint16Array(8);
  const source = text.includes(".") ? withoutDots(text) : text;
  let [count, gap, value, digits] = [0, -1, 0, 0];
  for (let i = 0; i < source.length; i++) {
    const code = source.charCodeAt(i);
    if (code !== colon) {
      value = value * 16 + (code <= nine ? code - zero : (code | 32) - 87);
      digits++;
      continue;
    }
    if (digits > 0) groups[count++] = value;
    else if (i > 0) gap = count;
    value = digits = 0;
  }
  if (digits > 0) groups[count++] = value;
  if (gap < 0) return groups;
  const behind = 8 - (count - gap);
  return groups.copyWithin(behind, gap, count).fill(0, gap, behind);
}

const [zero, nine, colon] = [48, 57, 58];

/** RFC 5952. */
function format6(groups: Uint16Array): Ip {
  let [best, longest] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    if (groups[i] !== 0) continue;
    const start = i;
    while (i < 8 && groups[i] === 0) i++;
    if (i - start > longest) [best, longest] = [start, i - start];
  }
  let text = "";
  for (let i = 0; i < 8; i++) {
    if (i === best) {
      text += "::";
      i += longest - 1;
    } else {
      text += (text === "" || text.endsWith(":") ? "" : ":") + (groups[i] ?? 0).toString(16);
    }
  }
  return text as Ip;
}

/** Sixteen bytes in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), as every BPF map keeps addresses. */
export function ipToBytes16(ip: Ip): Uint8Array {
  const bytes = new Uint8Array(16);
  if (familyOf(ip) === 4) {
    bytes[10] = bytes[11] = 255;
    bytes.set(ip.split(".").map(Number), 12);
    return bytes;
  }
  groupsOf(ip).forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group;
  });
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
  let number = 0;
  let part = 0;
  for (let i = 0; i < ip.length; i++) {
    const digit = ip.charCodeAt(i) - 48;
    if (digit >= 0) {
      part = part * 10 + digit;
      continue;
    }
    number = number * 256 + part;
    part = 0;
  }
  return number * 256 + part;
}

export function ip4FromNumber(value: number): Ip {
  return formatIp(BigInt(value >>> 0), 4);
}

export function macToBytes(mac: Mac): Uint8Array {
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = Number.parseInt(mac.slice(3 * i, 3 * i + 2), 16);
  return bytes;
}

export function macFromBytes(bytes: Uint8Array): Mac {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, "0")).join(":") as Mac;
}

function toBigInt4(text: string): bigint {
  return text.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function toBigInt6(text: string): bigint {
  return groupsOf(text).reduce((value, group) => (value << 16n) | BigInt(group), 0n);
}

/** Of `64:ff9b::192.0.2.1`, with its last four bytes as two groups. */
function withoutDots(text: string): string {
  const at = text.lastIndexOf(":") + 1;
  const low = toBigInt4(text.slice(at));
  return `${text.slice(0, at)}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`;
}
