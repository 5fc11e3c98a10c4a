// What services are made of: documents as written, the backends there are, and the plan that the datapath carries out.
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Place } from "../yaml/lines.ts";

export type ServiceProtocol = "tcp" | "udp" | "sctp";

/** Where clients reach a service. */
export interface Frontend {
  readonly address: Ip;
  /** 1…65535. */
  readonly port: number;
  readonly protocol: ServiceProtocol;
}

/** An address and port that no container may have (R79). */
export interface HeldFrontend extends Frontend {
  /** Its name. */
  readonly service: string;
}

export interface WrittenFrontend extends Frontend {
  readonly place: Place;
}

/** Who serves. `weight` 0…1000: 0 takes no new flows and keeps those it has. `port` 1…65535. */
export type BackendRule =
  /**
   * Containers on every node, as they come and go. Every label must be there with this value; null: with any value. The keys project, service and
   * name mean the container's Compose project and service and its name. `network` null: any.
   */
  | {
      readonly kind: "select"; readonly network: string | null; readonly labels: Readonly<Record<string, string | null>>;
      readonly port: number; readonly weight: number; readonly place: Place;
    }
  /** Who has that address: a container on any node, or a server that is none of ours. */
  | { readonly kind: "address"; readonly address: Ip; readonly port: number; readonly weight: number; readonly place: Place };

/**
 * `auto`: containers answer clients directly, servers by way of the balancing node. `dsr`: servers too, which then have the service's
 * address on their loopback. `snat`: all answer by way of the balancing node.
 */
export type ServiceMode = "auto" | "dsr" | "snat";

/** Times in milliseconds. `rise` successes in a row bring a backend back, `fall` failures in a row take it out. */
export interface Health {
  readonly kind: "tcp" | "http" | "none";
  /** Of `http`. */
  readonly path: string;
  readonly interval: number;
  readonly timeout: number;
  readonly rise: number;
  readonly fall: number;
}

/** Clients that may come; `allow` null is everyone, and `deny` wins. */
export interface Sources {
  readonly allow: readonly Cidr[] | null;
  readonly deny: readonly Cidr[];
}

/** One service as written; who its containers are is not known here. */
export interface Service {
  readonly name: string;
  readonly place: Place;
  readonly frontends: readonly WrittenFrontend[];
  readonly backends: readonly BackendRule[];
  /** null: the configuration's. */
  readonly mode: ServiceMode | null;
  readonly algorithm: "maglev" | null;
  /** All flows of a client go to one backend; it is remembered for `timeout` milliseconds after its last packet. null: each flow for itself. */
  readonly affinity: { readonly by: "client"; readonly timeout: number } | null;
  readonly sources: Sources;
  readonly health: Health;
  /** Milliseconds that established flows keep going to a backend that leaves. */
  readonly drain: number;
}

// ---- Who is there.

/** A container's attachment to a network, on this node or another, or an address that containers alone can have. */
export interface ServingContainer {
  /** The node's name; null: of an address that nobody has. */
  readonly node: string | null;
  /** Docker's endpoint id, or another that is never used again: a container that was started anew has another. Of an address the address. */
  readonly id: string;
  /** null: nothing is known but the address. */
  readonly name: string | null;
  /** Name of the network that it is attached to; null as `name`. */
  readonly network: string | null;
  /** The network was made with `--internal`. Left out: it was not. */
  readonly internal?: true;
  readonly project: string | null;
  readonly service: string | null;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  /** Its own, without its image's (R88). */
  readonly labels: Readonly<Record<string, string>>;
  /** Was told to stop and runs still, or is nobody. */
  readonly stopping: boolean;
}

export type BackendState = "active" | "draining" | "down";

/** One backend of one service, as remembered from change to change. Times in milliseconds since the epoch. */
export interface Backend {
  /** The same on every node and after every restart: `NODE/NETWORK/NAME:PORT` of a container that is selected, `ADDRESS:PORT` of who is named. Its share of the table follows from it. */
  readonly identity: string;
  /** `server`: of which probes alone tell whether it is there, also if it is a container on a static peer. */
  readonly kind: "container" | "server";
  /** The container's `id`, or as `idAt` has it; of a server its identity. Who has another is another backend, whose flows are none of the first one's. */
  readonly id: string;
  /** Of a container its node; else null. */
  readonly node: string | null;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  readonly port: number;
  readonly weight: number;
  /** When it is gone; null: it does not leave. */
  readonly drainsUntil: number | null;
  readonly health: Probed;
}

export interface Probed {
  /** `unknown`: not asked yet; it then takes one answer, good or bad, to know. */
  readonly state: "unknown" | "up" | "down";
  /** Answers in a row that speak against `state`. */
  readonly against: number;
  /** Since when it is in `state`. */
  readonly since: number;
}

// ---- For the datapath.

export interface BackendPlan {
  /** As slots name it: 1…65535, this node's own, the same in every service that reaches it the same way. */
  readonly number: number;
  readonly identity: string;
  readonly address: Ip;
  readonly port: number;
  /** Whose node knows its flows and passes on what it does not know; null: a plain server, of whose flows only the balancing node can know. */
  readonly node: string | null;
  /**
   * How it is reached, and answers: as itself (a container that answers clients from its own node), with the service's address (`dsr`), or by way of
   * the balancing node (`snat`): a server asked in that node's name, a container as itself.
   */
  readonly way: Way;
  readonly weight: number;
  readonly state: BackendState;
  /** Whether it is among those that new flows go to. */
  readonly takes: boolean;
}

export type Way = "container" | "dsr" | "snat";

/**
 * Slots of a service, two elements each, as `struct hw_lb_slot` (bpf/abi/lb.h) has them but for the time:
 *
 *     current (bits 0…15) │ previous (bits 16…31)      numbers of backends; 0: none; of a settled slot `previous` is who was current before
 *     changed                                          seconds since the epoch; 0: settled
 *
 * The slot of a flow is its hash (32 bits) × size / 2^32. `choose.ts` says what a packet does with it.
 */
export interface FullSlots {
  readonly size: number;
  readonly words: Uint32Array;
  readonly plain?: undefined;
  /** By slot: who was current since it was last settled and is neither current nor previous; only of slots where there is any such. */
  readonly between: ReadonlyMap<number, readonly number[]>;
}

/** Slots of which none remembers anything, in a quarter of the bytes: nearly all services' are such. */
export interface PlainSlots {
  readonly size: number;
  /** Who is current, by slot. */
  readonly plain: Uint16Array;
  readonly words?: undefined;
  /** Empty. */
  readonly between: ReadonlyMap<number, readonly number[]>;
}

export type Slots = FullSlots | PlainSlots;

/** What of a plan says whether a node can carry it out; of a plan that is not made yet what its document tells. */
export type PlanHead = Pick<ServicePlan, "name" | "frontends"> & { readonly backends: readonly Pick<BackendPlan, "identity" | "node" | "way">[] };

/** A service in one address family: all that the datapath needs to be given. One with frontends of both families is two. */
export interface ServicePlan {
  readonly name: string;
  readonly family: Family;
  /** 1…, this node's own. */
  readonly number: number;
  readonly frontends: readonly Frontend[];
  /** Milliseconds; null: each flow for itself. With one, a flow's slot is the hash of the client's address alone. */
  readonly affinity: number | null;
  /** Of this family. */
  readonly sources: Sources;
  /** False: nobody takes new flows, and what opens one is answered with a reset or an ICMP error. */
  readonly open: boolean;
  /** With those that are draining. */
  readonly backends: readonly BackendPlan[];
  readonly slots: Slots;
}
