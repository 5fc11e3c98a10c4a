// DeleteNetwork: takes a network off the host, with whatever endpoints Docker has forgotten on it.
import { networkPlan, removalOf } from "./plan.ts";
import { endpointsOf, withoutEndpoint, withoutNetwork } from "./state.ts";
import type { Decision, NetworkId, State } from "./types.ts";

/** Docker forgets the network whatever we answer, so an unknown one is fine. */
export function deleteNetwork(state: State, id: NetworkId): Decision<void> {
  const network = state.networks.get(id);
  if (!network) return { next: state, steps: [], reply: undefined };
  const endpoints = endpointsOf(state, id);
  const bare = endpoints.reduce((next, endpoint) => withoutEndpoint(next, endpoint.id), state);
  return {
    next: withoutNetwork(bare, id),
    steps: [...endpoints.flatMap((endpoint) => removalOf(endpoint, network)), { kind: "removeNetwork", network: networkPlan(network) }],
    reply: undefined,
  };
}
