// `hawser status`: what the parts say, put together into ready or not, and what is wrong.
import type { CounterRow, KernelView } from "../datapath/types.ts";
import type { State } from "../network/types.ts";
import type { NodeView, PartStatus, Status } from "./types.ts";

export interface StatusFacts {
  readonly node: string;
  readonly version: string;
  readonly started: boolean;
  readonly startedAt: number;
  readonly state: State;
  readonly kernel: KernelView;
  readonly counters: readonly CounterRow[];
  readonly parts: readonly PartStatus[];
  readonly nodes: readonly NodeView[];
}

export function statusOf({ node, version, started, startedAt, state, kernel, counters, parts, nodes }: StatusFacts): Status {
  const { problems: wrong, remarks, ...view } = kernel;
  const datapath: PartStatus = wrong.length > 0
    ? { part: "datapath", state: "degraded", detail: wrong.join("; ") }
    : { part: "datapath", state: "ok", detail: [`${view.programs.length} programs attached`, ...remarks].join("; ") };
  const all = [datapath, ...parts];
  return {
    node,
    version,
    ready: started && all.every((part) => part.state !== "failed"),
    problems: [
      ...(started ? [] : ["agent: still starting; ask again in a moment"]),
      ...wrong,
      ...parts.filter((part) => part.state === "degraded" || part.state === "failed").map((part) => `${part.part}: ${part.detail}`),
    ],
    parts: all,
    peers: nodes.filter(({ state: how }) => how !== "self"),
    counts: {
      networks: state.networks.size,
      endpoints: state.endpoints.size,
      ports: [...state.endpoints.values()].reduce((sum, endpoint) => sum + endpoint.ports.length, 0),
      pools: state.pools.size,
    },
    kernel: view,
    counters,
    startedAt,
  };
}

/** `missing`: host ends of cables that went with their containers. */
export function hostPart(needsHealing: boolean, missing: readonly string[]): PartStatus {
  if (needsHealing) return { part: "host", state: "degraded", detail: "not everything could be made or removed; it is tried again every 30 s, see the log" };
  return { part: "host", state: "ok", detail: missing.length === 0 ? "as the state says" : `as the state says; ended and not yet removed by Docker: ${missing.join(", ")}` };
}

export function sweepParts(unclaimed: "sweep" | "keep"): readonly PartStatus[] {
  return unclaimed === "sweep" ? [] : [{ part: "sweep", state: "off", detail: "what no state claims is kept until Docker has answered once" }];
}
