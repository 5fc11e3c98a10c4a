// Frames that tell a whole link where an address is now (RFC 5227, 3; RFC 4861, 7.2.6). Pure.
import { familyOf, ipToBytes, macToBytes } from "../std/ip.ts";
import type { Ip, Mac } from "../std/ip.ts";

/** IPv4: an ARP request and an answer, because some machines heed only one of them. IPv6: an advertisement that nobody has asked for, and overrides. */
export function announcementsOf(address: Ip, mac: Mac): readonly Uint8Array[] {
  return familyOf(address) === 4 ? [arpFrame(request, address, mac), arpFrame(reply, address, mac)] : [advertisement(address, mac)];
}

const [request, reply] = [1, 2];
const broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
/** ff02::1 and its group's MAC. */
const allNodes = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const allNodesMac = [0x33, 0x33, 0, 0, 0, 1];
const icmpv6 = 58;
const neighbourAdvertisement = 136;
const override = 0x20;
const targetLinkAddress = [2, 1];

function arpFrame(operation: number, address: Ip, mac: Mac): Uint8Array {
  const [own, ip] = [macToBytes(mac), ipToBytes(address)];
  return Uint8Array.of(...broadcast, ...own, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation, ...own, ...ip, ...(operation === request ? [0, 0, 0, 0, 0, 0] : own), ...ip);
}

function advertisement(address: Ip, mac: Mac): Uint8Array {
  const [own, ip] = [macToBytes(mac), ipToBytes(address)];
  const message = Uint8Array.of(neighbourAdvertisement, 0, 0, 0, override, 0, 0, 0, ...ip, ...targetLinkAddress, ...own);
  const sum = checksum(Uint8Array.of(...ip, ...allNodes, 0, 0, 0, message.length, 0, 0, 0, icmpv6, ...message));
  message.set([sum >> 8, sum & 0xff], 2);
  return Uint8Array.of(...allNodesMac, ...own, 0x86, 0xdd, 0x60, 0, 0, 0, 0, message.length, icmpv6, 255, ...ip, ...allNodes, ...message);
}

/** RFC 1071, of an even number of bytes. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
