// Leave: makes an endpoint unreachable; its cable stays until DeleteEndpoint.
import type { EndpointRef } from "./commands.ts";
import { unpublishing } from "./plan.ts";
import { findEndpoint, withEndpoint } from "./state.ts";
import type { Decision, State } from "./types.ts";

/** Docker calls this to roll back, too, so a half-joined or unknown endpoint is fine. */
export function leave(state: State, ref: EndpointRef): Decision<void> {
  const endpoint = findEndpoint(state, ref);
  const network = endpoint && state.networks.get(endpoint.network);
  if (!endpoint || !network) return { next: state, steps: [], reply: undefined };
  const left = { ...endpoint, state: "leaving" as const, joined: false, sandboxKey: null, routes: [], ports: [] };
  return { next: withEndpoint(state, left), steps: unpublishing(endpoint, network), reply: undefined };
}
