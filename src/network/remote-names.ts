// The names of containers on other nodes, as containers here may ask for them: every name once alone and once with its network's, of which only one is kept.
import type { Ip } from "../std/ip.ts";
import type { Descended } from "./cluster.ts";
import { Layered } from "./layered.ts";

interface OfNetwork {
  /** `.network`, in small letters. */
  readonly suffix: string;
  /** By name alone, in small letters. */
  readonly names: Layered<string, readonly Ip[]>;
}

const nobody: readonly Ip[] = [];

/** Immutable. Keys are `NUMBER/name` and `NUMBER/name.network`. */
export class RemoteNames implements Descended<string, readonly Ip[]> {
  readonly #networks: ReadonlyMap<number, OfNetwork>;

  /** Left out: empty. */
  constructor(networks: ReadonlyMap<number, OfNetwork> = new Map()) {
    this.#networks = networks;
  }

  /** Of the name alone. */
  listOf(number: number, name: string): readonly Ip[] {
    return this.#networks.get(number)?.names.get(name) ?? nobody;
  }

  /** By network's number and name alone; undefined: nobody is called so any more. `called`: the networks' names. The same object when nothing is different. */
  with(changes: ReadonlyMap<number, ReadonlyMap<string, readonly Ip[] | undefined>>, called: ReadonlyMap<number, string>): RemoteNames {
    const networks = new Map(this.#networks);
    let same = true;
    for (const [number, lists] of changes) {
      const before = networks.get(number);
      const name = called.get(number);
      const suffix = name === undefined ? (before?.suffix ?? "") : `.${name.toLowerCase()}`;
      const known = before?.names ?? new Layered<string, readonly Ip[]>();
      const names = known.with(lists);
      if (names === known && (suffix === before?.suffix || names.size === 0)) continue;
      same = false;
      if (names.size === 0) networks.delete(number);
      else networks.set(number, { suffix, names });
    }
    return same ? this : new RemoteNames(networks);
  }

  *differing(other: RemoteNames): Generator<string> {
    if (this === other) return;
    for (const number of new Set([...this.#networks.keys(), ...other.#networks.keys()])) {
      const [mine, theirs] = [this.#networks.get(number), other.#networks.get(number)];
      if (mine === theirs) continue;
      if (mine !== undefined && theirs !== undefined && mine.suffix === theirs.suffix) {
        for (const name of mine.names.differing(theirs.names)) yield* keysOf(number, name, mine.suffix);
        continue;
      }
      for (const one of [mine, theirs]) if (one !== undefined) for (const name of one.names.keys()) yield* keysOf(number, name, one.suffix);
    }
  }

  get isEmpty(): boolean {
    return this.#networks.size === 0;
  }

  /** Looks at all of them. */
  get size(): number {
    let size = 0;
    for (const { suffix, names } of this.#networks.values()) for (const name of names.keys()) size += names.has(`${name}${suffix}`) ? 1 : 2;
    return size;
  }

  get(key: string): readonly Ip[] | undefined {
    const slash = key.indexOf("/");
    const found = this.#networks.get(Number(key.slice(0, slash)));
    return found === undefined ? undefined : addressesOf(found, key.slice(slash + 1));
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  *entries(): MapIterator<[string, readonly Ip[]]> {
    for (const [number, network] of this.#networks) {
      const { suffix, names } = network;
      for (const [name, list] of names) {
        yield [`${number}/${name}`, addressesOf(network, name) ?? list];
        // One whose own name has the network's behind it comes in its own turn.
        if (!names.has(`${name}${suffix}`)) yield [`${number}/${name}${suffix}`, list];
      }
    }
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<readonly Ip[]> {
    for (const [, list] of this.entries()) yield list;
  }

  [Symbol.iterator](): MapIterator<[string, readonly Ip[]]> {
    return this.entries();
  }

  forEach(callback: (value: readonly Ip[], key: string, map: ReadonlyMap<string, readonly Ip[]>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }
}

function* keysOf(number: number, name: string, suffix: string): Generator<string> {
  yield `${number}/${name}`;
  yield `${number}/${name}${suffix}`;
}

/** Whoever is called `db`, and whoever is called `db.shop`, on the network `shop`. */
function addressesOf({ suffix, names }: OfNetwork, text: string): readonly Ip[] | undefined {
  const whole = names.get(text);
  const alone = text.endsWith(suffix) ? names.get(text.slice(0, -suffix.length)) : undefined;
  if (whole === undefined || alone === undefined) return whole ?? alone;
  return [...new Set([...whole, ...alone])].toSorted();
}
