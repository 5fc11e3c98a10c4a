// Which identities containers on other nodes carry, followed from one reading of them to the next.
import type { Cluster } from "../network/cluster.ts";
import { remoteChanges } from "../network/cluster-plan.ts";
import { Layered } from "../network/layered.ts";
import { identityKey } from "../policy/identity.ts";
import type { Identity, IdentityLabels } from "../policy/types.ts";

type Endpoints = Cluster["endpoints"];

export class RemoteIdentities {
  #endpoints: Endpoints = new Map();
  /** How many carry each. */
  #counts = new Layered<number, number>();
  #identities = new Layered<number, Identity>();

  /** By number, with the labels as their nodes say. The same object while nothing about it changed; labels stay the same object as long as somebody carries them. */
  of(endpoints: Endpoints): ReadonlyMap<number, Identity> {
    this.#follow(endpoints);
    return this.#identities;
  }

  /** How many containers on other nodes carry each number. */
  countsOf(endpoints: Endpoints): ReadonlyMap<number, number> {
    this.#follow(endpoints);
    return this.#counts;
  }

  /** Of several readings together, without those numbers that are here as well. There may be thousands. */
  among(readings: readonly Endpoints[], here: ReadonlyMap<number, unknown>): readonly Identity[] {
    const [first, ...others] = this.#each(readings);
    const found = first === undefined ? [] : [...first.values()].filter(({ id }) => !here.has(id));
    for (const all of others) for (const [id, one] of all) if (!here.has(id) && first?.has(id) !== true) found.push(one);
    return found;
  }

  /** Numbers that mean other labels in one reading than in another, or than those that are carried here. */
  ambiguous(readings: readonly Endpoints[], carried: Iterable<readonly [number, IdentityLabels]>): ReadonlySet<number> {
    const found = new Set<number>();
    const keys = new Map<number, string>();
    const each = this.#each(readings);
    for (const [id, labels] of carried) {
      const key = identityKey(labels);
      if ((keys.get(id) ?? key) !== key || each.some((all) => isOther(all.get(id), key))) found.add(id);
      keys.set(id, key);
    }
    for (const [i, all] of each.entries()) {
      for (const later of each.slice(i + 1)) {
        for (const [id, one] of later) if (all.get(id) !== one && isOther(all.get(id), identityKey(one.labels))) found.add(id);
      }
    }
    // Whoever is not known yet carries it, whatever the labels.
    found.delete(0);
    return found;
  }

  #each(readings: readonly Endpoints[]): readonly ReadonlyMap<number, Identity>[] {
    return [...new Set(readings.map((endpoints) => this.of(endpoints)))];
  }

  #follow(endpoints: Endpoints): void {
    if (endpoints === this.#endpoints) return;
    const { gone, come } = remoteChanges(this.#endpoints, endpoints);
    const [counts, identities] = [new Map<number, number>(), new Map<number, Identity | undefined>()];
    const add = (id: number, by: number): number => {
      const count = (counts.get(id) ?? this.#counts.get(id) ?? 0) + by;
      counts.set(id, count);
      return count;
    };
    for (const { identity: id, labels } of come) if (add(id, 1) === 1) identities.set(id, { id, labels });
    for (const { identity: id } of gone) if (add(id, -1) === 0) identities.set(id, undefined);
    this.#endpoints = endpoints;
    this.#counts = this.#counts.with(new Map([...counts].map(([id, count]) => [id, count === 0 ? undefined : count])));
    this.#identities = this.#identities.with(identities);
  }
}

function isOther(one: Identity | undefined, key: string): boolean {
  return one !== undefined && identityKey(one.labels) !== key;
}
