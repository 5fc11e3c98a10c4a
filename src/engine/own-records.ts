// What this node has to tell the others: its containers, whose numbers must be agreed on, and whom its policies speak of.
import type { NodeNetwork, OwnRecords, RemoteEndpoint } from "../network/cluster.ts";
import { nameOfNetwork, shortId } from "../network/state.ts";
import type { Endpoint, State } from "../network/types.ts";
import type { IdentityLabels } from "../policy/types.ts";
import { addressOf } from "../std/ip.ts";
import type { PolicyBook } from "./policy-book.ts";

/** Everything sorted, so that two readings of one state are the same text. */
export function ownRecords(state: State, book: PolicyBook, node: string): OwnRecords {
  const endpoints = [...book.identifiedEndpoints(state)].flatMap(({ endpoint, labels }) => recordOf(endpoint, labels, state, node) ?? []);
  return {
    endpoints: endpoints.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    unnumbered: book.unnumbered(state),
    names: [...book.ownNames(state)].toSorted(),
    networks: [...networksOf(state)].toSorted((a, b) => (key(a) < key(b) ? -1 : 1)),
  };
}

function* networksOf({ networks }: State): Generator<NodeNetwork> {
  for (const { name, ipv4, ipv6 } of networks.values()) if (name !== null) yield { name, ipv4: ipv4 && ipv4.prefix, ipv6: ipv6 && ipv6.prefix };
}

function key({ name, ipv4, ipv6 }: NodeNetwork): string {
  return `${name} ${ipv4} ${ipv6}`;
}

/** null: nobody could reach it. */
function recordOf({ id, container, network, ipv4, ipv6, mac, identity, joined, ending }: Endpoint, labels: IdentityLabels, state: State, node: string): RemoteEndpoint | null {
  const home = state.networks.get(network);
  if (!joined || ending === "ended" || identity === 0 || container === null || home === undefined || (ipv4 === null && ipv6 === null)) return null;
  // An image that claims to be a service must not be found by its name (R88): only what is the container's own counts.
  const names = new Set([container.name, shortId(container.id), ...(labels.service === null ? [] : [labels.service]), ...(container.aliases ?? [])]);
  return {
    node, id, containerId: container.id, name: container.name, names: [...names].toSorted(), network: nameOfNetwork(home),
    ipv4: ipv4 && addressOf(ipv4), ipv6: ipv6 && addressOf(ipv6), mac, identity, labels,
    ...(home.internal ? { internal: true as const } : {}),
    ...(ending === "stopping" ? { stopping: true as const } : {}),
  };
}
