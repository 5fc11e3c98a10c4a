// Routes of the main table; listing shows every table.
import { addressOf, familyOf, ipFromBytes, ipToBytes, lengthOf, networkOf, parseCidr, parseIp } from "../../std/ip.ts";
import { errno, refusedWith } from "../errors.ts";
import type { Netlink, RouteInfo } from "../types.ts";
import { attribute, decodeAttributes, nlmFlags, u32Attribute, u32Of } from "./codec.ts";
import type { Attributes } from "./codec.ts";
import { familyNumbers, protocolStatic, rta, rtm, rtmsg, scopes, unicast } from "./rtnetlink.ts";
import type { NetlinkSocket } from "./socket.ts";

export async function listRoutes(socket: NetlinkSocket): Promise<readonly RouteInfo[]> {
  const payloads = await socket.dump("list routes", rtm.getRoute, [Buffer.alloc(12)]);
  return payloads.flatMap(decodeRoute);
}

export async function replaceRoute(socket: NetlinkSocket, route: Parameters<Netlink["replaceRoute"]>[0]): Promise<void> {
  const { destination, index, source, gateway, protocol = protocolStatic, metric } = route;
  const scope = gateway === undefined && !destination.includes(":") ? scopes.link : scopes.universe;
  await socket.change(`route ${destination} by link ${index}`, rtm.newRoute, nlmFlags.create | nlmFlags.replace, [
    ...describe(destination, index, protocol, scope, unicast),
    ...(source === undefined ? [] : [attribute(rta.prefsrc, ipToBytes(parseIp(source)))]),
    ...(gateway === undefined ? [] : [attribute(rta.gateway, ipToBytes(parseIp(gateway)))]),
    ...(metric === undefined ? [] : [u32Attribute(rta.priority, metric)]),
  ]);
}

export async function deleteRoute(socket: NetlinkSocket, route: Parameters<Netlink["deleteRoute"]>[0]): Promise<boolean> {
  const { destination, index, protocol = 0, metric = 0 } = route;
  try {
    // Scope "nowhere", protocol, type and metric 0 match any; IPv6 looks at neither scope nor type.
    await socket.change(`delete route ${destination} by link ${index}`, rtm.delRoute, 0, [
      ...describe(destination, index, protocol, scopes.nowhere, 0), ...(metric === 0 ? [] : [u32Attribute(rta.priority, metric)]),
    ]);
    return true;
  } catch (error) {
    if (refusedWith(error, errno.ESRCH, errno.ENODEV)) return false;
    throw error;
  }
}

function describe(destination: string, index: number, protocol: number, scope: number, type: number): Buffer[] {
  const cidr = networkOf(parseCidr(destination));
  const family = familyOf(cidr) === 4 ? familyNumbers.inet : familyNumbers.inet6;
  const header = rtmsg(family, lengthOf(cidr), protocol, scope, type);
  const to = lengthOf(cidr) === 0 ? [] : [attribute(rta.dst, ipToBytes(addressOf(cidr)))];
  return [header, ...to, u32Attribute(rta.oif, index)];
}

function decodeRoute(payload: Buffer): RouteInfo[] {
  const attributes = decodeAttributes(payload, 12);
  const any = payload[0] === familyNumbers.inet ? "0.0.0.0" : "::";
  if (payload[0] !== familyNumbers.inet && payload[0] !== familyNumbers.inet6) return [];
  const destination = attributes.get(rta.dst);
  const common = {
    destination: `${destination ? ipFromBytes(destination) : any}/${payload[1] ?? 0}`,
    table: u32Of(attributes.get(rta.table), payload[4] ?? 0),
    type: payload[7] ?? 0,
    protocol: payload[5] ?? 0,
    metric: u32Of(attributes.get(rta.priority)),
    source: addressIn(attributes.get(rta.prefsrc)),
  };
  const hops = attributes.get(rta.multipath);
  if (hops) return decodeHops(hops).map(({ index, gateway }) => ({ ...common, index, gateway }));
  return [{ ...common, index: u32Of(attributes.get(rta.oif)), gateway: gatewayOf(attributes) }];
}

/** struct rtnexthop, each with its own attributes. */
function decodeHops(hops: Buffer): { index: number; gateway: string | null }[] {
  const decoded = [];
  for (let at = 0; at + 8 <= hops.length; ) {
    const length = hops.readUInt16LE(at);
    if (length < 8 || at + length > hops.length) break;
    const attributes = decodeAttributes(hops.subarray(at, at + length), 8);
    decoded.push({ index: hops.readInt32LE(at + 4), gateway: gatewayOf(attributes) });
    at += (length + 3) & ~3;
  }
  return decoded;
}

/** RTA_VIA carries a gateway of the other family behind two bytes of family. */
function gatewayOf(attributes: Attributes): string | null {
  return addressIn(attributes.get(rta.gateway) ?? attributes.get(rta.via)?.subarray(2));
}

function addressIn(bytes: Buffer | undefined): string | null {
  return bytes && (bytes.length === 4 || bytes.length === 16) ? ipFromBytes(bytes) : null;
}
