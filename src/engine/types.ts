// What the doors may ask of the engine: commands that change, queries that look.
import type {
  CreateEndpoint, CreateEndpointReply, CreateNetwork, DockerTruth, EndpointRef, Join, JoinReply, PublishPorts, ReconcileReport,
  ReleaseAddress, RequestAddress, RequestPool, RequestPoolReply,
} from "../network/commands.ts";
import type { Cluster, OwnRecords } from "../network/cluster.ts";
import type { MapEntry, MapRow } from "../datapath/types.ts";
import type { ApplyDocuments, DirectoryReading } from "./documents.ts";
import type { ServiceCommands, ServiceQueries } from "./service-types.ts";
import type { Decider, Direction, Protocol as PolicyProtocol, Verdict } from "../policy/types.ts";
import type { EndpointId, EndpointState, Network, NetworkId, PoolId, Protocol, PublishedPort } from "../network/types.ts";

export type {
  CreateEndpoint, CreateEndpointReply, CreateNetwork, DockerTruth, EndpointRef, Join, JoinReply, PublishPorts, ReconcileReport,
  ReleaseAddress, RequestAddress, RequestPool, RequestPoolReply, SubnetRequest, EndpointTruth, NetworkTruth, PoolTruth, Unenforced,
} from "../network/commands.ts";
export type {
  ContainerIdentity, EndpointId, EndpointState, Network, NetworkId, PoolId, PortRequest, Protocol, PublishedPort,
} from "../network/types.ts";

export type { Cluster, OwnRecords };
export type * from "./documents.ts";
export type * from "./service-types.ts";
export type MapView = MapRow;
/** Decoded to plain JSON: addresses as text, bytes as hex. */
export type MapEntryView = MapEntry;

// ---- Commands. Each takes its turn in one queue. `signal` aborts it: before its turn it does nothing, after it undoes;
//      but what takes something away is done all the same, because Docker forgets the thing whatever we answer.

/** What Docker's calls come to. */
export interface DockerCommands {
  createNetwork(command: CreateNetwork, signal?: AbortSignal): Promise<void>;
  deleteNetwork(id: NetworkId, signal?: AbortSignal): Promise<void>;
  createEndpoint(command: CreateEndpoint, signal?: AbortSignal): Promise<CreateEndpointReply>;
  deleteEndpoint(ref: EndpointRef, signal?: AbortSignal): Promise<void>;
  join(command: Join, signal?: AbortSignal): Promise<JoinReply>;
  leave(ref: EndpointRef, signal?: AbortSignal): Promise<void>;
  publishPorts(command: PublishPorts, signal?: AbortSignal): Promise<void>;
  revokePorts(ref: EndpointRef, signal?: AbortSignal): Promise<void>;
  requestPool(command: RequestPool, signal?: AbortSignal): Promise<RequestPoolReply>;
  releasePool(id: PoolId, signal?: AbortSignal): Promise<void>;
  /** Returns `address/length`. */
  requestAddress(command: RequestAddress, signal?: AbortSignal): Promise<string>;
  releaseAddress(command: ReleaseAddress, signal?: AbortSignal): Promise<void>;
  /** Removes what Docker no longer has, names and labels what it has. */
  reconcile(truth: DockerTruth, signal?: AbortSignal): Promise<ReconcileReport>;
}

export interface Commands extends DockerCommands, ServiceCommands {
  /** All documents or none. @throws HawserError BAD_POLICY with every problem, each with file, line and column; TABLE_FULL (R32). */
  applyPolicy(command: ApplyDocuments, signal?: AbortSignal): Promise<PolicyReport>;
  /** @throws HawserError NOT_FOUND with the known names, IN_USE for a policy whose file stands in the watched directory. */
  deletePolicy(name: string, signal?: AbortSignal): Promise<void>;
  /** What the watched directory holds now. What cannot be in force is a problem in the status; what was stays (R7). */
  syncPolicyDirectory(reading: DirectoryReading, signal?: AbortSignal): Promise<void>;
  /** The containers that somebody else wired, as they are now: those not named go. */
  syncGuests(truth: GuestTruth, signal?: AbortSignal): Promise<GuestReport>;
  /** What is known of other nodes now, whole. Maps that did not change should be the same objects: then it costs nothing. */
  syncCluster(cluster: Cluster, signal?: AbortSignal): Promise<void>;
}

export interface PolicyReport {
  readonly applied: readonly string[];
  /** One line each: `shop.yaml:7:5: …`. */
  readonly warnings: readonly string[];
  readonly revision: number;
}

/** A container that somebody else wired: the host end of its veth, and who it is. */
export interface Guest {
  /** The runtime's: container id with its namespace, `default/web`. */
  readonly id: string;
  readonly name: string;
  readonly containerId: string;
  /** Of the network it is said to be on; empty: not known. */
  readonly network: string;
  readonly device: string;
  readonly ifindex: number;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly mac: string;
  /** Everything, for display. */
  readonly labels: Readonly<Record<string, string>>;
  /** Without those of its image. */
  readonly own: Readonly<Record<string, string>>;
  /** As `ContainerIdentity.doubtful`. */
  readonly doubtful?: Readonly<Record<string, string>>;
  /** As `EndpointView.notes`. */
  readonly notes?: readonly string[];
}

export interface GuestTruth {
  readonly guests: readonly Guest[];
}

export interface GuestReport {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  /** What could not be taken up, with the reason. */
  readonly refused: readonly string[];
}

// ---- Queries. They read the last saved state and never wait for the queue.

export interface EndpointView {
  readonly id: EndpointId;
  readonly name: string;
  readonly containerId: string;
  readonly network: string;
  readonly networkId: NetworkId;
  readonly node: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: EndpointState;
  readonly hostInterface: string;
  readonly default: { readonly in: "allow" | "deny"; readonly out: "allow" | "deny" };
  readonly mtu: number;
  readonly ports: readonly PublishedPort[];
  /** What of it Hawser cannot enforce, or who else speaks with its identity (R50): one sentence each. */
  readonly notes: readonly string[];
}

export interface IdentityView {
  readonly id: number;
  readonly labels: Readonly<Record<string, string>>;
  /** How many endpoints carry it, on all nodes. */
  readonly endpoints: number;
}

export interface PolicyView {
  readonly name: string;
  /** `directory PATH`, `apply PATH`, `label of CONTAINER`. */
  readonly source: string;
  readonly revision: number;
  readonly rules: number;
  /** How many containers it covers. */
  readonly endpoints: number;
  readonly state: "enforced" | "pending" | "rejected";
  readonly error: string | null;
}

/** A policy with its text. */
export interface PolicyText extends PolicyView {
  readonly text: string;
}

export interface DecidedBy {
  readonly policy: string;
  readonly rule: string;
  readonly file: string;
  readonly line: number;
}

export interface TraceEnd {
  /** As it was asked for. */
  readonly name: string;
  readonly address: string;
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface TraceView {
  readonly verdict: Verdict;
  /** The rule, or `default:out` and the like. */
  readonly decidedBy: DecidedBy | string;
  readonly end: Direction;
  readonly from: TraceEnd;
  readonly to: TraceEnd;
  readonly protocol: PolicyProtocol | null;
  readonly port: number | null;
  /** Others that the words may mean and that fare differently; what is denied comes first of all. */
  readonly others: readonly TraceView[];
}

export interface FlowEnd {
  readonly address: string;
  /** 0: has none. */
  readonly port: number;
  readonly identity: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Container's name; empty: none of ours. */
  readonly name: string;
  readonly containerId: string;
  readonly network: string;
}

/** One packet that was told: dropped, audited, or the first of its flow. */
export interface FlowView {
  /** Nanoseconds since the epoch. */
  readonly time: bigint;
  readonly verdict: "FORWARDED" | "DROPPED" | "AUDIT";
  /** Drop reason, `POLICY_DENIED`; empty: not dropped. */
  readonly reason: string;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** IANA number. */
  readonly protocol: number;
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** 4, 6 or 0: no IP packet. */
  readonly family: number;
  /** Where it was seen: from-container, to-container, from-uplink, from-host, from-overlay, to-service. */
  readonly direction: string;
  readonly device: string;
  readonly length: number;
  /** Which end's policy decided; null: none did. */
  readonly end: Direction | null;
  readonly decidedBy: DecidedBy | string | null;
  readonly node: string;
}

export interface FlowQuery {
  /** So many of the newest that match come first; 0: none. */
  readonly last: number;
  /** Whether those that come later follow. */
  readonly follow: boolean;
  readonly verdicts: readonly FlowView["verdict"][];
  /** Container name or id, `network/name`, address, CIDR, `label(k=v)`, `host`, `world`; empty: any. */
  readonly from: string;
  readonly to: string;
  /** Either end. */
  readonly with: string;
  /** Milliseconds since the epoch; 0: from the beginning. */
  readonly since: number;
}

export interface NetworkView {
  readonly id: NetworkId;
  readonly name: string;
  readonly ipv4: string;
  readonly gateway4: string;
  readonly ipv6: string;
  readonly gateway6: string;
  readonly internal: boolean;
  readonly endpoints: number;
  readonly mtu: number | null;
  readonly options: Readonly<Record<string, string>>;
}

export interface PortView {
  readonly container: string;
  readonly containerId: string;
  readonly endpoint: EndpointId;
  readonly network: string;
  readonly protocol: Protocol;
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}

/** One part of the whole, for `hawser status`. */
export interface PartStatus {
  readonly part: string;
  readonly state: "ok" | "degraded" | "failed" | "off";
  readonly detail: string;
  /** Of what `detail` says, that which `hawser doctor` tells as well. */
  readonly findings?: readonly PartFinding[];
}

export interface PartFinding {
  readonly detail: string;
  readonly mend: string;
}

export interface Status {
  readonly node: string;
  readonly version: string;
  readonly ready: boolean;
  /** One sentence each, with the mend. */
  readonly problems: readonly string[];
  readonly parts: readonly PartStatus[];
  /** The other nodes. */
  readonly peers: readonly NodeView[];
  readonly counts: { readonly networks: number; readonly endpoints: number; readonly ports: number; readonly pools: number };
  readonly kernel: {
    readonly release: string;
    /** Feature → used or not, e.g. tcx: true. */
    readonly features: Readonly<Record<string, boolean>>;
    readonly programs: readonly { readonly name: string; readonly device: string; readonly hook: string; readonly mode: string }[];
    readonly uplinks: readonly string[];
  };
  readonly counters: readonly { readonly direction: string; readonly reason: string; readonly packets: bigint; readonly bytes: bigint }[];
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface Queries extends ServiceQueries {
  status(): Promise<Status>;
  endpoints(): readonly EndpointView[];
  /** Containers on other nodes, as those told of them. */
  remoteEndpoints(): readonly EndpointView[];
  /** All nodes, this one first, then by name. */
  nodes(): readonly NodeView[];
  networks(): readonly NetworkView[];
  ports(): readonly PortView[];
  network(id: NetworkId): Network | undefined;
  maps(): Promise<readonly MapView[]>;
  /** @throws HawserError NOT_FOUND with the known names. At most `limit` entries. */
  dumpMap(name: string, limit: number): Promise<readonly MapEntryView[]>;
  identities(): readonly IdentityView[];
  policies(): readonly PolicyView[];
  /** @throws HawserError NOT_FOUND with the known names. */
  policy(name: string): PolicyText;
  /** `to` may end in `:PORT` or `:PORT/PROTOCOL`. @throws HawserError NOT_FOUND with the nearest name, BAD_REQUEST. */
  trace(from: string, to: string): TraceView;
  /** Ends when the signal aborts, or after `last` when nothing is to follow. A slow reader loses the oldest. */
  flows(query: FlowQuery, signal?: AbortSignal): AsyncIterable<FlowView>;
  /** How many packets were told since the agent's start, by verdict. */
  flowCounts(): Readonly<Record<FlowView["verdict"], number>>;
}

export type { Decider };

/** A node of the installation, this one among them. */
export interface NodeView {
  readonly name: string;
  /** The first of its addresses; empty: none is known. */
  readonly address: string;
  /** Its slices of the pool, with commas between several; empty: none. */
  readonly ipv4: string;
  readonly ipv6: string;
  /** Whether it answers probes; before the first three went unanswered it is believed to. */
  readonly state: "ready" | "unreachable" | "self";
  /** Its last answer to a probe, in milliseconds since the epoch; 0: none yet. */
  readonly lastSeen: number;
  /** Smoothed; null: no answer yet. */
  readonly rttMs: number | null;
  /** Smallest MTU of its uplinks. */
  readonly mtu: number;
  /** How many containers it told of. */
  readonly endpoints: number;
}
