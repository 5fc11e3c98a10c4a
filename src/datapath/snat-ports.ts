// From which ports this node asks servers that know nothing of services: none that its own sockets choose, and none of masqueraded flows.
import { LbPoolLayout } from "../abi/generated.ts";

/** Both ends included. */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

/** `ports`: a multiple of a block; 0: no port is left for any. */
export interface SnatPorts {
  readonly first: number;
  readonly ports: number;
}

const [lowest, highest] = [1024, 65_535];

/**
 * A range beside the host's ephemeral one, so that both together are one that masqueraded flows leave out: below it if there is room, else
 * above. At most half of what the host's sockets leave, so that masqueraded flows have the other half.
 */
export function snatPorts({ low, high }: PortRange): SnatPorts {
  const below = Math.max(0, Math.min(low, highest + 1) - lowest);
  const above = Math.max(0, highest - Math.max(high, lowest - 1));
  const wanted = Math.min(LbPoolLayout.PORTS, (below + above) / 2);
  const side = below >= wanted || below >= above ? below : above;
  const ports = Math.floor(Math.min(wanted, side) / LbPoolLayout.BLOCK) * LbPoolLayout.BLOCK;
  return { first: side === below ? lowest + below - ports : Math.max(high + 1, lowest), ports };
}

/** What masqueraded flows leave out: the host's ephemeral ports and those. */
export function withSnatPorts({ low, high }: PortRange, { first, ports }: SnatPorts): PortRange {
  return ports === 0 ? { low, high } : { low: Math.min(low, first), high: Math.max(high, first + ports - 1) };
}
