// Addresses of devices.
import { addressOf, familyOf, ipFromBytes, ipToBytes, lengthOf, parseCidr } from "../../std/ip.ts";
import { errno, refusedWith } from "../errors.ts";
import type { AddressInfo } from "../types.ts";
import { attribute, decodeAttributes, nlmFlags, u32Attribute, u32Of } from "./codec.ts";
import { familyNumbers, ifa, ifaAutoJoin, ifaddrmsg, ifaNoDad, ifaNoPrefixRoute, rtm, scopes } from "./rtnetlink.ts";
import type { NetlinkSocket } from "./socket.ts";

export async function listAddresses(socket: NetlinkSocket): Promise<readonly AddressInfo[]> {
  const payloads = await socket.dump("list addresses", rtm.getAddr, [ifaddrmsg(familyNumbers.unspecified, 0, 0)]);
  return payloads.flatMap(decodeAddress);
}

/** IPv6 skips duplicate address detection: a tentative address could not be used at once. */
export function addAddress(socket: NetlinkSocket, index: number, prefix: string): Promise<void> {
  return add(socket, index, prefix, prefix.includes(":") ? ifaNoDad : 0);
}

export function joinGroup(socket: NetlinkSocket, index: number, group: string): Promise<void> {
  return add(socket, index, `${group}/128`, ifaNoDad | ifaNoPrefixRoute | ifaAutoJoin);
}

async function add(socket: NetlinkSocket, index: number, prefix: string, flags: number): Promise<void> {
  try {
    await socket.change(`add address ${prefix} to link ${index}`, rtm.newAddr, nlmFlags.create | nlmFlags.exclusive, [
      ...describe(index, prefix), ...(flags === 0 ? [] : [u32Attribute(ifa.flags, flags)]),
    ]);
  } catch (error) {
    if (!refusedWith(error, errno.EEXIST)) throw error;
  }
}

export async function deleteAddress(socket: NetlinkSocket, index: number, prefix: string): Promise<boolean> {
  try {
    await socket.change(`delete address ${prefix} of link ${index}`, rtm.delAddr, 0, describe(index, prefix));
    return true;
  } catch (error) {
    if (refusedWith(error, errno.EADDRNOTAVAIL, errno.ENODEV)) return false;
    throw error;
  }
}

function describe(index: number, prefix: string): Buffer[] {
  const cidr = parseCidr(prefix);
  const address = ipToBytes(addressOf(cidr));
  const family = familyOf(cidr) === 4 ? familyNumbers.inet : familyNumbers.inet6;
  return [ifaddrmsg(family, lengthOf(cidr), index), attribute(ifa.local, address), attribute(ifa.address, address)];
}

function decodeAddress(payload: Buffer): AddressInfo[] {
  const attributes = decodeAttributes(payload, 8);
  // IFA_ADDRESS is the peer's where the two differ.
  const address = attributes.get(ifa.local) ?? attributes.get(ifa.address);
  if (!address || (address.length !== 4 && address.length !== 16)) return [];
  return [{
    index: payload.readUInt32LE(4),
    prefix: `${ipFromBytes(address)}/${payload[1] ?? 0}`,
    scope: scopeOf(payload[3] ?? 0),
    flags: u32Of(attributes.get(ifa.flags), payload[2] ?? 0),
  }];
}

function scopeOf(number: number): AddressInfo["scope"] {
  if (number === scopes.universe) return "global";
  if (number === scopes.link) return "link";
  return number === scopes.host ? "host" : "other";
}
