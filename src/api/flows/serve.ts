// What Hubble's GetFlows and ServerStatus mean here: the engine's flows, chosen by Hubble's filters, in Hubble's words.
import type { FlowQuery, FlowView } from "../../engine/types.ts";
import { HawserError } from "../../std/errors.ts";
import type { Timestamp } from "../generated/google/protobuf/timestamp.ts";
import { GetFlowsRequest, GetFlowsResponse, ServerStatusResponse } from "../generated/observer/observer.ts";
import type { ApiQueries } from "../types.ts";
import { chosenBy, type Chosen } from "./filter.ts";
import { flowToWire } from "./to-wire.ts";

type FlowSource = Pick<ApiQueries, "flows">;

const all = Number.MAX_SAFE_INTEGER;

export async function* flowMessages(request: Buffer, queries: FlowSource, signal: AbortSignal): AsyncGenerator<Buffer> {
  for await (const flow of flowsOf(GetFlowsRequest.decode(request), queries, signal)) {
    yield Buffer.from(GetFlowsResponse.encode(flowToWire(flow)).finish());
  }
}

export async function serverStatus(queries: ApiQueries): Promise<Buffer> {
  const { version, startedAt } = await queries.status();
  let remembered = 0n;
  for await (const _flow of queries.flows(everything)) remembered++;
  const seen = Object.values(queries.flowCounts()).reduce((sum, count) => sum + count, 0);
  return Buffer.from(ServerStatusResponse.encode({
    numFlows: remembered, maxFlows: 0n, seenFlows: BigInt(seen), uptimeNs: BigInt(Math.max(0, Date.now() - Math.trunc(startedAt))) * 1_000_000n,
    numConnectedNodes: 1, numUnavailableNodes: 0, version: `hawser ${version}`,
  }).finish());
}

const everything: FlowQuery = { last: all, follow: false, verdicts: [], from: "", to: "", with: "", since: 0 };

/** @throws HawserError BAD_REQUEST, UNSUPPORTED; NOT_FOUND from the engine for a name that nothing carries. */
export async function* flowsOf(request: GetFlowsRequest, queries: FlowSource, signal: AbortSignal): AsyncGenerator<FlowView> {
  if (request.first && request.follow) throw new HawserError("BAD_REQUEST", "first: the oldest flows cannot be followed by later ones; leave out first or follow");
  const chosen = chosenBy(request.whitelist, request.blacklist);
  const number = Number(request.number);
  const since = request.since === undefined ? 0 : Math.floor(Number(nanosOf(request.since) / 1_000_000n));
  const until = request.until === undefined ? undefined : nanosOf(request.until);
  const base: FlowQuery = { ...everything, ...chosen.query, since };
  const flows = (last: number, follow: boolean, from = since): AsyncIterable<FlowView> => queries.flows({ ...base, last, follow, since: from }, signal);
  const wholly = chosen.matches === undefined && until === undefined && !request.first;

  if (!request.follow) {
    if (wholly) yield* flows(number === 0 ? all : number, false);
    else if (request.first) yield* firstOf(number === 0 ? all : number, matching(flows(all, false), chosen, until));
    else yield* (await collect(matching(flows(all, false), chosen, until))).slice(-(number === 0 ? all : number));
    return;
  }
  const history = number > 0 ? number : request.since === undefined ? 0 : all;
  if (wholly || history === 0) return yield* matching(flows(history, true), chosen, until);
  // The engine counts before our filters choose: so what is there already is chosen first, and what follows it is told by its time.
  const before = (await collect(matching(flows(all, false), chosen, until))).slice(-history);
  yield* before;
  const newest = before.at(-1)?.time ?? -1n;
  const resume = before.length === 0 ? since : Math.max(since, Number(newest / 1_000_000n));
  for await (const flow of matching(flows(all, true, resume), chosen, until)) if (flow.time > newest) yield flow;
}

async function* matching(flows: AsyncIterable<FlowView>, { matches }: Chosen, until: bigint | undefined): AsyncGenerator<FlowView> {
  for await (const flow of flows) {
    if (until !== undefined && flow.time > until) return;
    if (matches === undefined || matches(flow)) yield flow;
  }
}

async function* firstOf(count: number, flows: AsyncIterable<FlowView>): AsyncGenerator<FlowView> {
  let left = count;
  for await (const flow of flows) {
    yield flow;
    if (--left === 0) return;
  }
}

async function collect(flows: AsyncIterable<FlowView>): Promise<readonly FlowView[]> {
  const found: FlowView[] = [];
  for await (const flow of flows) found.push(flow);
  return found;
}

function nanosOf({ seconds, nanos }: Timestamp): bigint {
  return seconds * 1_000_000_000n + BigInt(nanos);
}
