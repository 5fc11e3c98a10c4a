// What the door to the other nodes is given, and what it offers.
import type { NodeView, PartStatus, SharedServices } from "../engine/types.ts";
import type { Cluster, ClusterKind, OwnRecords } from "../network/cluster.ts";
import type { PoolConfig } from "../network/types.ts";
import type { Clock } from "../std/clock.ts";
import type { Family, Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { SharedStore } from "../store/shared.ts";
import type { Election, Seat } from "./election.ts";

export interface ConfiguredPeer {
  readonly name: string;
  /** Where tunnels and routes go, then what else is its own. */
  readonly address: string | readonly string[];
  readonly ipv4: string | null;
  readonly ipv6: string | null;
}

export interface PeersDoorOptions {
  readonly kind: ClusterKind;
  /** Of kind `etcd`. */
  readonly store?: SharedStore;
  /** Of kind `static`: every node, this one too. */
  readonly peers: readonly ConfiguredPeer[];
  readonly node: {
    readonly name: string;
    /** Where the others reach this one, as it is now. */
    addresses(): readonly Ip[];
    /** Smallest of the uplinks'. */
    mtu(): number;
    /** Hawser's. */
    readonly version?: string;
  };
  readonly pool: PoolConfig;
  readonly commands: {
    syncCluster(cluster: Cluster, signal?: AbortSignal): Promise<void>;
    /** Of kind `etcd`. */
    syncServices(known: SharedServices): Promise<void>;
    /** Of kind `etcd`. */
    ownWereGone(): Promise<void>;
  };
  readonly own: () => OwnRecords;
  /** Where the last view is kept, below `paths.state`. */
  readonly cacheFile: string;
  /** UDP, of every node. */
  readonly probePort: number;
  readonly clock: Clock;
  /** A number in [0, 1), fresh at each call. */
  readonly random: () => number;
  /** Milliseconds with their fractions, for round-trip times. */
  readonly monotonic?: () => number;
  readonly log: Log;
}

export interface PeersDoor extends AsyncDisposable {
  /**
   * What a starting agent knows of the others before it touches anything: what the store says, what was remembered when it cannot be heard or says
   * nothing within a few seconds, or what the configuration says. Nothing is written, and the engine is told nothing, before `start`.
   * What was remembered may be an hour old: whoever came since is cut off until the store is heard.
   */
  known(signal: AbortSignal): Promise<Cluster>;
  /**
   * Tells the engine a first view: from the store within a few seconds, else (and when the signal aborts before) what was remembered. From then on
   * the door works, until it is disposed of.
   * @throws HawserError BAD_CONFIG for peers that cannot be, ALREADY_EXISTS when another living node has the name, and what the engine throws.
   */
  start(signal: AbortSignal): Promise<void>;
  /** Keeps the door open until the signal aborts, then closes it. */
  run(signal: AbortSignal): Promise<void>;
  /** Own records, or own addresses, changed. */
  changed(): void;
  /** Resolves when everything own so far is written, when nobody can be told, or after 300 ms. Never fails. */
  announced(signal: AbortSignal): Promise<void>;
  /**
   * Claims one more slice of the pool for this node and tells the engine. Left out: slices are not claimed.
   * @throws HawserError NO_FREE_POOL when all are taken, STORE
   */
  readonly claimSlice?: (family: Family, signal: AbortSignal) => Promise<void>;
  /**
   * Changes the services that all nodes have: `decide` takes them, perhaps several times, because others change them as well. Resolves when the engine
   * was told of it. Left out: services are not shared. @throws what `decide` throws, HawserError STORE
   */
  readonly shareServices?: (decide: (known: SharedServices) => Promise<SharedServices>, signal: AbortSignal) => Promise<void>;
  /** This node first, the others by name. */
  nodes(): readonly NodeView[];
  status(): PartStatus;
  /** Who answers for addresses of services is settled from then on that the election runs, after `start`; once. */
  elect(seat: Seat): Election;
}

/** What kinds of doors have in common behind `PeersDoor`. */
export interface Behind {
  /** Goes on until the signal aborts. */
  listen(signal: AbortSignal): Promise<void>;
  /** After `listen` was called. `signal` ends the waiting. */
  known(signal: AbortSignal): Promise<Cluster>;
  /** `signal` ends the waiting, `life` everything. */
  start(signal: AbortSignal, life: AbortSignal): Promise<void>;
  /** Everything else that goes on, until the signal aborts. */
  work(signal: AbortSignal): readonly Promise<void>[];
  changed(): void;
  announced(signal: AbortSignal): Promise<void>;
  readonly claimSlice?: PeersDoor["claimSlice"];
  readonly shareServices?: PeersDoor["shareServices"];
  nodes(): readonly NodeView[];
  status(): PartStatus;
  /** A node began or ceased to answer. */
  answersChanged(name: string): void;
}
