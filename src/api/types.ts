// What the API offers besides the engine's queries, and what its clients get back.
import type {
  ApplyDocuments, Commands, EndpointView, IdentityView, MapEntryView, MapView, NetworkView, NodeView, PolicyReport, PolicyText, PolicyView, PortView, Queries,
  ReconcileReport, ServiceReport, ServiceText, ServiceView, Status, TraceView,
} from "../engine/types.ts";
import type { GetFlowsRequest, GetFlowsResponse } from "./generated/observer/observer.ts";

export type {
  ApplyDocuments, DecidedBy, EndpointView, IdentityView, MapEntryView, MapView, NetworkView, NodeView, PartStatus, WrittenDocument, PolicyReport, PolicyText, PolicyView,
  PortView, ReconcileReport, BackendView, ServiceReport, ServiceText, ServiceView, Status, TraceEnd, TraceView,
} from "../engine/types.ts";
export type { Flow, FlowFilter } from "./generated/flow/flow.ts";
export type { GetFlowsRequest, GetFlowsResponse } from "./generated/observer/observer.ts";

/** One thing taken off the host by a sweep. */
export interface Swept {
  /** "link", "pin", "map entry", … */
  readonly kind: string;
  readonly name: string;
}

/** The queries that the API serves. */
export type ApiQueries = Omit<Queries, "network" | "probeTargets" | "serviceAddresses" | "onServiceAddresses">;

/** The changes that the API may ask for; each takes its turn in the engine's queue. */
export interface ApiCommands extends Pick<Commands, "applyPolicy" | "deletePolicy" | "applyService" | "deleteService"> {
  /** Reads what Docker has and brings the state in line with it. */
  reconcile(signal?: AbortSignal): Promise<ReconcileReport>;
  /** Removes what carries our name and no state claims. */
  sweep(signal?: AbortSignal): Promise<readonly Swept[]>;
}

/** One agent, over its socket. Every call rejects with a HawserError: the agent's own, or AGENT_UNREACHABLE. */
export interface ApiClient extends Disposable {
  status(): Promise<Status>;
  /** Of this node; with `all`, of every node. */
  endpoints(all?: boolean): Promise<readonly EndpointView[]>;
  /** By endpoint id, container id, a prefix of either, container name, or `network/name`. */
  endpoint(ref: string): Promise<EndpointView>;
  /** This one first. */
  nodes(): Promise<readonly NodeView[]>;
  node(name: string): Promise<NodeView>;
  networks(): Promise<readonly NetworkView[]>;
  /** By id, a prefix of it, or name. */
  network(ref: string): Promise<NetworkView>;
  /** Of every container, or of the one named. */
  ports(container?: string): Promise<readonly PortView[]>;
  maps(): Promise<readonly MapView[]>;
  /** At most `limit` entries; 0: as many as the agent gives out at once. */
  dumpMap(name: string, limit: number): AsyncIterable<MapEntryView>;
  /** All documents or none. */
  applyPolicy(command: ApplyDocuments): Promise<PolicyReport>;
  deletePolicy(name: string): Promise<void>;
  policies(): Promise<readonly PolicyView[]>;
  policy(name: string): Promise<PolicyText>;
  trace(from: string, to: string): Promise<TraceView>;
  /** All documents or none. */
  applyService(command: Pick<ApplyDocuments, "documents">): Promise<ServiceReport>;
  deleteService(name: string): Promise<void>;
  services(): Promise<readonly ServiceView[]>;
  service(name: string): Promise<ServiceText>;
  identities(): Promise<readonly IdentityView[]>;
  /** In Hubble's words. With `follow` until the caller stops reading. */
  flows(request: Partial<GetFlowsRequest>): AsyncIterable<GetFlowsResponse>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  reconcile(): Promise<ReconcileReport>;
  sweep(): Promise<readonly Swept[]>;
}
