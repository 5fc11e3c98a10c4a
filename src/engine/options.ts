// What the engine is built from, and what it offers to who built it.
import type { AdoptReport, Datapath } from "../datapath/types.ts";
import type { Cluster, OwnRecords } from "../network/cluster.ts";
import type { ContainerIdentity, PoolConfig } from "../network/types.ts";
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";
import type { Store } from "../store/types.ts";
import type { ClaimSlice } from "./another-slice.ts";
import type { PolicySettings } from "./policy-book.ts";
import type { ReadElsewhere } from "./documents.ts";
import type { ShareServices } from "./service-sharing.ts";
import type { ServiceSettings } from "./service-planner.ts";
import type { Commands, EndpointRef, NodeView, PartStatus, Queries } from "./types.ts";

export interface EngineOptions {
  readonly store: Store;
  readonly datapath: Pick<
    Datapath, "doers" | "facts" | "adopt" | "standing" | "counters" | "maps" | "dumpMap" | "inspect" | "policy" | "traffic" | "elsewhere" | "services" | "rawEvents" | "decodeEvent" | "deviceName"
  >;
  readonly policy: PolicySettings;
  readonly services: ServiceSettings;
  /**
   * Whose an endpoint is that just joined, asked of Docker outside of the queue while Docker waits for our answer; it must give up by
   * itself in well under a second. Left out: whoever reconciles tells later.
   */
  readonly whose?: (ref: EndpointRef, signal?: AbortSignal) => Promise<ContainerIdentity | null>;
  /**
   * Resolves once other nodes can know of what this one has to tell; it must give up by itself in well under a second. Asked while Docker waits for
   * our answer to Join, so that they know a container before it speaks. Left out: there is nobody to wait for.
   */
  readonly announced?: (signal?: AbortSignal) => Promise<void>;
  /** Claims one more slice of the pool for this node. Left out: it has all of the pool, or what the configuration gives it. */
  readonly claimSlice?: ClaimSlice;
  /** As `ServiceDeskOptions`. */
  readonly readServices?: ReadElsewhere;
  /** Left out: this node shares its services with nobody. */
  readonly shareServices?: ShareServices;
  /** What is known of other nodes at the start, from what was kept of them; left out: there is none. */
  readonly cluster?: Cluster;
  /** All nodes as they are now, this one first; left out, or empty: there is no other. */
  readonly nodes?: () => readonly NodeView[];
  /** Address of a service → the node that answers for it; left out, or without the address: none is known to. */
  readonly holders?: () => ReadonlyMap<string, string>;
  readonly node: string;
  readonly version: string;
  readonly pool: PoolConfig;
  /** MTU of networks that name none; null: the smallest of the uplinks. */
  readonly mtu: number | null;
  /** What a tunnel to other nodes takes of the uplinks' MTU where `mtu` is null, in bytes; left out: there is none. */
  readonly overhead?: number;
  /** For networks that do not say. */
  readonly masquerade: boolean;
  /** The parts of the agent that the engine cannot see: Docker, the sockets, what the configuration asks for in vain. */
  readonly parts: () => readonly PartStatus[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

export interface Engine {
  readonly commands: Commands;
  readonly queries: Queries;
  /**
   * To be called first: reads the store and makes the host what it says. Commands asked for meanwhile wait.
   * `keep`: what no state claims stays until `reconcile` has heard Docker once, because a lost or older state claims
   * too little, and what lives must not be swept for that (R24).
   */
  start(unclaimed?: "sweep" | "keep"): Promise<AdoptReport>;
  /** Makes the host what the state says once more, and removes what nothing claims; takes its turn in the queue. */
  heal(signal?: AbortSignal): Promise<AdoptReport>;
  /** True when something could not be undone or removed, and `heal` should try. */
  readonly needsHealing: boolean;
  /** Writes the policy anew after the host's addresses changed. */
  hostChanged(): Promise<void>;
  /** Calls back after a container joined a network, outside of the command. */
  onJoined(listener: (ref: EndpointRef) => void): Disposable;
  /** What this node has to tell the others: containers whose labels are known, and whom its policies speak of. */
  ownRecords(): OwnRecords;
  /** Calls back when `ownRecords` may have changed, before the command that changed it is answered: a listener only takes note. */
  onOwnChange(listener: () => void): Disposable;
  /** Calls back when `queries.probeTargets` returns another list. */
  onProbeTargets(listener: () => void): Disposable;
  /** Resolves when every command asked for so far is answered, and services are as they say. */
  idle(): Promise<void>;
  /** Idle, and nothing more is done by itself. */
  close(): Promise<void>;
}
