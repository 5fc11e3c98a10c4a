// Flows in the JSON form of Hubble's messages: fields as in the .proto files, enums by name, defaults left out.
import type { Flow, GetFlowsResponse } from "../api/client.ts";
import { DropReason, FlowType, IPVersion, TrafficDirection, Verdict } from "../api/generated/flow/flow.ts";

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/** protobuf's JSON mapping with the .proto files' own names, as `hubble observe -o jsonpb` prints it. */
export function flowJson({ flow, nodeName, time }: GetFlowsResponse): Json {
  return without({ flow: flow === undefined ? undefined : bodyOf(flow), node_name: nodeName, time: timeText(time) });
}

/** RFC 3339 with nine digits, in UTC. */
export function timeText(time: GetFlowsResponse["time"]): string | undefined {
  if (time === undefined) return undefined;
  return `${new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19)}.${String(time.nanos).padStart(9, "0")}Z`;
}

function bodyOf(flow: Flow): Json {
  return {
    ...without({
      time: timeText(flow.time),
      verdict: nameOf(Verdict, flow.verdict),
      drop_reason: flow.dropReason,
      IP: flow.IP && without({ source: flow.IP.source, destination: flow.IP.destination, ipVersion: nameOf(IPVersion, flow.IP.ipVersion) }),
      l4: flow.l4 && layer4(flow.l4),
      source: flow.source && endpoint(flow.source),
      destination: flow.destination && endpoint(flow.destination),
      Type: nameOf(FlowType, flow.Type),
      node_name: flow.nodeName,
      event_type: flow.eventType && without({ type: flow.eventType.type, sub_type: flow.eventType.subType }),
      traffic_direction: nameOf(TrafficDirection, flow.trafficDirection),
      drop_reason_desc: nameOf(DropReason, flow.dropReasonDesc),
    }),
    // A wrapped value says something even when it is false.
    ...(flow.isReply === undefined ? {} : { is_reply: flow.isReply }),
    ...without({
      interface: flow.interface && without({ index: flow.interface.index, name: flow.interface.name }),
      egress_allowed_by: flow.egressAllowedBy.map(policy),
      ingress_allowed_by: flow.ingressAllowedBy.map(policy),
      egress_denied_by: flow.egressDeniedBy.map(policy),
      ingress_denied_by: flow.ingressDeniedBy.map(policy),
      Summary: flow.Summary,
      hawser: flow.hawser && hawser(flow.hawser),
    }),
  };
}

function layer4({ TCP, UDP, SCTP, ICMPv4, ICMPv6 }: NonNullable<Flow["l4"]>): Json {
  const ports = (of: { readonly sourcePort: number; readonly destinationPort: number } | undefined): Json | undefined =>
    of && without({ source_port: of.sourcePort, destination_port: of.destinationPort });
  const icmp = (of: { readonly type: number; readonly code: number } | undefined): Json | undefined => of && without({ type: of.type, code: of.code });
  return without({
    TCP: TCP && { ...without({ source_port: TCP.sourcePort, destination_port: TCP.destinationPort }), flags: without({ ...TCP.flags }) },
    UDP: ports(UDP), SCTP: ports(SCTP), ICMPv4: icmp(ICMPv4), ICMPv6: icmp(ICMPv6),
  });
}

function endpoint({ ID, identity, namespace, labels, podName }: NonNullable<Flow["source"]>): Json {
  return without({ ID, identity, namespace, labels, pod_name: podName });
}

function policy({ name, namespace, labels, revision, kind }: Flow["egressDeniedBy"][number]): Json {
  // 64-bit numbers are text in protobuf's JSON.
  return without({ name, namespace, labels, revision: revision === 0n ? undefined : revision.toString(), kind });
}

function hawser(of: NonNullable<Flow["hawser"]>): Json {
  return without({
    reason: of.reason, direction: of.direction, length: of.length, rule: of.rule, file: of.file, line: of.line, policy: of.policy,
    source_container_id: of.sourceContainerId, destination_container_id: of.destinationContainerId, protocol: of.protocol,
  });
}

/** undefined for a default, which is 0, and for a number that this build has no name for. */
function nameOf(names: Readonly<Record<string, number>>, value: number): string | undefined {
  return value === 0 ? undefined : Object.keys(names).find((name) => names[name] === value && value > 0);
}

function without(fields: Readonly<Record<string, Json | undefined>>): { readonly [key: string]: Json } {
  return Object.fromEntries(Object.entries(fields).filter((field): field is [string, Json] => !isDefault(field[1])));
}

function isDefault(value: Json | undefined): boolean {
  return value === undefined || value === "" || value === 0 || value === false || (Array.isArray(value) && value.length === 0);
}
