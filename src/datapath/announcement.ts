// Frames that ask a whole link who has an address, and that tell it where the address is now (RFC 5227; RFC 4862, 5.4; RFC 4861, 7.2.6). Pure.
import { familyOf, ipFromBytes, ipToBytes, macToBytes } from "../std/ip.ts";
import type { Ip, Mac } from "../std/ip.ts";

/** IPv4: an ARP request and an answer, because some machines heed only one of them. IPv6: an advertisement that nobody has asked for, and overrides. */
export function announcementsOf(address: Ip, mac: Mac): readonly Uint8Array[] {
  return familyOf(address) === 4 ? [arpFrame(request, address, mac), arpFrame(reply, address, mac)] : [advertisement(address, mac)];
}

/** From nobody's address, so that no neighbour takes it for an announcement. */
export function probesOf(address: Ip, mac: Mac): readonly Uint8Array[] {
  return [familyOf(address) === 4 ? arpFrame(request, address, mac, [0, 0, 0, 0]) : solicitation(address, mac)];
}

/** The group in which neighbours are asked for an IPv6 address: ff02::1:ff00:0/104 and its last 24 bits (RFC 4291, 2.7.1). */
export function solicitedNode(address: Ip): Ip {
  return ipFromBytes(Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...ipToBytes(address).subarray(13)));
}

const [request, reply] = [1, 2];
const broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
/** ff02::1 */
const allNodes = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const icmpv6 = 58;
const [neighbourSolicitation, neighbourAdvertisement] = [135, 136];
const override = 0x20;
const targetLinkAddress = [2, 1];

function arpFrame(operation: number, address: Ip, mac: Mac, sender: Iterable<number> = ipToBytes(address)): Uint8Array {
  const [own, ip] = [macToBytes(mac), ipToBytes(address)];
  return Uint8Array.of(...broadcast, ...own, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation, ...own, ...sender, ...(operation === request ? [0, 0, 0, 0, 0, 0] : own), ...ip);
}

function advertisement(address: Ip, mac: Mac): Uint8Array {
  const ip = ipToBytes(address);
  return neighbourFrame(mac, ip, allNodes, [neighbourAdvertisement, 0, 0, 0, override, 0, 0, 0, ...ip, ...targetLinkAddress, ...macToBytes(mac)]);
}

function solicitation(address: Ip, mac: Mac): Uint8Array {
  return neighbourFrame(mac, new Uint8Array(16), ipToBytes(solicitedNode(address)), [neighbourSolicitation, 0, 0, 0, 0, 0, 0, 0, ...ipToBytes(address)]);
}

/** To a group, whose MAC has its last four bytes (RFC 2464, 7). */
function neighbourFrame(mac: Mac, source: Uint8Array, group: Uint8Array, fields: readonly number[]): Uint8Array {
  const message = Uint8Array.from(fields);
  const sum = checksum(Uint8Array.of(...source, ...group, 0, 0, 0, message.length, 0, 0, 0, icmpv6, ...message));
  message.set([sum >> 8, sum & 0xff], 2);
  return Uint8Array.of(0x33, 0x33, ...group.subarray(12), ...macToBytes(mac), 0x86, 0xdd, 0x60, 0, 0, 0, 0, message.length, icmpv6, 255, ...source, ...group, ...message);
}

/** RFC 1071, of an even number of bytes. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
