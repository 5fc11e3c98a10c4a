// Addresses that services name as backends and that containers alone can have: on which node they are, though nobody may tell of a container there.
import type { Service, ServingContainer } from "../lb/types.ts";
import { slicesOf } from "../network/cluster.ts";
import { gatewaysOf } from "../network/state.ts";
import type { State } from "../network/types.ts";
import { changesOf } from "../std/changes.ts";
import { familyOf, firstOf, ipToBigInt, lastOf } from "../std/ip.ts";
import type { Cidr, Family, Ip } from "../std/ip.ts";
import type { Sliced } from "../std/sliced.ts";

type Surroundings = Pick<State, "networks" | "cluster">;

/** Addresses in a row, and the static peer that alone knows who has them; null: whoever has one of them is known here. */
interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
  readonly node: string | null;
}

interface Named {
  readonly family: Family;
  readonly value: bigint;
  /** How many rules name it. */
  users: number;
}

export class NamedAddresses {
  readonly #pool: readonly Cidr[];
  #services: readonly Service[] = [];
  readonly #named = new Map<Ip, Named>();
  #around: Surroundings | undefined;
  #ranges: readonly Range[] = [];
  /** By address, those of `places`. */
  readonly #places = new Map<Ip, ServingContainer>();

  /** `pool`: of which containers get their addresses. */
  constructor(pool: readonly Cidr[]) {
    this.#pool = pool;
  }

  /** Of thousands of services only those that changed are looked at, as long as networks and nodes are the same. */
  *follow(services: readonly Service[], around: Surroundings): Sliced<void> {
    const { left, came } = changesOf(this.#services, services);
    this.#services = services;
    const changed = [...yield* this.#count(left, -1), ...yield* this.#count(came, 1)];
    const moved = this.#look(around);
    const gateways = gatewaysOf(around);
    for (const address of moved ? new Set([...changed, ...this.#named.keys()]) : changed) {
      this.#place(address, gateways);
      yield;
    }
  }

  has(address: Ip | null): boolean {
    return address !== null && this.#named.has(address);
  }

  /**
   * Of each that containers alone can have, without the gateways here: whoever is there on a static peer that nobody tells of, else one that never
   * serves, so that an address whose container is gone is not taken for a server's. The same objects as long as nothing changes.
   */
  get places(): readonly ServingContainer[] {
    return [...this.#places.values()];
  }

  *#count(services: readonly Service[], by: 1 | -1): Sliced<readonly Ip[]> {
    const named: Ip[] = [];
    for (const { backends } of services) {
      for (const rule of backends) {
        if (rule.kind !== "address") continue;
        const { address } = rule;
        const one = this.#named.get(address) ?? { family: familyOf(address), value: ipToBigInt(address), users: 0 };
        one.users += by;
        if (one.users === 0) this.#named.delete(address);
        else this.#named.set(address, one);
        named.push(address);
      }
      yield;
    }
    return named;
  }

  /** True: the ranges may be others. Where no address is named nobody asks for them. */
  #look({ networks, cluster }: Surroundings): boolean {
    if (this.#named.size === 0) return false;
    const before = this.#around;
    if (before?.networks === networks && before.cluster.nodes === cluster.nodes && before.cluster.networks === cluster.networks) return false;
    this.#around = { networks, cluster };
    this.#ranges = rangesOf({ networks, cluster }, this.#pool);
    return true;
  }

  #place(address: Ip, gateways: ReadonlySet<Ip>): void {
    const named = gateways.has(address) ? undefined : this.#named.get(address);
    const range = named && this.#ranges.find(({ family, first, last }) => family === named.family && first <= named.value && named.value <= last);
    if (range === undefined) this.#places.delete(address);
    else if (this.#places.get(address)?.node !== range.node) this.#places.set(address, placeAt(address, range.node));
  }
}

function rangesOf({ networks, cluster }: Surroundings, pool: readonly Cidr[]): readonly Range[] {
  const range = (node: string | null) => (prefix: Cidr): Range => ({ family: familyOf(prefix), first: firstOf(prefix), last: lastOf(prefix), node });
  const peers = cluster.kind === "static" ? [...cluster.nodes.values()].flatMap((node) => slicesOf(node).map(range(node.name))) : [];
  const whole = pool.map(range(null));
  const subnets = [...networks.values()].flatMap(({ ipv4, ipv6 }) => [ipv4?.prefix, ipv6?.prefix].filter((prefix) => prefix !== undefined));
  const others = new Set([...subnets, ...slicesOf(cluster), ...[...cluster.networks.values()].flat().flatMap(slicesOf)]);
  const outside = [...others].map(range(null)).filter((one) => !whole.some(({ family, first, last }) => family === one.family && first <= one.first && one.last <= last));
  return [...peers, ...whole, ...outside];
}

function placeAt(address: Ip, node: string | null): ServingContainer {
  const six = address.includes(":");
  return {
    node, id: address, name: null, network: null, project: null, service: null, labels: {}, stopping: node === null, ipv4: six ? null : address, ipv6: six ? address : null,
  };
}
