// What every doer works with: the kernel's handles and our open tables.
import type { LinkInfo, Netlink } from "../kernel/types.ts";
import type { NetworkPlan } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Mac } from "../std/ip.ts";
import type { Acceleration } from "./acceleration.ts";
import type { Attachments } from "./attachments.ts";
import type { BalancingParts } from "./balancing.ts";
import type { Clients } from "./clients.ts";
import type { ClusterParts } from "./cluster.ts";
import type { ContainerRoutes } from "./container-routes.ts";
import type { Conntrack } from "./conntrack.ts";
import type { Holding } from "./holding.ts";
import type { Policy } from "./policy.ts";
import type { Tables } from "./tables.ts";

export interface Host {
  readonly netlink: Netlink;
  readonly tables: Tables;
  readonly attachments: Attachments;
  readonly conntrack: Conntrack;
  readonly policy: Policy;
  readonly cluster: ClusterParts;
  readonly balancing: BalancingParts;
  readonly holding: Holding;
  readonly acceleration: Acceleration;
  readonly clients: Clients;
  readonly containerRoutes: ContainerRoutes;
  /** MAC of every host-side device of ours. */
  readonly mac: Mac;
  /** ifindex of hwhost. */
  readonly hostIndex: number;
  /** Networks that stand, by number: what the host's side of them should look like when someone takes it away. */
  readonly networks: Map<number, NetworkPlan>;
  /** @throws HawserError KERNEL when the device is not there */
  link(name: string): Promise<LinkInfo>;
}

export async function requireLink(netlink: Netlink, name: string): Promise<LinkInfo> {
  const link = await netlink.link(name);
  if (link === undefined) throw new HawserError("KERNEL", `device ${name} is not there; was its container's network namespace removed?`);
  return link;
}

/** Devices that we make: hwhost, its peer, the tunnel, and both ends of cables. */
export function isOurDevice(name: string): boolean {
  return /^hw(host|net|tun|[0-9a-f]{11}c?)$/.test(name);
}

/** Host ends of cables only. */
export function isCableDevice(name: string): boolean {
  return /^hw[0-9a-f]{11}$/.test(name);
}
