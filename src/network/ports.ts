// Which host addresses and host ports a container's port requests become.
import { HawserError } from "../std/errors.ts";
import type { Ip } from "../std/ip.ts";
import { addressOf, familyOf } from "../std/ip.ts";
import type { HeldFrontend } from "../lb/types.ts";
import { isDead } from "./dead.ts";
import { gatewaysOf, nameOfEndpoint } from "./state.ts";
import type { Context, Endpoint, Network, PortRequest, PublishedPort, State } from "./types.ts";

const any4 = "0.0.0.0" as Ip;
const any6 = "::" as Ip;

/** Ports for "any" (RFC 6335, dynamic ports). */
const ephemeral = { first: 49153, last: 65535 };

export interface Surroundings {
  /** Ports of other containers. */
  readonly held: readonly { readonly owner: Endpoint; readonly port: PublishedPort }[];
  /** What the container had published before: an ephemeral port stays the same where it can. */
  readonly before: readonly PublishedPort[];
  readonly hostAddresses: ReadonlySet<Ip>;
  /** Those at addresses that the host has as well. */
  readonly frontends: readonly HeldFrontend[];
  readonly context: Context;
}

export function surroundingsOf(state: State, endpoint: Endpoint, context: Context): Surroundings {
  const held: { owner: Endpoint; port: PublishedPort }[] = [];
  const before: PublishedPort[] = [...endpoint.ports];
  for (const other of state.endpoints.values()) {
    if (other.id === endpoint.id) continue;
    if (isSameContainer(other, endpoint)) before.push(...other.ports);
    else if (!isDead(other, context)) for (const port of other.ports) held.push({ owner: other, port });
  }
  const hostAddresses = new Set<Ip>([...context.hostPrefixes.map(addressOf), ...gatewaysOf(state)]);
  return { held, before, hostAddresses, frontends: context.frontends().filter(({ address }) => hostAddresses.has(address)), context };
}

/** Docker publishes on a container's next network before it revokes on the last one, so the same sandbox takes its own ports over. */
export function isSameContainer(a: Endpoint, b: Endpoint): boolean {
  return (a.sandboxKey !== null && a.sandboxKey === b.sandboxKey) || (a.container !== null && a.container.id === b.container?.id);
}

/** Every row that the requests become. @throws HawserError BAD_REQUEST, BAD_OPTION, UNSUPPORTED, PORT_IN_USE, NO_FREE_PORT */
export function resolvePorts(
  endpoint: Endpoint, network: Network, requests: readonly PortRequest[], around: Surroundings,
): readonly PublishedPort[] {
  const rows: PublishedPort[] = [];
  // Ports that the user named come first, so that none of them is given away to a request for any.
  const fixedFirst = requests.toSorted((a, b) => Number(isFixed(b)) - Number(isFixed(a)));
  for (const request of fixedFirst) {
    checkNumbers(request);
    const hostIps = hostIpsFor(request, endpoint, network, around);
    const hostPort = choosePort(request, hostIps, endpoint, rows, around);
    for (const hostIp of hostIps) {
      rows.push({ protocol: request.protocol, containerPort: request.containerPort, hostIp, hostPort });
    }
  }
  return rows.toSorted(byPort);
}

export function isSamePort(a: PublishedPort, b: PublishedPort): boolean {
  return a.containerPort === b.containerPort && a.protocol === b.protocol && a.hostPort === b.hostPort && a.hostIp === b.hostIp;
}

function byPort(a: PublishedPort, b: PublishedPort): number {
  const byContainer = a.containerPort - b.containerPort || a.protocol.localeCompare(b.protocol);
  return byContainer || a.hostPort - b.hostPort || familyOf(a.hostIp) - familyOf(b.hostIp);
}

function isFixed(request: PortRequest): boolean {
  return request.hostPort !== 0 && lastPort(request) === request.hostPort;
}

function lastPort(request: PortRequest): number {
  return Math.max(request.hostPort, request.hostPortEnd);
}

function checkNumbers(request: PortRequest): void {
  const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65535;
  const whole = isPort(request.containerPort) && (request.hostPort === 0 || (isPort(request.hostPort) && isPort(lastPort(request))));
  if (!whole) throw new HawserError("BAD_REQUEST", `port ${textOf(request)}: ports are whole numbers from 1 to 65535`);
}

function hostIpsFor(request: PortRequest, endpoint: Endpoint, network: Network, around: Surroundings): readonly Ip[] {
  if (request.hostIp === null) return defaultIps(endpoint, network);
  const { hostIp } = request;
  const family = familyOf(hostIp);
  const loopback = family === 4 ? hostIp.startsWith("127.") : hostIp === "::1";
  if (!loopback && hostIp !== any4 && hostIp !== any6 && !around.hostAddresses.has(hostIp)) {
    throw new HawserError("BAD_OPTION", `port ${textOf(request)}: the host has no address ${hostIp}; see ip address`);
  }
  const reachable = family === 4 ? endpoint.ipv4 !== null : endpoint.ipv6 !== null || (hostIp === "::1" && endpoint.ipv4 !== null);
  if (!reachable) {
    const lack = `${nameOfEndpoint(endpoint)} has no IPv${family} address on this network`;
    throw new HawserError("UNSUPPORTED", `port ${textOf(request)}: ${lack}; publish on an IPv${family === 4 ? 6 : 4} host address`);
  }
  return [hostIp];
}

/** Docker's rule: where only an IPv4 host address is bound by default, a port without one is not opened on IPv6. */
function defaultIps(endpoint: Endpoint, network: Network): readonly Ip[] {
  const narrowed4 = network.hostBinding4 !== null && network.hostBinding4 !== any4;
  const narrowed6 = network.hostBinding6 !== null && network.hostBinding6 !== any6;
  const ips: Ip[] = [];
  if (endpoint.ipv4 && (narrowed4 || !narrowed6)) ips.push(network.hostBinding4 ?? any4);
  if (endpoint.ipv6 && (narrowed6 || !narrowed4)) ips.push(network.hostBinding6 ?? any6);
  return ips;
}

function choosePort(
  request: PortRequest, hostIps: readonly Ip[], endpoint: Endpoint, rows: readonly PublishedPort[], around: Surroundings,
): number {
  const conflict = (hostPort: number): string | null => {
    for (const hostIp of hostIps) {
      const port: PublishedPort = { protocol: request.protocol, containerPort: request.containerPort, hostIp, hostPort };
      if (rows.some((row) => collides(row, port))) return nameOfEndpoint(endpoint);
      const other = around.held.find((row) => collides(row.port, port));
      if (other) return nameOfEndpoint(other.owner);
      const frontend = around.frontends.find((one) => collides({ ...port, hostIp: one.address, hostPort: one.port, protocol: one.protocol }, port));
      if (frontend) return `service ${frontend.service}`;
      if (around.context.takenPorts.has(`${port.protocol} ${hostIp} ${hostPort}`)) return "a program on the host";
    }
    return null;
  };
  if (request.protocol === "sctp") return chooseSctp(request, conflict);
  if (isFixed(request)) {
    const holder = conflict(request.hostPort);
    if (holder === null) return request.hostPort;
    throw new HawserError("PORT_IN_USE", `host port ${textOf(request)} is held by ${holder}; choose another host port or stop it`);
  }
  for (const port of candidates(request, hostIps, around)) {
    if (conflict(port) === null) return port;
  }
  if (request.hostPort === 0) throw new HawserError("NO_FREE_PORT", `port ${textOf(request)}: no ephemeral host port is free`);
  const range = `${request.hostPort}-${request.hostPortEnd}`;
  throw new HawserError("PORT_IN_USE", `port ${textOf(request)}: every host port of ${range} is taken; choose another range`);
}

/** Changing an SCTP port means a new CRC32c over the whole packet, which the programs cannot compute. */
function chooseSctp(request: PortRequest, conflict: (port: number) => string | null): number {
  const port = request.containerPort;
  if (request.hostPort === 0 || port < request.hostPort || port > lastPort(request)) {
    throw new HawserError("UNSUPPORTED", `port ${textOf(request)}: an SCTP port can only be published as itself (-p ${port}:${port}/sctp)`);
  }
  const holder = conflict(port);
  if (holder === null) return port;
  throw new HawserError("PORT_IN_USE", `host port ${textOf(request)} is held by ${holder}; choose another host port or stop it`);
}

/** Where it was before, then from the start of a range, or round the ephemeral ports from a random one. */
function* candidates(request: PortRequest, hostIps: readonly Ip[], around: Surroundings): Generator<number> {
  const [first, last] = request.hostPort === 0 ? [ephemeral.first, ephemeral.last] : [request.hostPort, lastPort(request)];
  for (const port of around.before) {
    const fits = port.protocol === request.protocol && port.containerPort === request.containerPort && hostIps.includes(port.hostIp);
    if (fits && port.hostPort >= first && port.hostPort <= last) yield port.hostPort;
  }
  const count = last - first + 1;
  const start = request.hostPort === 0 ? Math.floor(around.context.random() * count) : 0;
  for (let i = 0; i < count; i++) yield first + ((start + i) % count);
}

/** Whether a packet or a socket could mean both. */
export function collides(a: PublishedPort, b: PublishedPort): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort || familyOf(a.hostIp) !== familyOf(b.hostIp)) return false;
  return a.hostIp === b.hostIp || [a.hostIp, b.hostIp].some((ip) => ip === any4 || ip === any6);
}

/** As `docker run -p` writes it. */
function textOf(request: PortRequest): string {
  const host = request.hostIp === null ? "" : familyOf(request.hostIp) === 6 ? `[${request.hostIp}]:` : `${request.hostIp}:`;
  const range = isFixed(request) || request.hostPort === 0 ? `${request.hostPort || ""}` : `${request.hostPort}-${request.hostPortEnd}`;
  return `${host}${range}${host || range ? ":" : ""}${request.containerPort}/${request.protocol}`;
}
