// IPsec policies as the kernel has them, and which of them speak of packets between two hosts.
import { contains, networkOf } from "./ip.ts";
import type { Cidr, Ip } from "./ip.ts";

export interface IpsecPolicy {
  readonly source: Cidr;
  readonly destination: Cidr;
  /** IP's number; 0: every one. */
  readonly protocol: number;
  /** The destination's, where `portMask` has bits. */
  readonly port: number;
  readonly portMask: number;
}

const udp = 17;

/** The policies for UDP to a port: between `from` (undefined: any) and `to` (undefined: anywhere). */
export function policiesFor(policies: readonly IpsecPolicy[], port: number, to?: Ip, from?: Ip): readonly IpsecPolicy[] {
  return policies.filter(({ source, destination, protocol, port: own, portMask }) =>
    (protocol === 0 || protocol === udp) && (port & portMask) === (own & portMask)
    && (to === undefined || contains(networkOf(destination), to)) && (from === undefined || contains(networkOf(source), from)));
}
