// What Hawser remembers about networks, endpoints, published ports and address pools: plain, immutable values.
import type { StoredService } from "../lb/stored.ts";
import type { HeldFrontend, ServicePlan } from "../lb/types.ts";
import type { PolicyTables, StoredPolicy } from "../policy/types.ts";
import { noCluster } from "./cluster.ts";
import type { Cluster, ClusterPlan } from "./cluster.ts";
import type { Cidr, Family, Ip, Mac } from "../std/ip.ts";

declare const brand: unique symbol;
/** Docker's 64-hex network id. */
export type NetworkId = string & { readonly [brand]: "NetworkId" };
/** Docker's 64-hex endpoint id. */
export type EndpointId = string & { readonly [brand]: "EndpointId" };
/** Our IPAM driver's pool id: its prefix as text, `10.44.0.0/26`. */
export type PoolId = string & { readonly [brand]: "PoolId" };

export type Protocol = "tcp" | "udp" | "sctp";

export interface Subnet {
  readonly prefix: Cidr;
  readonly gateway: Ip;
}

export interface Network {
  readonly id: NetworkId;
  /** Number in BPF maps, 1…; never reused while anything may still carry it. */
  readonly number: number;
  /** null until Docker's API has told it. */
  readonly name: string | null;
  readonly ipv4: Subnet | null;
  readonly ipv6: Subnet | null;
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** null: the uplink's, read when an endpoint is made. Bytes. */
  readonly mtu: number | null;
  /** Where ports without a host address are published; null: every address. */
  readonly hostBinding4: Ip | null;
  readonly hostBinding6: Ip | null;
  /** Source of masqueraded flows; null: the uplink's address. */
  readonly snat4: Ip | null;
  readonly snat6: Ip | null;
  /** Name prefix of the interface inside containers, `eth`. */
  readonly interfacePrefix: string;
  /** The raw `-o` options, for display. */
  readonly options: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** A port as Docker asked for it; `hostPort` 0: any free one; `hostPortEnd` > `hostPort`: any free one in the range. */
export interface PortRequest {
  readonly protocol: Protocol;
  readonly containerPort: number;
  readonly hostIp: Ip | null;
  readonly hostPort: number;
  readonly hostPortEnd: number;
}

/** A port as it is published: one row of `docker port`. `hostIp` is 0.0.0.0 or :: for every address of its family. */
export interface PublishedPort {
  readonly protocol: Protocol;
  readonly containerPort: number;
  readonly hostIp: Ip;
  readonly hostPort: number;
}

export type EndpointState = "init" | "ready" | "quarantined" | "leaving";

export interface Endpoint {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly ipv4: Cidr | null;
  readonly ipv6: Cidr | null;
  readonly mac: Mac;
  readonly mtu: number;
  /** Host end of the veth, `hw` and 11 hex digits of the endpoint's id. */
  readonly hostInterface: string;
  /** The end that Docker moves into the container: the same with a trailing `c`. */
  readonly containerInterface: string;
  readonly state: EndpointState;
  readonly joined: boolean;
  /** The whole name that the interface shall have inside the container; null: the network's prefix and a number. */
  readonly interfaceName: string | null;
  readonly sandboxKey: string | null;
  /** Other nodes' subnets to which Docker was given a route at Join. Left out: none. */
  readonly routes?: readonly Cidr[];
  /** Known once Docker's API has told it. */
  readonly container: ContainerIdentity | null;
  /** Its container was told to stop and runs still, or has ended though Docker has not said so yet. Left out: neither. */
  readonly ending?: "stopping" | "ended";
  /** Number of its labels' set; 0: they are not known. */
  readonly identity: number;
  /** Requests, kept so that a later ProgramExternalConnectivity without options can be answered. */
  readonly portRequests: readonly PortRequest[];
  readonly ports: readonly PublishedPort[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

export interface ContainerIdentity {
  readonly id: string;
  readonly name: string;
  /** Everything that Docker shows, its image's among them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Without those that come from its image: only these count for policy (R88). Left out by an earlier version: none is known. */
  readonly own?: Readonly<Record<string, string>>;
  /** Those that may be its own or its image's, which cannot be read: they count for what closes (R88). Left out when there are none. */
  readonly doubtful?: Readonly<Record<string, string>>;
  /** What of it cannot be enforced, or who else speaks with its identity (R50). */
  readonly notes?: readonly string[];
  /** Whether it is on more than one network, of whatever driver. Left out: no. */
  readonly several?: boolean;
  /** Further names that it has on the endpoint's network (`--network-alias`), sorted. Left out: not known yet. */
  readonly aliases?: readonly string[];
}

/** A container that somebody else wired, and whose veth we judge. */
export interface GuestRecord {
  readonly id: string;
  readonly name: string;
  readonly containerId: string;
  /** Empty: not known. */
  readonly network: string;
  readonly device: string;
  readonly ifindex: number;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly mac: Mac;
  readonly labels: Readonly<Record<string, string>>;
  readonly own: Readonly<Record<string, string>>;
  /** As `ContainerIdentity.doubtful`. */
  readonly doubtful?: Readonly<Record<string, string>>;
  readonly identity: number;
}

/** One subnet that our IPAM driver has handed out. */
export interface Pool {
  readonly id: PoolId;
  readonly prefix: Cidr;
  readonly family: Family;
  /** `--ip-range`; null: the whole prefix. */
  readonly range: Cidr | null;
  /** True when it was cut out of the node's slice, false when the user named it. */
  readonly automatic: boolean;
  /** Given out: address → what for. */
  readonly allocated: Readonly<Record<Ip, Allocation>>;
  /** Where the next search starts, so that a freed address rests as long as it can. */
  readonly next: Ip | null;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

export interface Allocation {
  readonly purpose: "gateway" | "endpoint" | "aux";
  /** When it was given out, in milliseconds since the epoch. */
  readonly at: number;
}

export interface State {
  readonly networks: ReadonlyMap<NetworkId, Network>;
  readonly endpoints: ReadonlyMap<EndpointId, Endpoint>;
  readonly pools: ReadonlyMap<PoolId, Pool>;
  /** By name. */
  readonly policies: ReadonlyMap<string, StoredPolicy>;
  /** By name. */
  readonly services: ReadonlyMap<string, StoredService>;
  /** By the runtime's id, `default/web`. */
  readonly guests: ReadonlyMap<string, GuestRecord>;
  /** The other nodes, as the peers door last told; not part of what this node remembers itself. */
  readonly cluster: Cluster;
}

export const emptyState: State = {
  networks: new Map(), endpoints: new Map(), pools: new Map(), policies: new Map(), services: new Map(), guests: new Map(), cluster: noCluster,
};

/** What a decision may know about the world besides the state. Facts come in as data; nothing here does I/O. */
export interface Context {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** A number in [0, 1), fresh at each call. */
  readonly random: () => number;
  /** Smallest MTU of the uplinks; 1500 when there is none. */
  readonly uplinkMtu: number;
  /** The host's own addresses with their prefix lengths, without the gateways on hwhost; for overlap and host-binding checks. */
  readonly hostPrefixes: readonly Cidr[];
  /** Whether this node speaks IPv6 at all. */
  readonly ipv6: boolean;
  readonly pool: PoolConfig;
  /** Host ports found taken by other programs while this command was tried before, as `tcp 0.0.0.0 8080`. */
  readonly takenPorts: ReadonlySet<string>;
  /** What services of this node have, in order of their names; read when asked for. */
  readonly frontends: () => readonly HeldFrontend[];
  /** When each network, endpoint or pool was last removed, by id, in milliseconds since the epoch; the old ones are forgotten. */
  readonly removed: ReadonlyMap<string, number>;
  /** What stands on the host, read when asked for. */
  readonly standing: () => Standing;
}

/** What the kernel still knows when the state has forgotten it. */
export interface Standing {
  /** Host ends of cables. */
  readonly cables: ReadonlySet<string>;
  /** By the networks' numbers. */
  readonly gateways: ReadonlyMap<number, { readonly ipv4: Ip | null; readonly ipv6: Ip | null }>;
  readonly ports: readonly PortPlan[];
  /** Identities that endpoints in the kernel carry, whoever gave them, by their addresses. Left out: not known. */
  readonly identities?: ReadonlyMap<Ip, number>;
}

export interface PoolConfig {
  readonly ipv4: Cidr;
  readonly ipv4NodePrefix: number;
  readonly ipv6: Cidr | null;
  readonly ipv6NodePrefix: number;
}

/** What every decision returns: the state to be, the steps that make it so in order, and the answer. */
export interface Decision<Reply> {
  readonly next: State;
  readonly steps: readonly Step[];
  readonly reply: Reply;
}

/** The host side of a network in the datapath. */
export interface NetworkPlan {
  readonly number: number;
  readonly ipv4: Subnet | null;
  readonly ipv6: Subnet | null;
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
  readonly snat4: Ip | null;
  readonly snat6: Ip | null;
  /** Made of its name, by which nodes that share nothing else know it again (256…2^23-1); 0: the name is not known yet. */
  readonly key: number;
}

export interface CablePlan {
  readonly hostInterface: string;
  readonly containerInterface: string;
  readonly mac: Mac;
  readonly mtu: number;
}

export interface EndpointPlan {
  readonly hostInterface: string;
  readonly network: number;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly mac: Mac;
  readonly mtu: number;
  readonly internal: boolean;
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** 0: not known, and then closed or as if no policy covered it. */
  readonly identity: number;
}

/** A way to containers on another node. */
export interface Route {
  readonly destination: Cidr;
  /** Its network's. */
  readonly gateway: Ip;
}

/** What a container needs beside its default route on one of its networks, whole. */
export interface ContainerRoutesPlan {
  /** Docker's file of its network namespace. */
  readonly sandbox: string;
  /** Its own on that network, by which its interface is found. */
  readonly address: Cidr;
  readonly routes: readonly Route[];
  /** Destinations that Docker put there at Join. */
  readonly given: readonly Cidr[];
}

/** Network namespaces whose programs are clients of services. */
export interface ClientsPlan {
  /** Whether services ask for their clients' addresses. */
  readonly known: boolean;
  /** Containers'; the host's own is beside them. */
  readonly namespaces: readonly {
    /** Docker's file of it, which may come later than the plan. */
    readonly sandbox: string;
    /** By which it is known; null: it has none of that family. */
    readonly ipv4: Ip | null;
    readonly ipv6: Ip | null;
  }[];
}

/** A veth that somebody else made, which we judge at its host end but do not carry for. */
export interface GuestPlan {
  readonly device: string;
  readonly ifindex: number;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly mac: Mac;
  readonly identity: number;
}

/** One published port; `address` and `hostIp` may differ in family only when no IPv6 backend exists and the host address is a loopback or any address. */
export interface PortPlan {
  readonly protocol: Protocol;
  readonly hostIp: Ip;
  readonly hostPort: number;
  readonly address: Ip;
  readonly containerPort: number;
  readonly network: number;
}

/**
 * Every change to the host. The datapath has one doer per kind; each doer has `do` and `undo`, both idempotent:
 * doing what is done, and undoing what is not, succeed.
 */
export type Step =
  | { readonly kind: "network"; readonly network: NetworkPlan }
  | { readonly kind: "removeNetwork"; readonly network: NetworkPlan }
  | { readonly kind: "cable"; readonly cable: CablePlan }
  | { readonly kind: "removeCable"; readonly cable: CablePlan }
  | { readonly kind: "attach"; readonly cable: CablePlan }
  | { readonly kind: "detach"; readonly cable: CablePlan }
  | { readonly kind: "policy"; readonly tables: PolicyTables; /** What stood before; null: nothing. */ readonly before: PolicyTables | null }
  /** `before`: what it goes back to when the step is undone; left out: it was not there. */
  | { readonly kind: "guest"; readonly guest: GuestPlan; readonly before?: GuestPlan }
  | { readonly kind: "removeGuest"; readonly guest: GuestPlan }
  | { readonly kind: "endpoint"; readonly endpoint: EndpointPlan; readonly before?: EndpointPlan }
  | { readonly kind: "removeEndpoint"; readonly endpoint: EndpointPlan }
  /** `before`: what stood; null: nothing. */
  | { readonly kind: "cluster"; readonly cluster: ClusterPlan; readonly before: ClusterPlan | null }
  /** Of all containers that need any. Never fails: they are put in behind the queue's back, and what cannot be is tried again. */
  | { readonly kind: "containerRoutes"; readonly routes: ReadonlyMap<EndpointId, ContainerRoutesPlan>; readonly before: ReadonlyMap<EndpointId, ContainerRoutesPlan> | null }
  /** All of them; `before`: what stood; null: nothing by this agent. */
  | { readonly kind: "services"; readonly plans: readonly ServicePlan[]; readonly before: readonly ServicePlan[] | null }
  /** All of them; `before`: what stood; null: nothing by this agent. Never fails. */
  | { readonly kind: "clients"; readonly clients: ClientsPlan; readonly before: ClientsPlan | null }
  | { readonly kind: "claimPort"; readonly port: PortPlan }
  | { readonly kind: "port"; readonly port: PortPlan }
  | { readonly kind: "removePort"; readonly port: PortPlan };

export type StepOf<K extends Step["kind"]> = Extract<Step, { readonly kind: K }>;

export interface Doer<S extends Step> {
  do(step: S): Promise<void>;
  undo(step: S): Promise<void>;
}

/** A missing doer does not compile. */
export type Doers = { readonly [K in Step["kind"]]: Doer<StepOf<K>> };
