// What the doors may ask of the engine: commands that change, queries that look.
import type {
  CreateEndpoint, CreateEndpointReply, CreateNetwork, DockerTruth, EndpointRef, Join, JoinReply, PublishPorts, ReconcileReport,
  ReleaseAddress, RequestAddress, RequestPool, RequestPoolReply,
} from "../network/commands.ts";
import type { MapEntry, MapRow } from "../datapath/types.ts";
import type { EndpointId, EndpointState, Network, NetworkId, PoolId, Protocol, PublishedPort } from "../network/types.ts";

export type {
  CreateEndpoint, CreateEndpointReply, CreateNetwork, DockerTruth, EndpointRef, Join, JoinReply, PublishPorts, ReconcileReport,
  ReleaseAddress, RequestAddress, RequestPool, RequestPoolReply, SubnetRequest, EndpointTruth, NetworkTruth, PoolTruth,
} from "../network/commands.ts";
export type {
  ContainerIdentity, EndpointId, EndpointState, Network, NetworkId, PoolId, PortRequest, Protocol, PublishedPort,
} from "../network/types.ts";

export type MapView = MapRow;
/** Decoded to plain JSON: addresses as text, bytes as hex. */
export type MapEntryView = MapEntry;

// ---- Commands. Each takes its turn in one queue. `signal` aborts it: before its turn it does nothing, after it undoes;
//      but what takes something away is done all the same, because Docker forgets the thing whatever we answer.

export interface Commands {
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
}

export interface Status {
  readonly node: string;
  readonly version: string;
  readonly ready: boolean;
  /** One sentence each, with the mend. */
  readonly problems: readonly string[];
  readonly parts: readonly PartStatus[];
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

export interface Queries {
  status(): Promise<Status>;
  endpoints(): readonly EndpointView[];
  networks(): readonly NetworkView[];
  ports(): readonly PortView[];
  network(id: NetworkId): Network | undefined;
  maps(): Promise<readonly MapView[]>;
  /** @throws HawserError NOT_FOUND with the known names. At most `limit` entries. */
  dumpMap(name: string, limit: number): Promise<readonly MapEntryView[]>;
}
