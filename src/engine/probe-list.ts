// Whom this node is to probe, from one change to the next: of thousands of services only those that changed are looked at.
import type { Backend, Service } from "../lb/types.ts";
import { probeTargets } from "./service-views.ts";
import type { ProbeTarget } from "./types.ts";

interface Looked {
  readonly service: Service;
  readonly backends: readonly Backend[] | undefined;
  readonly targets: readonly ProbeTarget[];
}

export class ProbeList {
  readonly #node: string;
  /** By the service's name. */
  #looked: ReadonlyMap<string, Looked> = new Map();
  targets: readonly ProbeTarget[] = [];

  constructor(node: string) {
    this.#node = node;
  }

  /** `backends`: by the service's name. True: the targets are others. */
  follow(services: readonly Service[], backends: ReadonlyMap<string, readonly Backend[]>): boolean {
    const before = this.#looked;
    this.#looked = new Map(services.filter(({ health }) => health.kind !== "none").map((service) => [service.name, this.#look(service, backends)] as const));
    const same = before.size === this.#looked.size && [...this.#looked].every(([name, { targets }]) => before.get(name)?.targets === targets);
    if (same) return false;
    const had = this.targets.length;
    this.targets = [...this.#looked.values()].flatMap(({ targets }) => targets);
    return had + this.targets.length > 0;
  }

  /** The same list when it says the same. */
  #look(service: Service, all: ReadonlyMap<string, readonly Backend[]>): Looked {
    const backends = all.get(service.name);
    const known = this.#looked.get(service.name);
    if (known?.service === service && known.backends === backends) return known;
    const targets = probeTargets([service], all, this.#node);
    return { service, backends, targets: known !== undefined && JSON.stringify(targets) === JSON.stringify(known.targets) ? known.targets : targets };
  }
}
