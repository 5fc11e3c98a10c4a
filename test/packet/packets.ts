// Builds frames for the datapath's programs and reads them back as one line of text each, checksums verified.
import { familyOf, ipFromBytes, ipToBytes, macFromBytes, macToBytes, parseIp } from "../../src/std/ip.ts";
import type { Family, Ip, Mac } from "../../src/std/ip.ts";

/** What an IP packet carries; checksums that need the addresses get them. */
export interface Payload {
  readonly protocol: number;
  bytes(source: Ip, destination: Ip): Uint8Array;
}

/** What a frame carries. */
export interface Packet {
  readonly ethertype: number;
  readonly bytes: Uint8Array;
}

export const protocols = { icmp: 1, ipip: 4, tcp: 6, udp: 17, ipv6: 41, gre: 47, icmp6: 58, sctp: 132 } as const;
const tcpFlags = { F: 1, S: 2, R: 4, P: 8, A: 16 } as const;

export function frame(source: string, destination: string, packet: Packet): Uint8Array {
  return join(macToBytes(mac(destination)), macToBytes(mac(source)), be16(packet.ethertype), packet.bytes);
}

export interface Ipv4Options {
  readonly ttl?: number;
  readonly id?: number;
  readonly df?: boolean;
  /** More fragments follow. */
  readonly more?: boolean;
  /** Bytes before this fragment. */
  readonly offset?: number;
  readonly options?: readonly number[];
  /** What a congested way makes of it, or may: 0 to 3 (RFC 3168). */
  readonly ecn?: number;
}

export function ipv4(source: string, destination: string, payload: Payload, options: Ipv4Options = {}): Packet {
  const carried = payload.bytes(parseIp(source), parseIp(destination));
  return { ethertype: 0x0800, bytes: ipv4Bytes(source, destination, payload.protocol, carried, options) };
}

export interface Ipv6Options {
  readonly ttl?: number;
  readonly fragment?: { readonly id: number; readonly offset: number; readonly more: boolean };
  /** A routing header of type 0 with this many segments left. */
  readonly routing?: number;
  readonly ecn?: number;
}

export function ipv6(source: string, destination: string, payload: Payload, options: Ipv6Options = {}): Packet {
  const carried = payload.bytes(parseIp(source), parseIp(destination));
  return { ethertype: 0x86dd, bytes: ipv6Bytes(source, destination, payload.protocol, carried, options) };
}

/** IPv4 or IPv6, as the source says. */
export function ip(source: string, destination: string, payload: Payload, options: { readonly ttl?: number } = {}): Packet {
  return familyOf(parseIp(source)) === 4 ? ipv4(source, destination, payload, options) : ipv6(source, destination, payload, options);
}

/** The fragment of a datagram that begins at `offset` and is `length` bytes long. */
export function slice(payload: Payload, offset: number, length: number): Payload {
  return { protocol: payload.protocol, bytes: (source, destination) => payload.bytes(source, destination).subarray(offset, offset + length) };
}

/** flags: letters of FSRPA. The options' bytes are filled up to whole words. */
export function tcp(sport: number, dport: number, flags: string, data = "", options: readonly number[] = []): Payload {
  const bits = [...flags].reduce((sum, letter) => sum | tcpFlags[letter as keyof typeof tcpFlags], 0);
  const words = 5 + Math.ceil(options.length / 4);
  const filled = [...options, ...Array.from({ length: words * 4 - 20 - options.length }, () => 0)];
  const header = join(be16(sport), be16(dport), be32(1000), be32(flags.includes("A") ? 2000 : 0), [words << 4, bits], be16(64240), be16(0), be16(0), filled);
  return summed(protocols.tcp, 16, join(header, text(data)));
}

export function udp(sport: number, dport: number, data: string | Uint8Array = "", options: { readonly checksum?: "none" } = {}): Payload {
  const datagram = join(be16(sport), be16(dport), be16(8 + data.length), be16(0), typeof data === "string" ? text(data) : data);
  return options.checksum === "none" ? { protocol: protocols.udp, bytes: () => datagram } : summed(protocols.udp, 6, datagram);
}

/** With a CRC32c that nothing here verifies. */
/** With one empty chunk of that type: 0 DATA, 1 INIT, 6 ABORT, 14 SHUTDOWN COMPLETE. */
export function sctp(sport: number, dport: number, chunk = 0): Payload {
  return { protocol: protocols.sctp, bytes: () => join(be16(sport), be16(dport), be32(7), be32(0x12345678), be32(chunk * 2 ** 24)) };
}

export function echo(kind: "request" | "reply", id: number, data = "", family: Family = 4): Payload {
  const type = family === 4 ? { request: 8, reply: 0 }[kind] : { request: 128, reply: 129 }[kind];
  return icmp(type, 0, join(be16(id), be16(1), text(data)), family);
}

/** `rest` begins behind the checksum. */
export function icmp(type: number, code: number, rest: Uint8Array, family: Family = 4): Payload {
  const message = join([type, code], be16(0), rest);
  if (family === 6) return summed(protocols.icmp6, 2, message);
  message.set(be16(checksum(message)), 2);
  return { protocol: protocols.icmp, bytes: () => message };
}

/** An error about a packet: 3/3 and the like, with as much of it as `length` says. */
export function icmpError(type: number, code: number, about: Packet, options: { readonly mtu?: number; readonly length?: number } = {}): Payload {
  const rest = join(be32(options.mtu ?? 0), about.bytes.subarray(0, options.length ?? about.bytes.length));
  return icmp(type, code, rest, about.ethertype === 0x86dd ? 6 : 4);
}

/** Of a protocol that no checksum is known for. */
export function other(protocol: number): Payload {
  return { protocol, bytes: () => new Uint8Array(16) };
}

export function arp(operation: "request" | "reply", sender: { readonly mac: string; readonly ip: string }, target: { readonly mac?: string; readonly ip: string }): Packet {
  const bytes = join(
    be16(1), be16(0x0800), [6, 4], be16(operation === "request" ? 1 : 2), macToBytes(mac(sender.mac)), ipToBytes(parseIp(sender.ip)),
    macToBytes(mac(target.mac ?? "00:00:00:00:00:00")), ipToBytes(parseIp(target.ip)),
  );
  return { ethertype: 0x0806, bytes };
}

/** 133 router solicitation, 134 router advertisement, 135 and 136 neighbour solicitation and advertisement, 137 redirect. */
export function neighbourDiscovery(type: number, target: string, linkAddress?: string): Payload {
  const option = linkAddress === undefined ? [] : [type === 135 ? 1 : 2, 1, ...macToBytes(mac(linkAddress))];
  return icmp(type, 0, join(be32(type === 136 ? 0x60000000 : 0), ipToBytes(parseIp(target)), option), 6);
}

/** One line; `!…` marks what is wrong with it. */
export function describe(bytes: Uint8Array): string {
  const [destination, source] = [macFromBytes(bytes.subarray(0, 6)), macFromBytes(bytes.subarray(6, 12))];
  return `${source} > ${destination} ${describePacket({ ethertype: read16(bytes, 12), bytes: bytes.subarray(14) })}`;
}

export function describePacket({ ethertype, bytes }: Packet): string {
  if (ethertype === 0x0806) return describeArp(bytes);
  if (ethertype === 0x0800) return describeIpv4(bytes);
  if (ethertype === 0x86dd) return describeIpv6(bytes);
  return `ethertype ${ethertype.toString(16)}`;
}

function describeArp(bytes: Uint8Array): string {
  const [sender, target] = [ipFromBytes(bytes.subarray(14, 18)), ipFromBytes(bytes.subarray(24, 28))];
  if (read16(bytes, 6) === 1) return `arp who has ${target} tell ${sender}`;
  return `arp ${sender} is at ${macFromBytes(bytes.subarray(8, 14))} told ${target} at ${macFromBytes(bytes.subarray(18, 24))}`;
}

function describeIpv4(bytes: Uint8Array): string {
  const header = ((bytes[0] ?? 0) & 15) * 4;
  const [source, destination] = [ipFromBytes(bytes.subarray(12, 16)), ipFromBytes(bytes.subarray(16, 20))];
  const length = read16(bytes, 2);
  const fragment = read16(bytes, 6);
  const place = fragment & 0x3fff ? ` fragment ${(fragment & 0x1fff) * 8}${fragment & 0x2000 ? "+" : ""}` : "";
  const wrong = checksum(bytes.subarray(0, header)) === 0 ? "" : " !ip-checksum";
  const carried = bytes.subarray(header, Math.min(length, bytes.length));
  const whole = length <= bytes.length && !(fragment & 0x3fff);
  return `${describeTransport(source, destination, bytes[9] ?? 0, carried, whole, (fragment & 0x1fff) > 0)} ttl ${bytes[8]}${place}${wrong}`;
}

function describeIpv6(bytes: Uint8Array): string {
  const [source, destination] = [ipFromBytes(bytes.subarray(8, 24)), ipFromBytes(bytes.subarray(24, 40))];
  const length = 40 + read16(bytes, 4);
  let [next, at, place, fragmented, later] = [bytes[6] ?? 0, 40, "", false, false];
  if (next === 44) {
    const offset = read16(bytes, at + 2);
    [place, fragmented, later] = [` fragment ${offset & ~7}${offset & 1 ? "+" : ""}`, true, (offset & ~7) > 0];
    [next, at] = [bytes[at] ?? 0, at + 8];
  }
  const carried = bytes.subarray(at, Math.min(length, bytes.length));
  return `${describeTransport(source, destination, next, carried, length <= bytes.length && !fragmented, later)} ttl ${bytes[7]}${place}`;
}

function describeTransport(source: Ip, destination: Ip, protocol: number, bytes: Uint8Array, whole: boolean, later: boolean): string {
  const plain = `${source} > ${destination}`;
  if (later) return `${plain} protocol ${protocol}`;
  const ports = `${bracket(source)}:${read16(bytes, 0)} > ${bracket(destination)}:${read16(bytes, 2)}`;
  const pseudo = pseudoHeader(source, destination, protocol, bytes.length);
  const judge = (sum: number, what: string): string => (!whole || sum === 0 ? "" : ` !${what}-checksum`);
  switch (protocol) {
    case protocols.tcp: {
      const flags = Object.entries(tcpFlags).filter(([, bit]) => (bytes[13] ?? 0) & bit).map(([letter]) => letter).join("");
      return `${ports} tcp ${bytes.length > 13 ? flags : "…"}${mssIn(bytes)}${judge(checksum(pseudo, bytes), "tcp")}`;
    }
    case protocols.udp: {
      const none = read16(bytes, 6) === 0;
      return `${ports} udp${none ? " unsummed" : judge(checksum(pseudo, bytes), "udp")}`;
    }
    case protocols.sctp:
      return `${ports} sctp`;
    case protocols.icmp:
      return `${plain} ${describeIcmp(4, bytes)}${judge(checksum(bytes), "icmp")}`;
    case protocols.icmp6:
      return `${plain} ${describeIcmp(6, bytes)}${judge(checksum(pseudo, bytes), "icmp")}`;
    case protocols.ipip:
      return `${plain} ipip { ${describeIpv4(bytes)} }`;
    case protocols.ipv6:
      return `${plain} ipip { ${describeIpv6(bytes)} }`;
    default:
      return `${plain} protocol ${protocol}`;
  }
}

function describeIcmp(family: Family, bytes: Uint8Array): string {
  const type = bytes[0] ?? 0;
  const id = read16(bytes, 4);
  if (type === (family === 4 ? 8 : 128)) return `echo request ${id}`;
  if (type === (family === 4 ? 0 : 129)) return `echo reply ${id}`;
  if (family === 6 && type >= 133) {
    const link = bytes.length >= 32 ? ` at ${macFromBytes(bytes.subarray(26, 32))}` : "";
    return `nd ${type} ${ipFromBytes(bytes.subarray(8, 24))}${link} flags ${(bytes[4] ?? 0).toString(16)}`;
  }
  const mtu = read16(bytes, 6);
  return `icmp ${type}/${bytes[1]}${mtu ? ` mtu ${mtu}` : ""} { ${describePacket({ ethertype: family === 4 ? 0x0800 : 0x86dd, bytes: bytes.subarray(8) })} }`;
}

function ipv4Bytes(source: string, destination: string, protocol: number, carried: Uint8Array, options: Ipv4Options): Uint8Array {
  const extra = Uint8Array.from(options.options ?? []);
  const header = 20 + extra.length;
  const fragment = (options.df ? 0x4000 : 0) | (options.more ? 0x2000 : 0) | (options.offset ?? 0) / 8;
  const bytes = join(
    [0x40 | (header / 4), options.ecn ?? 0], be16(header + carried.length), be16(options.id ?? 0), be16(fragment), [options.ttl ?? 64, protocol], be16(0),
    ipToBytes(parseIp(source)), ipToBytes(parseIp(destination)), extra, carried,
  );
  bytes.set(be16(checksum(bytes.subarray(0, header))), 10);
  return bytes;
}

function ipv6Bytes(source: string, destination: string, protocol: number, carried: Uint8Array, options: Ipv6Options): Uint8Array {
  const { fragment, routing } = options;
  const extension = fragment
    ? join([protocol, 0], be16(fragment.offset | (fragment.more ? 1 : 0)), be32(fragment.id))
    : routing !== undefined ? Uint8Array.of(protocol, 0, 0, routing, 0, 0, 0, 0) : new Uint8Array();
  const next = fragment ? 44 : routing !== undefined ? 43 : protocol;
  return join(
    [0x60, (options.ecn ?? 0) << 4, 0, 0], be16(extension.length + carried.length), [next, options.ttl ?? 64],
    ipToBytes(parseIp(source)), ipToBytes(parseIp(destination)), extension, carried,
  );
}

/** With the checksum of pseudo header and message at `at`; UDP's zero is sent as ones. */
function summed(protocol: number, at: number, message: Uint8Array): Payload {
  return {
    protocol,
    bytes: (source, destination) => {
      const bytes = message.slice();
      const sum = checksum(pseudoHeader(source, destination, protocol, bytes.length), bytes);
      bytes.set(be16(sum === 0 && protocol === protocols.udp ? 0xffff : sum), at);
      return bytes;
    },
  };
}

function pseudoHeader(source: Ip, destination: Ip, protocol: number, length: number): Uint8Array {
  return join(ipToBytes(source), ipToBytes(destination), be32(length), be32(protocol));
}

/** RFC 1071, over parts of even length but the last; 0 over a message that carries its right sum. */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) for (let at = 0; at < part.length; at += 2) sum += read16(part, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function read16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function be16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

function be32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function text(data: string): Uint8Array {
  return new TextEncoder().encode(data);
}

function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Any six bytes: multicast is no MAC of anybody's, but a frame may go there. */
function mac(address: string): Mac {
  return address as Mac;
}

function bracket(address: Ip): string {
  return familyOf(address) === 6 ? `[${address}]` : address;
}

/** What a TCP header offers as the largest segment (RFC 9293, 3.7.1). */
function mssIn(header: Uint8Array): string {
  for (let at = 20; at + 4 <= (header[12] ?? 0) / 4; ) {
    const kind = header[at] ?? 0;
    if (kind === 0) return "";
    if (kind === 2) return ` mss ${((header[at + 2] ?? 0) << 8) | (header[at + 3] ?? 0)}`;
    at += kind === 1 ? 1 : Math.max(header[at + 1] ?? 0, 2);
  }
  return "";
}
