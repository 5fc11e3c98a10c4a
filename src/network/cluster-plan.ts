// From what is known of other nodes to what the datapath has to know: numbers, owners of addresses, names. Only what changed is done again.
import type { Cidr, Ip } from "../std/ip.ts";
import { contains } from "../std/ip.ts";
import { slicesOf } from "./cluster.ts";
import type { Cluster, ClusterNode, ClusterPlan, NodePlan, RemoteEndpoint, RemotePlan } from "./cluster.ts";
import { Layered } from "./layered.ts";
import { networkKey } from "./plan.ts";
import { RemoteNames } from "./remote-names.ts";
import type { Network, State } from "./types.ts";

export interface ClusterPlanner {
  /** The same object while nothing that it depends on changed. Takes any state, also one before the last that it saw. */
  plan(state: Pick<State, "cluster" | "networks">): ClusterPlan;
  /** The container elsewhere that has the address, as of the last plan. */
  ownerOf(address: Ip): RemoteEndpoint | undefined;
}

/** As many as the datapath's maps hold (hw_nodes); whoever is beyond is left out. */
export const mostNodes = 1023;

/** `pools`: the installation's. */
export function createClusterPlanner(pools: readonly Cidr[]): ClusterPlanner {
  return new Planner(pools);
}

class Planner implements ClusterPlanner {
  readonly #pools: readonly Cidr[];
  #last: ClusterPlan | undefined;
  #kind: Cluster["kind"] | undefined;
  #nodes: Cluster["nodes"] = new Map();
  #endpoints: Cluster["endpoints"] = new Map();
  #networks: State["networks"] = new Map();
  /** This node's number of the network by that name, and text by which two such maps are compared. */
  #numbers: ReadonlyMap<string, number> = new Map();
  #numbersText = "";
  #nodeNumbers: ReadonlyMap<string, number> = new Map();
  /** Who says to have an address; two may while a container moves, and then the first by key counts. */
  readonly #owners = new Map<Ip, RemoteEndpoint | readonly RemoteEndpoint[]>();
  #remotes = new Layered<Ip, RemotePlan>();
  #names = new RemoteNames();

  constructor(pools: readonly Cidr[]) {
    this.#pools = pools;
  }

  plan({ cluster, networks }: Pick<State, "cluster" | "networks">): ClusterPlan {
    const last = this.#last;
    if (last !== undefined && this.#kind === cluster.kind && this.#nodes === cluster.nodes && this.#endpoints === cluster.endpoints && this.#networks === networks) return last;
    const numbers = networks === this.#networks ? this.#numbers : numbersOf(networks);
    const text = numbers === this.#numbers ? this.#numbersText : [...numbers].join("\n");
    const nodeNumbers = cluster.nodes === this.#nodes ? this.#nodeNumbers : numbered(cluster.nodes.keys(), this.#nodeNumbers);
    this.#follow(cluster.endpoints, text === this.#numbersText ? this.#numbers : numbers, nodeNumbers);
    const same = last !== undefined && this.#kind === cluster.kind && this.#nodes === cluster.nodes && last.remotes === this.#remotes && last.names === this.#names;
    [this.#kind, this.#nodes, this.#networks, this.#numbersText] = [cluster.kind, cluster.nodes, networks, text];
    if (same) return last;
    return (this.#last = { kind: cluster.kind, nodes: nodePlans(cluster.nodes, nodeNumbers), remotes: this.#remotes, pools: this.#pools, names: this.#names });
  }

  ownerOf(address: Ip): RemoteEndpoint | undefined {
    return this.#ownersOf(address)[0];
  }

  /** Takes out who went or is seen with other eyes now, and puts in who came. */
  #follow(endpoints: Cluster["endpoints"], numbers: ReadonlyMap<string, number>, nodeNumbers: ReadonlyMap<string, number>): void {
    const [before, were, wereNodes] = [this.#endpoints, this.#numbers, this.#nodeNumbers];
    const otherNetworks = numbers === were ? none : differing(numbers, were);
    const otherNodes = nodeNumbers === wereNodes ? none : differing(nodeNumbers, wereNodes);
    const isOther = (one: RemoteEndpoint): boolean => otherNetworks.has(one.network) || otherNodes.has(one.node);
    const anyOther = otherNetworks.size > 0 || otherNodes.size > 0;
    [this.#endpoints, this.#numbers, this.#nodeNumbers] = [endpoints, numbers, nodeNumbers];
    const changed = remoteChanges(before, endpoints);
    // Who stayed but is seen with other eyes goes and comes, too.
    const stayed = anyOther ? [...endpoints].filter(([key, one]) => before.get(key) === one && isOther(one)).map(([, one]) => one) : [];
    const [gone, come] = [[...changed.gone, ...stayed], [...changed.come, ...stayed]];
    if (gone.length + come.length === 0) return;
    const touched = new Set<Ip>();
    for (const one of gone) {
      for (const address of addressesOf(one)) {
        touched.add(address);
        const left = this.#ownersOf(address).filter((owner) => owner !== one);
        this.#own(address, left);
      }
    }
    for (const one of come) {
      // Of a node that is not known nothing could be reached.
      if (!nodeNumbers.has(one.node)) continue;
      for (const address of addressesOf(one)) {
        touched.add(address);
        const others = this.#owners.get(address);
        if (others === undefined) this.#owners.set(address, one);
        else this.#own(address, [...this.#ownersOf(address), one].toSorted(byKey));
      }
    }
    this.#remotes = this.#withRemotes(touched);
    this.#names = gone.length === 0 && this.#names.isEmpty ? this.#firstNames(come) : this.#withNames(touched, gone, were);
  }

  #ownersOf(address: Ip): readonly RemoteEndpoint[] {
    const owners = this.#owners.get(address) ?? [];
    return "node" in owners ? [owners] : owners;
  }

  /** A list of one, of which there are tens of thousands, is kept as the one. */
  #own(address: Ip, owners: readonly RemoteEndpoint[]): void {
    const [first] = owners;
    if (first === undefined) this.#owners.delete(address);
    else this.#owners.set(address, owners.length === 1 ? first : owners);
  }

  #withRemotes(touched: ReadonlySet<Ip>): Layered<Ip, RemotePlan> {
    const changes = new Map<Ip, RemotePlan | undefined>();
    const plans = new Map<RemoteEndpoint, RemotePlan>();
    for (const address of touched) {
      const owner = this.ownerOf(address);
      const before = this.#remotes.get(address);
      if (owner === undefined) {
        changes.set(address, undefined);
        continue;
      }
      const plan = plans.get(owner) ?? { node: this.#nodeNumbers.get(owner.node) ?? 0, identity: owner.identity, network: this.#numbers.get(owner.network) ?? 0 };
      plans.set(owner, plan);
      const same = before?.node === plan.node && before.identity === plan.identity && before.network === plan.network;
      if (!same) changes.set(address, plan);
    }
    return this.#remotes.with(changes);
  }

  /** Where nobody was called anything, tens of thousands come at once: what most of them are called has the addresses of one. */
  #firstNames(come: readonly RemoteEndpoint[]): RemoteNames {
    const lists = new Map<number, Map<string, readonly Ip[]>>();
    const several = new Map<Map<string, readonly Ip[]>, Map<string, Set<Ip>>>();
    for (const one of come) {
      const list = addressesOf(one).toSorted();
      if (list.length === 0 || !this.#nodeNumbers.has(one.node)) continue;
      for (const [number, name] of namesOf(one, this.#numbers)) {
        const network = lists.get(number) ?? new Map<string, readonly Ip[]>();
        lists.set(number, network);
        const before = network.get(name);
        if (before === undefined) {
          network.set(name, list);
          continue;
        }
        const gathered = several.get(network) ?? new Map<string, Set<Ip>>();
        several.set(network, gathered);
        const together = gathered.get(name) ?? new Set(before);
        gathered.set(name, together);
        for (const address of list) together.add(address);
      }
    }
    for (const [network, gathered] of several) for (const [name, addresses] of gathered) network.set(name, [...addresses].toSorted());
    return this.#names.with(lists, this.#called());
  }

  #called(): ReadonlyMap<number, string> {
    return new Map([...this.#numbers].map(([name, number]) => [number, name]));
  }

  #withNames(touched: ReadonlySet<Ip>, gone: readonly RemoteEndpoint[], were: ReadonlyMap<string, number>): RemoteNames {
    const lists = new Map<number, Map<string, Gathered>>();
    const change = (one: RemoteEndpoint, numbers: ReadonlyMap<string, number>, how: (list: Gathered, address: Ip) => Gathered, address: Ip): void => {
      for (const [number, name] of namesOf(one, numbers)) {
        const network = lists.get(number) ?? new Map<string, Gathered>();
        lists.set(number, network);
        network.set(name, how(network.get(name) ?? [...this.#names.listOf(number, name)], address));
      }
    };
    for (const one of gone) for (const address of addressesOf(one)) change(one, were, without, address);
    // Two may have one name and one address: what one took away is the other's still.
    for (const address of touched) for (const owner of this.#ownersOf(address)) change(owner, this.#numbers, together, address);
    const share = shared();
    const changes = new Map<number, Map<string, readonly Ip[] | undefined>>();
    for (const [number, network] of lists) {
      const changed = new Map<string, readonly Ip[] | undefined>();
      changes.set(number, changed);
      for (const [name, list] of network) {
        const before = this.#names.listOf(number, name);
        const after = [...list].toSorted();
        network.delete(name);
        if (after.length === 0) changed.set(name, undefined);
        else changed.set(name, before.length === after.length && before.every((address, i) => address === after[i]) ? before : share(after));
      }
    }
    return this.#names.with(changes, this.#called());
  }
}

/** Of tens of thousands of names nearly each has one or two addresses. */
type Gathered = Ip[] | Set<Ip>;
const mostListed = 32;

function together(list: Gathered, address: Ip): Gathered {
  if (list instanceof Set) return list.add(address);
  if (list.includes(address)) return list;
  list.push(address);
  return list.length > mostListed ? new Set(list) : list;
}

function without(list: Gathered, address: Ip): Gathered {
  if (list instanceof Set) list.delete(address);
  else if (list.includes(address)) list.splice(list.indexOf(address), 1);
  return list;
}

/** A container's names have one list, of which there are tens of thousands. */
function shared(): (list: readonly Ip[]) => readonly Ip[] {
  const known = new Map<Ip, readonly Ip[]>();
  return (list) => {
    const [first] = list;
    if (first === undefined || list.length > 2) return list;
    const other = known.get(first);
    if (other?.length === list.length && other[1] === list[1]) return other;
    known.set(first, list);
    return list;
  };
}

const none: ReadonlySet<string> = new Set();

/** In small letters, as names are asked for in any case (RFC 4343). */
function namesOf({ names, network }: RemoteEndpoint, numbers: ReadonlyMap<string, number>): readonly (readonly [number: number, name: string])[] {
  const number = numbers.get(network);
  return number === undefined ? [] : names.map((name) => [number, name.toLowerCase()]);
}

/** Where two networks have one name, which Docker allows, the one made first counts. */
export function numbersOf(networks: ReadonlyMap<string, Network>): ReadonlyMap<string, number> {
  const numbers = new Map<string, number>();
  const known = [...networks.values()].toSorted((a, b) => a.createdAt - b.createdAt || a.number - b.number);
  for (const { name, number } of known) if (name !== null && !numbers.has(name)) numbers.set(name, number);
  return numbers;
}

/** Known ones keep theirs. A new one's begins with its name, so that an agent that starts again most likely gives it the same. */
function numbered(names: Iterable<string>, before: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const sorted = [...names].toSorted();
  const numbers = new Map(sorted.flatMap((name) => { const number = before.get(name); return number === undefined ? [] : [[name, number] as const]; }));
  const taken = new Set(numbers.values());
  for (const name of sorted) {
    if (numbers.has(name) || taken.size >= mostNodes) continue;
    let number = 1 + (networkKey(name) % mostNodes);
    while (taken.has(number)) number = 1 + (number % mostNodes);
    numbers.set(name, number);
    taken.add(number);
  }
  return numbers;
}

function nodePlans(nodes: ReadonlyMap<string, ClusterNode>, numbers: ReadonlyMap<string, number>): readonly NodePlan[] {
  return [...nodes.values()]
    .flatMap((node) => {
      const { name, addresses, mtu } = node;
      const number = numbers.get(name);
      return number === undefined ? [] : [{ number, name, addresses, slices: slicesOf(node), mtu }];
    })
    .toSorted((a, b) => a.number - b.number);
}

/** The names whose numbers are not the same in both. */
function differing(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): ReadonlySet<string> {
  return new Set([...a.keys(), ...b.keys()].filter((name) => a.get(name) !== b.get(name)));
}

function byKey(a: RemoteEndpoint, b: RemoteEndpoint): number {
  const [one, other] = [`${a.node}/${a.id}`, `${b.node}/${b.id}`];
  return one < other ? -1 : one > other ? 1 : 0;
}

function addressesOf({ ipv4, ipv6 }: RemoteEndpoint): readonly Ip[] {
  return [ipv4, ipv6].filter((address) => address !== null);
}

/** Whose slice holds the address. */
export function sliceOwner(cluster: Cluster, address: Ip): ClusterNode | undefined {
  return [...cluster.nodes.values()].find(({ ipv4, ipv6 }) => [ipv4, ipv6].some((slice) => slice !== null && contains(slice, address)));
}

const owners = new WeakMap<Cluster["endpoints"], ReadonlyMap<Ip, RemoteEndpoint>>();

/** By address; of two that say to have one, the first by key. */
export function remoteOwners(endpoints: Cluster["endpoints"]): ReadonlyMap<Ip, RemoteEndpoint> {
  const known = owners.get(endpoints);
  if (known !== undefined) return known;
  const found = new Map<Ip, RemoteEndpoint>();
  for (const one of endpoints.values()) {
    for (const address of addressesOf(one)) {
      const other = found.get(address);
      if (other === undefined || byKey(one, other) < 0) found.set(address, one);
    }
  }
  owners.set(endpoints, found);
  return found;
}

export interface RemoteChanges {
  readonly gone: readonly RemoteEndpoint[];
  readonly come: readonly RemoteEndpoint[];
}

/** Endpoints are immutable: what is the same object is the same. */
export function remoteChanges(before: Cluster["endpoints"], after: Cluster["endpoints"]): RemoteChanges {
  if (before === after) return { gone: [], come: [] };
  const gone: RemoteEndpoint[] = [];
  const come: RemoteEndpoint[] = [];
  if (before.size === 0) return { gone, come: [...after.values()] };
  if (before instanceof Layered && after instanceof Layered) {
    for (const key of (after as Layered<string, RemoteEndpoint>).differing(before as Layered<string, RemoteEndpoint>)) {
      const [was, one] = [before.get(key), after.get(key)] as [RemoteEndpoint | undefined, RemoteEndpoint | undefined];
      if (was === one) continue;
      if (was !== undefined) gone.push(was);
      if (one !== undefined) come.push(one);
    }
    return { gone, come };
  }
  let stayed = 0;
  for (const [key, one] of after) {
    const was = before.get(key);
    if (was !== undefined) stayed++;
    if (was === one) continue;
    come.push(one);
    if (was !== undefined) gone.push(was);
  }
  if (stayed < before.size) for (const [key, one] of before) if (!after.has(key)) gone.push(one);
  return { gone, come };
}
