// Which containers a rule selects, without trying every one for every rule.
import type { BackendRule, Service, ServingContainer } from "./types.ts";

type SelectRule = Extract<BackendRule, { readonly kind: "select" }>;

/** The containers of every node. */
export interface Containers {
  /** Those that serve by the rule, in their order. */
  selectedBy(rule: SelectRule): readonly ServingContainer[];
  /** Whether there is one with that id. */
  runs(id: string): boolean;
}

export function createContainers(all: readonly ServingContainer[]): Containers {
  /** By label, then by value; made when a rule asks for the label first. */
  const byLabel = new Map<string, Map<string, ServingContainer[]>>();
  let ids: ReadonlySet<string> | undefined;
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
      return some.filter((one) => isSelected(rule, one));
    },
    runs: (id) => (ids ??= new Set(all.map((one) => one.id))).has(id),
  };
}

/** Whether a container is a backend of the service by any of its rules. */
export function selects(service: Service, container: ServingContainer): boolean {
  return service.backends.some((rule) => rule.kind === "select" && isSelected(rule, container));
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
