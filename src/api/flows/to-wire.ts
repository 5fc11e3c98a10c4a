// One flow in Hubble's words: which of its fields say what Hawser knows.
import type { FlowEnd, FlowView } from "../../engine/types.ts";
import { DropReason, FlowType, IPVersion, TrafficDirection, Verdict } from "../generated/flow/flow.ts";
import type * as wire from "../generated/flow/flow.ts";
import type { Timestamp } from "../generated/google/protobuf/timestamp.ts";
import type { GetFlowsResponse } from "../generated/observer/observer.ts";

export function flowToWire(flow: FlowView): GetFlowsResponse {
  const time = timestampOf(flow.time);
  const dropReason = flow.verdict === "DROPPED" ? (hubbleReasons[flow.reason] ?? DropReason.DROP_REASON_UNKNOWN) : DropReason.DROP_REASON_UNKNOWN;
  const direction = directionOf(flow);
  return {
    flow: {
      time,
      verdict: Verdict[flow.verdict],
      dropReason,
      dropReasonDesc: dropReason,
      IP: flow.family === 0 ? undefined : {
        source: flow.source.address, destination: flow.destination.address, ipVersion: flow.family === 4 ? IPVersion.IPv4 : IPVersion.IPv6,
      },
      l4: layer4(flow),
      source: endpointOf(flow.source),
      destination: endpointOf(flow.destination),
      Type: FlowType.L3_L4,
      nodeName: flow.node,
      eventType: flow.verdict === "DROPPED" ? { type: 1, subType: dropReason } : { type: 5, subType: 0 },
      trafficDirection: direction,
      // What policy judges is a flow's first packet; of other drops nobody asked.
      isReply: flow.verdict !== "DROPPED" || flow.end !== null ? false : undefined,
      interface: flow.device === "" ? undefined : { index: 0, name: flow.device },
      ...decidersOf(flow, direction),
      Summary: summaryOf(flow),
      hawser: hawserOf(flow),
    },
    nodeName: flow.node,
    time,
  };
}

/** The end whose policy decided; without one, the end at which the packet was seen. */
export function directionOf(flow: FlowView): TrafficDirection {
  if (flow.end !== null) return flow.end === "out" ? TrafficDirection.EGRESS : TrafficDirection.INGRESS;
  if (flow.direction === "from-container") return TrafficDirection.EGRESS;
  return flow.direction === "" ? TrafficDirection.TRAFFIC_DIRECTION_UNKNOWN : TrafficDirection.INGRESS;
}

/** tcp, udp, sctp, icmpv4 or icmpv6; of another protocol its number. */
export function protocolName(flow: Pick<FlowView, "protocol">): string {
  return protocolNames[flow.protocol] ?? String(flow.protocol);
}

const protocolNames: Readonly<Record<number, string>> = { 1: "icmpv4", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };

const denied = DropReason.POLICY_DENIED;

/** Ours to the nearest of Hubble's; those that Hubble has no word for are unknown to it. */
const hubbleReasons: Readonly<Record<string, DropReason>> = {
  POLICY_DENIED: denied, POLICY_DEFAULT_OUT: denied, POLICY_DEFAULT_IN: denied, POLICY_PUBLISHED: denied, POLICY_MISSING: denied, NOT_IDENTIFIED: denied,
  NETWORK_ISOLATED: denied, ICC_DISABLED: denied, INTERNAL_NETWORK: denied, DIRECT_ACCESS: denied,
  UNKNOWN_ENDPOINT: DropReason.NO_MATCHING_LOCAL_CONTAINER_FOUND,
  MALFORMED: DropReason.INVALID_PACKET_DROPPED,
  INVALID_OPTIONS: DropReason.INVALID_PACKET_DROPPED,
  INVALID_SOURCE_MAC: DropReason.INVALID_SOURCE_MAC,
  INVALID_SOURCE_IP: DropReason.INVALID_SOURCE_IP,
  MARTIAN: DropReason.INVALID_SOURCE_IP,
  INVALID_ND: DropReason.FORBIDDEN_ICMPV6_MESSAGE,
  ROUTER_ADVERTISEMENT: DropReason.FORBIDDEN_ICMPV6_MESSAGE,
  IPV6_OFF: DropReason.UNSUPPORTED_L3_PROTOCOL,
  UNKNOWN_PROTOCOL: DropReason.UNSUPPORTED_L3_PROTOCOL,
  NO_SUCH_ADDRESS: DropReason.UNKNOWN_L3_TARGET_ADDRESS,
  NO_ROUTE: DropReason.FIB_LOOKUP_FAILED,
  NOT_AN_UPLINK: DropReason.STALE_OR_UNROUTABLE_IP,
  NO_SNAT_ADDRESS: DropReason.NO_MAPPING_FOR_NAT_MASQUERADE,
  NAT_PORTS_EXHAUSTED: DropReason.NO_MAPPING_FOR_NAT_MASQUERADE,
  CT_INSERT_FAILED: DropReason.CT_MAP_INSERTION_FAILED,
  FRAGMENT_WITHOUT_FIRST: DropReason.FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND,
  REWRITE_FAILED: DropReason.ERROR_WRITING_TO_PACKET,
  ENCAP_PROHIBITED: DropReason.ENCAPSULATION_TRAFFIC_IS_PROHIBITED,
};

function timestampOf(nanoseconds: bigint): Timestamp {
  return { seconds: nanoseconds / 1_000_000_000n, nanos: Number(nanoseconds % 1_000_000_000n) };
}

function layer4(flow: FlowView): wire.Layer4 | undefined {
  const ports = { sourcePort: flow.source.port, destinationPort: flow.destination.port };
  switch (protocolName(flow)) {
    case "tcp": return { TCP: { ...ports, flags: flagsOf(flow.tcpFlags) } };
    case "udp": return { UDP: ports };
    case "sctp": return { SCTP: ports };
    case "icmpv4": return { ICMPv4: { type: flow.icmpType, code: flow.icmpCode } };
    case "icmpv6": return { ICMPv6: { type: flow.icmpType, code: flow.icmpCode } };
    default: return undefined;
  }
}

const flagNames = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const satisfies readonly (keyof wire.TCPFlags)[];

/** As in the TCP header's byte (RFC 9293, 3.1): FIN is the lowest bit. */
function flagsOf(flags: number): wire.TCPFlags {
  return Object.fromEntries(flagNames.map((name, bit) => [name, ((flags >> bit) & 1) === 1])) as unknown as wire.TCPFlags;
}

function endpointOf(end: FlowEnd): wire.Endpoint {
  return {
    ID: end.containerId === "" ? 0 : numberOf(`${end.containerId} ${end.network}`),
    identity: end.identity,
    namespace: end.network,
    labels: Object.entries(end.labels).map(([key, value]) => `${key}=${value}`),
    podName: end.name,
  };
}

/** FNV-1a, never 0. */
function numberOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0 || 1;
}

type Deciders = Pick<wire.Flow, "egressAllowedBy" | "ingressAllowedBy" | "egressDeniedBy" | "ingressDeniedBy">;

function decidersOf(flow: FlowView, direction: TrafficDirection): Deciders {
  const by = policyOf(flow.decidedBy);
  const [egress, ingress] = direction === TrafficDirection.EGRESS ? [by, []] : [[], by];
  return flow.verdict === "FORWARDED"
    ? { egressAllowedBy: egress, ingressAllowedBy: ingress, egressDeniedBy: [], ingressDeniedBy: [] }
    : { egressAllowedBy: [], ingressAllowedBy: [], egressDeniedBy: egress, ingressDeniedBy: ingress };
}

function policyOf(by: FlowView["decidedBy"]): wire.Policy[] {
  if (by === null) return [];
  if (typeof by === "string") return [{ name: by, namespace: "", labels: [], revision: 0n, kind: "default" }];
  return [{ name: by.policy, namespace: "", labels: [`file=${by.file}`, `line=${by.line}`, `rule=${by.rule}`], revision: 0n, kind: "policy" }];
}

/** As Hubble's own command line shows it at a line's end, and before it the reason in our words. */
function summaryOf(flow: FlowView): string {
  const flags = flagNames.filter((_name, bit) => ((flow.tcpFlags >> bit) & 1) === 1);
  const tcp = protocolName(flow) === "tcp" && flags.length > 0 ? `TCP Flags: ${flags.join(", ")}` : "";
  return [flow.reason, tcp].filter((part) => part !== "").join("; ");
}

function hawserOf(flow: FlowView): wire.Hawser {
  const by = flow.decidedBy;
  const rule = by === null ? { rule: "", file: "", line: 0, policy: "" } : typeof by === "string" ? { rule: by, file: "", line: 0, policy: "" } : { ...by };
  return {
    reason: flow.reason, direction: flow.direction, length: flow.length, ...rule, protocol: flow.protocol,
    sourceContainerId: flow.source.containerId, destinationContainerId: flow.destination.containerId,
  };
}
