// What a decision is asked and what it answers: the shapes of every command, as plain values.
import type { Ip } from "../std/ip.ts";
import type { ContainerIdentity, EndpointId, NetworkId, PoolId, PortRequest, Route } from "./types.ts";

export interface CreateNetwork {
  readonly id: NetworkId;
  /** Raw text from Docker; the model parses and validates it. */
  readonly ipv4: readonly SubnetRequest[];
  readonly ipv6: readonly SubnetRequest[];
  readonly internal: boolean;
  /** --ipv4=false on engines from 28 on. */
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  /** `-o` options as given. */
  readonly options: Readonly<Record<string, string>>;
}

export interface SubnetRequest {
  readonly pool: string;
  /** CIDR text; null: Docker gave none. */
  readonly gateway: string | null;
  readonly aux: Readonly<Record<string, string>>;
}

export interface CreateEndpoint {
  readonly id: EndpointId;
  readonly network: NetworkId;
  /** CIDR text or null. */
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly mac: string | null;
  readonly ports: readonly PortRequest[];
  readonly options: Readonly<Record<string, string>>;
}

export interface CreateEndpointReply {
  /** Set only when the request named none. */
  readonly mac: string | null;
}

export interface Join {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly sandboxKey: string;
  readonly ports: readonly PortRequest[];
}

export interface JoinReply {
  readonly sourceName: string;
  readonly destinationPrefix: string;
  /** The whole name wanted inside; null: prefix and number. */
  readonly destinationName: string | null;
  readonly gateway4: Ip | null;
  readonly gateway6: Ip | null;
  /** To the network's containers on other nodes, where the default route does not lead there. */
  readonly routes: readonly Route[];
  /** Always true for internal networks, so that Docker adds no second interface. */
  readonly disableGatewayService: boolean;
}

export interface EndpointRef {
  readonly id: EndpointId;
  readonly network: NetworkId;
}

export interface PublishPorts extends EndpointRef {
  /** null: Docker sent none; what CreateEndpoint or Join brought stands. */
  readonly ports: readonly PortRequest[] | null;
}

export interface RequestPool {
  readonly addressSpace: string;
  /** CIDR text; "" means one of the node's own. */
  readonly pool: string;
  readonly subPool: string;
  readonly options: Readonly<Record<string, string>>;
  readonly ipv6: boolean;
}

export interface RequestPoolReply {
  readonly id: PoolId;
  readonly prefix: string;
}

export interface RequestAddress {
  readonly pool: PoolId;
  /** "" means any. */
  readonly address: string;
  readonly purpose: "gateway" | "endpoint";
}

export interface ReleaseAddress {
  readonly pool: PoolId;
  readonly address: string;
}

/** What Docker's API says exists, for reconciliation. */
export interface DockerTruth {
  /** When the reading began, in milliseconds since the epoch: what was removed after that is not taken back. */
  readonly askedAt?: number;
  readonly networks: readonly NetworkTruth[];
  /**
   * Every subnet of every Docker network, of whatever driver, whose addresses our IPAM driver hands out.
   * Left out: not known, and then a pool that no network of ours claims is kept.
   */
  readonly pools?: readonly PoolTruth[];
  /** Running containers that no policy reaches (R50), for the status. Left out: not told. */
  readonly unenforced?: readonly Unenforced[];
}

export interface Unenforced {
  /** The container's. */
  readonly name: string;
  readonly why: string;
}

export interface NetworkTruth {
  readonly id: NetworkId;
  readonly name: string;
  readonly endpoints: readonly EndpointTruth[];
  /** The request by which Docker made it; left out: not told, and then an unknown network stays unknown. */
  readonly made?: CreateNetwork;
}

export interface EndpointTruth {
  readonly id: EndpointId;
  readonly container: ContainerIdentity | null;
  /** CIDR text and MAC of a container that runs; left out while it starts. */
  readonly running?: { readonly ipv4: string | null; readonly ipv6: string | null; readonly mac: string };
}

export interface PoolTruth {
  /** CIDR text. */
  readonly prefix: string;
  /** `--ip-range`, CIDR text. */
  readonly range: string | null;
  readonly gateway: string | null;
  readonly aux: readonly string[];
  /** CIDR text of every address that a container has. */
  readonly addresses: readonly string[];
}

export interface ReconcileReport {
  readonly removedEndpoints: readonly EndpointId[];
  readonly removedNetworks: readonly NetworkId[];
  readonly identified: number;
  /** What Docker has, Hawser had forgotten, and is known again: ids of networks and endpoints, prefixes of pools. */
  readonly restored: readonly string[];
  /** What could not be taken back, with the reason. */
  readonly refused: readonly string[];
}
