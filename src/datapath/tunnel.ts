// hwtun: the one device by which all tunnels to other nodes go; each packet's own metadata say where to.
import type { LinkInfo, Netlink } from "../kernel/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import { requireLink } from "./host.ts";
import { setSysctl } from "./sysctl.ts";
import type { Routing } from "./types.ts";

export const tunnelDevice = "hwtun";

/** As large as any inner packet: what fits is decided for each way (struct hw_node), not by the device. */
const mtu = 65_000;

/** What a tunnel's headers add to each packet: outer IP, UDP, VXLAN or Geneve without options, inner Ethernet. Bytes. */
export const overhead = { 4: 20 + 8 + 8 + 14, 6: 40 + 8 + 8 + 14 } as const;

/**
 * Makes the device unless it is there as it should be; one of another kind or port is made anew. `index`: the number that the loaded programs
 * know it by, when it was there before. Its MAC is the kernel's choice: frames with it as source would be taken for its own echo.
 * @throws HawserError UNSUPPORTED when the kernel has no such tunnel
 */
export async function ensureTunnel(netlink: Netlink, { encapsulation, port }: Routing, index?: number): Promise<LinkInfo> {
  const standing = await netlink.link(tunnelDevice);
  if (standing !== undefined && (standing.kind !== encapsulation || standing.tunnelPort !== port)) await netlink.deleteLink(tunnelDevice);
  if ((await netlink.link(tunnelDevice)) === undefined) {
    try {
      await netlink.createTunnel({ name: tunnelDevice, kind: encapsulation, port, ...(index === undefined ? {} : { index }) });
    } catch (error) {
      throw new HawserError("UNSUPPORTED", `the ${encapsulation} device of the overlay cannot be made: ${messageOf(error)}; does this kernel have ${encapsulation} (routing.encapsulation), and is UDP port ${port} free (routing.port)?`, { cause: error });
    }
  }
  const link = await requireLink(netlink, tunnelDevice);
  await netlink.setLink(link.index, { noLinkLocal: true, ...(link.mtu === mtu ? {} : { mtu }) });
  setSysctl("ipv6", tunnelDevice, "disable_ipv6", 1);
  if (!link.up) await netlink.setLink(link.index, { up: true });
  return requireLink(netlink, tunnelDevice);
}
