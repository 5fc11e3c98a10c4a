// Which other networks a container is on: its questions leave by one of its devices, and may be about the names of all; so do its answers.
import { NameLayout } from "../abi/generated.ts";
import type { LinkInfo } from "../kernel/types.ts";
import { isCableDevice } from "./host.ts";
import type { Tables } from "./tables.ts";

/** Cables whose far ends share a namespace are one container's. */
export function writeNameScopes({ endpoints, nameScopes, containers }: Tables, links: readonly LinkInfo[]): void {
  const networkOf = new Map([...endpoints.entries()].map(([index, entry]) => [index, entry.network]));
  const several = severalOf(links, networkOf);
  const wanted = scopesOf(several, networkOf);
  for (const [index, scope] of [...nameScopes.entries()]) {
    const networks = wanted.get(index);
    if (networks === undefined) nameScopes.delete(index);
    else if (networks.every((network, i) => scope.networks[i] === network)) wanted.delete(index);
  }
  for (const [index, networks] of wanted) nameScopes.set(index, { networks });
  const numbers = numbersOf(several);
  for (const [index, number] of [...containers.entries()]) {
    if (numbers.get(index) === number) numbers.delete(index);
    else if (!numbers.has(index)) containers.delete(index);
  }
  for (const [index, number] of numbers) containers.set(index, number);
}

/** The ifindexes of each container that is on several networks. */
export function severalOf(links: readonly LinkInfo[], networkOf: ReadonlyMap<number, number>): readonly (readonly number[])[] {
  const cables = links.filter((link) => isCableDevice(link.name) && networkOf.has(link.index) && link.peerNamespace !== null);
  const containers = [...Map.groupBy(cables, (link) => link.peerNamespace).values()].map((own) => own.map(({ index }) => index));
  return containers.filter((own) => new Set(own.map((index) => networkOf.get(index))).size > 1);
}

/** Of one container one: its lowest ifindex. */
export function numbersOf(several: readonly (readonly number[])[]): Map<number, number> {
  return new Map(several.flatMap((own) => own.map((index) => [index, Math.min(...own)] as const)));
}

/** By ifindex. Ordered by number, so that the same name means the same every time. */
export function scopesOf(several: readonly (readonly number[])[], networkOf: ReadonlyMap<number, number>): Map<number, readonly number[]> {
  return new Map(several.flatMap((own) => own.map((index) => {
    const others = [...new Set(own.map((one) => networkOf.get(one) ?? 0))].filter((network) => network !== networkOf.get(index)).toSorted((a, b) => a - b);
    return [index, Array.from({ length: NameLayout.SCOPES }, (_, i) => others[i] ?? 0)] as const;
  })));
}
