// What the doors may ask of the engine about services.
import type { BackendState, Health, ServiceMode, ServiceProtocol } from "../lb/types.ts";
import type { SharedService, SharedServices } from "../lb/stored.ts";
import type { Ip } from "../std/ip.ts";
import type { ApplyDocuments, DirectoryReading } from "./documents.ts";

export type { SharedService, SharedServices };

export interface ServiceCommands {
  /** All documents or none. Resolves when they are in force. @throws HawserError BAD_SERVICE as `applyPolicy` BAD_POLICY; TABLE_FULL. */
  applyService(command: Pick<ApplyDocuments, "documents">, signal?: AbortSignal): Promise<ServiceReport>;
  /** As `deletePolicy`. Resolves when it is out of force. */
  deleteService(name: string, signal?: AbortSignal): Promise<void>;
  /** As `syncPolicyDirectory`. */
  syncServiceDirectory(reading: DirectoryReading, signal?: AbortSignal): Promise<void>;
  /** What nodes that share a store have of services now, whole. Rows that did not change should be the same objects. */
  syncServices(known: SharedServices): Promise<void>;
  /** What probes of this node's have heard; of what is no backend any more nothing is taken. Never rejects. */
  healthHeard(heard: readonly HeardHealth[]): Promise<void>;
  /**
   * Other nodes have taken this one for dead, and its containers for gone, while they went on: what that did to services' tables there is done here, too,
   * because flows that began meanwhile may come by this node. Never rejects.
   */
  ownWereGone(): Promise<void>;
  /** A container was told to stop, or has ended though Docker has not said so yet: it takes no new flows of a service (R76). `at`: milliseconds since the epoch; endpoints made later are others. */
  containerEnds(end: ContainerEnd): Promise<void>;
}

export interface ServiceReport {
  readonly applied: readonly string[];
  /** `web.yaml:4:5: …`: what is probably not meant as it is written. */
  readonly warnings: readonly string[];
}

/** An answer to one probe. */
export interface HeardHealth {
  readonly service: string;
  /** As in `ProbeTarget`. */
  readonly backend: string;
  readonly port: number;
  readonly passed: boolean;
  /** For people: "HTTP 503", "connection refused". */
  readonly why: string;
}

export interface ContainerEnd {
  readonly containerId: string;
  readonly ending: "stopping" | "ended";
  readonly at: number;
}

export interface ServiceQueries {
  services(): readonly ServiceView[];
  /** @throws HawserError NOT_FOUND with the known names. */
  service(name: string): ServiceText;
  /** As counted now. */
  serviceTraffic(): Promise<ServiceTraffic>;
  /** Without services that have no probes. The same object until something about them changes. */
  probeTargets(): readonly ProbeTarget[];
  /**
   * Those of services in force on this node, but for other nodes' own, at which they are reached, and for IPv6 where it is turned off. null: this agent put
   * none in force yet, and what an earlier one did stands.
   */
  serviceAddresses(): ReadonlySet<Ip> | null;
  /** Calls back when `serviceAddresses` may return others. */
  onServiceAddresses(listener: () => void): Disposable;
}

export interface BackendView {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** Its container's node; empty: a server that is no container of ours. */
  readonly node: string;
  readonly state: BackendState;
  /** `NODE/NETWORK/NAME:PORT`, `ADDRESS:PORT`. */
  readonly identity: string;
}

export interface ServiceView {
  readonly name: string;
  /** `holder`: the node that answers for the address on its link; empty: none is known to. */
  readonly frontends: readonly { readonly address: string; readonly port: number; readonly protocol: ServiceProtocol; readonly holder: string }[];
  /** One with addresses of both families is here twice. */
  readonly backends: readonly BackendView[];
  /** The configuration's where it says none. */
  readonly mode: ServiceMode;
  readonly algorithm: "maglev";
  /** Established through this node; null: not asked (`serviceTraffic` tells). */
  readonly flows: number | null;
  /** `directory PATH`, `apply PATH`. */
  readonly source: string;
  /** In whose watched directory it stands, or where it was applied. */
  readonly nodes: readonly string[];
  readonly revision: number;
  /** `pending`: written down, and not in force yet. `rejected`: what is in force is not what its file says. */
  readonly state: "enforced" | "pending" | "rejected";
  readonly error: string | null;
}

/** On this node. */
export interface ServiceTraffic {
  /** Established flows, by service. */
  readonly flows: ReadonlyMap<string, number>;
  readonly backends: readonly BackendTraffic[];
}

/** In both families. `flows`: established; of all others as in the datapath's `BackendSent`. */
export interface BackendTraffic {
  /** In order; several where they reach it the same way. */
  readonly services: readonly string[];
  /** Its identity. */
  readonly backend: string;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly begun: bigint;
  readonly flows: number;
}

/** A service with its text. */
export interface ServiceText extends ServiceView {
  readonly text: string;
}

/** Whom this node shall probe: its own containers, and servers. */
export interface ProbeTarget {
  readonly service: string;
  /** Names it in `healthHeard`, together with its port; another after its container was started anew. */
  readonly backend: string;
  readonly address: string;
  readonly port: number;
  readonly health: Health;
}
