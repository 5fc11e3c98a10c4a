// What this node knows of the others: taken from the store's events, kept where the store has lost it, handed out as one Cluster.
import type { Cluster, ClusterNode, NodeHealth, RemoteEndpoint } from "../network/cluster.ts";
import type { PoolConfig } from "../network/types.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { identityKey } from "../engine/shared.ts";
import { openAdmission } from "./admission.ts";
import { createComplaints } from "./complaints.ts";
import { endpointKey, healthKey, isPartOf, nodeKey, placeOf } from "./keys.ts";
import type { Place } from "./keys.ts";
import { decode, encodeEndpoint, encodeNode } from "./records.ts";
import type { LastingRecord, NodeRecord, SharedRecord } from "./records.ts";
import { openRegistry } from "./registry.ts";
import type { Registry } from "./registry.ts";

export interface ViewOptions {
  readonly self: string;
  readonly pool: PoolConfig;
  /** This node's own addresses, as they are now. */
  readonly addresses: () => readonly Ip[];
  /** Whether the node answers probes although nobody hears of it any more. */
  readonly answers: (name: string) => boolean;
  readonly log: Log;
}

/** Labels with their identity key: one object for thousands of replicas. */
export interface Labelled {
  readonly key: string;
  readonly labels: RemoteEndpoint["labels"];
}

export interface Entry {
  readonly endpoint: RemoteEndpoint;
  readonly labelled: Labelled;
  /** Whether its node wrote it since the node's lease ended. */
  fresh: boolean;
}

export interface Member {
  /** undefined: of the node there is no record yet. */
  node: NodeRecord | undefined;
  /** False: its lease has ended, but it answers. */
  registered: boolean;
  /** By id. */
  readonly entries: Map<string, Entry>;
  /** What it says of its containers as backends, by the record's piece. */
  readonly health: Map<number | undefined, { readonly backends: NodeHealth; fresh: boolean }>;
}

/** undefined: the key is gone. */
type Value = readonly [key: string, text: string | undefined];
export type Values = Iterable<Value>;

export interface View {
  /** Several changes of one moment. @returns whether anything but this node's own records changed. */
  take(values: Values): boolean;
  /** Everything that there is, out of the map: as text and as what it says it would be in memory twice. Numbers, and the slices of an emptied store, stay known. */
  takeAll(entries: Map<string, string>): boolean;
  /** A node stopped answering; it goes when its lease has ended, too. */
  fellSilent(name: string): boolean;
  cluster(): Cluster;
  /** As in the cluster. */
  nodes(): ReadonlyMap<string, ClusterNode>;
  readonly registry: Registry;
  readonly members: ReadonlyMap<string, Member>;
  /** This node's own leased records as the store has them. */
  readonly own: ReadonlyMap<string, string>;
  /** Every record that others may need again, as it is written. */
  records(): Iterable<LastingRecord>;
}

/** More nodes than the datapath can number, and more endpoints than any node has, are somebody's mistake. */
const mostNodes = 1023;
const mostEndpoints = 4096;

export function openView({ self, pool, addresses, answers, log }: ViewOptions): View {
  const members = new Map<string, Member>();
  const own = new Map<string, string>();
  const complain = createComplaints(log);
  const registry = openRegistry({ self, pool, complain });
  const admission = openAdmission({ pool, addresses, registry, members, complain });
  const share = shareLabels();

  let health: ReadonlyMap<string, NodeHealth> = new Map();
  /** Names of nodes. */
  const healthChanged = new Set<string>();

  const memberOf = (name: string): Member => {
    const known = members.get(name);
    if (known !== undefined) return known;
    if (members.size >= mostNodes) throw new RangeError(`there are ${mostNodes} nodes already`);
    const member: Member = { node: undefined, registered: false, entries: new Map(), health: new Map() };
    members.set(name, member);
    return member;
  };

  const remove = (name: string): void => {
    for (const id of members.get(name)?.entries.keys() ?? []) admission.withdraw(name, id);
    members.delete(name);
    healthChanged.add(name);
    admission.nodeChanged(name);
  };

  /** Its lease ended: without an answer from itself it is gone. */
  const ended = (name: string, member: Member): void => {
    if (!answers(name)) return remove(name);
    if (member.registered) for (const one of [...member.entries.values(), ...member.health.values()]) one.fresh = false;
    member.registered = false;
  };

  const put = (record: SharedRecord): void => {
    switch (record.kind) {
      case "node": {
        const member = memberOf(record.node.name);
        // A node writes its own record last, so what it did not write again is no more.
        if (!member.registered && member.node !== undefined) {
          for (const [id, { fresh }] of member.entries) if (!fresh) drop(record.node.name, id);
          for (const [piece, { fresh }] of member.health) if (!fresh) dropHealth(record.node.name, piece);
        }
        if (member.node === undefined || encodeNode(member.node) !== encodeNode(record.node)) member.node = record.node;
        member.registered = true;
        admission.nodeChanged(record.node.name);
        return;
      }
      case "endpoint": {
        const { node, id, labels: said } = record.endpoint;
        const member = memberOf(node);
        if (member.entries.size >= mostEndpoints && !member.entries.has(id)) throw new RangeError(`its node has ${mostEndpoints} endpoints already`);
        const labelled = share(said);
        const before = member.entries.get(id);
        // Written again as it was: whoever compares has nothing to compare.
        if (before !== undefined && encodeEndpoint(before.endpoint) === encodeEndpoint(record.endpoint)) {
          before.fresh = true;
          return;
        }
        member.entries.set(id, { endpoint: slim(record.endpoint, labelled.labels), labelled, fresh: true });
        admission.endpointChanged(node, id);
        return;
      }
      case "health":
        memberOf(record.node).health.set(record.piece, { backends: record.backends, fresh: true });
        healthChanged.add(record.node);
        return;
      default:
        for (const name of registry.put(record)) admission.nodeChanged(name);
    }
  };

  const drop = (node: string, id: string): void => {
    members.get(node)?.entries.delete(id);
    admission.withdraw(node, id);
  };

  const dropHealth = (node: string, piece: number | undefined): void => {
    if (members.get(node)?.health.delete(piece) === true) healthChanged.add(node);
  };

  const forgetEmpty = (name: string): void => {
    const member = members.get(name);
    if (member?.node === undefined && member?.entries.size === 0 && member.health.size === 0) members.delete(name);
  };

  const gone = (place: Place): void => {
    if (place.kind === "node") {
      const member = members.get(place.name);
      if (member !== undefined) ended(place.name, member);
    } else if (place.kind === "endpoint") {
      // Of a node whose lease ended everything goes at once, and means nothing while it answers.
      const member = members.get(place.node);
      if (member !== undefined && (member.registered || member.node === undefined)) drop(place.node, place.id);
      forgetEmpty(place.node);
    } else if (place.kind === "health") {
      const member = members.get(place.node);
      if (member === undefined || (!member.registered && member.node !== undefined)) return;
      dropHealth(place.node, place.piece);
      forgetEmpty(place.node);
    } else {
      for (const name of registry.gone(place)) admission.nodeChanged(name);
    }
  };

  const isOwn = (key: string): boolean => key === nodeKey(self) || isPartOf(self, key);

  const apply = (...values: readonly Values[]): void => {
    // Nodes that go come first, because their endpoints went with them; then what others are judged by.
    for (const [key, text] of inOrder(values)) {
      if (isOwn(key)) {
        if (text === undefined) own.delete(key);
        else own.set(key, text);
        continue;
      }
      try {
        const place = placeOf(key);
        if (place === undefined) continue;
        if (text === undefined) gone(place);
        else put(decode(place, text));
        complain.settled(key);
      } catch (error) {
        complain(key, messageOf(error));
        refused(key, text, gone);
      }
    }
  };

  const settle = (): boolean => {
    const numbers = registry.settle();
    const { nodes, endpoints } = admission.settle();
    if (healthChanged.size === 0) return numbers || nodes || endpoints;
    const all = new Map(health);
    for (const name of healthChanged) {
      const said = saidBy(members.get(name));
      if (said === undefined) all.delete(name);
      else all.set(name, said);
    }
    health = all;
    healthChanged.clear();
    return true;
  };

  const takeAll = (entries: Map<string, string>): boolean => {
    own.clear();
    registry.emptied();
    const gone: Value[] = [];
    for (const [name, member] of members) {
      if (member.node !== undefined && !entries.has(nodeKey(name))) gone.push([nodeKey(name), undefined]);
      for (const piece of member.health.keys()) if (!entries.has(healthKey(name, piece))) gone.push([healthKey(name, piece), undefined]);
      for (const id of member.entries.keys()) if (!entries.has(endpointKey(name, id))) gone.push([endpointKey(name, id), undefined]);
    }
    apply(gone, drained(entries));
    for (const name of registry.completed()) admission.nodeChanged(name);
    return settle();
  };

  return {
    take: (values) => {
      apply(values);
      return settle();
    },
    takeAll, registry, members, own,
    nodes: () => admission.nodes(),
    fellSilent: (name) => {
      const member = members.get(name);
      if (member === undefined || member.registered || member.node === undefined) return false;
      remove(name);
      return settle();
    },
    cluster: () => {
      const slice = (family: Family): Cidr | null => registry.sliceOf(self, family);
      const more = registry.moreOf(self);
      return { kind: "etcd", ipv4: slice(4), ipv6: slice(6), ...(more.length === 0 ? {} : { more }), nodes: admission.nodes(), networks: admission.networks(), endpoints: admission.endpoints(), health, numbers: registry.numbers() };
    },
    *records() {
      yield* registry.records();
      for (const { node, entries } of members.values()) {
        for (const { endpoint } of entries.values()) yield { kind: "endpoint", endpoint };
        if (node !== undefined) yield { kind: "node", node };
      }
    },
  };
}

/** undefined: nothing. A record of all is older than pieces beside it: those are written first, and it goes after them. */
function saidBy(member: Member | undefined): NodeHealth | undefined {
  const [first, ...more] = [...member?.health ?? []].toSorted(([a = -1], [b = -1]) => a - b).map(([, { backends }]) => backends);
  return first === undefined || more.length === 0 ? first : new Map([first, ...more].flatMap((backends) => [...backends]));
}

/** A container's earlier record does not hold when one came that is none; what was claimed and who is there does. */
function refused(key: string, text: string | undefined, gone: (place: Place) => void): void {
  if (text === undefined) return;
  try {
    const place = placeOf(key);
    if (place?.kind === "endpoint") gone(place);
  } catch {
    // The key itself is none.
  }
}

/** The last is written last by its owner: a node's record, when everything else of the node is there. */
const rooms: readonly string[] = ["slices", "identities", "identity-keys", "endpoints", "health", "nodes"];

function* inOrder(values: readonly Values[]): Iterable<Value> {
  const ranked: Value[][] = Array.from({ length: rooms.length + 2 }, () => []);
  for (const some of values) {
    for (const value of some) {
      const room = value[0].slice(0, value[0].indexOf("/"));
      ranked[value[1] === undefined && room === "nodes" ? 0 : rooms.indexOf(room) + 1 || rooms.length + 1]?.push(value);
    }
  }
  for (const room of ranked) {
    room.reverse();
    for (let value = room.pop(); value !== undefined; value = room.pop()) yield value;
  }
}

function* drained<K, V>(map: Map<K, V>): Iterable<[K, V]> {
  for (const entry of map) {
    map.delete(entry[0]);
    yield entry;
  }
}

/** With every text once, of which there are tens of thousands. */
function slim(endpoint: RemoteEndpoint, labels: RemoteEndpoint["labels"]): RemoteEndpoint {
  const { name, network } = endpoint;
  const names = endpoint.names.map((one) => (one === name ? name : one === labels.service ? labels.service : one));
  return { ...endpoint, names, network: network === labels.network ? labels.network : network, labels };
}

function shareLabels(): (labels: RemoteEndpoint["labels"]) => Labelled {
  const known = new Map<string, WeakRef<Labelled>>();
  let limit = 1000;
  return (labels) => {
    const key = identityKey(labels);
    const shared = known.get(key)?.deref();
    if (shared !== undefined) return shared;
    const made = { key, labels };
    known.set(key, new WeakRef(made));
    if (known.size > limit) {
      for (const [old, ref] of known) if (ref.deref() === undefined) known.delete(old);
      limit = 2 * known.size + 1000;
    }
    return made;
  };
}
