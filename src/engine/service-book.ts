// From a state to what services are made of: documents read once, and the containers that may serve.
import { isSelected } from "../lb/containers.ts";
import { ServiceProblems } from "../lb/problems.ts";
import { frontendText, readServices } from "../lb/read.ts";
import type { StoredService } from "../lb/stored.ts";
import type { BackendRule, Service, ServingContainer } from "../lb/types.ts";
import type { RemoteEndpoint } from "../network/cluster.ts";
import { nameOfNetwork } from "../network/state.ts";
import type { Endpoint, Network, State } from "../network/types.ts";
import { relevantLabels } from "../policy/identity.ts";
import type { IdentityLabels } from "../policy/types.ts";
import { addressOf } from "../std/ip.ts";
import { calledIn } from "./document-changes.ts";

type Selection = Extract<BackendRule, { readonly kind: "select" }>;

const noNames: ReadonlySet<string> = new Set();
/** Texts of services that are no more, which may come back. */
const spareTexts = 100;

export class ServiceBook {
  readonly #node: string;
  /** By text and file. */
  #read = new Map<string, readonly Service[]>();
  readonly #byRow = new WeakMap<StoredService, readonly Service[]>();
  /** Names of services. */
  #order: readonly string[] = [];
  #services: { readonly of: State["services"]; readonly all: readonly Service[] } = { of: new Map(), all: [] };
  #selections: { readonly of: readonly Service[]; readonly all: ReadonlyMap<string | null, readonly Selection[]> } = { of: [], all: new Map() };
  #balanced: { readonly of: readonly Service[]; readonly those: readonly Service[] } = { of: [], those: [] };
  readonly #local = new WeakMap<Endpoint, { readonly network: Network; readonly serving: ServingContainer }>();
  readonly #remote = new WeakMap<RemoteEndpoint, ServingContainer>();

  constructor(node: string) {
    this.#node = node;
  }

  /** In order of names. A service whose document did not change is the same object. */
  services({ services }: Pick<State, "services">): readonly Service[] {
    if (this.#services.of === services) return this.#services.all;
    // Those that were there are in order already, which a sort sees at once.
    const known = this.#order.filter((name) => services.has(name));
    const had = new Set(known);
    this.#order = [...known, ...[...services.keys()].filter((name) => !had.has(name))].toSorted((x, y) => (x < y ? -1 : 1));
    const all = this.#order.flatMap((name) => this.#meant(services.get(name) as StoredService));
    if (this.#read.size > 2 * services.size + spareTexts) this.#read = new Map([...services.values()].map((row) => [this.#textKey(row), this.#readOnce(row)]));
    this.#services = { of: services, all };
    return all;
  }

  #meant(row: StoredService): readonly Service[] {
    let meant = this.#byRow.get(row);
    if (meant === undefined) {
      meant = this.#readOnce(row).filter(({ name }) => name === row.name);
      this.#byRow.set(row, meant);
    }
    return meant;
  }

  #readOnce(row: StoredService): readonly Service[] {
    const key = this.#textKey(row);
    const read = this.#read.get(key) ?? readAgain(calledIn(row, this.#node), row.text);
    this.#read.set(key, read);
    return read;
  }

  #textKey(row: StoredService): string {
    return `${calledIn(row, this.#node)}\n${row.text}`;
  }

  /** As `services`, but of several with one frontend the one that was there first; somebody who writes to the nodes' store past them may make such. */
  balanced(state: Pick<State, "services">): readonly Service[] {
    const all = this.services(state);
    if (this.#balanced.of !== all) this.#balanced = { of: all, those: withoutRivals(all, state.services) };
    return this.#balanced.those;
  }

  /** Containers on every node that a service selects, or whose `id` is among the `serving`, whoever selects them now. */
  containers(state: State, services: readonly Service[], serving: Pick<ReadonlySet<string>, "has">): readonly ServingContainer[] {
    if (this.#selections.of !== services) this.#selections = { of: services, all: selectionsOf(services) };
    const selections = this.#selections.all;
    const containers: ServingContainer[] = [];
    const take = (container: ServingContainer | undefined): void => {
      if (container === undefined) return;
      const meant = [...(selections.get(container.network) ?? []), ...(selections.get(null) ?? [])].some((rule) => isSelected(rule, container));
      if (meant || serving.has(container.id)) containers.push(container);
    };
    for (const endpoint of state.endpoints.values()) take(this.#servingHere(endpoint, state.networks.get(endpoint.network)));
    for (const endpoint of state.cluster.endpoints.values()) take(this.#servingThere(endpoint));
    return containers;
  }

  /** undefined: nobody reaches it, it has ended, or whose it is Docker has not said yet. */
  #servingHere(endpoint: Endpoint, network: Network | undefined): ServingContainer | undefined {
    const { id, joined, container, ending, ipv4, ipv6 } = endpoint;
    if (network === undefined || container === null || !joined || ending === "ended") return undefined;
    const known = this.#local.get(endpoint);
    if (known?.network === network) return known.serving;
    const { name, own = {} } = container;
    const labels = relevantLabels({ network: nameOfNetwork(network), name, own }, noNames);
    const serving = { node: this.#node, id, name, ...fieldsOf(labels), ipv4: ipv4 && addressOf(ipv4), ipv6: ipv6 && addressOf(ipv6), stopping: ending === "stopping" };
    this.#local.set(endpoint, { network, serving });
    return serving;
  }

  #servingThere(endpoint: RemoteEndpoint): ServingContainer {
    const known = this.#remote.get(endpoint);
    if (known !== undefined) return known;
    const { node, id, name, labels, ipv4, ipv6, stopping = false } = endpoint;
    const serving = { node, id, name, ...fieldsOf(labels), ipv4, ipv6, stopping };
    this.#remote.set(endpoint, serving);
    return serving;
  }
}

function withoutRivals(all: readonly Service[], rows: State["services"]): readonly Service[] {
  const frontends = all.flatMap((service) => service.frontends.map(frontendText));
  if (new Set(frontends).size === frontends.length) return all;
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

/** It was right once; if a later version finds fault with it, the others are in force all the same. */
function readAgain(file: string, text: string): readonly Service[] {
  try {
    return readServices([{ file, text }]);
  } catch (error) {
    if (error instanceof ServiceProblems) return [];
    throw error;
  }
}

function fieldsOf({ network, project, service, own }: IdentityLabels): Pick<ServingContainer, "network" | "project" | "service" | "labels"> {
  return { network, project, service, labels: own };
}

/** By network, each once: thousands of services may select by the same labels. */
function selectionsOf(services: readonly Service[]): ReadonlyMap<string | null, readonly Selection[]> {
  const rules = new Map(services.flatMap(({ backends }) => backends.filter((rule) => rule.kind === "select"))
    .map((rule) => [JSON.stringify([rule.network, Object.entries(rule.labels).toSorted()]), rule] as const));
  return Map.groupBy(rules.values(), ({ network }) => network);
}
