// The veth pair between the host and one container: made before Docker moves its far end, gone with it.
import type { CablePlan } from "../network/types.ts";
import type { Host } from "./host.ts";
import { setSysctl } from "./sysctl.ts";

/**
 * Makes the pair. Its checksum and segmentation offloads stay on: packets inside the host carry partial checksums, which
 * the programs keep right. The host end speaks no IPv6 of its own, so that no link-local address or router solicitation appears.
 */
export async function makeCable(host: Host, plan: CablePlan): Promise<void> {
  const { netlink } = host;
  if ((await netlink.link(plan.hostInterface)) === undefined) {
    await netlink.createVeth({
      name: plan.hostInterface, peer: plan.containerInterface,
      mac: host.mac, peerMac: plan.mac, mtu: plan.mtu,
    });
  }
  const link = await host.link(plan.hostInterface);
  await netlink.setLink(link.index, { noLinkLocal: true, ...(link.mtu === plan.mtu ? {} : { mtu: plan.mtu }), ...(link.mac === host.mac ? {} : { mac: host.mac }) });
  // Should somebody take our programs away, the host routes nothing from there: closed, not open (R25).
  setSysctl("ipv4", plan.hostInterface, "forwarding", 0);
  setSysctl("ipv6", plan.hostInterface, "accept_ra", 0);
  setSysctl("ipv6", plan.hostInterface, "disable_ipv6", 1);
  if (!link.up) await netlink.setLink(link.index, { up: true });
}

/** Both ends go, wherever the far one is. */
export async function removeCable(host: Host, plan: CablePlan): Promise<void> {
  await host.netlink.deleteLink(plan.hostInterface);
}
