// Other nodes as decisions see them: who they are, which slices of the pool are theirs, and what runs there. Plain, immutable values.
import type { IdentityLabels } from "../policy/types.ts";
import type { Cidr, Ip } from "../std/ip.ts";

/** `alone`: no other node. `static`: nodes from the configuration, of whose containers nothing is known but their slices. `etcd`: everything is told. */
export type ClusterKind = "alone" | "static" | "etcd";

export interface ClusterNode {
  readonly name: string;
  /** Where it is reached, of one family or both; tunnels and routes go to the first whose family this node has. */
  readonly addresses: readonly Ip[];
  /** Its slices of the pool. */
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
  /** Those that it claimed when these were full; left out: none. */
  readonly more?: readonly Cidr[];
  /** Smallest MTU of its uplinks. */
  readonly mtu: number;
  /** Names of containers that its policies refer to: they count for identities everywhere. */
  readonly names: readonly string[];
}

/** All slices of a node's, of both families. */
export function slicesOf({ ipv4, ipv6, more = [] }: Pick<ClusterNode, "ipv4" | "ipv6" | "more">): readonly Cidr[] {
  return [ipv4, ipv6, ...more].filter((slice) => slice !== null);
}

/** What another node has of a network, by the network's name. */
export interface NodeNetwork {
  readonly name: string;
  /** Within the node's slice, or named by its user. */
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
}

/** A container's attachment to a network on another node. */
export interface RemoteEndpoint {
  readonly node: string;
  readonly id: string;
  readonly containerId: string;
  /** The container's. */
  readonly name: string;
  /** What its neighbours may ask for it by: its name, its aliases, its Compose service. */
  readonly names: readonly string[];
  /** The network's name. */
  readonly network: string;
  /** The network was made with `--internal`. Left out: it was not, or the node does not tell. */
  readonly internal?: true;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly mac: string;
  /** An agreed number, 256…2^23-1. */
  readonly identity: number;
  readonly labels: IdentityLabels;
  /** Its container was told to stop and runs still. Left out: it was not. */
  readonly stopping?: true;
}

/** What a node's probes say of its own containers as backends, by `SERVICE ID:PORT`; who is not there has not been asked. True: it is well. */
export type NodeHealth = ReadonlyMap<string, boolean>;

/** What this node knows of the others. */
export interface Cluster {
  readonly kind: ClusterKind;
  /** This node's slices; null: none of that family is its own (yet). */
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
  /** Those that it claimed when these were full; left out: none. */
  readonly more?: readonly Cidr[];
  /** The other nodes, by name. */
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  /** What each of them has of networks, by its name; apart from the nodes, because it changes often and policy does not ask for it. Of kind `static` nothing is known. */
  readonly networks: ReadonlyMap<string, readonly NodeNetwork[]>;
  /** By `NODE/ID`. */
  readonly endpoints: ReadonlyMap<string, RemoteEndpoint>;
  /** By node. Left out: nobody tells. */
  readonly health?: ReadonlyMap<string, NodeHealth>;
  /** Agreed numbers by identity key. */
  readonly numbers: ReadonlyMap<string, number>;
}

export const noCluster: Cluster = { kind: "alone", ipv4: null, ipv6: null, nodes: new Map(), networks: new Map(), endpoints: new Map(), numbers: new Map() };

/** An identity number must fit the 24 bits of a tunnel's key; from the half on they are a node's own, of which nobody else is told. */
export const firstProvisional = 1 << 23;

/** Characters of a record that nodes share. More is no record, and others refuse it. */
export const longestRecord = 1024 * 1024;

/** What this node has to tell. */
export interface OwnRecords {
  /** Of endpoints whose labels are known. `identity` may still be provisional. */
  readonly endpoints: readonly RemoteEndpoint[];
  /** Identity keys that need an agreed number. */
  readonly unnumbered: readonly string[];
  /** Names of containers that this node's policies refer to, sorted. */
  readonly names: readonly string[];
  /** Those whose names are known, sorted by name. */
  readonly networks: readonly NodeNetwork[];
  /** Left out: nobody was asked. */
  readonly health?: NodeHealth;
}

// ---- For the datapath.

export interface NodePlan {
  /** 1…1023, this node's own number for the other one; kept as long as it is known. */
  readonly number: number;
  readonly name: string;
  readonly addresses: readonly Ip[];
  readonly slices: readonly Cidr[];
  /** Smallest MTU of its uplinks. */
  readonly mtu: number;
}

export interface RemotePlan {
  readonly node: number;
  readonly identity: number;
  /** This node's number of the network with that name; 0: it has none. */
  readonly network: number;
}

/** A map that tells quickly what is different from one that it came from. */
export interface Descended<K, V> extends ReadonlyMap<K, V> {
  /** Keys under which the two hold something else, perhaps with some under which both hold the same. The other is of the same class. */
  differing(other: this): Iterable<K>;
}

/** Everything that the datapath has to know of other nodes, whole: it finds out itself what changed. */
export interface ClusterPlan {
  readonly kind: ClusterKind;
  readonly nodes: readonly NodePlan[];
  /** Containers on other nodes, by address; as `names` perhaps Descended from the last. */
  readonly remotes: ReadonlyMap<Ip, RemotePlan>;
  /** All addresses that the installation hands out: what nobody has there goes nowhere. */
  readonly pools: readonly Cidr[];
  /** What containers on a network may ask for and Docker here does not know: `NUMBER/name` (small letters) → addresses. */
  readonly names: ReadonlyMap<string, readonly Ip[]>;
}
