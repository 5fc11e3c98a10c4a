// Docker's JSON to our commands and our answers to Docker's JSON. Docker's words end here.
import type {
  CreateEndpoint, CreateEndpointReply, CreateNetwork, EndpointId, EndpointRef, EndpointView, Join, JoinReply, NetworkId, PoolId,
  PortRequest, Protocol, PublishPorts, ReleaseAddress, RequestAddress, RequestPool, RequestPoolReply, SubnetRequest,
} from "../engine/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Ip, Mac } from "../std/ip.ts";
import { macFromBytes, parseIp, parseMac } from "../std/ip.ts";
import type { Fields } from "./fields.ts";
import { absent, fieldsOf, optionalBoolean, optionalList, optionalObject, optionalText, own, text, textMap, whole, wrong } from "./fields.ts";

const label = {
  generic: "com.docker.network.generic",
  enableIpv4: "com.docker.network.enable_ipv4",
  enableIpv6: "com.docker.network.enable_ipv6",
  internal: "com.docker.network.internal",
  portMap: "com.docker.network.portmap",
  exposedPorts: "com.docker.network.endpoint.exposedports",
  macAddress: "com.docker.network.endpoint.macaddress",
  dnsServers: "com.docker.network.endpoint.dnsservers",
  requestType: "RequestAddressType",
  gateway: "com.docker.network.gateway",
} as const;

/** libnetwork's types.NEXTHOP. */
const nextHop = 0;
/** IP protocol numbers, as Docker's portmap carries them. */
const protocols: Readonly<Record<number, Protocol>> = { 6: "tcp", 17: "udp", 132: "sctp" };
const protocolNumbers: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

export function decodeCreateNetwork(fields: Fields): CreateNetwork {
  const options = optionalObject(fields, "Options");
  const ipv4 = subnets(fields, "IPv4Data");
  const ipv6 = subnets(fields, "IPv6Data");
  return {
    id: networkId(fields),
    ipv4,
    ipv6,
    internal: optionalBoolean(options, label.internal, false),
    // Sent from engine 28 on; before it, IPv4 could not be left out.
    enableIpv4: optionalBoolean(options, label.enableIpv4, true),
    enableIpv6: optionalBoolean(options, label.enableIpv6, false),
    options: textMap(optionalObject(options, label.generic)),
  };
}

export function decodeNetwork(fields: Fields): NetworkId {
  return networkId(fields);
}

export function decodeCreateEndpoint(fields: Fields): CreateEndpoint {
  const face = optionalObject(fields, "Interface");
  const options = optionalObject(fields, "Options");
  return {
    ...decodeEndpoint(fields),
    ipv4: optionalText(face, "Address") || null,
    ipv6: optionalText(face, "AddressIPv6") || null,
    mac: optionalText(face, "MacAddress") || macIn(options),
    ports: portMap(options) ?? [],
    options: driverOptions(options),
  };
}

export function decodeEndpoint(fields: Fields): EndpointRef {
  return { id: hexId(fields, "EndpointID") as EndpointId, network: networkId(fields) };
}

export function decodeJoin(fields: Fields): Join {
  return { ...decodeEndpoint(fields), sandboxKey: text(fields, "SandboxKey"), ports: portMap(optionalObject(fields, "Options")) ?? [] };
}

export function decodePublishPorts(fields: Fields): PublishPorts {
  return { ...decodeEndpoint(fields), ports: portMap(optionalObject(fields, "Options")) };
}

export function decodeRequestPool(fields: Fields): RequestPool {
  return {
    addressSpace: optionalText(fields, "AddressSpace"),
    pool: optionalText(fields, "Pool"),
    subPool: optionalText(fields, "SubPool"),
    options: textMap(optionalObject(fields, "Options")),
    ipv6: optionalBoolean(fields, "V6", false),
  };
}

export function decodePool(fields: Fields): PoolId {
  return text(fields, "PoolID") as PoolId;
}

export function decodeRequestAddress(fields: Fields): RequestAddress {
  const options = optionalObject(fields, "Options");
  return {
    pool: decodePool(fields),
    address: optionalText(fields, "Address"),
    purpose: optionalText(options, label.requestType) === label.gateway ? "gateway" : "endpoint",
  };
}

export function decodeReleaseAddress(fields: Fields): ReleaseAddress {
  return { pool: decodePool(fields), address: text(fields, "Address") };
}

export function encodeCreateEndpoint(reply: CreateEndpointReply): unknown {
  return { Interface: reply.mac === null ? {} : { MacAddress: reply.mac } };
}

export function encodeJoin(reply: JoinReply): unknown {
  return {
    InterfaceName: {
      SrcName: reply.sourceName,
      DstPrefix: reply.destinationPrefix,
      ...(reply.destinationName === null ? {} : { DstName: reply.destinationName }),
    },
    ...(reply.gateway4 === null ? {} : { Gateway: reply.gateway4 }),
    ...(reply.gateway6 === null ? {} : { GatewayIPv6: reply.gateway6 }),
    StaticRoutes: reply.routes.map(({ destination, gateway }) => ({ Destination: destination, RouteType: nextHop, NextHop: gateway })),
    DisableGatewayService: reply.disableGatewayService,
  };
}

/** Engines up to 27 fail the container on an error here, so an unknown endpoint has simply nothing to tell. */
export function encodeOperInfo(endpoint: EndpointView | undefined): unknown {
  if (!endpoint) return { Value: {} };
  const ports = endpoint.ports.map((port) => ({
    Proto: protocolNumbers[port.protocol],
    IP: bare(port.hostIp.includes(":") && endpoint.ipv6 !== "" ? endpoint.ipv6 : endpoint.ipv4),
    Port: port.containerPort,
    HostIP: port.hostIp,
    HostPort: port.hostPort,
    HostPortEnd: port.hostPort,
  }));
  return { Value: { [label.macAddress]: endpoint.mac, [label.portMap]: ports } };
}

export function encodePool(reply: RequestPoolReply): unknown {
  return { PoolID: reply.id, Pool: reply.prefix, Data: {} };
}

export function encodeAddress(address: string): unknown {
  return { Address: address, Data: {} };
}

/** `10.44.0.2/26` as 10.44.0.2. */
function bare(cidr: string): string {
  return cidr.split("/", 1)[0] ?? "";
}

function networkId(fields: Fields): NetworkId {
  return hexId(fields, "NetworkID") as NetworkId;
}

function hexId(fields: Fields, key: string): string {
  const id = text(fields, key);
  if (/^[0-9a-f]{12,64}$/.test(id)) return id;
  throw wrong(`${fields.at}${key}`, id, "an id of Docker's (hex digits)");
}

function subnets(fields: Fields, key: string): readonly SubnetRequest[] {
  return optionalList(fields, key).map((value, i) => {
    const entry = fieldsOf(value, `${key}[${i}]`);
    return {
      pool: text(entry, "Pool"),
      gateway: optionalText(entry, "Gateway") || null,
      aux: textMap(optionalObject(entry, "AuxAddresses")),
    };
  });
}

/** Null when Docker sent no port map at all, which is not the same as an empty one. */
function portMap(options: Fields): readonly PortRequest[] | null {
  if (absent(options, label.portMap)) return null;
  return optionalList(options, label.portMap).map((value, i) => portRequest(fieldsOf(value, `${label.portMap}[${i}]`)));
}

function portRequest(fields: Fields): PortRequest {
  const number = whole(fields, "Proto", 255);
  const protocol = protocols[number];
  if (!protocol) throw new HawserError("UNSUPPORTED", `${fields.at}Proto: protocol ${number} cannot be published; tcp, udp and sctp can`);
  const hostPort = whole(fields, "HostPort", 65535);
  const hostPortEnd = whole(fields, "HostPortEnd", 65535);
  if (hostPortEnd !== 0 && hostPortEnd < hostPort) throw wrong(`${fields.at}HostPortEnd`, hostPortEnd, `${hostPort} or more`);
  const containerPort = whole(fields, "Port", 65535);
  if (containerPort === 0) throw wrong(`${fields.at}Port`, containerPort, "a port from 1 to 65535");
  return { protocol, containerPort, hostIp: hostIp(fields), hostPort, hostPortEnd: hostPort === 0 ? 0 : hostPortEnd || hostPort };
}

function hostIp(fields: Fields): Ip | null {
  const address = optionalText(fields, "HostIP");
  return address === "" ? null : parseIp(address, `${fields.at}HostIP`);
}

/** Go's []byte in JSON: base64. */
function macIn(options: Fields): Mac | null {
  if (absent(options, label.macAddress)) return null;
  const encoded = text(options, label.macAddress);
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length !== 6) throw wrong(label.macAddress, encoded, "six bytes in base64");
  return parseMac(macFromBytes(bytes), label.macAddress);
}

/** What the user gave as driver-opt: everything that is not Docker's own structure. */
function driverOptions(options: Fields): Readonly<Record<string, string>> {
  const dockers = new Set<string>([label.portMap, label.exposedPorts, label.macAddress, label.dnsServers]);
  const entries = Object.keys(options.values)
    .filter((key) => !dockers.has(key) && typeof own(options, key) === "string")
    .map((key) => [key, text(options, key)] as const);
  return Object.fromEntries(entries);
}
