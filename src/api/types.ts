// What the API offers besides the engine's queries, and what its clients get back.
import type {
  EndpointView, MapEntryView, MapView, NetworkView, PortView, Queries, ReconcileReport, Status,
} from "../engine/types.ts";

export type {
  EndpointView, MapEntryView, MapView, NetworkView, PartStatus, PortView, ReconcileReport, Status,
} from "../engine/types.ts";

/** One thing taken off the host by a sweep. */
export interface Swept {
  /** "link", "pin", "map entry", … */
  readonly kind: string;
  readonly name: string;
}

/** The queries that the API serves. */
export type ApiQueries = Omit<Queries, "network">;

/** The changes that the API may ask for; each takes its turn in the engine's queue. */
export interface ApiCommands {
  /** Reads what Docker has and brings the state in line with it. */
  reconcile(signal?: AbortSignal): Promise<ReconcileReport>;
  /** Removes what carries our name and no state claims. */
  sweep(signal?: AbortSignal): Promise<readonly Swept[]>;
}

/** One agent, over its socket. Every call rejects with a HawserError: the agent's own, or AGENT_UNREACHABLE. */
export interface ApiClient extends Disposable {
  status(): Promise<Status>;
  endpoints(): Promise<readonly EndpointView[]>;
  /** By endpoint id, container id, a prefix of either, container name, or `network/name`. */
  endpoint(ref: string): Promise<EndpointView>;
  networks(): Promise<readonly NetworkView[]>;
  /** By id, a prefix of it, or name. */
  network(ref: string): Promise<NetworkView>;
  /** Of every container, or of the one named. */
  ports(container?: string): Promise<readonly PortView[]>;
  maps(): Promise<readonly MapView[]>;
  /** At most `limit` entries; 0: as many as the agent gives out at once. */
  dumpMap(name: string, limit: number): AsyncIterable<MapEntryView>;
  reconcile(): Promise<ReconcileReport>;
  sweep(): Promise<readonly Swept[]>;
}
