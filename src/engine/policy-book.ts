// From a state to what the kernel shall enforce: identities of containers, policies read once, tables compiled.
import { createCompiler } from "../policy/compile.ts";
import { identityKey, referencedNames, relevantLabels } from "../policy/identity.ts";
import { mayBeInScope } from "../policy/match.ts";
import { policyOfLabels } from "../policy/own-labels.ts";
import { readPolicies } from "../policy/read.ts";
import type { Identity, IdentityLabels, Peer, Policy, PolicyFacts, PolicyTables, Rule } from "../policy/types.ts";
import type { HostFacts } from "../datapath/types.ts";
import type { Endpoint, Network, State } from "../network/types.ts";
import { gatewaysOf, nameOfNetwork } from "../network/state.ts";
import { messageOf } from "../std/errors.ts";
import { addressOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";

/** What the configuration says of policy. */
export interface PolicySettings {
  readonly betweenNetworks: "allow" | "deny";
  readonly published: "allow" | "deny";
  readonly untilIdentified: "allow" | "deny";
  /** A container that can escape what is enforced, or shares its identity (its notes say how): let be, or closed both ways (R50). */
  readonly unenforced: "allow" | "quarantine";
  /** TCP ports of the host that containers reach only by a rule. */
  readonly hostServices: readonly number[];
  readonly nodes: readonly Cidr[];
}

export type HostView = Pick<HostFacts, "hostPrefixes" | "lan">;

/** Below it numbers have a fixed meaning in flows: 1 the host, 2 the world. */
export const firstIdentity = 256;
const lastIdentity = 0xffff_ffff;

/** What a container carries beside its own labels while it is shut away; one that gives it to itself shuts itself away. */
const quarantineLabel = "hawser.quarantined";

interface Carrier {
  readonly network: string;
  readonly name: string;
  readonly own: Readonly<Record<string, string>>;
  readonly doubtful?: Readonly<Record<string, string>>;
}

export class PolicyBook {
  readonly #settings: PolicySettings;
  readonly #compiler = createCompiler();
  /** Documents of the policies that were read last, so that a change reads only what changed. */
  #read: ReadonlyMap<string, readonly Policy[]> = new Map();
  readonly #files = new WeakMap<State["policies"], readonly Policy[]>();
  /** Identity keys in use and lately used → number. */
  #numbers = new Map<string, number>();
  #next = firstIdentity;
  readonly #policies = new WeakMap<State["policies"], { readonly labels: string; readonly all: readonly Policy[]; readonly problems: ReadonlyMap<string, string> }>();
  readonly #names = new WeakMap<State["policies"], { readonly labels: string; readonly names: ReadonlySet<string> }>();

  constructor(settings: PolicySettings) {
    this.#settings = settings;
  }

  /**
   * What a state remembers of numbers is taken over, so that a restart changes none. `standing`: those that the kernel knows, which a lost
   * state does not; nobody else is given one of them, or what still carries it would be taken for him (R24).
   */
  recall(state: State, standing: Iterable<number> = []): void {
    for (const identity of standing) this.#next = Math.max(this.#next, identity + 1);
    for (const [identity, labels] of this.#carried(state, this.#referenced(state))) {
      if (identity === 0) continue;
      this.#numbers.set(identityKey(labels), identity);
      this.#next = Math.max(this.#next, identity + 1);
    }
  }

  /** The state with the number of every endpoint and guest whose labels are known; the same object when none changes. */
  identified(state: State): State {
    const names = this.#referenced(state);
    let { endpoints, guests } = state;
    for (const endpoint of state.endpoints.values()) {
      const carrier = this.#carrierOf(endpoint, state.networks.get(endpoint.network));
      const identity = carrier === undefined ? 0 : this.#numberOf(relevantLabels(carrier, names), endpoint.identity);
      const now = endpoint.joined ? stateOf(identity, carrier) : endpoint.state;
      if (identity === endpoint.identity && now === endpoint.state) continue;
      if (endpoints === state.endpoints) endpoints = new Map(endpoints);
      (endpoints as Map<Endpoint["id"], Endpoint>).set(endpoint.id, { ...endpoint, identity, state: now });
    }
    for (const guest of state.guests.values()) {
      const identity = this.#numberOf(relevantLabels(guest, names));
      if (identity === guest.identity) continue;
      if (guests === state.guests) guests = new Map(guests);
      (guests as Map<string, typeof guest>).set(guest.id, { ...guest, identity });
    }
    if (endpoints === state.endpoints && guests === state.guests) return state;
    this.#prune({ ...state, endpoints, guests }, names);
    return { ...state, endpoints, guests };
  }

  /** In force: those of files, then those of containers' own labels. */
  policies(state: State): readonly Policy[] {
    return this.#readAll(state, [state]).all;
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
      for (const [id, labels] of this.#carried(state, this.#referenced(state))) if (id !== 0) identities.set(id, { id, labels });
    }
    const last = states.at(-1);
    const { betweenNetworks, published, untilIdentified, hostServices, nodes } = this.#settings;
    return {
      identities: [...identities.values()].toSorted((a, b) => a.id - b.id),
      host: [...host.hostPrefixes.map(addressOf), ...(last === undefined ? [] : gatewaysOf(last))].toSorted(),
      nodes, lan: host.lan, networks, hostServices, betweenNetworks, published, untilIdentified,
    };
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

  #readAll(files: State, carriers: readonly State[]): { readonly all: readonly Policy[]; readonly problems: ReadonlyMap<string, string> } {
    // Only containers with labels of ours bring policies of their own; replicas bring one for all of them. What a container's doubtful
    // labels say is a policy for whoever surely has them, so that for this one only what closes counts (R88).
    const own = new Map<string, IdentityLabels>();
    for (const state of carriers) {
      for (const [, labels] of this.#carried(state, this.#referenced(state))) {
        for (const one of readingsOf(labels)) {
          if (Object.keys(one.own).some((key) => key.startsWith("hawser."))) own.set(identityKey(one), one);
        }
      }
    }
    const keys = [...own.keys()].toSorted();
    const labels = keys.join("\n");
    const known = this.#policies.get(files.policies);
    if (known?.labels === labels) return known;
    const problems = new Map<string, string>();
    const ofLabels = keys.flatMap((key) => { const carried = own.get(key); return (carried && this.#ofLabels(carried, problems)) ?? []; });
    const read = { labels, all: [...this.#ofFiles(files), ...ofLabels], problems };
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

  #ofLabels(labels: IdentityLabels, problems: Map<string, string>): Policy | null {
    const key = identityKey(labels);
    if (Object.hasOwn(labels.own, quarantineLabel)) return shutAway(key, "quarantine", "policy.unenforced", "quarantined");
    try {
      return policyOfLabels(labels, key);
    } catch (error) {
      problems.set(key, messageOf(error));
      return shutAway(key, "label", "label", "a label of it is wrong");
    }
  }

  /** Names that a rule of a file, or of a container's own label, refers to. */
  #referenced(state: State): ReadonlySet<string> {
    const own = ownPolicyLabels(state);
    const labels = own.map((one) => JSON.stringify(one)).toSorted().join("\n");
    const known = this.#names.get(state.policies);
    if (known?.labels === labels) return known.names;
    const ofLabels = own.flatMap((one) => this.#ofLabels({ network: "", project: null, service: null, name: null, own: one }, new Map()) ?? []);
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

  /** `carried`: what the container bears already, which is kept where it is nobody else's: the kernel knows it by that. */
  #numberOf(labels: IdentityLabels, carried = 0): number {
    const key = identityKey(labels);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const taken = new Set(this.#numbers.values());
    if (carried !== 0 && !taken.has(carried)) {
      this.#numbers.set(key, carried);
      return carried;
    }
    while (taken.has(this.#next)) this.#next = this.#next >= lastIdentity ? firstIdentity : this.#next + 1;
    const number = this.#next;
    this.#numbers.set(key, number);
    this.#next = number >= lastIdentity ? firstIdentity : number + 1;
    return number;
  }

  /** A container with labels that no other had is forgotten some time after it went (R31). */
  #prune(state: State, names: ReadonlySet<string>): void {
    const used = new Map([...this.#carried(state, names)].map(([id, labels]) => [identityKey(labels), id]));
    if (this.#numbers.size > 2 * used.size + 256) this.#numbers = used;
  }
}

function stateOf(identity: number, carrier: Carrier | undefined): Endpoint["state"] {
  if (identity === 0) return "init";
  return Object.hasOwn({ ...carrier?.doubtful, ...carrier?.own }, quarantineLabel) ? "quarantined" : "ready";
}

/** A container's labels as they surely are, then as they may be. */
function readingsOf(labels: IdentityLabels): readonly IdentityLabels[] {
  return labels.doubtful === undefined ? [labels] : [labels, labels.doubtful];
}

/** Denies both ways, so that no rule opens it. */
function shutAway(key: string, policy: string, file: string, why: string): Policy {
  const place = { file, line: 1, column: 1 };
  const any = { kind: "entity", entity: "any", place } as const;
  const self = { kind: "entity", entity: "self", place } as const;
  const rule = (from: Peer, to: Peer, text: string): Rule => ({ policy, action: "deny", place, text, from: [from], to: [to], ports: [], ends: "both" });
  return {
    name: `${policy} ${key}`, place, scope: { kind: "identity", key }, defaults: { in: "deny", out: "deny" },
    rules: [rule(any, self, `any -> self (${why})`), rule(self, any, `self -> any (${why})`)], tests: [], closedNames: null,
  };
}

/** The `hawser.…` labels of each container that has some, or may have. */
function ownPolicyLabels(state: State): readonly Readonly<Record<string, string>>[] {
  const carriers = [...[...state.endpoints.values()].flatMap(({ container }) => container ?? []), ...state.guests.values()];
  return carriers.flatMap(({ own, doubtful }) => {
    const ours = Object.entries({ ...doubtful, ...own }).filter(([key]) => key.startsWith("hawser."));
    return ours.length === 0 ? [] : [Object.fromEntries(ours)];
  });
}
