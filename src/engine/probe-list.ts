// Whom this node is to probe, from one change to the next: of thousands of services only those that changed are looked at.
import type { Backend, Service } from "../lb/types.ts";
import { probeTargets } from "./service-views.ts";
import type { ProbeTarget } from "./types.ts";

export class ProbeList {
  readonly #node: string;
  /** By the service's name; those that have any. */
  readonly #known = new Map<string, readonly ProbeTarget[]>();
  targets: readonly ProbeTarget[] = [];

  constructor(node: string) {
    this.#node = node;
  }

  /** `names`: services that are not what they were; `services` and `backends` by name, as they are. True: the targets are others. */
  follow(names: Iterable<string>, services: ReadonlyMap<string, Service>, backends: ReadonlyMap<string, readonly Backend[]>): boolean {
    let changed = false;
    for (const name of names) {
      const service = services.get(name);
      const targets = service === undefined ? [] : probeTargets([service], backends, this.#node);
      if (JSON.stringify(targets) === JSON.stringify(this.#known.get(name) ?? [])) continue;
      changed = true;
      if (targets.length === 0) this.#known.delete(name);
      else this.#known.set(name, targets);
    }
    if (changed) this.targets = [...this.#known.values()].flat();
    return changed;
  }
}
