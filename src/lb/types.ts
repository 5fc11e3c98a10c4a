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

export interface WrittenFrontend extends Frontend {
  readonly place: Place;
}

/** Who serves. `weight` 0…1000: 0 takes no new flows and keeps those it has. `port` 1…65535. */
export type BackendRule =
  /** Containers on every node, as they come and go. Every label must be there with this value; null: with any value. `network` null: any. */
  | {
      readonly kind: "select"; readonly network: string | null; readonly labels: Readonly<Record<string, string | null>>;
      readonly port: number; readonly weight: number; readonly place: Place;
    }
  /** A server that is no container of ours. */
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
  /** Clients that may come; an empty `allow` is everyone, and `deny` wins. */
  readonly sources: { readonly allow: readonly Cidr[]; readonly deny: readonly Cidr[] };
  readonly health: Health;
  /** Milliseconds that established flows keep going to a backend that leaves. */
  readonly drain: number;
}

// ---- Who is there.

/** A container's attachment to a network, on this node or another. */
export interface ServingContainer {
  /** The node's name. */
  readonly node: string;
  /** Docker's endpoint id, or another that is never used again: a container that was started anew has another. */
  readonly id: string;
  readonly name: string;
  readonly network: string;
  readonly ipv4: Ip | null;
  readonly ipv6: Ip | null;
  /** Its own, without its image's (R88). */
  readonly labels: Readonly<Record<string, string>>;
  /** Was told to stop and runs still. */
  readonly stopping: boolean;
}

export type BackendState = "active" | "draining" | "down";

/** One backend of one service, as remembered from change to change. Times in milliseconds since the epoch. */
export interface Backend {
  /** The same on every node and after every restart: `NODE/NETWORK/NAME:PORT` of a container, `ADDRESS:PORT` of a server. Its share of the table follows from it. */
  readonly identity: string;
  /** 1…65535, this node's own; not used again for hours after the backend is gone. */
  readonly number: number;
  readonly kind: "container" | "server";
  /** The container's `id`; of a server its identity. */
  readonly id: string;
  /** The container's node; of a server null. */
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
  /** Since when it is in `state`, in milliseconds since the epoch. */
  readonly since: number;
}

// ---- For the datapath.

export interface BackendPlan {
  /** As slots name it: 1…65535, of this service. */
  readonly number: number;
  readonly identity: string;
  readonly address: Ip;
  readonly port: number;
  /** Whose node knows its flows and passes on what it does not know; null: a plain server, of whose flows only the balancing node can know. */
  readonly node: string | null;
  readonly weight: number;
  readonly state: BackendState;
}

/**
 * A service in one address family: all that the datapath needs to be given. One with frontends of both families is two, each with
 * its own number, backends and slots.
 *
 * `slots` holds `size` slots of 64 bits, each two elements, the lower half first; a flow's slot is its hash modulo `size`:
 *
 *     bits  0…15   16…31       32…47       48…63
 *           current │ remembered │ remembered │ remembered       numbers of backends; 0: none
 *
 * `current` takes what is opened. The remembered may have flows that were opened while they were current (`packet.ts` says what a
 * packet does). A slot whose upper 48 bits are 0 needs no knowledge of flows at all.
 */
export interface ServicePlan {
  readonly name: string;
  readonly family: Family;
  /** 1…, this node's own. */
  readonly number: number;
  readonly frontends: readonly Frontend[];
  readonly mode: ServiceMode;
  /** Milliseconds; null: each flow for itself. With one, a flow's slot is the hash of the client's address alone. */
  readonly affinity: number | null;
  /** Of this family. */
  readonly sources: { readonly allow: readonly Cidr[]; readonly deny: readonly Cidr[] };
  /** False: nobody takes new flows, and what opens one is answered with a reset or an ICMP error. */
  readonly open: boolean;
  readonly backends: readonly BackendPlan[];
  readonly size: number;
  readonly slots: Uint32Array;
  /**
   * Slots that differ from the plan before, ascending; null: all, because it is the first or has another size. A backend is written before the slots
   * that name it, and removed after those that named it.
   */
  readonly changed: Uint32Array | null;
}
