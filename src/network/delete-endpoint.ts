// DeleteEndpoint: takes an endpoint off the host, however far it got.
import type { EndpointRef } from "./commands.ts";
import { removalOf } from "./plan.ts";
import { findEndpoint, withoutEndpoint } from "./state.ts";
import type { Decision, State } from "./types.ts";

/** Docker forgets the endpoint whatever we answer, so an unknown one is fine. */
export function deleteEndpoint(state: State, ref: EndpointRef): Decision<void> {
  const endpoint = findEndpoint(state, ref);
  const network = endpoint && state.networks.get(endpoint.network);
  if (!endpoint || !network) return { next: state, steps: [], reply: undefined };
  return { next: withoutEndpoint(state, endpoint.id), steps: removalOf(endpoint, network), reply: undefined };
}
