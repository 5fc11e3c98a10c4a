// From a state to what the kernel shall enforce: identities of containers, policies read once, tables compiled.
import { createCompiler } from "../policy/compile.ts";
import { identityKey, referencedNames, relevantLabels } from "../policy/identity.ts";
import { mayBeInScope } from "../policy/match.ts";
import { readPolicies } from "../policy/read.ts";
import type { Identity, IdentityLabels, Policy, PolicyFacts, PolicyTables } from "../policy/types.ts";
import type { HostFacts } from "../datapath/types.ts";
import { emptyState } from "../network/types.ts";
import type { Endpoint, Network, State } from "../network/types.ts";
import type { Cluster } from "../network/cluster.ts";
import { gatewaysOf, nameOfNetwork } from "../network/state.ts";
import { addressOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { ClusterPrefixes } from "./cluster-prefixes.ts";
import { IdentityNumbers } from "./identity-numbers.ts";
import { ownPolicies, ownPolicyLabels, policyFrom, quarantineLabel, readingsOf } from "./label-policies.ts";
import { RemoteIdentities } from "./remote-identities.ts";

/** What the configuration says of policy. */
export interface PolicySettings {
  readonly betweenNetworks: "allow" | "deny";
  readonly published: "allow" | "deny";
  readonly untilIdentified: "allow" | "deny";
  /** A container that can escape what is enforced, or shares its identity (its notes say how): let be, or closed both ways (R50). */
  readonly unenforced: "allow" | "quarantine";
  /** TCP ports of the host that containers reach only by a rule. */
  readonly hostServices: readonly number[];
}

export type HostView = Pick<HostFacts, "hostPrefixes" | "lan">;

interface Carrier {
  readonly network: string;
  readonly name: string;
  readonly own: Readonly<Record<string, string>>;
  readonly doubtful?: Readonly<Record<string, string>>;
}

export class PolicyBook {
  readonly #settings: PolicySettings;
  readonly #remote = new RemoteIdentities();
  readonly #compiler = createCompiler();
  /** Documents of the policies that were read last, so that a change reads only what changed. */
  #read: ReadonlyMap<string, readonly Policy[]> = new Map();
  readonly #files = new WeakMap<State["policies"], readonly Policy[]>();
  readonly #numbers = new IdentityNumbers();
  readonly #policies = new WeakMap<State["policies"], ReadPolicies>();
  readonly #names = new WeakMap<State["policies"], { readonly labels: string; readonly names: ReadonlySet<string> }>();
  /** Of the last facts. */
  #local: ReadonlyMap<number, Identity> = new Map();
  readonly #prefixes: ClusterPrefixes;
  #everywhere: { readonly own: ReadonlySet<string>; readonly nodes: Cluster["nodes"]; readonly names: ReadonlySet<string> } | undefined;

  /** `pool`: what the installation hands out. */
  constructor(settings: PolicySettings, pool: readonly Cidr[]) {
    this.#settings = settings;
    this.#prefixes = new ClusterPrefixes(pool);
  }

  /**
   * What a state remembers of numbers is taken over, so that a restart changes none. `standing`: those that the kernel knows, which a lost
   * state does not; nobody else is given one of them, or what still carries it would be taken for him (R24).
   */
  recall(state: State, standing: Iterable<number> = []): void {
    for (const identity of standing) this.#numbers.skip(identity);
    for (const [identity, labels] of this.#carried(state, this.#referenced(state))) {
      if (identity === 0) continue;
      this.#numbers.recall(identityKey(labels), identity);
    }
  }

  /** The state with the number of every endpoint and guest whose labels are known; the same object when none changes. */
  identified(state: State): State {
    const names = this.#referenced(state);
    let { endpoints, guests } = state;
    for (const endpoint of state.endpoints.values()) {
      const carrier = this.#carrierOf(endpoint, state.networks.get(endpoint.network));
      const identity = carrier === undefined ? 0 : this.#numbers.of(identityKey(relevantLabels(carrier, names)), state.cluster, endpoint.identity);
      const now = endpoint.joined ? stateOf(identity, carrier) : endpoint.state;
      if (identity === endpoint.identity && now === endpoint.state) continue;
      if (endpoints === state.endpoints) endpoints = new Map(endpoints);
      (endpoints as Map<Endpoint["id"], Endpoint>).set(endpoint.id, { ...endpoint, identity, state: now });
    }
    for (const guest of state.guests.values()) {
      const identity = this.#numbers.of(identityKey(relevantLabels(guest, names)), state.cluster);
      if (identity === guest.identity) continue;
      if (guests === state.guests) guests = new Map(guests);
      (guests as Map<string, typeof guest>).set(guest.id, { ...guest, identity });
    }
    if (endpoints === state.endpoints && guests === state.guests) return state;
    const next = { ...state, endpoints, guests };
    this.#numbers.prune(new Map([...this.#carried(next, names)].map(([id, labels]) => [identityKey(labels), id])));
    return next;
  }

  /** In force: those of files, then those of containers' own labels. */
  policies(state: State): readonly Policy[] {
    return this.#readAll(state, [state]).all;
  }

  /** With those of labels of containers on other nodes, which are in force there. */
  policiesEverywhere(state: State): readonly Policy[] {
    const { all, keys } = this.#readAll(state, [state]);
    const own = ownPolicies([...this.#remote.of(state.cluster.endpoints).values()].map(({ labels }) => labels));
    const there = [...own].filter(([key]) => !keys.has(key)).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return [...all, ...there.flatMap(([, labels]) => policyFrom(labels, new Map()) ?? [])];
  }

  /** This node's endpoints whose labels are known, with those that count. */
  *identifiedEndpoints(state: State): Generator<{ readonly endpoint: Endpoint; readonly labels: IdentityLabels }> {
    const names = this.#referenced(state);
    for (const endpoint of state.endpoints.values()) {
      const carrier = this.#carrierOf(endpoint, state.networks.get(endpoint.network));
      if (carrier !== undefined) yield { endpoint, labels: relevantLabels(carrier, names) };
    }
  }

  /** Identity keys without an agreed number, sorted. */
  unnumbered(state: State): readonly string[] {
    const keys = [...this.#carried(state, this.#referenced(state))].map(([, labels]) => identityKey(labels));
    return [...new Set(keys)].filter((key) => !state.cluster.numbers.has(key)).toSorted();
  }

  /** How many containers on other nodes carry each number. */
  remoteCounts({ cluster }: State): ReadonlyMap<number, number> {
    return this.#remote.countsOf(cluster.endpoints);
  }

  /** Labels of containers that are no policy: one sentence each. Such a container is closed. */
  labelProblems(state: State): readonly string[] {
    const names = this.carriersOf(state);
    return [...this.#readAll(state, [state]).problems].map(([key, why]) => `${(names.get(key) ?? ["a container"]).join(", ")}: ${why}; it is closed until its label is right`);
  }

  /** Why the labels with this identity key are no policy. */
  labelProblem(state: State, key: string): string | null {
    return this.#readAll(state, [state]).problems.get(key) ?? null;
  }

  /** Names of the containers with each identity key, sorted. */
  carriersOf(state: State): ReadonlyMap<string, readonly string[]> {
    const names = new Map<string, string[]>();
    const referenced = this.#referenced(state);
    const carriers = [...state.endpoints.values()].flatMap((endpoint) => this.#carrierOf(endpoint, state.networks.get(endpoint.network)) ?? []);
    for (const carrier of [...carriers, ...state.guests.values()]) {
      for (const labels of readingsOf(relevantLabels(carrier, referenced))) {
        const key = identityKey(labels);
        names.set(key, [...(names.get(key) ?? []), carrier.name].toSorted());
      }
    }
    return names;
  }

  /** How many endpoints each policy is for, by its name. */
  coveredBy(state: State): ReadonlyMap<string, number> {
    const carried = [...this.#carried(state, this.#referenced(state))].map(([, labels]) => labels);
    return new Map(this.policies(state).map((policy) => [policy.name, carried.filter((labels) => mayBeInScope(policy.scope, labels)).length]));
  }

  facts(states: readonly State[], host: HostView): PolicyFacts {
    const networks = new Map<string, { readonly internal: boolean; readonly icc: boolean }>();
    const identities = new Map<number, Identity>();
    for (const state of states) {
      for (const network of state.networks.values()) networks.set(nameOfNetwork(network), { internal: network.internal, icc: network.icc });
      for (const [id, labels] of this.#carried(state, this.#referenced(state))) if (id !== 0) identities.set(id, this.#same(id, labels));
    }
    this.#local = identities;
    const last = states.at(-1) ?? emptyState;
    const ambiguous = this.ambiguous(states);
    const known = [...[...identities.values()].toSorted((a, b) => a.id - b.id), ...this.#remote.among(states.map(({ cluster }) => cluster.endpoints), identities)];
    const { betweenNetworks, published, untilIdentified, hostServices } = this.#settings;
    return {
      identities: ambiguous.size === 0 ? known : known.filter(({ id }) => !ambiguous.has(id)),
      host: [...host.hostPrefixes.map(addressOf), ...gatewaysOf(last)].toSorted(),
      ...this.#prefixes.of(last.cluster), poolByAddress: last.cluster.kind !== "etcd",
      lan: host.lan, networks, hostServices, betweenNetworks, published, untilIdentified,
    };
  }

  /**
   * Numbers that mean one set of labels in one state and another in another, as where the nodes agree on what this one had given out by itself:
   * nobody may be judged by them before all carry what they are to carry.
   */
  ambiguous(states: readonly State[]): ReadonlySet<number> {
    if (states.length < 2) return new Set();
    const carried = states.flatMap((state) => [...this.#carried(state, this.#referenced(state))]);
    return this.#remote.ambiguous(states.map(({ cluster }) => cluster.endpoints), carried);
  }

  /**
   * Of the files of one state, for the identities of several and what their own labels say: a moment's change knows those before and
   * after, and a container whose number changes is never without the policy that it carries.
   */
  tables(files: State, identities: readonly State[], host: HostView): PolicyTables {
    return this.#compiler.compile(this.#readAll(files, identities).all, this.facts(identities, host));
  }

  /** By number, for people. */
  labelsOf(state: State): ReadonlyMap<number, IdentityLabels> {
    return new Map(this.#carried(state, this.#referenced(state)));
  }

  /** With those of containers on other nodes. */
  labelsEverywhere(state: State): ReadonlyMap<number, IdentityLabels> {
    const elsewhere = [...this.#remote.of(state.cluster.endpoints).values()].map(({ id, labels }) => [id, labels] as const);
    return new Map([...elsewhere, ...this.labelsOf(state)]);
  }

  prefixesOf({ cluster }: State): Pick<PolicyFacts, "nodes" | "pool"> {
    return this.#prefixes.of(cluster);
  }

  /** What was known the last time, where it still is so: by that the compiler sees that nothing changed. */
  #same(id: number, labels: IdentityLabels): Identity {
    const known = this.#local.get(id);
    return known !== undefined && identityKey(known.labels) === identityKey(labels) ? known : { id, labels };
  }

  #readAll(files: State, carriers: readonly State[]): ReadPolicies {
    // Only containers with labels of ours bring policies of their own; replicas bring one for all of them. What a container's doubtful
    // labels say is a policy for whoever surely has them, so that for this one only what closes counts (R88).
    const own = ownPolicies(carriers.flatMap((state) => [...this.#carried(state, this.#referenced(state))].map(([, labels]) => labels)));
    const keys = [...own.keys()].toSorted();
    const labels = keys.join("\n");
    const known = this.#policies.get(files.policies);
    if (known?.labels === labels) return known;
    const problems = new Map<string, string>();
    const ofLabels = keys.flatMap((key) => { const carried = own.get(key); return (carried && policyFrom(carried, problems)) ?? []; });
    const read = { labels, keys: new Set(keys), all: [...this.#ofFiles(files), ...ofLabels], problems };
    this.#policies.set(files.policies, read);
    return read;
  }

  /** A document is read once, however many policies it holds and however often it is asked for. */
  #ofFiles({ policies }: State): readonly Policy[] {
    const known = this.#files.get(policies);
    if (known !== undefined) return known;
    const read = new Map<string, readonly Policy[]>();
    const all = [...policies.values()].flatMap(({ name, file, text }) => {
      const key = `${file}\0${text}`;
      const document = read.get(key) ?? this.#read.get(key) ?? readPolicies([{ file, text }]);
      read.set(key, document);
      return document.filter((policy) => policy.name === name);
    });
    this.#read = read;
    this.#files.set(policies, all);
    return all;
  }

  /** Names that a policy here or on another node refers to. */
  #referenced(state: State): ReadonlySet<string> {
    const { nodes } = state.cluster;
    const own = this.ownNames(state);
    if (nodes.size === 0) return own;
    if (this.#everywhere?.own !== own || this.#everywhere.nodes !== nodes) {
      this.#everywhere = { own, nodes, names: new Set([...own, ...[...nodes.values()].flatMap(({ names }) => names)]) };
    }
    return this.#everywhere.names;
  }

  /** Names that a rule of a file here, or of a container's own label, refers to. */
  ownNames(state: State): ReadonlySet<string> {
    const own = ownPolicyLabels(state);
    const labels = own.map((one) => JSON.stringify(one)).toSorted().join("\n");
    const known = this.#names.get(state.policies);
    if (known?.labels === labels) return known.names;
    const ofLabels = own.flatMap((one) => policyFrom({ network: "", project: null, service: null, name: null, own: one }, new Map()) ?? []);
    const names = referencedNames([...this.#ofFiles(state), ...ofLabels]);
    this.#names.set(state.policies, { labels, names });
    return names;
  }

  #carrierOf(endpoint: Endpoint, network: Network | undefined): Carrier | undefined {
    const container = endpoint.container;
    if (container === null || container.own === undefined || network === undefined || network.name === null) return undefined;
    const closed = this.#settings.unenforced === "quarantine" && (container.notes ?? []).length > 0;
    const { name, own, doubtful = {} } = container;
    return { network: network.name, name, doubtful, own: closed ? { ...own, [quarantineLabel]: "yes" } : own };
  }

  *#carried(state: State, names: ReadonlySet<string>): Generator<readonly [number, IdentityLabels]> {
    for (const endpoint of state.endpoints.values()) {
      const carrier = this.#carrierOf(endpoint, state.networks.get(endpoint.network));
      if (carrier !== undefined) yield [endpoint.identity, relevantLabels(carrier, names)];
    }
    for (const guest of state.guests.values()) yield [guest.identity, relevantLabels(guest, names)];
  }
}

interface ReadPolicies {
  readonly labels: string;
  /** Identity keys of the labels that are policies. */
  readonly keys: ReadonlySet<string>;
  readonly all: readonly Policy[];
  readonly problems: ReadonlyMap<string, string>;
}

function stateOf(identity: number, carrier: Carrier | undefined): Endpoint["state"] {
  if (identity === 0) return "init";
  return Object.hasOwn({ ...carrier?.doubtful, ...carrier?.own }, quarantineLabel) ? "quarantined" : "ready";
}
