// Between the engine's views and the messages on the wire: one pair of functions per noun.
import type {
  EndpointView, MapEntryView, NetworkView, NodeView, PartStatus, PortView, ReconcileReport, Status,
} from "../engine/types.ts";
import type { EndpointId, EndpointState, NetworkId, Protocol, PublishedPort } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import { parseIp } from "../std/ip.ts";
import type * as wire from "./generated/hawser/v1/hawser.ts";

export function statusToWire(status: Status): wire.Status {
  return {
    node: status.node,
    version: status.version,
    ready: status.ready,
    problems: [...status.problems],
    parts: status.parts.map(({ findings = [], ...part }) => ({ ...part, findings: [...findings] })),
    counts: { ...status.counts },
    kernel: {
      release: status.kernel.release,
      features: { ...status.kernel.features },
      programs: [...status.kernel.programs],
      uplinks: [...status.kernel.uplinks],
    },
    counters: [...status.counters],
    startedAt: BigInt(Math.trunc(status.startedAt)),
    peers: status.peers.map(nodeToWire),
  };
}

export function statusFromWire(message: wire.Status): Status {
  return {
    node: message.node,
    version: message.version,
    ready: message.ready,
    problems: message.problems,
    parts: message.parts.map(({ part, state, detail, findings }) => ({
      part, state: oneOf(state, partStates, "Status.parts.state"), detail, ...(findings.length === 0 ? {} : { findings }),
    })),
    counts: message.counts ?? { networks: 0, endpoints: 0, ports: 0, pools: 0 },
    kernel: message.kernel ?? { release: "", features: {}, programs: [], uplinks: [] },
    counters: message.counters,
    startedAt: Number(message.startedAt),
    peers: message.peers.map(nodeFromWire),
  };
}

export function nodeToWire({ lastSeen, rttMs, ...plain }: NodeView): wire.Node {
  return { ...plain, lastSeen: BigInt(Math.trunc(lastSeen)), rttMs: rttMs ?? undefined };
}

export function nodeFromWire({ name, address, ipv4, ipv6, state, lastSeen, rttMs, mtu, endpoints }: wire.Node): NodeView {
  return { name, address, ipv4, ipv6, state: oneOf(state, nodeStates, "Node.state"), lastSeen: Number(lastSeen), rttMs: rttMs ?? null, mtu, endpoints };
}

export function endpointToWire(endpoint: EndpointView): wire.Endpoint {
  const { default: byDefault, labels, notes, ports, ...plain } = endpoint;
  return {
    ...plain,
    labels: { ...labels },
    notes: [...notes],
    defaultIn: byDefault.in,
    defaultOut: byDefault.out,
    ports: [...ports],
  };
}

export function endpointFromWire(message: wire.Endpoint): EndpointView {
  return {
    id: message.id as EndpointId,
    name: message.name,
    containerId: message.containerId,
    network: message.network,
    networkId: message.networkId as NetworkId,
    node: message.node,
    ipv4: message.ipv4,
    ipv6: message.ipv6,
    mac: message.mac,
    identity: message.identity,
    labels: message.labels,
    state: oneOf(message.state, endpointStates, "Endpoint.state"),
    hostInterface: message.hostInterface,
    default: {
      in: oneOf(message.defaultIn, verdicts, "Endpoint.default_in"),
      out: oneOf(message.defaultOut, verdicts, "Endpoint.default_out"),
    },
    mtu: message.mtu,
    ports: message.ports.map(publishedPortFromWire),
    notes: message.notes,
  };
}

export function networkToWire(network: NetworkView): wire.Network {
  return { ...network, mtu: network.mtu ?? undefined, options: { ...network.options } };
}

export function networkFromWire(message: wire.Network): NetworkView {
  return { ...message, id: message.id as NetworkId, mtu: message.mtu ?? null };
}

export function portFromWire(message: wire.Port): PortView {
  return { ...message, endpoint: message.endpoint as EndpointId, protocol: oneOf(message.protocol, protocols, "Port.protocol") };
}

/** 64-bit numbers beyond what JSON carries exactly become text. */
export function entryToWire(entry: MapEntryView): wire.MapEntry {
  const replacer = (_key: string, value: unknown): unknown => {
    if (typeof value !== "bigint") return value;
    return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value.toString();
  };
  return { key: JSON.stringify(entry.key, replacer), value: JSON.stringify(entry.value, replacer) };
}

export function entryFromWire(message: wire.MapEntry): MapEntryView {
  return { key: JSON.parse(message.key) as unknown, value: JSON.parse(message.value) as unknown };
}

export function reconcileFromWire(message: wire.ReconcileResponse): ReconcileReport {
  return {
    removedEndpoints: message.removedEndpoints as EndpointId[],
    removedNetworks: message.removedNetworks as NetworkId[],
    identified: message.identified,
    restored: message.restored,
    refused: message.refused,
  };
}

function publishedPortFromWire(message: wire.PublishedPort): PublishedPort {
  return {
    protocol: oneOf(message.protocol, protocols, "PublishedPort.protocol"),
    containerPort: message.containerPort,
    hostIp: parseIp(message.hostIp, "PublishedPort.host_ip"),
    hostPort: message.hostPort,
  };
}

const partStates: readonly PartStatus["state"][] = ["ok", "degraded", "failed", "off"];
const nodeStates: readonly NodeView["state"][] = ["ready", "unreachable", "self"];
const endpointStates: readonly EndpointState[] = ["init", "ready", "quarantined", "leaving"];
const verdicts: readonly ("allow" | "deny")[] = ["allow", "deny"];
const protocols: readonly Protocol[] = ["tcp", "udp", "sctp"];

/** @throws HawserError INTERNAL when the agent speaks a word that this build does not know. */
export function oneOf<T extends string>(text: string, allowed: readonly T[], where: string): T {
  const found = allowed.find((each) => each === text);
  if (found === undefined) {
    throw new HawserError("INTERNAL", `${where}: the agent sent "${text}", this command line knows ${allowed.join(", ")}; are both of one version?`);
  }
  return found;
}
