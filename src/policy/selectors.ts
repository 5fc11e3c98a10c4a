// What a rule's words mean: every distinct meaning gets one number, so that rules, containers and addresses are compared by numbers.
import type { AddressRange, Peer, Scope } from "./types.ts";

/** The numbers that stand for the same in every policy. `any` and `containers` are matched without being listed. */
export const wellKnown = { any: 0, containers: 1, host: 2, nodes: 3, lan: 4, world: 5, internet: 6, metadata: 7 } as const;
/** Above every well-known one. */
const firstNumber = 16;

/** Number of the same words where they mean those too who match by labels that may not be their own; only what closes names it (R88). */
export function doubted(selector: number): number {
  return -selector;
}

/** How a container is told to be meant. */
export type ContainerTest =
  /** Every one of these, in order of their keys; null: with any value. */
  | { readonly kind: "labels"; readonly labels: readonly (readonly [key: string, value: string | null])[] }
  /** The service or the container of that name, in one network, in one project, or anywhere. */
  | { readonly kind: "name"; readonly home: "network" | "project" | "anywhere"; readonly where: string; readonly name: string }
  | { readonly kind: "identity"; readonly key: string };

export interface Selectors {
  ofPeer(peer: Peer, scope: Scope): number;
  ofScope(scope: Scope): number;
  readonly containers: ReadonlyMap<number, ContainerTest>;
  readonly addresses: ReadonlyMap<number, readonly AddressRange[]>;
}

export function createSelectors(): Selectors {
  const numbers = new Map<string, number>();
  const containers = new Map<number, ContainerTest>();
  const addresses = new Map<number, readonly AddressRange[]>();
  // A set that many rules name is written out once: its text, which may be long, is not built again.
  const byRanges = new Map<readonly AddressRange[], number>();

  const number = <T>(key: string, meaning: T, into: Map<number, T>): number => {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    const fresh = firstNumber + numbers.size;
    numbers.set(key, fresh);
    into.set(fresh, meaning);
    return fresh;
  };
  const ofContainers = (test: ContainerTest): number => number(JSON.stringify(test), test, containers);
  const ofLabels = (record: Readonly<Record<string, string | null>>): number => {
    const labels = Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1));
    return labels.length === 0 ? wellKnown.containers : ofContainers({ kind: "labels", labels });
  };
  const ofRanges = (ranges: readonly AddressRange[]): number => {
    const known = byRanges.get(ranges);
    if (known !== undefined) return known;
    const text = ranges.map(({ include, except }) => (except.length === 0 ? include : `${include}!${except.join("!")}`)).join();
    const found = number(`@${text}`, ranges, addresses);
    byRanges.set(ranges, found);
    return found;
  };

  const ofScope = (scope: Scope): number => {
    switch (scope.kind) {
      case "all":
        return wellKnown.containers;
      case "network":
        return ofLabels({ network: scope.name });
      case "project":
        return ofLabels({ project: scope.name });
      case "label":
        return ofLabels({ [scope.key]: scope.value });
      case "identity":
        return ofContainers({ kind: "identity", key: scope.key });
    }
  };
  const ofPeer = (peer: Peer, scope: Scope): number => {
    switch (peer.kind) {
      case "entity":
        return peer.entity === "self" ? ofScope(scope) : wellKnown[peer.entity];
      case "name":
        return ofContainers({ kind: "name", ...homeOf(peer.network, scope), name: peer.name });
      case "labels":
        return ofLabels(peer.labels);
      case "network":
        return ofLabels({ network: peer.name });
      case "addresses":
        return ofRanges(peer.ranges);
    }
  };
  return { ofPeer, ofScope, containers, addresses };
}

/** Where a name is looked for. */
function homeOf(network: string | null, scope: Scope): { readonly home: "network" | "project" | "anywhere"; readonly where: string } {
  if (network !== null) return { home: "network", where: network };
  if (scope.kind === "network" || scope.kind === "project") return { home: scope.kind, where: scope.name };
  return { home: "anywhere", where: "" };
}
