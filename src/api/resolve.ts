// From what a person types (a name, an id or its beginning) to the one thing meant, or an error that helps.
import type { EndpointView, NetworkView, NodeView } from "../engine/types.ts";
import { HawserError } from "../std/errors.ts";
import { nearest, slip } from "../std/nearest.ts";

/** @throws HawserError NOT_FOUND with near names, or BAD_REQUEST naming the candidates. */
export function resolveEndpoint(endpoints: readonly EndpointView[], ref: string): EndpointView {
  const found = firstMatching(endpoints, ref, [
    (endpoint) => endpoint.id === ref || endpoint.containerId === ref,
    (endpoint) => endpoint.name === ref || `${endpoint.network}/${endpoint.name}` === ref,
    (endpoint) => isPrefix(ref, endpoint.id) || isPrefix(ref, endpoint.containerId),
  ]);
  const only = found[0];
  if (only === undefined) throw notFound(`no endpoint "${ref}" exists`, "hawser endpoint list", ref, endpoints.map((endpoint) => endpoint.name));
  if (found.length > 1) throw ambiguous("endpoints", ref, found.map(describeEndpoint));
  return only;
}

/** Every endpoint of the one container meant: it may be on several networks. @throws as `resolveEndpoint` */
export function resolveContainer(endpoints: readonly EndpointView[], ref: string): readonly EndpointView[] {
  const found = firstMatching(endpoints, ref, [
    (endpoint) => endpoint.containerId === ref || endpoint.name === ref,
    (endpoint) => isPrefix(ref, endpoint.containerId),
  ]);
  if (found.length === 0) {
    throw notFound(`no container "${ref}" is on a Hawser network`, "hawser endpoint list", ref, endpoints.map((endpoint) => endpoint.name));
  }
  const containers = new Map(found.map((endpoint) => [endpoint.containerId, endpoint]));
  if (containers.size > 1) {
    throw ambiguous("containers", ref, [...containers].map(([id, endpoint]) => `${short(id)} (${endpoint.name})`));
  }
  return found;
}

/** @throws as `resolveEndpoint` */
export function resolveNetwork(networks: readonly NetworkView[], ref: string): NetworkView {
  const found = firstMatching(networks, ref, [
    (network) => network.id === ref,
    (network) => network.name === ref,
    (network) => isPrefix(ref, network.id),
  ]);
  const only = found[0];
  if (only === undefined) throw notFound(`no network "${ref}" exists`, "hawser network list", ref, networks.map((network) => network.name));
  if (found.length > 1) throw ambiguous("networks", ref, found.map((network) => `${short(network.id)} (${network.name})`));
  return only;
}

/** By its whole name. @throws HawserError NOT_FOUND with the nearest name. */
export function resolveNode(nodes: readonly NodeView[], name: string): NodeView {
  const found = nodes.find((node) => node.name === name);
  if (found === undefined) throw notFound(`no node "${name}" is known`, "hawser node list", name, nodes.map((node) => node.name));
  return found;
}

/** The first test that anything passes decides, so that an exact name is never ambiguous with a prefix. */
function firstMatching<T>(all: readonly T[], ref: string, tests: readonly ((thing: T) => boolean)[]): readonly T[] {
  if (ref === "") return [];
  for (const test of tests) {
    const found = all.filter(test);
    if (found.length > 0) return found;
  }
  return [];
}

function isPrefix(ref: string, id: string): boolean {
  return id !== "" && id.startsWith(ref.toLowerCase());
}

function describeEndpoint(endpoint: EndpointView): string {
  const container = endpoint.name === "" ? "container not known yet" : `${endpoint.network}/${endpoint.name}`;
  return `${short(endpoint.id)} (${container})`;
}

function notFound(what: string, lister: string, ref: string, known: readonly string[]): HawserError {
  const near = nearest(ref, known, slip);
  const hint = near === undefined ? `\`${lister}\` shows what there is` : `did you mean "${near}"?`;
  return new HawserError("NOT_FOUND", `${what}; ${hint}`);
}

function ambiguous(nouns: string, ref: string, candidates: readonly string[]): HawserError {
  const shown = candidates.slice(0, 8).join(", ");
  const more = candidates.length > 8 ? ` and ${candidates.length - 8} more` : "";
  return new HawserError("BAD_REQUEST", `"${ref}" could be ${candidates.length} ${nouns}: ${shown}${more}; type more of the id`);
}

function short(id: string): string {
  return id.slice(0, 12);
}
