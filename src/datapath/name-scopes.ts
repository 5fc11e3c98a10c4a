// Which other networks a container is on: its questions leave by one of its devices, and may be about the names of all.
import { NameLayout } from "../abi/generated.ts";
import type { LinkInfo } from "../kernel/types.ts";
import { isCableDevice } from "./host.ts";
import type { Tables } from "./tables.ts";

/** Cables whose far ends share a namespace are one container's. */
export function writeNameScopes({ endpoints, nameScopes }: Tables, links: readonly LinkInfo[]): void {
  const wanted = scopesOf(links, new Map([...endpoints.entries()].map(([index, entry]) => [index, entry.network])));
  for (const [index, scope] of [...nameScopes.entries()]) {
    const networks = wanted.get(index);
    if (networks === undefined) nameScopes.delete(index);
    else if (networks.every((network, i) => scope.networks[i] === network)) wanted.delete(index);
  }
  for (const [index, networks] of wanted) nameScopes.set(index, { networks });
}

/** By ifindex; only of containers on several networks. Ordered by number, so that the same name means the same every time. */
export function scopesOf(links: readonly LinkInfo[], networkOf: ReadonlyMap<number, number>): Map<number, readonly number[]> {
  const containers = Map.groupBy(links.filter((link) => isCableDevice(link.name) && networkOf.has(link.index) && link.peerNamespace !== null), (link) => link.peerNamespace);
  const scopes = new Map<number, readonly number[]>();
  for (const cables of containers.values()) {
    for (const { index } of cables) {
      const own = networkOf.get(index);
      const others = [...new Set(cables.map((cable) => networkOf.get(cable.index) ?? 0))].filter((network) => network !== own).toSorted((a, b) => a - b);
      if (others.length > 0) scopes.set(index, Array.from({ length: NameLayout.SCOPES }, (_, i) => others[i] ?? 0));
    }
  }
  return scopes;
}
