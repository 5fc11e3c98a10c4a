// Hubble's filters: what of them the engine can choose by itself, and a test for the rest.
import type { FlowEnd, FlowQuery, FlowView } from "../../engine/types.ts";
import { HawserError } from "../../std/errors.ts";
import { contains, parseCidr, parseIp } from "../../std/ip.ts";
import type { Ip } from "../../std/ip.ts";
import { type FlowFilter, IPVersion, TrafficDirection, Verdict } from "../generated/flow/flow.ts";
import { directionOf, protocolName } from "./to-wire.ts";

type Test = (flow: FlowView) => boolean;

export interface Chosen {
  readonly query: Pick<FlowQuery, "verdicts" | "from" | "to" | "with">;
  /** undefined: the query says all. */
  readonly matches: Test | undefined;
}

/** @throws HawserError BAD_REQUEST for a value that is none, UNSUPPORTED for a filter that Hawser has not. */
export function chosenBy(whitelist: readonly FlowFilter[], blacklist: readonly FlowFilter[]): Chosen {
  const ours = [...whitelist, ...blacklist].filter((filter) => filter.hawserFrom + filter.hawserTo + filter.hawserWith !== "");
  const [only] = whitelist;
  if (ours.length > 0 && (whitelist.length !== 1 || ours.length > 1 || ours[0] !== only)) {
    throw new HawserError("BAD_REQUEST", "hawser_from, hawser_to and hawser_with can only stand in the one filter of a whitelist");
  }
  const verdicts = whitelist.length === 1 ? verdictsOf(only) : [];
  const allowed = whitelist.map((filter) => testsOf(verdicts.length > 0 ? { ...filter, verdict: [] } : filter));
  const refused = blacklist.map(testsOf);
  // A filter without a field matches everything.
  const anyOf = (filters: readonly (readonly Test[])[], flow: FlowView): boolean => filters.some((tests) => tests.every((test) => test(flow)));
  const nothingToTest = refused.length === 0 && (allowed.length === 0 || allowed.some((tests) => tests.length === 0));
  return {
    query: { verdicts, from: only?.hawserFrom ?? "", to: only?.hawserTo ?? "", with: only?.hawserWith ?? "" },
    matches: nothingToTest ? undefined : (flow) => (allowed.length === 0 || anyOf(allowed, flow)) && !anyOf(refused, flow),
  };
}

const verdictNames: Readonly<Partial<Record<Verdict, FlowView["verdict"]>>> = {
  [Verdict.FORWARDED]: "FORWARDED", [Verdict.DROPPED]: "DROPPED", [Verdict.AUDIT]: "AUDIT",
};

/** Empty when one is asked for that no flow of ours has: then the test below decides alone. */
function verdictsOf(filter: FlowFilter | undefined): readonly FlowView["verdict"][] {
  const names = (filter?.verdict ?? []).map((verdict) => verdictNames[verdict]);
  return names.every((name) => name !== undefined) ? names : [];
}

const unsupported = [
  "sourceFqdn", "destinationFqdn", "httpStatusCode", "reply", "sourceService", "destinationService", "dnsQuery", "httpMethod", "httpPath", "tcpFlags",
  "nodeName", "traceId", "uuid",
] as const satisfies readonly (keyof FlowFilter)[];

function testsOf(filter: FlowFilter): readonly Test[] {
  const asked = unsupported.find((field) => filter[field].length > 0);
  if (asked !== undefined) {
    throw new HawserError("UNSUPPORTED", `the filter ${asked.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} is one of Hubble's that this build has not`);
  }
  const oneOf = <T>(values: readonly T[], compile: (value: T) => Test): readonly Test[] => {
    const tests = values.map(compile);
    return tests.length === 0 ? [] : [(flow) => tests.some((test) => test(flow))];
  };
  return [
    ...oneOf(filter.verdict, (verdict) => (flow) => verdictNames[verdict] === flow.verdict),
    ...oneOf(filter.sourceIp, (text) => addressTest("source_ip", text, source)),
    ...oneOf(filter.destinationIp, (text) => addressTest("destination_ip", text, destination)),
    ...oneOf(filter.sourcePod, (text) => podTest(text, source)),
    ...oneOf(filter.destinationPod, (text) => podTest(text, destination)),
    ...oneOf(filter.sourceLabel, (text) => labelTest("source_label", text, source)),
    ...oneOf(filter.destinationLabel, (text) => labelTest("destination_label", text, destination)),
    ...oneOf(filter.sourcePort, (text) => portTest("source_port", text, source)),
    ...oneOf(filter.destinationPort, (text) => portTest("destination_port", text, destination)),
    ...oneOf(filter.sourceIdentity, (identity) => (flow) => flow.source.identity === identity),
    ...oneOf(filter.destinationIdentity, (identity) => (flow) => flow.destination.identity === identity),
    ...oneOf(filter.protocol, protocolTest),
    ...oneOf(filter.ipVersion, (version) => (flow) => flow.family === (version === IPVersion.IPv4 ? 4 : version === IPVersion.IPv6 ? 6 : 0)),
    ...oneOf(filter.trafficDirection, (direction) => (flow) => directionOf(flow) === direction && direction !== TrafficDirection.UNRECOGNIZED),
  ];
}

type EndOf = (flow: FlowView) => FlowEnd;
const source: EndOf = (flow) => flow.source;
const destination: EndOf = (flow) => flow.destination;

function addressTest(field: string, text: string, end: EndOf): Test {
  if (!text.includes("/")) {
    const address = parseIp(text, field);
    return (flow) => end(flow).address === address;
  }
  const cidr = parseCidr(text, field);
  return (flow) => end(flow).address !== "" && contains(cidr, end(flow).address as Ip);
}

function podTest(text: string, end: EndOf): Test {
  const slash = text.indexOf("/");
  if (slash < 0) return (flow) => end(flow).name !== "" && end(flow).name.startsWith(text);
  const [network, name] = [text.slice(0, slash), text.slice(slash + 1)];
  return (flow) => end(flow).network === network && end(flow).name.startsWith(name);
}

function labelTest(field: string, text: string, end: EndOf): Test {
  const [, key, value] = /^([^\s=!,()]+)(?:==?([^\s=!,()]*))?$/.exec(text) ?? [];
  if (key === undefined) throw new HawserError("UNSUPPORTED", `${field}: "${text}" is more than this build can select by; use key or key=value`);
  return (flow) => Object.hasOwn(end(flow).labels, key) && (value === undefined || end(flow).labels[key] === value);
}

function portTest(field: string, text: string, end: EndOf): Test {
  if (!/^\d{1,5}$/.test(text)) throw new HawserError("BAD_REQUEST", `${field}: "${text}" is no port`);
  return (flow) => end(flow).port === Number(text);
}

function protocolTest(text: string): Test {
  const name = text.toLowerCase();
  if (name === "icmp") return (flow) => protocolName(flow).startsWith("icmp");
  if (!["tcp", "udp", "sctp", "icmpv4", "icmpv6"].includes(name)) {
    throw new HawserError("UNSUPPORTED", `protocol: "${text}" is none of tcp, udp, sctp, icmp, icmpv4, icmpv6`);
  }
  return (flow) => protocolName(flow) === name;
}
