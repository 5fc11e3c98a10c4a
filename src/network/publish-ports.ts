// ProgramExternalConnectivity: publishes what is asked for, takes back what is no longer, and leaves the rest alone.
import type { PublishPorts } from "./commands.ts";
import { isDead } from "./dead.ts";
import { portPlan } from "./plan.ts";
import { collides, isSameContainer, isSamePort, resolvePorts, surroundingsOf } from "./ports.ts";
import { needEndpoint, needNetwork, withEndpoint } from "./state.ts";
import type { Context, Decision, Endpoint, PublishedPort, State, Step } from "./types.ts";

/**
 * Docker may send this twice, and during a tear-down; both must be harmless.
 * @throws HawserError NOT_FOUND, BAD_REQUEST, BAD_OPTION, UNSUPPORTED, PORT_IN_USE, NO_FREE_PORT
 */
export function publishPorts(state: State, command: PublishPorts, context: Context): Decision<void> {
  const endpoint = needEndpoint(state, command);
  const network = needNetwork(state, command.network);
  const portRequests = command.ports ?? endpoint.portRequests;
  if (!endpoint.joined || network.internal) {
    return { next: withEndpoint(state, { ...endpoint, portRequests }), steps: [], reply: undefined };
  }
  const ports = resolvePorts(endpoint, network, portRequests, surroundingsOf(state, endpoint, context));
  const isNew = (port: PublishedPort): boolean => !endpoint.ports.some((old) => isSamePort(old, port));

  const gone = endpoint.ports.filter((old) => !ports.some((port) => isSamePort(old, port)));
  const fresh = ports.filter(isNew);
  const removals: Step[] = gone.map((port) => ({ kind: "removePort", port: portPlan(endpoint, network, port) }));
  let next = withEndpoint(state, { ...endpoint, portRequests, ports });
  const ours: PublishedPort[] = [...gone];
  for (const sibling of state.endpoints.values()) {
    if (sibling.id === endpoint.id || !(isSameContainer(sibling, endpoint) || isDead(sibling, context))) continue;
    const moved = sibling.ports.filter((old) => ports.some((port) => collides(old, port)));
    if (moved.length === 0) continue;
    removals.push(...moved.map((port): Step => ({ kind: "removePort", port: portPlan(sibling, needNetwork(state, sibling.network), port) })));
    next = withEndpoint(next, remaining(sibling, moved));
    ours.push(...moved);
  }
  // A port that was ours a moment ago needs no check; and every check comes before the first port opens.
  const claims = fresh.filter((port) => !ours.some((old) => collides(old, port)));
  return {
    next,
    steps: [
      ...claims.map((port): Step => ({ kind: "claimPort", port: portPlan(endpoint, network, port) })),
      ...removals,
      ...fresh.map((port): Step => ({ kind: "port", port: portPlan(endpoint, network, port) })),
    ],
    reply: undefined,
  };
}

function remaining(endpoint: Endpoint, moved: readonly PublishedPort[]): Endpoint {
  return { ...endpoint, ports: endpoint.ports.filter((port) => !moved.some((gone) => isSamePort(gone, port))) };
}
