// Which number each set of labels has: what the nodes agreed on, what it had before, or a fresh one.
import { firstProvisional } from "../network/cluster.ts";
import type { Cluster } from "../network/cluster.ts";

/** Below it numbers have a fixed meaning in flows: 1 the host, 2 the world. */
export const firstIdentity = 256;
/** A tunnel's key has 24 bits. */
const lastProvisional = 2 ** 24 - 1;

export class IdentityNumbers {
  /** Identity keys in use and lately used → number, and back: no number is two keys'. */
  #numbers = new Map<string, number>();
  #holders = new Map<number, string>();
  readonly #agreeable = createRing(firstIdentity, firstProvisional - 1);
  readonly #provisional = createRing(firstProvisional, lastProvisional);

  recall(key: string, number: number): void {
    this.#keep(key, number);
    this.skip(number);
  }

  /** None up to this one is given out next. */
  skip(number: number): void {
    (number < firstProvisional ? this.#agreeable : this.#provisional).skip(number);
  }

  /**
   * What the nodes agreed on; until they have, among nodes that agree, one of this node's own. `carried`: what the container bears already,
   * which is kept where it is nobody else's: the kernel knows it by that.
   */
  of(key: string, { kind, numbers }: Pick<Cluster, "kind" | "numbers">, carried = 0): number {
    const agreed = numbers.get(key);
    if (agreed !== undefined) return this.#keep(key, agreed);
    // A number below may be, or become, somebody else's by agreement.
    const fits = (number: number): boolean => kind !== "etcd" || number >= firstProvisional;
    const known = this.#numbers.get(key);
    if (known !== undefined && fits(known)) return known;
    if (carried !== 0 && fits(carried) && !this.#holders.has(carried)) return this.#keep(key, carried);
    return this.#keep(key, (kind === "etcd" ? this.#provisional : this.#agreeable).next((number) => this.#holders.has(number)));
  }

  /** A container with labels that no other had is forgotten some time after it went (R31). */
  prune(used: ReadonlyMap<string, number>): void {
    if (this.#numbers.size <= 2 * used.size + 256) return;
    this.#numbers = new Map(used);
    this.#holders = new Map([...used].map(([key, number]) => [number, key]));
  }

  #keep(key: string, number: number): number {
    const holder = this.#holders.get(number);
    if (holder === key) return number;
    if (holder !== undefined) this.#numbers.delete(holder);
    const before = this.#numbers.get(key);
    if (before !== undefined) this.#holders.delete(before);
    this.#numbers.set(key, number);
    this.#holders.set(number, key);
    return number;
  }
}

interface Ring {
  skip(number: number): void;
  next(isTaken: (number: number) => boolean): number;
}

/** One number after the other, so that one that has just been freed rests as long as it can. */
function createRing(first: number, last: number): Ring {
  let at = first;
  const after = (number: number): number => (number >= last ? first : number + 1);
  return {
    skip: (number) => {
      if (number >= at) at = after(number);
    },
    next: (isTaken) => {
      while (isTaken(at)) at = after(at);
      const number = at;
      at = after(at);
      return number;
    },
  };
}
