// Which subnets of another node's networks are believed: those within its slice, and outside of the pool those that a container may have.
import type { NodeNetwork } from "../network/cluster.ts";
import { addressOf, contains, familyOf, lengthOf } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";
import type { Span } from "./span.ts";

export interface SubnetRules {
  /** The installation's. */
  readonly pool: readonly Span[];
  /** What no container has. */
  readonly nobodys: readonly Span[];
  /** Hosts' own addresses. */
  readonly underlay: ReadonlySet<Ip>;
}

/** Bits. Whoever names more than that for a network would be given traffic that is the world's. */
const shortest = { 4: 8, 6: 16 } as const;

/** `slices`: the node's. `complain`: told why a subnet is not believed; the network's other one may be. */
export function believedNetworks(
  networks: readonly NodeNetwork[], slices: readonly Span[], { pool, nobodys, underlay }: SubnetRules, complain: (subnet: Cidr, why: string) => void,
): readonly NodeNetwork[] {
  const seen = new Set<Cidr>();
  const wrong = (subnet: Cidr): string | undefined => {
    if (seen.has(subnet)) return "it is another network's, too";
    seen.add(subnet);
    if (slices.some((slice) => lengthOf(subnet) >= lengthOf(slice.cidr) && slice.has(addressOf(subnet)))) return undefined;
    if (pool.some((span) => span.meets(subnet))) return "it is of the pool and not within its node's slice";
    if (lengthOf(subnet) < shortest[familyOf(subnet)]) return "it is too large";
    if (nobodys.some((span) => span.meets(subnet)) || holdsAny(subnet, underlay)) return "it is no subnet of containers";
    return undefined;
  };
  const believed = (subnet: Cidr | null): Cidr | null => {
    const why = subnet === null ? undefined : wrong(subnet);
    if (subnet !== null && why !== undefined) complain(subnet, why);
    return why === undefined ? subnet : null;
  };
  return networks.map(({ name, ipv4, ipv6 }) => ({ name, ipv4: believed(ipv4), ipv6: believed(ipv6) })).filter(({ ipv4, ipv6 }) => ipv4 !== null || ipv6 !== null);
}

function holdsAny(subnet: Cidr, addresses: ReadonlySet<Ip>): boolean {
  for (const address of addresses) if (contains(subnet, address)) return true;
  return false;
}
