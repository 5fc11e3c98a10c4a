// The other node as a plain VXLAN device of the kernel's, and how the datapath here is told to speak with it.
//
//   lan0 192.0.2.1 in ns lan ── vx (key 300) 10.44.1.2, fd44:0:0:1::2
import type { Datapath, Routing } from "../../../src/datapath/types.ts";
import { patience } from "../../lab/run.ts";
import type { World } from "./namespace.ts";

export const routing: Routing = { mode: "overlay", encapsulation: "vxlan", port: 8472, probePort: 8473, direct: true };

/** The other node: the key is a device's id, so that each test says which it speaks with. */
export function otherNode({ ip }: World, key: number, underlay: "192.0.2.1" | "192.0.2.7" | "192.0.2.66" | "2001:db8:1::1" = "192.0.2.1", outside: "udpcsum" | "noudpcsum" = "noudpcsum"): void {
  const remote = underlay.includes(":") ? "2001:db8:1::10" : "192.0.2.10";
  if (underlay === "192.0.2.7" || underlay === "192.0.2.66") ip(`-n lan address add ${underlay}/24 dev lan0`);
  if (underlay.includes(":")) ip("-n lan -6 address add 2001:db8:1::1/64 dev lan0 nodad");
  ip(`-n lan link add vx type vxlan id ${key} local ${underlay} remote ${remote} dstport 8472 nolearning ${outside}`);
  // The overlay's frames go to the host's MAC, and nobody answers ARP: containers here are behind one MAC.
  ip("-n lan link set vx address 02:48:57:00:00:01");
  for (const words of [
    "link set vx up mtu 1430", "address add 10.44.1.2/16 dev vx", "-6 address add fd44:0:0:1::2/48 dev vx nodad",
    "neighbour replace 10.44.0.2 lladdr 02:00:00:00:00:99 dev vx", "neighbour replace 10.44.0.3 lladdr 02:00:00:00:00:99 dev vx",
    "-6 neighbour replace fd44::2 lladdr 02:00:00:00:00:99 dev vx",
  ]) ip(`-n lan ${words}`);
}

/** undefined: there was no such event. */
export async function told(datapath: Datapath, reason: string, cause: () => void): Promise<unknown> {
  const abort = new AbortController();
  const first = (async () => {
    for await (const event of datapath.events(AbortSignal.any([abort.signal, AbortSignal.timeout(10_000 * patience)]))) if (event.reason === reason) return event;
    return undefined;
  })();
  try {
    cause();
    const event = await first;
    return event && { source: event.source, destination: event.destination };
  } finally {
    abort.abort();
  }
}
