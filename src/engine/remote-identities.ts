// Which identities containers on other nodes carry, followed from one reading of them to the next.
import type { Cluster } from "../network/cluster.ts";
import { remoteChanges } from "../network/cluster-plan.ts";
import { Layered } from "../network/layered.ts";
import { identityKey } from "../policy/identity.ts";
import type { Identity, IdentityLabels } from "../policy/types.ts";

type Endpoints = Cluster["endpoints"];

interface Reading {
  /** How many carry each. */
  readonly counts: Layered<number, number>;
  /** The same object while nothing about it changed, and so is each in it as long as somebody carries it. */
  readonly identities: Layered<number, Identity>;
}

export class RemoteIdentities {
  #endpoints: Endpoints = new Map();
  #last: Reading = { counts: new Layered(), identities: new Layered() };
  readonly #readings = new WeakMap<Endpoints, Reading>();
  readonly #lists = new WeakMap<ReadonlyMap<number, Identity>, readonly Identity[]>();

  /** By number, with the labels as their nodes say. */
  of(endpoints: Endpoints): ReadonlyMap<number, Identity> {
    return this.#read(endpoints).identities;
  }

  /** How many containers on other nodes carry each number. */
  countsOf(endpoints: Endpoints): ReadonlyMap<number, number> {
    return this.#read(endpoints).counts;
  }

  /** Of several readings together, without those numbers that are here as well. There may be thousands. */
  among(readings: readonly Endpoints[], here: ReadonlyMap<number, unknown>): readonly Identity[] {
    const [first, ...others] = this.#each(readings);
    if (first === undefined) return [];
    const added = others.flatMap((all) => [...all.differing(first)].flatMap((id) => (first.has(id) ? [] : (all.get(id) ?? []))));
    const found = added.length === 0 ? this.#listOf(first) : [...this.#listOf(first), ...added];
    return [...here.keys()].some((id) => first.has(id) || others.some((all) => all.has(id))) ? found.filter(({ id }) => !here.has(id)) : found;
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
        for (const id of later.differing(all)) {
          const one = later.get(id);
          if (one !== undefined && isOther(all.get(id), identityKey(one.labels))) found.add(id);
        }
      }
    }
    // Whoever is not known yet carries it, whatever the labels.
    found.delete(0);
    return found;
  }

  #each(readings: readonly Endpoints[]): readonly Layered<number, Identity>[] {
    return [...new Set(readings.map((endpoints) => this.#read(endpoints).identities))];
  }

  #listOf(identities: ReadonlyMap<number, Identity>): readonly Identity[] {
    const list = this.#lists.get(identities) ?? [...identities.values()];
    this.#lists.set(identities, list);
    return list;
  }

  #read(endpoints: Endpoints): Reading {
    const known = this.#readings.get(endpoints);
    if (known !== undefined) return known;
    const { gone, come } = remoteChanges(this.#endpoints, endpoints);
    const [counts, identities] = [new Map<number, number>(), new Map<number, Identity | undefined>()];
    const add = (id: number, by: number): number => {
      const count = (counts.get(id) ?? this.#last.counts.get(id) ?? 0) + by;
      counts.set(id, count);
      return count;
    };
    for (const { identity: id, labels } of come) if (add(id, 1) === 1) identities.set(id, { id, labels });
    for (const { identity: id } of gone) if (add(id, -1) === 0) identities.set(id, undefined);
    this.#endpoints = endpoints;
    this.#last = {
      counts: this.#last.counts.with(new Map([...counts].map(([id, count]) => [id, count === 0 ? undefined : count]))),
      identities: this.#last.identities.with(identities),
    };
    this.#readings.set(endpoints, this.#last);
    return this.#last;
  }
}

function isOther(one: Identity | undefined, key: string): boolean {
  return one !== undefined && identityKey(one.labels) !== key;
}
