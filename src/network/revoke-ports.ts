// RevokeExternalConnectivity: unpublishes an endpoint's ports; the requests stay, so that Docker may publish again without them.
import type { EndpointRef } from "./commands.ts";
import { portPlan } from "./plan.ts";
import { findEndpoint, withEndpoint } from "./state.ts";
import type { Decision, State } from "./types.ts";

/** Docker only logs errors here, so an unknown endpoint is fine. */
export function revokePorts(state: State, ref: EndpointRef): Decision<void> {
  const endpoint = findEndpoint(state, ref);
  const network = endpoint && state.networks.get(endpoint.network);
  if (!endpoint || !network || endpoint.ports.length === 0) return { next: state, steps: [], reply: undefined };
  return {
    next: withEndpoint(state, { ...endpoint, ports: [] }),
    steps: endpoint.ports.map((port) => ({ kind: "removePort", port: portPlan(endpoint, network, port) })),
    reply: undefined,
  };
}
