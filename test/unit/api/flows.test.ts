// Flows as Hubble's observer service gives them out: its words and numbers, its filters, following without a gap.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { credentials, Metadata } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { connect, type ApiClient } from "../../../src/api/client.ts";
import { flowToWire } from "../../../src/api/flows/to-wire.ts";
import { flowsOf } from "../../../src/api/flows/serve.ts";
import { DropReason, Flow, FlowFilter, TrafficDirection, Verdict } from "../../../src/api/generated/flow/flow.ts";
import { GetFlowsRequest, ObserverClient, type ServerStatusResponse } from "../../../src/api/generated/observer/observer.ts";
import { startApi, type ApiQueries } from "../../../src/api/server.ts";
import { dropReasonNames } from "../../../src/abi/generated.ts";
import type { FlowQuery, FlowView } from "../../../src/engine/types.ts";
import { commands, flows, flowsOf as engineFlows, logTo, queriesOf } from "./world.ts";

const [opened, refused, audited, forged] = flows as readonly [FlowView, FlowView, FlowView, FlowView];
const empty = FlowFilter.decode(new Uint8Array());

function ask(change: Partial<GetFlowsRequest>): GetFlowsRequest {
  return { ...GetFlowsRequest.decode(new Uint8Array()), ...change };
}

async function all<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** What is told of `flows` for a request, by the order of the world's flows. */
async function told(change: Partial<GetFlowsRequest>, source: Pick<ApiQueries, "flows"> = queriesOf()): Promise<readonly number[]> {
  return (await all(flowsOf(ask(change), source, new AbortController().signal))).map((flow) => flows.indexOf(flow));
}

async function served(t: ExecutionContext, change: Partial<ApiQueries> = {}): Promise<ApiClient & { readonly socket: string }> {
  const folder = await mkdtemp(join(tmpdir(), "hawser-api-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const api = await startApi({ queries: queriesOf(change), commands, socket: join(folder, "hawser.sock"), group: null, log: logTo([]) });
  t.teardown(() => api.close());
  const client = await connect(api.socket);
  t.teardown(() => client[Symbol.dispose]());
  return { ...client, socket: api.socket };
}

test("a flow that a rule opened: both ends, the packet, and who allowed it", (t) => {
  const { flow, nodeName, time } = flowToWire(opened);
  t.is(nodeName, "edge-1");
  t.deepEqual(time, { seconds: BigInt(Date.UTC(2026, 0, 1, 3, 12) / 1000), nanos: 7 });
  t.like(flow, {
    verdict: Verdict.FORWARDED, dropReasonDesc: 0, trafficDirection: TrafficDirection.EGRESS, isReply: false, Summary: "TCP Flags: SYN",
    IP: { source: "10.44.0.2", destination: "10.44.0.4", ipVersion: 1 },
    source: { identity: 256, namespace: "shop", podName: "web", labels: ["network=shop", "service=web"] },
    destination: { identity: 257, podName: "db" },
    egressAllowedBy: [{ name: "shop", kind: "policy", labels: ["file=/srv/shop.yaml", "line=3", "rule=web -> db:5432"] }], ingressAllowedBy: [], egressDeniedBy: [],
  });
  t.like(flow?.l4?.TCP, { sourcePort: 40_000, destinationPort: 5432, flags: { SYN: true, ACK: false } });
});

test("a drop by a default: POLICY_DENIED for Hubble, our own reason beside it", (t) => {
  const { flow } = flowToWire(refused);
  t.like(flow, {
    verdict: Verdict.DROPPED, dropReason: 133, dropReasonDesc: DropReason.POLICY_DENIED, trafficDirection: TrafficDirection.INGRESS,
    ingressDeniedBy: [{ name: "default:in", kind: "default" }], egressDeniedBy: [],
    source: { ID: 0, podName: "", identity: 0 }, hawser: { reason: "POLICY_DEFAULT_IN", rule: "default:in", direction: "from-uplink" },
  });
});

test("an audited flow says who would have it dropped, and a frame that is no IP packet has no layers", (t) => {
  t.like(flowToWire(audited).flow, { verdict: Verdict.AUDIT, dropReasonDesc: 0, egressDeniedBy: [{ name: "shop" }], l4: { ICMPv6: { type: 128, code: 0 } } });
  const { flow } = flowToWire(forged);
  t.is(flow?.IP, undefined);
  t.is(flow?.l4, undefined);
  t.is(flow?.isReply, undefined);
  t.is(flow?.dropReasonDesc, DropReason.INVALID_SOURCE_MAC);
});

test("every reason that policy has for a drop is POLICY_DENIED to Hubble", (t) => {
  const ofPolicy = Object.values(dropReasonNames).filter((name) => /^POLICY_|^NOT_IDENTIFIED$|^NETWORK_ISOLATED$|^ICC_/.test(name));
  t.true(ofPolicy.length >= 8);
  for (const reason of ofPolicy) t.is(flowToWire({ ...refused, reason }).flow?.dropReasonDesc, DropReason.POLICY_DENIED, reason);
});

test("the fields stand under Hubble's numbers", (t) => {
  const reader = new BinaryReader(Flow.encode(flowToWire(refused).flow as Flow).finish());
  const numbers: number[] = [];
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    numbers.push(number);
    reader.skip(type, number);
  }
  t.deepEqual(numbers, [1, 2, 3, 5, 6, 8, 9, 10, 11, 19, 22, 25, 26, 28, 21005, 100_000, 210_000]);
});

test("number, first, since and until choose as Hubble's do", async (t) => {
  t.deepEqual(await told({}), [0, 1, 2, 3]);
  t.deepEqual(await told({ number: 2n }), [2, 3]);
  t.deepEqual(await told({ number: 2n, first: true }), [0, 1]);
  const second = flowToWire(refused).time;
  t.deepEqual(await told({ since: second }), [1, 2, 3]);
  t.deepEqual(await told({ until: second }), [0, 1]);
  t.deepEqual(await told({ number: 1n, until: second }), [1]);
  await t.throwsAsync(told({ first: true, follow: true }), { code: "BAD_REQUEST", message: /first/ });
});

test("verdicts and our own names of one filter are the engine's to choose, so that it counts what matches", async (t) => {
  const asked: FlowQuery[] = [];
  const source = { flows: (query: FlowQuery) => (asked.push(query), engineFlows(flows)(query)) };
  t.deepEqual(await told({ number: 1n, whitelist: [{ ...empty, verdict: [Verdict.FORWARDED, Verdict.AUDIT], hawserFrom: "web" }] }, source), [2]);
  t.deepEqual(asked, [{ last: 1, follow: false, verdicts: ["FORWARDED", "AUDIT"], from: "web", to: "", with: "", since: 0 }]);
  t.deepEqual(await told({ whitelist: [{ ...empty, verdict: [Verdict.ERROR] }] }), []);
  t.deepEqual(await told({ whitelist: [{ ...empty, hawserWith: "db" }] }), [0, 1]);
  const two = [{ ...empty, hawserFrom: "web" }, { ...empty, hawserTo: "web" }];
  await t.throwsAsync(told({ whitelist: two }), { code: "BAD_REQUEST", message: /one filter/ });
  await t.throwsAsync(told({ blacklist: [{ ...empty, hawserFrom: "web" }] }), { code: "BAD_REQUEST", message: /one filter/ });
});

const filters: readonly { readonly filter: Partial<FlowFilter>; readonly wanted: readonly number[] }[] = [
  { filter: { sourceIp: ["203.0.113.0/24"] }, wanted: [1] },
  { filter: { sourceIp: ["10.44.0.2", "fd44::/16"] }, wanted: [0, 2] },
  { filter: { destinationIp: ["2001:db8::9"] }, wanted: [2] },
  { filter: { sourcePod: ["shop/"] }, wanted: [0, 2] },
  { filter: { destinationPod: ["d"] }, wanted: [0, 1] },
  { filter: { destinationPod: ["back/db"] }, wanted: [] },
  { filter: { sourceLabel: ["service=web"] }, wanted: [0, 2] },
  { filter: { sourceLabel: ["service=api", "network"] }, wanted: [0, 2] },
  { filter: { destinationPort: ["5432"], verdict: [Verdict.DROPPED] }, wanted: [1] },
  { filter: { sourcePort: ["51000"] }, wanted: [1] },
  { filter: { sourceIdentity: [256], destinationIdentity: [257] }, wanted: [0] },
  { filter: { protocol: ["ICMP"] }, wanted: [2] },
  { filter: { protocol: ["tcp"] }, wanted: [0, 1] },
  { filter: { ipVersion: [2] }, wanted: [2] },
  { filter: { trafficDirection: [TrafficDirection.INGRESS] }, wanted: [1] },
];

for (const { filter, wanted } of filters) {
  test(`a filter of Hubble's: ${JSON.stringify(filter)}`, async (t) => {
    t.deepEqual(await told({ whitelist: [{ ...empty, ...filter }] }), wanted);
    t.deepEqual(await told({ blacklist: [{ ...empty, ...filter }] }), [0, 1, 2, 3].filter((i) => !wanted.includes(i)));
    t.deepEqual(await told({ number: 1n, whitelist: [{ ...empty, ...filter }] }), wanted.slice(-1));
  });
}

test("a filter that this build has not is refused, never ignored", async (t) => {
  await t.throwsAsync(told({ whitelist: [{ ...empty, httpMethod: ["GET"] }] }), { code: "UNSUPPORTED", message: /filter http_method/ });
  await t.throwsAsync(told({ blacklist: [{ ...empty, sourceFqdn: ["example.com"] }] }), { code: "UNSUPPORTED", message: /source_fqdn/ });
  await t.throwsAsync(told({ whitelist: [{ ...empty, sourceLabel: ["tier in (a, b)"] }] }), { code: "UNSUPPORTED", message: /tier in/ });
  await t.throwsAsync(told({ whitelist: [{ ...empty, sourceIp: ["10.44.0.300"] }] }), { code: "BAD_REQUEST", message: /source_ip/ });
  await t.throwsAsync(told({ whitelist: [{ ...empty, protocol: ["http"] }] }), { code: "UNSUPPORTED" });
});

/** The first three are remembered; the last comes while they are read. */
async function* later(flow: FlowView): AsyncGenerator<FlowView> {
  yield flow;
}

test("following with a filter that the engine has not: what was there and what comes, each once", async (t) => {
  const source = { flows: engineFlows(flows.slice(0, 3), later(forged)) };
  const stop = new AbortController();
  const seen: number[] = [];
  for await (const flow of flowsOf(ask({ number: 1n, follow: true, blacklist: [{ ...empty, sourcePort: ["51000"] }] }), source, stop.signal)) {
    seen.push(flows.indexOf(flow));
    if (seen.length === 2) stop.abort();
  }
  t.deepEqual(seen, [2, 3]);
});

test("over the socket: what was asked for, and a reader that stops ends the engine's work", async (t) => {
  let ended = Promise.withResolvers<string>();
  const source: ApiQueries["flows"] = async function* (query, signal) {
    try {
      yield* engineFlows(flows)(query, signal);
    } finally {
      ended.resolve("ended");
    }
  };
  const client = await served(t, { flows: source });
  const list = await all(client.flows({ number: 3n }));
  t.deepEqual(list.map(({ flow }) => flow?.verdict), [Verdict.DROPPED, Verdict.AUDIT, Verdict.DROPPED]);
  t.like(list[0], flowToWire(refused));
  ended = Promise.withResolvers();
  let seen = 0;
  for await (const _flow of client.flows({ number: 10n, follow: true })) if (++seen === 4) break;
  t.is(await ended.promise, "ended");
  await t.throwsAsync(all(client.flows({ whitelist: [{ ...empty, uuid: ["x"] }] })), { code: "UNSUPPORTED", message: /filter uuid/ });
});

test("Hubble's ServerStatus: how many are remembered, how many were seen", async (t) => {
  const { socket } = await served(t);
  const client = new ObserverClient(`unix:${socket}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const status = await new Promise<ServerStatusResponse>((resolve, reject) => {
    client.serverStatus({}, new Metadata(), (error, reply) => (error ? reject(error) : resolve(reply)));
  });
  t.like(status, { numFlows: 4n, seenFlows: 13n, version: "hawser 0.1.0", numConnectedNodes: 1 });
});
