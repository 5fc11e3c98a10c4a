// A random world: containers with labels, guests, a host, published ports, policies; and random packets through it, each with its question.
import { identityKey } from "../../src/policy/identity.ts";
import type { End, IdentityLabels, PacketQuestion, Policy, PolicyFacts, Protocol } from "../../src/policy/types.ts";
import { contains, familyOf, firstOf, formatIp, lastOf, parseCidr, parseIp } from "../../src/std/ip.ts";
import type { Cidr, Family, Ip, Mac } from "../../src/std/ip.ts";
import { echo, frame, icmp, ip, protocols, sctp, tcp, udp } from "./packets.ts";
import type { Payload } from "./packets.ts";
import type { HostPacket } from "./policy-host.ts";
import { addressesOf, devices, gatewaysOf, guestDevices, networkNames, uplinkAddresses } from "./policy-place.ts";
import type { Random } from "./policy-place.ts";
import { interesting, labels as labelWords, prefixes, projects, randomPolicies, services, withDoubts } from "./policy-random.ts";

export interface Somebody {
  readonly device: string;
  readonly labels: IdentityLabels;
  readonly identity: number;
  /** 0: a guest's. */
  readonly network: number;
  readonly ipv4: Ip;
  readonly ipv6: Ip;
  readonly mac: Mac;
}

export interface PublishedAt {
  readonly port: number;
  readonly protocol: "tcp" | "udp";
  readonly to: Somebody;
  readonly toPort: number;
}

export interface World {
  readonly facts: PolicyFacts;
  readonly policies: readonly Policy[];
  readonly containers: readonly Somebody[];
  readonly guests: readonly Somebody[];
  readonly ports: readonly PublishedAt[];
  /** Without gateways. */
  readonly hostAddresses: readonly Ip[];
}

export interface Case {
  readonly packet: HostPacket;
  readonly question: PacketQuestion;
}

const wire = "02:00:00:00:00:fe";
const uplink = "02:00:00:00:00:01";
const hostMac = "02:48:57:00:00:01";
/** No flow to or from them is one between strangers: this host, groups, containers, link-local. */
const special = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "10.44.0.0/16", "10.88.0.0/16", "::/8", "fe80::/10", "ff00::/8", "fd44::/16", "fd88::/16", "192.0.2.0/32", "192.0.2.255/32", "2001:db8::/128"]
  .map((text) => parseCidr(text));

export function randomWorld(random: Random): World {
  const networks = networkNames.map((name) => [name, { internal: random.chance(0.12), icc: random.chance(0.8) }] as const);
  const everybody = [...devices.map((device, i) => somebody(random, device, 1 + random.number(3), i + 2)), ...guestDevices.map((device, i) => somebody(random, device, 0, i + 2))];
  const numbers = new Map([...new Set(everybody.map(({ labels }) => identityKey(labels)))].map((key, i) => [key, 256 + i]));
  const known = everybody.map((one) => ({ ...one, identity: random.chance(0.06) ? 0 : (numbers.get(identityKey(one.labels)) ?? 0) }));
  const identities = [...new Map(everybody.map(({ labels }) => [numbers.get(identityKey(labels)) ?? 0, labels]))].map(([id, labels]) => ({ id, labels }));
  const hostAddresses = [...new Set([...uplinkAddresses, ...random.list(0, 2, () => stranger(random, random.pick([4, 6])))])];
  const containers = known.filter(({ network }) => network !== 0);
  const facts: PolicyFacts = {
    identities,
    host: [...hostAddresses, ...[1, 2, 3].flatMap(gatewaysOf)],
    nodes: random.list(0, 2, () => random.pick(prefixes.filter((prefix) => !prefix.endsWith("/0")))),
    lan: random.chance(0.8) ? [parseCidr("192.0.2.0/24"), parseCidr("2001:db8::/64")] : [],
    pool: random.list(0, 2, () => random.pick(prefixes.filter((prefix) => !prefix.endsWith("/0")))),
    poolByAddress: random.chance(0.5),
    networks: new Map(networks),
    hostServices: [2375, 2376, 8443],
    betweenNetworks: random.chance(0.3) ? "allow" : "deny",
    published: random.chance(0.4) ? "deny" : "allow",
    untilIdentified: random.chance(0.5) ? "allow" : "deny",
  };
  const open = containers.filter(({ labels }) => facts.networks.get(labels.network)?.internal !== true);
  const ports = open.length === 0 ? [] : random.list(1, 6, () => 0).map((_, i) => ({
    port: 9000 + i, protocol: random.pick(["tcp", "udp"] as const), to: random.pick(open), toPort: random.pick(interesting),
  }));
  return { facts, policies: randomPolicies(random, identities.map(({ labels }) => labels)), containers, guests: known.filter(({ network }) => network === 0), ports, hostAddresses };
}

function somebody(random: Random, device: string, network: number, host: number): Somebody {
  const own = Object.entries(labelWords).filter(() => random.chance(0.5)).map(([key, values]) => [key, random.pick(values)]);
  const labels = withDoubts(random, {
    // A guest may be said to be on a network that is called as one of ours.
    network: network === 0 ? random.pick(["", "bridge", "red"]) : (networkNames[network - 1] ?? ""),
    project: random.chance(0.3) ? null : random.pick(projects),
    service: random.chance(0.2) ? null : random.pick(services),
    name: random.chance(0.5) ? null : `c${host}`,
    own: Object.fromEntries(own),
  });
  return { device, network, labels, identity: 0, ...addressesOf(network, host) };
}

/** An address of nobody here: of a prefix that is spoken of, or its neighbour. */
export function stranger(random: Random, family: Family): Ip {
  for (;;) {
    const prefix = random.pick(prefixes.filter((one) => familyOf(one) === family));
    const inside = firstOf(prefix) + BigInt(random.number(2 ** 30)) * BigInt(random.number(2 ** 20));
    const number = random.pick([firstOf(prefix), lastOf(prefix), firstOf(prefix) - 1n, lastOf(prefix) + 1n, inside > lastOf(prefix) ? lastOf(prefix) : inside]);
    if (number < 0n || number >= 1n << (family === 4 ? 32n : 128n)) continue;
    const address = formatIp(number, family);
    if (!special.some((one: Cidr) => contains(one, address)) && !uplinkAddresses.includes(address)) return address;
  }
}

/** `number`: of the packet in its world; no two are of one flow. */
export function randomCase(random: Random, world: World, number: number): Case {
  const family = random.pick([4, 6] as const);
  const at = (one: Somebody): Ip => (family === 4 ? one.ipv4 : one.ipv6);
  const outside = (): Ip => {
    for (;;) {
      const address = stranger(random, family);
      if (!world.facts.host.includes(address)) return address;
    }
  };
  const hostAddress = (): Ip => random.pick(world.hostAddresses.filter((address) => familyOf(address) === family));
  const guest = random.pick(world.guests);
  const other = random.pick(world.containers);
  // Guests and containers of ours never meet, whatever policy says.
  const otherGuest = random.pick(world.guests.filter((one) => one !== guest));
  const met = random.pick([addressEnd(outside()), addressEnd(hostAddress()), somebodyEnd(otherGuest, at(otherGuest))]);
  switch (random.number(12)) {
    case 0: case 1: return fromUplink(random, world, number, outside(), hostAddress());
    case 2: return aimed(random, number, "to_container", other.device, frameTo, addressEnd(hostAddress()), somebodyEnd(other, at(other)));
    case 3: return aimed(random, number, "from_guest", guest.device, frameFrom(guest), somebodyEnd(guest, at(guest)), met);
    case 4: return aimed(random, number, "to_guest", guest.device, frameTo, met, somebodyEnd(guest, at(guest)));
    default: return fromContainer(random, world, number, other, family, outside, hostAddress);
  }
}

function internalOf({ facts }: World, { labels }: Somebody): boolean {
  return facts.networks.get(labels.network)?.internal === true;
}

function fromContainer(random: Random, world: World, number: number, from: Somebody, family: Family, outside: () => Ip, hostAddress: () => Ip): Case {
  const at = (one: Somebody): Ip => (family === 4 ? one.ipv4 : one.ipv6);
  const [sender, peers] = [somebodyEnd(from, at(from)), world.containers.filter((one) => one !== from)];
  const internal = internalOf(world, from);
  const choice = random.number(10);
  if (choice < 5) {
    const to = random.pick(peers);
    return aimed(random, number, "from_container", from.device, frameFrom(from), sender, somebodyEnd(to, at(to)));
  }
  if (choice < 8) return aimed(random, number, "from_container", from.device, frameFrom(from), sender, addressEnd(outside()));
  const target = internal ? gatewaysOf(from.network)[family === 4 ? 0 : 1] : hostAddress();
  const published = random.pick([undefined, ...world.ports]);
  if (internal || published === undefined) return aimed(random, number, "from_container", from.device, frameFrom(from), sender, addressEnd(target));
  return throughPort(number, "from_container", from.device, frameFrom(from), sender, target, published, at(published.to));
}

function fromUplink(random: Random, world: World, number: number, from: Ip, host: Ip): Case {
  const published = world.ports.length === 0 ? undefined : random.pick(world.ports);
  const to = published?.to ?? random.pick(world.containers);
  const address = familyOf(from) === 4 ? to.ipv4 : to.ipv6;
  // Nothing is published when every network is internal: then the host itself asks.
  if (published === undefined) return aimed(random, number, "to_container", to.device, frameTo, addressEnd(host), somebodyEnd(to, address));
  return throughPort(number, "netdev", "wan0", (packet) => frame(wire, uplink, packet), addressEnd(from), host, published, address);
}

type Framing = (packet: ReturnType<typeof ip>) => Uint8Array;

const frameTo: Framing = (packet) => frame(hostMac, hostMac, packet);

function frameFrom({ mac }: Somebody): Framing {
  return (packet) => frame(mac, hostMac, packet);
}

function throughPort(number: number, program: string, device: string, framed: Framing, from: End, host: Ip, { port, protocol, to, toPort }: PublishedAt, address: Ip): Case {
  const payload = protocol === "tcp" ? tcp(20000 + number, port, "S") : udp(20000 + number, port, "x");
  const data = framed(ip(addressIn(from), host, payload));
  return { packet: { program, device, data }, question: { from, to: somebodyEnd(to, address), protocol, port: toPort, published: true } };
}

/** From one address to another as they are. */
function aimed(random: Random, number: number, program: string, device: string, framed: Framing, from: End, to: End): Case {
  const family = familyOf(addressIn(to));
  if (program.endsWith("_guest") && random.chance(0.2)) return message(random, program, device, framed, from, to);
  const carries = to.identity !== null ? (["tcp", "udp", "sctp", "icmp"] as const) : (["tcp", "udp", "icmp"] as const);
  const what = random.pick(carries);
  const port = random.pick(interesting);
  const [payload, protocol] = payloadOf(what, 20000 + number, port, family);
  const asked = what === "icmp" ? (family === 4 ? 8 : 128) * 256 : port;
  return { packet: { program, device, data: framed(ip(addressIn(from), addressIn(to), payload)) }, question: { from, to, protocol, port: asked, published: false } };
}

/** ICMP that is neither echo nor error: guests' networks may carry it, and each is judged by its type and code. */
function message(random: Random, program: string, device: string, framed: Framing, from: End, to: End): Case {
  const family = familyOf(addressIn(to));
  const [type, code] = [random.pick(family === 4 ? [13, 17, 40] : [139, 150, 200]), random.number(3)];
  const data = framed(ip(addressIn(from), addressIn(to), icmp(type, code, new Uint8Array(8), family)));
  return { packet: { program, device, data }, question: { from, to, protocol: family === 4 ? "icmp" : "icmpv6", port: type * 256 + code, published: false } };
}

function payloadOf(what: "tcp" | "udp" | "sctp" | "icmp", sport: number, port: number, family: Family): readonly [Payload, Protocol] {
  switch (what) {
    case "tcp": return [tcp(sport, port, "S"), "tcp"];
    case "udp": return [udp(sport, port, "x"), "udp"];
    case "sctp": return [sctp(sport, port), "sctp"];
    case "icmp": return [echo("request", sport, "", family), family === 4 ? "icmp" : "icmpv6"];
  }
}

export function protocolNumber(protocol: Protocol): number {
  return protocol === "icmpv6" ? protocols.icmp6 : protocols[protocol];
}

function somebodyEnd({ labels, identity, network }: Somebody, address: Ip): End {
  return { identity: labels, address, ...(identity === 0 ? { unidentified: true } : {}), ...(network === 0 ? { guest: true } : {}) };
}

function addressEnd(address: Ip): End {
  return { identity: null, address };
}

function addressIn({ address }: End): Ip {
  return address ?? parseIp("0.0.0.0");
}
