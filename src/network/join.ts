// Join: publishes the endpoint's addresses and tells Docker which device to move into the container, its gateways and its routes.
import { HawserError } from "../std/errors.ts";
import type { Cidr } from "../std/ip.ts";
import type { Join, JoinReply } from "./commands.ts";
import { routesAtJoin } from "./container-routes.ts";
import { endpointPlan } from "./plan.ts";
import { needEndpoint, needNetwork, shortId, withEndpoint } from "./state.ts";
import type { Context, Decision, Endpoint, Network, Route, State } from "./types.ts";

/** @throws HawserError NOT_FOUND, IN_USE */
export function join(state: State, command: Join, { hostPrefixes }: Pick<Context, "hostPrefixes">): Decision<JoinReply> {
  const endpoint = needEndpoint(state, command);
  const network = needNetwork(state, command.network);
  if (endpoint.joined) {
    if (endpoint.sandboxKey === command.sandboxKey) return again(state, endpoint, network, hostPrefixes);
    throw new HawserError("IN_USE", `endpoint ${shortId(endpoint.id)} is joined to sandbox ${endpoint.sandboxKey ?? "?"} already`);
  }
  // Ready is who is known: until then it stays closed, or open to what no policy forbids (policy.untilIdentified).
  const published: Endpoint = {
    ...endpoint,
    state: endpoint.identity === 0 ? "init" : "ready",
    joined: true,
    sandboxKey: command.sandboxKey,
    portRequests: command.ports.length > 0 ? command.ports : endpoint.portRequests,
  };
  const routes = routesAtJoin(withEndpoint(state, published), published, hostPrefixes);
  const joined: Endpoint = { ...published, routes: routes.map(({ destination }) => destination) };
  return {
    next: withEndpoint(state, joined),
    steps: [{ kind: "endpoint", endpoint: endpointPlan(joined, network) }],
    reply: answer(joined, network, routes),
  };
}

/** Docker repeats a request whose answer it did not get, and more may be known by now: the last answer counts. */
function again(state: State, endpoint: Endpoint, network: Network, hostPrefixes: readonly Cidr[]): Decision<JoinReply> {
  const routes = routesAtJoin(state, endpoint, hostPrefixes);
  const destinations = routes.map(({ destination }) => destination);
  const same = destinations.join() === (endpoint.routes ?? []).join();
  return { next: same ? state : withEndpoint(state, { ...endpoint, routes: destinations }), steps: [], reply: answer(endpoint, network, routes) };
}

function answer(endpoint: Endpoint, network: Network, routes: readonly Route[]): JoinReply {
  const gateway4 = !network.internal && endpoint.ipv4 && network.ipv4 ? network.ipv4.gateway : null;
  const gateway6 = !network.internal && endpoint.ipv6 && network.ipv6 ? network.ipv6.gateway : null;
  return {
    sourceName: endpoint.containerInterface,
    destinationPrefix: network.interfacePrefix,
    destinationName: endpoint.interfaceName,
    gateway4,
    gateway6,
    routes,
    // Else Docker would give the container a second interface on docker_gwbridge.
    disableGatewayService: gateway4 === null && gateway6 === null,
  };
}
