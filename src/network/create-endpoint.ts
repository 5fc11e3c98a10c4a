// CreateEndpoint: a cable with its programs attached. Nothing reaches it yet; Join publishes it.
import { HawserError } from "../std/errors.ts";
import type { Cidr, Family, Ip, Mac } from "../std/ip.ts";
import { addressOf, contains, familyOf, ipToBytes, macFromBytes, parseCidr, parseMac } from "../std/ip.ts";
import type { CreateEndpoint, CreateEndpointReply } from "./commands.ts";
import { isDead } from "./dead.ts";
import { parseEndpointOptions } from "./options.ts";
import { cablePlan, removalOf } from "./plan.ts";
import { addressesOf, nameOfEndpoint, nameOfNetwork, needNetwork, shortId, withEndpoint, withoutEndpoint } from "./state.ts";
import { isUsable } from "./subnet.ts";
import type { Context, Decision, Endpoint, Network, State, Subnet } from "./types.ts";

/** @throws HawserError NOT_FOUND, BAD_REQUEST, BAD_OPTION, ALREADY_EXISTS */
export function createEndpoint(state: State, command: CreateEndpoint, context: Context): Decision<CreateEndpointReply> {
  const network = needNetwork(state, command.network);
  const { interfaceName } = parseEndpointOptions(command.options);
  const ipv4 = addressIn(network, network.ipv4, command.ipv4, 4);
  const ipv6 = addressIn(network, network.ipv6, command.ipv6, 6);
  if (!ipv4 && !ipv6) throw new HawserError("BAD_REQUEST", "Interface: Docker gave neither Address nor AddressIPv6");
  const asked = command.mac === null ? null : parseMac(command.mac, "Interface.MacAddress");

  const existing = state.endpoints.get(command.id);
  if (existing) {
    const same = existing.network === command.network && existing.ipv4 === ipv4 && existing.ipv6 === ipv6 && (asked ?? existing.mac) === existing.mac;
    if (same) return { next: state, steps: [], reply: { mac: asked ? null : existing.mac } };
    throw new HawserError("ALREADY_EXISTS", `endpoint ${shortId(command.id)} exists already with other settings`);
  }

  const heirless = [...state.endpoints.values()].filter((other) => gaveWay(other, network, [ipv4, ipv6], context));
  const cleared = heirless.reduce((next, other) => withoutEndpoint(next, other.id), state);
  const others = [...cleared.endpoints.values()];
  refuseTaken(others, [ipv4, ipv6]);
  const mac = asked ?? deriveMac(ipv4, others, context);
  const twin = others.find((other) => other.network === network.id && other.mac === mac);
  if (twin) {
    const place = `network ${nameOfNetwork(network)}`;
    throw new HawserError("ALREADY_EXISTS", `MAC address ${mac} is taken on ${place} by ${nameOfEndpoint(twin)}; choose another`);
  }
  const endpoint: Endpoint = {
    id: command.id,
    network: network.id,
    ipv4,
    ipv6,
    mac,
    mtu: network.mtu ?? context.uplinkMtu,
    ...interfacesFor(command.id, others),
    state: "init",
    joined: false,
    interfaceName,
    sandboxKey: null,
    container: null,
    identity: 0,
    portRequests: command.ports,
    ports: [],
    createdAt: context.now,
  };
  const cable = cablePlan(endpoint);
  return {
    next: withEndpoint(cleared, endpoint),
    steps: [...heirless.flatMap((other) => removalOf(other, needNetwork(state, other.network))), { kind: "cable", cable }, { kind: "attach", cable }],
    // Docker refuses an answer that names what it named itself.
    reply: { mac: asked ? null : mac },
  };
}

function addressIn(network: Network, subnet: Subnet | null, text: string | null, family: Family): Cidr | null {
  if (text === null) return null;
  const what = family === 4 ? "Interface.Address" : "Interface.AddressIPv6";
  const cidr = parseCidr(text, what);
  if (!subnet || familyOf(cidr) !== family) {
    throw new HawserError("BAD_REQUEST", `${what}: network ${nameOfNetwork(network)} has no IPv${family} subnet for ${cidr}`);
  }
  const ip = addressOf(cidr);
  if (!contains(subnet.prefix, ip) || !isUsable(subnet.prefix, ip)) {
    throw new HawserError("BAD_REQUEST", `${what}: ${ip} is no host's address in the subnet ${subnet.prefix}`);
  }
  if (ip === subnet.gateway) throw new HawserError("ALREADY_EXISTS", `${what}: ${ip} is the gateway of network ${nameOfNetwork(network)}`);
  return cidr;
}

/**
 * An earlier owner of the address that Docker has forgotten: it is dead, or it never joined, because the answer to its
 * CreateEndpoint was lost. Docker's address management never gives one address of a network to two that live.
 */
function gaveWay(other: Endpoint, network: Network, wanted: readonly (Cidr | null)[], context: Context): boolean {
  const addresses = wanted.filter((cidr) => cidr !== null).map(addressOf);
  return addressesOf(other).some((ip) => addresses.includes(ip)) && (isDead(other, context) || (other.network === network.id && !other.joined));
}

function refuseTaken(others: readonly Endpoint[], wanted: readonly (Cidr | null)[]): void {
  const addresses = new Set<Ip>(wanted.filter((cidr) => cidr !== null).map(addressOf));
  for (const other of others) {
    const taken = addressesOf(other).find((ip) => addresses.has(ip));
    if (taken) throw new HawserError("ALREADY_EXISTS", `address ${taken} is taken by ${nameOfEndpoint(other)}; choose another`);
  }
}

/** As Docker's bridge does it: 02:42 and the IPv4 address, so that a MAC says whose it is; random where there is none or it is taken. */
function deriveMac(ipv4: Cidr | null, others: readonly Endpoint[], context: Context): Mac {
  const taken = new Set<Mac>(others.map((other) => other.mac));
  const byAddress = ipv4 && macFromBytes(Uint8Array.of(2, 0x42, ...ipToBytes(addressOf(ipv4))));
  if (byAddress && !taken.has(byAddress)) return byAddress;
  let tail = Math.floor(context.random() * 0x1_0000_0000);
  for (;;) {
    // Never 02:42, so that it cannot meet one that is derived later.
    const mac = macFromBytes(Uint8Array.of(2, 0x68, tail >>> 24, tail >>> 16, tail >>> 8, tail));
    if (!taken.has(mac)) return mac;
    tail = (tail + 1) >>> 0;
  }
}

/** Both names fit the kernel's 15 bytes (IFNAMSIZ). */
function interfacesFor(id: string, others: readonly Endpoint[]): Pick<Endpoint, "hostInterface" | "containerInterface"> {
  if (!/^[0-9a-f]{11}/.test(id)) throw new HawserError("BAD_REQUEST", `EndpointID: "${shortId(id)}" does not begin with 11 hex digits`);
  const hostInterface = `hw${id.slice(0, 11)}`;
  const twin = others.find((other) => other.hostInterface === hostInterface);
  if (!twin) return { hostInterface, containerInterface: `${hostInterface}c` };
  throw new HawserError("ALREADY_EXISTS", `endpoint ${shortId(id)} would share the device ${hostInterface} with ${nameOfEndpoint(twin)}; try again`);
}
