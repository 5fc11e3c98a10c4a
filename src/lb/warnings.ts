// What of a service is probably not meant as it is written: selectors that match nobody now, addresses of nobody, and frontends to which nobody may come.
import { contains, familyOf, parseCidr } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import { nearest, slip } from "../std/nearest.ts";
import { placeText } from "../yaml/render.ts";
import { edgeAmong } from "./addresses.ts";
import { valueOf, withoutInner } from "./containers.ts";
import { frontendText } from "./read.ts";
import type { BackendRule, Service, ServingContainer } from "./types.ts";

type Container = Pick<ServingContainer, "node" | "name" | "network" | "internal" | "project" | "service" | "labels">;
type SelectRule = Extract<BackendRule, { readonly kind: "select" }>;

export interface Known {
  /** On every node. */
  readonly containers: readonly Container[];
  /** Their names. */
  readonly networks: readonly string[];
  /** The host's own, and those of networks. */
  readonly links: readonly Cidr[];
  /** The host's own addresses. */
  readonly own: readonly Ip[];
}

/** `web.yaml:4:5: …`, in the order in which the services are written. */
export function warningsOf(services: readonly Service[], known: Known): readonly string[] {
  return services.flatMap((service) => [
    ...lockedOut(service),
    ...service.backends.flatMap((rule) => (rule.kind === "select" ? [...matchesNobody(rule, known), ...walledIn(rule, known)] : isNobodys(rule, known)).map((says) => `${placeText(rule.place)}: ${says}`)),
  ]);
}

const everyone = [parseCidr("0.0.0.0/0"), parseCidr("::/0")];

/** Of each family once. */
function lockedOut({ frontends, sources: { allow, deny } }: Service): readonly string[] {
  return ([4, 6] as const).flatMap((family) => {
    const first = frontends.find(({ address }) => familyOf(address) === family);
    if (first === undefined) return [];
    const allowed = (allow ?? everyone).filter((prefix) => familyOf(prefix) === family);
    if (allowed.some((prefix) => !deny.some((denied) => familyOf(denied) === family && contains(denied, prefix)))) return [];
    if (allowed.length > 0) return [`${placeText(first.place)}: sources deny every IPv${family} prefix that they allow, so that nobody may come to ${frontendText(first)}; take one out of "deny"`];
    return [`${placeText(first.place)}: sources allow no IPv${family} prefix, so that nobody may come to ${frontendText(first)}; to let everyone in, add ${family === 4 ? "0.0.0.0/0" : '"::/0"'} to "allow"`];
  });
}

/** Not refused, because other nodes may divide the link otherwise, and programs of a node get to its own. */
function isNobodys({ address }: Extract<BackendRule, { readonly kind: "address" }>, { links, own }: Known): readonly string[] {
  if (own.includes(address)) return [`${address} is this host's own, where clients from outside who come by this host do not get, though probes do; select containers, or name another server`];
  const edge = edgeAmong(links, address);
  return edge === undefined ? [] : [`${address} is ${edge}, so that nobody serves there; give the server's own address`];
}

/** Of each internal network once. */
function walledIn({ network, labels }: SelectRule, { containers }: Known): readonly string[] {
  const selected = containers.filter((one) => (network === null || one.network === network) && Object.entries(labels).every((label) => has(one, label)));
  const inner = (network === null ? withoutInner(selected) : selected).flatMap((one) => (one.internal ? one.network ?? [] : []));
  return [...new Set(inner)].map((name) => `network "${name}" is internal, so that nobody from outside gets to the containers on it`);
}

function has(container: Container, [key, value]: readonly [string, string | null]): boolean {
  const found = valueOf(container, key);
  return found !== null && (value === null || found === value);
}

function matchesNobody({ network, labels }: SelectRule, { containers, networks }: Known): readonly string[] {
  const there = network === null ? containers : containers.filter((one) => one.network === network);
  const wanted = Object.entries(labels);
  if (there.some((one) => wanted.every((label) => has(one, label)))) return [];
  if (network !== null && !networks.includes(network) && there.length === 0) {
    return [`no network is called "${network}"${suggestion(network, [...networks, ...containers.flatMap((one) => one.network ?? [])]) ?? until("one is")}`];
  }
  const where = network === null ? "" : ` on network "${network}"`;
  if (there.length === 0) return [`no container is${where}${until("one is")}`];
  const strange = wanted.filter((label) => !there.some((one) => has(one, label)));
  if (strange.length === 0) return [`no container${where} has ${wanted.map(labelText).join(" and ")} together${until("one has")}`];
  return strange.map(([key, value]) => {
    const values = there.flatMap((one) => valueOf(one, key) ?? []);
    const near = values.length === 0
      ? suggestion(key, there.flatMap((one) => Object.keys(one.labels)))
      : suggestion(value ?? "", values, (one) => labelText([key, one]));
    return `no container${where} has the label ${labelText([key, value])}${near ?? `${until("one has")}; labels of an image do not count`}`;
  });
}

function labelText([key, value]: readonly [string, string | null]): string {
  return value === null ? key : `${key}=${value}`;
}

function until(what: string): string {
  return `; until ${what}, nobody serves by this`;
}

function suggestion(word: string, known: readonly string[], text = (one: string): string => one): string | undefined {
  const near = nearest(word, known, slip);
  return near === undefined ? undefined : `; did you mean "${text(near)}"?`;
}
