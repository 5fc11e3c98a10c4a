// hwhost: the device that owns the gateway addresses and stands for the host in the eyes of its containers.
import type { LinkInfo, Netlink } from "../kernel/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Mac } from "../std/ip.ts";
import { setSysctl } from "./sysctl.ts";

export const hostDevice = "hwhost";
/** The other end of hwhost's pair; nothing ever goes there. */
export const hostPeer = "hwnet";

/**
 * Makes hwhost unless it is there, and sets what it needs either way. Returns it. `index`: the number that the loaded
 * programs know it by, when it was there before.
 */
export async function ensureHostDevice(netlink: Netlink, mac: Mac, ipv6: boolean, index?: number): Promise<LinkInfo> {
  if ((await netlink.link(hostDevice)) === undefined) {
    await netlink.deleteLink(hostPeer);
    await netlink.createVeth({ name: hostDevice, peer: hostPeer, mac, ...(index === undefined ? {} : { index }) });
  }
  const [host, peer] = [await existing(netlink, hostDevice), await existing(netlink, hostPeer)];
  await netlink.setLink(peer.index, { noLinkLocal: true });
  setSysctl("ipv6", hostPeer, "disable_ipv6", 1);
  await netlink.setLink(host.index, { noLinkLocal: true, noArp: true, ...(host.mac === mac ? {} : { mac }) });
  setHostSysctls(ipv6);
  if (!peer.up) await netlink.setLink(peer.index, { up: true });
  if (!host.up) await netlink.setLink(host.index, { up: true });
  return existing(netlink, hostDevice);
}

/**
 * `forwarding` only here: bpf_fib_lookup with hwhost as input wants it, and the kernel then writes the ICMP errors for
 * packets that we hand it. rp_filter 2 (loose) wins over a strict `all`: the kernel takes the larger of the two.
 */
function setHostSysctls(ipv6: boolean): void {
  setSysctl("ipv4", hostDevice, "forwarding", 1);
  setSysctl("ipv4", hostDevice, "rp_filter", 2);
  setSysctl("ipv4", hostDevice, "send_redirects", 0);
  setSysctl("ipv4", hostDevice, "accept_redirects", 0);
  setSysctl("ipv6", hostDevice, "disable_ipv6", ipv6 ? 0 : 1);
  setSysctl("ipv6", hostDevice, "accept_ra", 0);
  setSysctl("ipv6", hostDevice, "accept_redirects", 0);
  if (ipv6) setSysctl("ipv6", hostDevice, "forwarding", 1);
}

async function existing(netlink: Netlink, name: string): Promise<LinkInfo> {
  const link = await netlink.link(name);
  if (link === undefined) throw new HawserError("KERNEL", `device ${name} is not there; restart the agent, which makes it`);
  return link;
}
