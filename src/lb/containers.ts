// Which containers a rule selects, without trying every one for every rule.
import type { Ip } from "../std/ip.ts";
import type { BackendRule, Service, ServingContainer } from "./types.ts";

type SelectRule = Extract<BackendRule, { readonly kind: "select" }>;

/** The containers of every node. */
export interface Containers {
  /** Those that serve by the rule, in their order. */
  selectedBy(rule: SelectRule): readonly ServingContainer[];
  /** Those at that address; none: it is no container's. */
  at(address: Ip): readonly ServingContainer[];
  /** Whether there is one that is a backend by that id. */
  runs(id: string): boolean;
}

/** Of a container that is named by an address of its: by another it is another backend, with a health of its own. */
export function idAt({ id }: Pick<ServingContainer, "id">, address: Ip): string {
  return `${id}@${address}`;
}

/** By which it may be a backend. */
export function idsOf(container: Pick<ServingContainer, "id" | "ipv4" | "ipv6">): readonly string[] {
  return [container.id, ...addressesOf(container).map((address) => idAt(container, address))];
}

function addressesOf({ ipv4, ipv6 }: Pick<ServingContainer, "ipv4" | "ipv6">): readonly Ip[] {
  return [ipv4, ipv6].filter((address) => address !== null);
}

export function createContainers(all: readonly ServingContainer[]): Containers {
  /** By label, then by value; made when a rule asks for the label first. */
  const byLabel = new Map<string, Map<string, ServingContainer[]>>();
  let ids: ReadonlySet<string> | undefined;
  let byAddress: ReadonlyMap<Ip, readonly ServingContainer[]> | undefined;
  const having = (key: string, value: string): readonly ServingContainer[] => {
    let byValue = byLabel.get(key);
    if (byValue === undefined) {
      byValue = Map.groupBy(all.filter((one) => valueOf(one, key) !== null), (one) => valueOf(one, key) ?? "");
      byLabel.set(key, byValue);
    }
    return byValue.get(value) ?? [];
  };
  return {
    selectedBy: (rule) => {
      const label = Object.entries(rule.labels).find((entry): entry is [string, string] => entry[1] !== null);
      const some = label !== undefined ? having(...label) : rule.network !== null ? having("network", rule.network) : all;
      const selected = some.filter((one) => isSelected(rule, one));
      return rule.network === null ? withoutInner(selected) : selected;
    },
    at: (address) => (byAddress ??= groupedByAddress(all)).get(address) ?? [],
    runs: (id) => (ids ??= new Set(all.flatMap(idsOf))).has(id),
  };
}

/** A container that is on another network as well serves there: nobody from outside gets to it by an internal one. */
export function withoutInner<T extends Pick<ServingContainer, "node" | "name" | "internal">>(selected: readonly T[]): readonly T[] {
  if (!selected.some(({ internal }) => internal)) return selected;
  const open = new Set(selected.filter(({ internal }) => !internal).map(ownerOf));
  return selected.filter((one) => !one.internal || !open.has(ownerOf(one)));
}

function ownerOf({ node, name }: Pick<ServingContainer, "node" | "name">): string {
  return JSON.stringify([node, name]);
}

function groupedByAddress(all: readonly ServingContainer[]): ReadonlyMap<Ip, readonly ServingContainer[]> {
  const grouped = new Map<Ip, ServingContainer[]>();
  for (const one of all) {
    for (const address of addressesOf(one)) {
      const those = grouped.get(address);
      if (those === undefined) grouped.set(address, [one]);
      else those.push(one);
    }
  }
  return grouped;
}

/** Whether it matters to any rule of the service whether the container is there. */
export function selects(service: Service, container: ServingContainer): boolean {
  return service.backends.some((rule) => (rule.kind === "select" ? isSelected(rule, container) : rule.address === container.ipv4 || rule.address === container.ipv6));
}

export function isSelected({ network, labels }: SelectRule, container: ServingContainer): boolean {
  if (container.stopping || (network !== null && container.network !== network)) return false;
  return Object.entries(labels).every(([key, value]) => {
    const found = valueOf(container, key);
    return found !== null && (value === null || found === value);
  });
}

/** As policy has it: a field of the identity hides an own label of its name. */
export function valueOf(container: Pick<ServingContainer, "name" | "network" | "project" | "service" | "labels">, key: string): string | null {
  if (key === "name" || key === "network" || key === "project" || key === "service") return container[key];
  return Object.hasOwn(container.labels, key) ? (container.labels[key] ?? null) : null;
}
