// Which addresses are other nodes', and which the installation hands out, as policy asks for them.
import { slicesOf } from "../network/cluster.ts";
import type { Cluster } from "../network/cluster.ts";
import type { PolicyFacts } from "../policy/types.ts";
import { bitsOf, cidrOf, contains, familyOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";

type Prefixes = Pick<PolicyFacts, "nodes" | "pool">;

export class ClusterPrefixes {
  readonly #pool: readonly Cidr[];
  readonly #known = new WeakMap<Cluster["nodes"], Prefixes>();

  constructor(pool: readonly Cidr[]) {
    this.#pool = pool;
  }

  /** A static peer's slice may lie outside of what is this node's pool. */
  of({ nodes }: Cluster): Prefixes {
    const known = this.#known.get(nodes);
    if (known !== undefined) return known;
    const others = [...nodes.values()];
    const slices = others.flatMap(slicesOf);
    const prefixes = {
      nodes: others.flatMap(({ addresses }) => addresses.map((address) => cidrOf(address, bitsOf(familyOf(address))))).toSorted(),
      pool: [...this.#pool, ...slices.filter((slice) => !this.#pool.some((pool) => contains(pool, slice)))],
    };
    this.#known.set(nodes, prefixes);
    return prefixes;
  }
}
