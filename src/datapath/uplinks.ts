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
/** IFA_F_DADFAILED and IFA_F_TENTATIVE: somebody else has it, or may have. */
const unsure = 0x08 | 0x40;
/** IFA_F_DEPRECATED as well: nothing new begins from it. */
const unusable = unsure | 0x20;
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
    .filter((address) => address.index !== own && address.scope !== "link" && (address.flags & unsure) === 0)
    .map((address) => parseCidr(address.prefix))
    .filter((prefix) => !loopbacks.some((loopback) => contains(loopback, addressOf(prefix))));
}

export interface Sources {
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
}

/** From which of the host's addresses other nodes take what comes. What is null has no choice of ours. */
export interface KnownBy {
  /** By each uplink, by its index: its own where that is one of them, else the first of the family. */
  readonly by: ReadonlyMap<number, Sources>;
  /** By whichever; null also where each uplink's own is one. */
  readonly any: Sources;
}

/** Of `named`, those that the host has. */
export function knownBy(reading: HostReading, uplinks: readonly UplinkReading[], named: readonly Ip[]): KnownBy {
  const own = new Set(hostAddressesOf(reading).map(addressOf));
  const of = (family: Family): readonly Ip[] => named.filter((address) => familyOf(address) === family && own.has(address));
  const [four, six] = [of(4), of(6)];
  const pick = (there: readonly Ip[], primary: Ip | null): Ip | null => there.find((address) => address === primary) ?? there[0] ?? null;
  const first = (there: readonly Ip[], primaries: readonly (Ip | null)[]): Ip | null =>
    primaries.length > 0 && primaries.every((primary) => primary !== null && there.includes(primary)) ? null : there[0] ?? null;
  return {
    by: new Map(uplinks.map(({ index, ipv4, ipv6 }) => [index, { ipv4: pick(four, ipv4), ipv6: pick(six, ipv6) }])),
    any: { ipv4: first(four, uplinks.map(({ ipv4 }) => ipv4)), ipv6: first(six, uplinks.map(({ ipv6 }) => ipv6)) },
  };
}

export function factsOf(reading: HostReading, uplinks: readonly UplinkReading[], { any }: KnownBy): HostFacts {
  const there = (addresses: readonly (Ip | null)[]): readonly Ip[] => [...new Set(addresses)].filter((address) => address !== null);
  const [ipv4, ipv6] = [uplinks.map((uplink) => uplink.ipv4), uplinks.map((uplink) => uplink.ipv6)];
  return {
    uplinkMtu: uplinks.length === 0 ? fallbackMtu : Math.min(...uplinks.map((uplink) => uplink.mtu)),
    hostPrefixes: hostAddressesOf(reading),
    uplinks: uplinks.map((uplink) => uplink.name),
    lan: subnetsOn(reading, new Set(uplinks.map((uplink) => uplink.index))),
    nodeAddresses: there([any.ipv4, ...ipv4, any.ipv6, ...ipv6]),
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
