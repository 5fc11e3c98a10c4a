// From a state to what services are made of: documents read once, and the containers that may serve.
import { idsOf, isSelected } from "../lb/containers.ts";
import { frontendText } from "../lb/read.ts";
import type { StoredService } from "../lb/stored.ts";
import type { BackendRule, HeldFrontend, Service, ServingContainer } from "../lb/types.ts";
import type { Known } from "../lb/warnings.ts";
import type { RemoteEndpoint } from "../network/cluster.ts";
import { nameOfNetwork } from "../network/state.ts";
import type { Endpoint, Network, State } from "../network/types.ts";
import { relevantLabels } from "../policy/identity.ts";
import type { IdentityLabels } from "../policy/types.ts";
import { inOrder } from "../std/changes.ts";
import { addressOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { atOnce } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import { calledIn } from "./document-changes.ts";
import type { WrittenDocument } from "./documents.ts";
import { NamedAddresses } from "./named-addresses.ts";
import type { ServiceTexts } from "./service-texts.ts";

type Selection = Extract<BackendRule, { readonly kind: "select" }>;

/** The services of some rows. */
interface Reading {
  readonly of: State["services"];
  readonly all: readonly Service[];
  /** How many of the services have a frontend, and how many frontends more than one has. */
  readonly users: ReadonlyMap<string, number>;
  readonly contested: number;
}

const noNames: ReadonlySet<string> = new Set();
const nothingRead: Reading = { of: new Map(), all: [], users: new Map(), contested: 0 };

export class ServiceBook {
  readonly #node: string;
  readonly #texts: ServiceTexts;
  readonly #named: NamedAddresses;
  readonly #byRow = new WeakMap<StoredService, readonly Service[]>();
  #services = nothingRead;
  /** Of the last candidate, */
  #candidate = nothingRead;
  /** and of each that may be the next: others may be thought of before one is in force. */
  readonly #candidates = new WeakMap<State["services"], Reading>();
  #selections: { readonly of: readonly Service[]; readonly all: ReadonlyMap<string | null, readonly Selection[]> } = { of: [], all: new Map() };
  #balanced: { readonly of: readonly Service[]; readonly those: readonly Service[] } = { of: [], those: [] };
  readonly #selected = new WeakMap<Selection, string>();
  readonly #local = new WeakMap<Endpoint, { readonly network: Network; readonly serving: ServingContainer }>();
  readonly #remote = new WeakMap<RemoteEndpoint, ServingContainer>();

  /** `pool`: of which containers get their addresses. */
  constructor(node: string, texts: ServiceTexts, pool: readonly (Cidr | null)[] = []) {
    [this.#node, this.#texts, this.#named] = [node, texts, new NamedAddresses(pool.filter((prefix) => prefix !== null))];
  }

  /** What no container may have, in order of their names. */
  frontends(state: Pick<State, "services">): readonly HeldFrontend[] {
    return this.services(state).flatMap(({ name, frontends }) => frontends.map(({ address, port, protocol }) => ({ service: name, address, port, protocol })));
  }

  /** In order of names. A service whose document did not change is the same object. */
  services({ services }: Pick<State, "services">): readonly Service[] {
    if (this.#services.of !== services) {
      this.#services = this.#candidates.get(services) ?? atOnce(readFrom(this.#services, services, this.meant));
      this.#candidate = nothingRead;
      this.#texts.keep(services.size, () => charactersOf(services), () => this.documents(services));
    }
    return this.#services.all;
  }

  /** As `services`, of a state that is not in force yet. When it is, they are read. */
  *candidates({ services }: Pick<State, "services">): Sliced<readonly Service[]> {
    if (this.#services.of === services) return this.#services.all;
    // One candidate is mostly like the one before.
    const before = this.#candidate === nothingRead ? this.#services : this.#candidate;
    const reading = this.#candidates.get(services) ?? (yield* readFrom(before, services, this.meant));
    this.#candidates.set(services, reading);
    this.#candidate = reading;
    return reading.all;
  }

  /** What a row says: itself, or nothing when that cannot be read. */
  readonly meant = (row: StoredService): readonly Service[] => {
    let meant = this.#byRow.get(row);
    if (meant === undefined) {
      // It was right once; if a later version finds fault with it, the others are in force all the same.
      meant = this.#texts.one(this.#documentOf(row)).services.filter(({ name }) => name === row.name);
      this.#byRow.set(row, meant);
    }
    return meant;
  };

  /** As they are called on this node. */
  documents(services: State["services"]): readonly WrittenDocument[] {
    return Array.from(services.values(), (row) => this.#documentOf(row));
  }

  #documentOf(row: StoredService): WrittenDocument {
    const { text, line } = row;
    return { file: calledIn(row, this.#node), text, ...(line === undefined ? {} : { line }) };
  }

  /** As `services`, but of several with one frontend the one that was there first; somebody who writes to the nodes' store past them may make such. */
  balanced(state: Pick<State, "services">): readonly Service[] {
    const all = this.services(state);
    if (this.#balanced.of !== all) this.#balanced = { of: all, those: this.#services.contested === 0 ? all : withoutRivals(all, state.services) };
    return this.#balanced.those;
  }

  /** Containers on every node that a service selects or names, or of whose `idsOf` one is among the `serving`, whoever selects them now; and the places of `NamedAddresses`. */
  *containers(state: State, services: readonly Service[], serving: Pick<ReadonlySet<string>, "has">): Sliced<readonly ServingContainer[]> {
    if (this.#selections.of !== services) this.#selections = { of: services, all: yield* this.#selectionsOf(services) };
    const selections = this.#selections.all;
    const named = this.#named;
    yield* named.follow(services, state);
    const containers: ServingContainer[] = [];
    const take = (container: ServingContainer | undefined): void => {
      if (container === undefined) return;
      const meant = [...(selections.get(container.network) ?? []), ...(selections.get(null) ?? [])].some((rule) => isSelected(rule, container));
      if (meant || named.has(container.ipv4) || named.has(container.ipv6) || idsOf(container).some((id) => serving.has(id))) containers.push(container);
    };
    for (const endpoint of state.endpoints.values()) {
      take(this.#servingHere(endpoint, state.networks.get(endpoint.network)));
      yield;
    }
    for (const endpoint of state.cluster.endpoints.values()) {
      take(this.#servingThere(endpoint));
      yield;
    }
    return [...containers, ...named.places];
  }

  /** By network, each once: thousands of services may select by the same labels. */
  *#selectionsOf(services: readonly Service[]): Sliced<ReadonlyMap<string | null, readonly Selection[]>> {
    const rules = new Map<string, Selection>();
    for (const { backends } of services) {
      for (const rule of backends) if (rule.kind === "select") rules.set(this.#selecting(rule), rule);
      yield;
    }
    return Map.groupBy(rules.values(), ({ network }) => network);
  }

  /** By what it selects, in words. */
  #selecting(rule: Selection): string {
    const text = this.#selected.get(rule) ?? JSON.stringify([rule.network, Object.entries(rule.labels).toSorted()]);
    this.#selected.set(rule, text);
    return text;
  }

  /** What a service may have meant. `hostPrefixes`: the host's own. */
  known({ endpoints, networks, cluster }: State, hostPrefixes: readonly Cidr[]): Known {
    const here = [...endpoints.values()].flatMap((endpoint) => this.#servingHere(endpoint, networks.get(endpoint.network)) ?? []);
    const there = Array.from(cluster.endpoints.values(), (endpoint) => this.#servingThere(endpoint));
    const subnets = [...networks.values()].flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6].flatMap((one) => (one === null ? [] : [one.prefix])));
    return { containers: [...here, ...there], networks: Array.from(networks.values(), nameOfNetwork), links: [...hostPrefixes, ...subnets], own: hostPrefixes.map(addressOf) };
  }

  /** undefined: nobody reaches it, it has ended, or whose it is Docker has not said yet. */
  #servingHere(endpoint: Endpoint, network: Network | undefined): ServingContainer | undefined {
    const { id, joined, container, ending, ipv4, ipv6 } = endpoint;
    if (network === undefined || container === null || !joined || ending === "ended") return undefined;
    const known = this.#local.get(endpoint);
    if (known?.network === network) return known.serving;
    const { name, own = {} } = container;
    const labels = relevantLabels({ network: nameOfNetwork(network), name, own }, noNames);
    const serving = { node: this.#node, id, name, ...fieldsOf(labels), ipv4: ipv4 && addressOf(ipv4), ipv6: ipv6 && addressOf(ipv6), stopping: ending === "stopping", ...(network.internal ? { internal: true as const } : {}) };
    this.#local.set(endpoint, { network, serving });
    return serving;
  }

  #servingThere(endpoint: RemoteEndpoint): ServingContainer {
    const known = this.#remote.get(endpoint);
    if (known !== undefined) return known;
    const { node, id, name, labels, ipv4, ipv6, internal, stopping = false } = endpoint;
    const serving = { node, id, name, ...fieldsOf(labels), ipv4, ipv6, stopping, ...(internal === undefined ? {} : { internal }) };
    this.#remote.set(endpoint, serving);
    return serving;
  }
}

/** `meant`: what a row says. */
function* readFrom(before: Reading, services: State["services"], meant: (row: StoredService) => readonly Service[]): Sliced<Reading> {
  const fresh = new Map<string, StoredService>();
  let had = 0;
  // Of ten thousand pairs an iterator would make as many arrays.
  services.forEach((row, name) => {
    const was = before.of.get(name);
    if (was !== undefined) had++;
    if (was !== row) fresh.set(name, row);
  });
  yield;
  if (had === before.of.size && fresh.size === 0) return { ...before, of: services };
  const left = before.all.filter(({ name }) => fresh.has(name) || !services.has(name));
  const gone = new Set(left);
  const kept = left.length === 0 ? before.all : before.all.filter((one) => !gone.has(one));
  yield;
  const came: Service[] = [];
  for (const row of fresh.values()) {
    came.push(...meant(row));
    yield;
  }
  const all = left.length + came.length === 0 ? before.all : inOrder(kept, came, ({ name }) => name);
  yield;
  const users = new Map(before.users);
  const contested = before.contested + (yield* counted(users, left, -1)) + (yield* counted(users, came, 1));
  return { of: services, all, users, contested };
}

/** Counts services in or out. Returns by how much more or less frontends are contested. */
function* counted(users: Map<string, number>, services: readonly Service[], by: 1 | -1): Sliced<number> {
  let contested = 0;
  for (const { frontends } of services) {
    for (const frontend of frontends) {
      const text = frontendText(frontend);
      const those = (users.get(text) ?? 0) + by;
      if (those === 0) users.delete(text);
      else users.set(text, those);
      if (those === (by > 0 ? 2 : 1)) contested += by;
    }
    yield;
  }
  return contested;
}

/** Services of one document each count what is their own. */
function charactersOf(services: State["services"]): number {
  let [characters, before] = [0, ""];
  services.forEach(({ text }) => {
    if (text !== before) characters += text.length;
    before = text;
  });
  return characters;
}

function withoutRivals(all: readonly Service[], rows: State["services"]): readonly Service[] {
  const turn = ({ name }: Service): number => rows.get(name)?.turn ?? 0;
  const taken = new Set<string>();
  const first = new Set(all.toSorted((a, b) => turn(a) - turn(b) || (a.name < b.name ? -1 : 1)).filter((service) => {
    const own = service.frontends.map(frontendText);
    if (own.some((one) => taken.has(one))) return false;
    for (const one of own) taken.add(one);
    return true;
  }));
  return all.filter((service) => first.has(service));
}

function fieldsOf({ network, project, service, own }: IdentityLabels): Pick<ServingContainer, "network" | "project" | "service" | "labels"> {
  return { network, project, service, labels: own };
}

/** Whether both mean the same services with the same backends. */
export function sameForServices(a: State, b: State): boolean {
  return a.services === b.services && a.endpoints === b.endpoints && a.networks === b.networks
    && a.cluster.endpoints === b.cluster.endpoints && a.cluster.health === b.cluster.health && a.cluster.nodes === b.cluster.nodes && a.cluster.networks === b.cluster.networks;
}
