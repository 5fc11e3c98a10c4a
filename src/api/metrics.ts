// What the agent tells Prometheus: every metric by name, made from the engine's queries when somebody asks.
import type { EndpointState } from "../network/types.ts";
import type { BackendTraffic, FlowView, ServiceTraffic } from "../engine/types.ts";
import { family, type Sample } from "./metrics-text.ts";
import type { ApiQueries } from "./types.ts";

export type MetricQueries = Pick<ApiQueries, "status" | "maps" | "dumpMap" | "endpoints" | "identities" | "policies" | "services" | "flowCounts" | "serviceTraffic">;

const endpointStates: readonly EndpointState[] = ["init", "ready", "quarantined", "leaving"];
const verdicts: readonly FlowView["verdict"][] = ["FORWARDED", "DROPPED", "AUDIT"];

/** Prometheus text format 0.0.4. docs/metrics.md says what each is good for. */
export async function metricsText(queries: MetricQueries): Promise<string> {
  const [status, maps, revision, traffic] = await Promise.all([queries.status(), queries.maps(), policyRevision(queries), queries.serviceTraffic()]);
  const endpoints = queries.endpoints();
  const policies = queries.policies();
  const told = queries.flowCounts();
  const holders = new Map(queries.services().flatMap(({ frontends }) => frontends.map(({ address, holder }) => [address, holder])));
  const answered = (by: (holder: string) => boolean): number => [...holders.values()].filter(by).length;
  const counters = status.counters.map((counter) => ({ ...counter, reason: counter.reason.toUpperCase().replaceAll("-", "_") }));
  const forwarded = counters.filter(({ reason }) => reason === "FORWARDED");
  const lost = counters.filter(({ reason }) => reason === "EVENT_LOST");
  const dropped = counters.filter(({ reason }) => reason !== "FORWARDED" && reason !== "EVENT_LOST");

  return [
    family("hawser_build_info", "gauge", "Version of the agent and name of its node; always 1.", [[{ version: status.version, node: status.node }, 1]]),
    family("hawser_start_time_seconds", "gauge", "When the agent started, in seconds since the epoch.", [[{}, status.startedAt / 1000]]),
    family("hawser_ready", "gauge", "1 while every part of the agent is well enough to work.", [[{}, status.ready ? 1 : 0]]),
    family("hawser_part_ok", "gauge", "1 while a part of the agent is well; parts that are off are left out.",
      status.parts.filter(({ state }) => state !== "off").map(({ part, state }): Sample => [{ part }, state === "ok" ? 1 : 0])),
    family("hawser_drops_total", "counter", "Packets dropped, by reason and by the program that dropped them.",
      dropped.map(({ reason, direction, packets }): Sample => [{ reason, direction }, packets])),
    family("hawser_forwarded_total", "counter", "Packets forwarded, by the program that forwarded them.",
      forwarded.map(({ direction, packets }): Sample => [{ direction }, packets])),
    family("hawser_forwarded_bytes_total", "counter", "Bytes of the packets forwarded.",
      forwarded.map(({ direction, bytes }): Sample => [{ direction }, bytes])),
    family("hawser_lost_events_total", "counter", "Packets that were counted but not told, because their records did not fit the ring.",
      [[{}, lost.reduce((sum, { packets }) => sum + packets, 0n)]]),
    family("hawser_flows_total", "counter", "Packets that were told since the agent's start: dropped, audited, or the first of a flow.",
      verdicts.map((verdict): Sample => [{ verdict }, told[verdict]])),
    family("hawser_endpoints", "gauge", "Containers' places on networks.",
      endpointStates.map((state): Sample => [{ state }, endpoints.filter((endpoint) => endpoint.state === state).length])),
    family("hawser_networks", "gauge", "Networks.", [[{}, status.counts.networks]]),
    family("hawser_identities", "gauge", "Different sets of labels that containers carry.", [[{}, queries.identities().length]]),
    family("hawser_policies", "gauge", "Policies, by state.",
      (["enforced", "pending", "rejected"] as const).map((state): Sample => [{ state }, policies.filter((policy) => policy.state === state).length])),
    family("hawser_policy_rules", "gauge", "Rules in force.",
      [[{}, policies.filter(({ state }) => state === "enforced").reduce((sum, { rules }) => sum + rules, 0)]]),
    family("hawser_policy_revision", "gauge", "Revision of the policy that the kernel enforces; 0: none yet.", [[{}, revision]]),
    family("hawser_service_addresses", "gauge", "Addresses of services, by who answers for them on its link: this node, another, or nobody that is known.", [
      [{ holder: "self" }, answered((holder) => holder === status.node)],
      [{ holder: "other" }, answered((holder) => holder !== status.node && holder !== "")],
      [{ holder: "nobody" }, answered((holder) => holder === "")],
    ]),
    ...serviceFamilies(traffic),
    family("hawser_map_entries", "gauge", "Entries in a BPF map; arrays and rings have none that come and go.", maps.filter(({ type }) => !uncounted.has(type)).map(({ name, entries }): Sample => [{ map: name }, entries])),
    family("hawser_map_capacity", "gauge", "Entries that a BPF map has room for.", maps.map(({ name, capacity }): Sample => [{ map: name }, capacity])),
  ].join("");
}

/** Of these the count would be their size, or nothing. */
const uncounted: ReadonlySet<string> = new Set(["array", "percpu_array", "ringbuf", "sk_storage"]);

/** Beyond this many backends each service is told of as a whole: what scrapes us keeps every row for ever. */
const backendsTold = 1000;

function serviceFamilies({ backends }: ServiceTraffic): readonly string[] {
  const rows = backends.length > backendsTold ? wholeServices(backends) : backends;
  const samples = (value: (row: BackendTraffic) => number | bigint): readonly Sample[] => rows.map((row) => [{ service: row.services.join(","), backend: row.backend }, value(row)]);
  return [
    family("hawser_service_packets_total", "counter", "Packets sent to a service's backend.", samples(({ packets }) => packets)),
    family("hawser_service_bytes_total", "counter", "Bytes of the packets sent to a service's backend.", samples(({ bytes }) => bytes)),
    family("hawser_service_new_flows_total", "counter", "Flows that were given to a service's backend.", samples(({ begun }) => begun)),
    family("hawser_service_flows", "gauge", "Established flows of a service's backend.", samples(({ flows }) => flows)),
  ];
}

function wholeServices(backends: readonly BackendTraffic[]): readonly BackendTraffic[] {
  const sums = new Map<string, BackendTraffic>();
  for (const one of backends) {
    const key = one.services.join(",");
    const sum = sums.get(key) ?? { ...one, backend: "", packets: 0n, bytes: 0n, begun: 0n, flows: 0 };
    sums.set(key, { ...sum, packets: sum.packets + one.packets, bytes: sum.bytes + one.bytes, begun: sum.begun + one.begun, flows: sum.flows + one.flows });
  }
  return [...sums.values()];
}

/** As the programs read it, not as the agent meant it. */
async function policyRevision(queries: MetricQueries): Promise<number> {
  const [entry] = await queries.dumpMap("hw_policy_state", 1).catch(() => []);
  const value = entry?.value;
  return typeof value === "object" && value !== null && "revision" in value && typeof value.revision === "number" ? value.revision : 0;
}
