// Addresses that services name as backends and that containers alone can have: on which node they are, though nobody may tell of a container there.
import type { Service, ServingContainer } from "../lb/types.ts";
import { slicesOf } from "../network/cluster.ts";
import { gatewaysOf } from "../network/state.ts";
import type { State } from "../network/types.ts";
import { contains } from "../std/ip.ts";
import type { Cidr, Ip } from "../std/ip.ts";

type Surroundings = Pick<State, "networks" | "cluster">;

/** A prefix, and the static peer that alone knows who has its addresses; null: whoever has one of them is known here. */
interface Range {
  readonly prefix: Cidr;
  readonly node: string | null;
}

export class NamedAddresses {
  readonly #pool: readonly Cidr[];
  #named: { readonly of: readonly Service[]; readonly all: ReadonlySet<Ip> } = { of: [], all: new Set() };
  #places: { readonly named: ReadonlySet<Ip>; readonly of: Surroundings; readonly all: ReadonlyMap<Ip, ServingContainer> } | undefined;

  /** `pool`: of which containers get their addresses. */
  constructor(pool: readonly Cidr[]) {
    this.#pool = pool;
  }

  of(services: readonly Service[]): ReadonlySet<Ip> {
    if (this.#named.of !== services) {
      this.#named = { of: services, all: new Set(services.flatMap(({ backends }) => backends.flatMap((rule) => (rule.kind === "address" ? rule.address : [])))) };
    }
    return this.#named.all;
  }

  /**
   * Of each that containers alone can have, without the gateways here: whoever is there on a static peer that nobody tells of, else one that never
   * serves, so that an address whose container is gone is not taken for a server's. The same objects as long as nothing changes.
   */
  places(services: readonly Service[], { networks, cluster }: Surroundings): readonly ServingContainer[] {
    const named = this.of(services);
    const before = this.#places;
    if (before?.named === named && before.of.networks === networks && before.of.cluster.nodes === cluster.nodes && before.of.cluster.networks === cluster.networks) return [...before.all.values()];
    const ranges = rangesOf({ networks, cluster }, this.#pool);
    const gateways = gatewaysOf({ networks });
    const all = new Map([...named].flatMap((address) => {
      const range = gateways.has(address) ? undefined : ranges.find(({ prefix }) => contains(prefix, address));
      if (range === undefined) return [];
      const was = before?.all.get(address);
      return [[address, was?.node === range.node ? was : placeAt(address, range.node)] as const];
    }));
    this.#places = { named, of: { networks, cluster }, all };
    return [...all.values()];
  }
}

function rangesOf({ networks, cluster }: Surroundings, pool: readonly Cidr[]): readonly Range[] {
  const subnets = [...networks.values()].flatMap(({ ipv4, ipv6 }) => [ipv4?.prefix, ipv6?.prefix].filter((prefix) => prefix !== undefined));
  const peers = cluster.kind === "static" ? [...cluster.nodes.values()].flatMap((node) => slicesOf(node).map((prefix): Range => ({ prefix, node: node.name }))) : [];
  const others = [...cluster.networks.values()].flat().flatMap(slicesOf);
  return [...[...subnets, ...slicesOf(cluster)].map((prefix) => ({ prefix, node: null })), ...peers, ...[...others, ...pool].map((prefix) => ({ prefix, node: null }))];
}

function placeAt(address: Ip, node: string | null): ServingContainer {
  const six = address.includes(":");
  return {
    node, id: address, name: null, network: null, project: null, service: null, labels: {}, stopping: node === null, ipv4: six ? null : address, ipv6: six ? address : null,
  };
}
