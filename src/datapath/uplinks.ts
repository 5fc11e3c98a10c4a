// The host as the kernel shows it: which devices lead to the world and which addresses are the host's own. Pure.
import type { AddressInfo, LinkInfo, RouteInfo } from "../kernel/types.ts";
import { addressOf, contains, familyOf, networkOf, parseCidr, parseMac } from "../std/ip.ts";
import type { Cidr, Family, Ip, Mac } from "../std/ip.ts";
import { hostDevice } from "./host-device.ts";
import { isOurDevice } from "./host.ts";
import type { HostFacts } from "./types.ts";

export interface HostReading {
  readonly links: readonly LinkInfo[];
  readonly addresses: readonly AddressInfo[];
  readonly routes: readonly RouteInfo[];
}

export interface UplinkReading {
  readonly name: string;
  readonly index: number;
  readonly mac: Mac;
  /** Its cable is in. */
  readonly carrier: boolean;
  readonly mtu: number;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
}

/** ARPHRD_ETHER in linux/if_arp.h. */
const ethernet = 1;
/** RTN_UNICAST in linux/rtnetlink.h; blackholes and their like lead nowhere. */
const unicast = 1;
/** IFA_F_* in linux/if_addr.h: temporary and secondary share a bit. */
const secondary = 0x01;
const unusable = 0x08 | 0x20 | 0x40;
const uniqueLocal = "fc00::/7" as Cidr;
const loopbacks = ["127.0.0.0/8" as Cidr, "::1/128" as Cidr];
const fallbackMtu = 1500;

/** By name. "auto": Ethernet devices with a default route; else those named that exist (R10). */
export function uplinksOf(reading: HostReading, devices: "auto" | readonly string[]): UplinkReading[] {
  const ways = new Set(reading.routes.filter((route) => route.destination.endsWith("/0") && route.type === unicast).map((route) => route.index));
  const wanted = (link: LinkInfo): boolean => (devices === "auto" ? ways.has(link.index) : devices.includes(link.name));
  return reading.links
    .filter((link) => link.type === ethernet && !isOurDevice(link.name) && wanted(link))
    .map((link) => ({
      name: link.name,
      index: link.index,
      mac: parseMac(link.mac),
      carrier: link.carrier,
      mtu: link.mtu,
      ipv4: primaryAddress(reading, link.index, 4),
      ipv6: primaryAddress(reading, link.index, 6),
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Every address that the host answers to, but for loopback (implied), link-local ones (good on one wire only) and hwhost's. */
export function hostAddressesOf(reading: HostReading): Cidr[] {
  const own = reading.links.find((link) => link.name === hostDevice)?.index;
  return reading.addresses
    .filter((address) => address.index !== own && address.scope !== "link")
    .map((address) => parseCidr(address.prefix))
    .filter((prefix) => !loopbacks.some((loopback) => contains(loopback, addressOf(prefix))));
}

/** By which of the host's addresses, if not by each uplink's own, other nodes know this one. */
export interface KnownBy {
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
}

/**
 * The first of `named` of each family that the host has. Where it has some on several uplinks, what leaves by each of them has that uplink's own
 * address, because others know them all.
 */
export function knownBy(reading: HostReading, uplinks: readonly UplinkReading[], named: readonly Ip[]): KnownBy {
  const own = hostAddressesOf(reading).map(addressOf);
  const first = (family: Family, primary: (uplink: UplinkReading) => Ip | null): Ip | null => {
    const there = named.filter((address) => familyOf(address) === family && own.includes(address));
    const several = uplinks.filter((uplink) => there.some((address) => address === primary(uplink))).length > 1;
    return several ? null : there[0] ?? null;
  };
  return { ipv4: first(4, ({ ipv4 }) => ipv4), ipv6: first(6, ({ ipv6 }) => ipv6) };
}

export function factsOf(reading: HostReading, uplinks: readonly UplinkReading[], known: KnownBy): HostFacts {
  const there = (addresses: readonly (Ip | null)[]): readonly Ip[] => [...new Set(addresses)].filter((address) => address !== null);
  const [ipv4, ipv6] = [uplinks.map((uplink) => uplink.ipv4), uplinks.map((uplink) => uplink.ipv6)];
  return {
    uplinkMtu: uplinks.length === 0 ? fallbackMtu : Math.min(...uplinks.map((uplink) => uplink.mtu)),
    hostPrefixes: hostAddressesOf(reading),
    uplinks: uplinks.map((uplink) => uplink.name),
    lan: subnetsOn(reading, new Set(uplinks.map((uplink) => uplink.index))),
    nodeAddresses: there([known.ipv4, ...ipv4, known.ipv6, ...ipv6]),
    uplinkAddresses: there([...ipv4, ...ipv6]),
  };
}

function subnetsOn(reading: HostReading, devices: ReadonlySet<number>): readonly Cidr[] {
  const prefixes = reading.addresses.filter((address) => devices.has(address.index) && address.scope === "global").map((address) => networkOf(parseCidr(address.prefix)));
  return [...new Set(prefixes)].toSorted();
}

/** What masqueraded flows take: the first that lasts, one the world can answer before a unique local one. */
function primaryAddress(reading: HostReading, index: number, family: Family): Ip | null {
  const candidates = reading.addresses
    .filter((address) => address.index === index && address.scope === "global" && (address.flags & unusable) === 0)
    .map((address) => ({ ip: addressOf(parseCidr(address.prefix)), flags: address.flags }))
    .filter((address) => familyOf(address.ip) === family);
  const lasting = candidates.filter((address) => (address.flags & secondary) === 0);
  const best = lasting.find((address) => family === 4 || !contains(uniqueLocal, address.ip)) ?? lasting[0] ?? candidates[0];
  return best?.ip ?? null;
}
