// What is claimed once and for good: slices of the pool by nodes, numbers by identities. A store that was emptied makes nothing here forgotten.
import { Layered } from "../engine/shared.ts";
import type { PoolConfig } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import { contains, familyOf, lengthOf, overlaps } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";
import type { Complaints } from "./complaints.ts";
import type { Place } from "./keys.ts";
import type { SharedRecord } from "./records.ts";

export interface Registry {
  /** @returns the nodes whose slices changed. @throws HawserError when it cannot be. */
  put(record: Extract<SharedRecord, { kind: "slice" | "identity" | "identity key" }>): readonly string[];
  /** It stands in the store no more. A number and an own slice hold all the same; another's slice was given back. @returns as `put`. */
  gone(place: Place): readonly string[];
  /** Nothing is known to stand any more, until it is put again. */
  emptied(): void;
  /** Everything that stands was put again. Slices that do not were given back, unless the store has lost this node's own, too. @returns as `put`. */
  completed(): readonly string[];
  ownerOf(slice: Cidr): string | undefined;
  /** One that stands in the store before one that is only remembered. */
  sliceOf(node: string, family: Family): Cidr | null;
  /** What else is the node's, of either family. */
  moreOf(node: string): readonly Cidr[];
  slices(): Iterable<Cidr>;
  /** undefined: none, or one that another identity has. */
  agreed(identityKey: string): number | undefined;
  /** Whose the number is. */
  keyOf(number: number): string | undefined;
  /** Whether slice or number are in the store. */
  stands(what: Cidr | string): boolean;
  /** Whether anything known is not in the store. */
  incomplete(): boolean;
  numbers(): ReadonlyMap<string, number>;
  /** @returns whether `numbers` is different now. */
  settle(): boolean;
  /** Whether a number passed from one identity to another since it was last asked. */
  replaced(): boolean;
  records(): Iterable<Extract<SharedRecord, { kind: "slice" | "identity" | "identity key" }>>;
}

interface Claimed<T> {
  readonly value: T;
  stands: boolean;
}

export function openRegistry({ self, pool, complain }: { readonly self: string; readonly pool: PoolConfig; readonly complain: Complaints }): Registry {
  const slices = new Map<Cidr, Claimed<string>>();
  /** Those of another length than this node's configuration says. */
  const unlike = new Set<Cidr>();
  /** Made of `slices` when it is asked for; undefined: they changed. */
  let byNode: ReadonlyMap<string, readonly Cidr[]> | undefined;
  const byNumber = new Map<number, Claimed<string>>();
  const byKey = new Map<string, Claimed<number>>();
  let replaced = false;
  /** Something may not stand. */
  let doubtful = false;
  let numbers = new Layered<string, number>();
  /** Identity keys whose number may be another now. */
  const touched = new Set<string>();

  const putSlice = (slice: Cidr, node: string): readonly string[] => {
    const [within, length] = familyOf(slice) === 4 ? [pool.ipv4, pool.ipv4NodePrefix] : [pool.ipv6, pool.ipv6NodePrefix];
    if (within === null || !contains(within, slice)) throw new HawserError("BAD_REQUEST", `the slice ${slice} is not of the pool ${within ?? "(IPv6 is off)"}`);
    // Prefixes of one length are the same or apart.
    if (lengthOf(slice) !== length) unlike.add(slice);
    const rivals = lengthOf(slice) === length ? unlike : slices.keys();
    const rival = [...rivals].flatMap((other) => {
      const owner = slices.get(other)?.value;
      return owner !== undefined && owner !== node && other !== slice && overlaps(other, slice) ? [[other, owner] as const] : [];
    })[0];
    if (rival !== undefined) throw new HawserError("OVERLAP", `the slice ${slice} of ${node} overlaps ${rival[0]} of ${rival[1]}`);
    if (lengthOf(slice) !== length) {
      complain(`slices of ${node}`, `${slice} is not a /${length}, as pool.ipv${familyOf(slice)}NodePrefix says here; it should be the same on every node`);
    }
    const before = slices.get(slice)?.value;
    slices.set(slice, { value: node, stands: true });
    if (before !== node) byNode = undefined;
    return before === node ? [] : [node, ...(before === undefined ? [] : [before])];
  };

  const giveBack = (which: (one: readonly [Cidr, Claimed<string>]) => boolean): readonly string[] => {
    const given = [...slices].filter(which);
    for (const [slice] of given) {
      slices.delete(slice);
      unlike.delete(slice);
    }
    byNode = undefined;
    return given.map(([, { value }]) => value);
  };

  const ofNode = (node: string): readonly Cidr[] => {
    const all = byNode ?? new Map([...Map.groupBy(slices, ([, { value }]) => value)].map(([name, own]) => [name, own.map(([slice]) => slice).toSorted()] as const));
    byNode = all;
    return all.get(node) ?? [];
  };

  const sliceOf = (node: string, family: Family): Cidr | null => {
    const own = ofNode(node).filter((slice) => familyOf(slice) === family);
    return own.find((slice) => slices.get(slice)?.stands) ?? own[0] ?? null;
  };

  const agreed = (key: string): number | undefined => {
    const number = byKey.get(key)?.value;
    return number !== undefined && byNumber.get(number)?.value === key ? number : undefined;
  };

  const stands = (what: Cidr | string): boolean => {
    const slice = slices.get(what as Cidr);
    if (slice !== undefined) return slice.stands;
    const number = agreed(what);
    return number !== undefined && byKey.get(what)?.stands === true && byNumber.get(number)?.stands === true;
  };

  return {
    agreed,
    put: (record) => {
      if (record.kind === "slice") return putSlice(record.slice, record.node);
      const { number } = record;
      if (record.kind === "identity") {
        const before = byNumber.get(number)?.value;
        // The same text once: a key is long, and both maps hold it.
        byNumber.set(number, { value: before === record.key ? before : record.key, stands: true });
        if (before === record.key) return [];
        touched.add(record.key);
        if (before !== undefined) touched.add(before);
        replaced ||= before !== undefined;
      } else {
        const before = byKey.get(record.key)?.value;
        const other = byNumber.get(number)?.value;
        byKey.set(other === record.key ? other : record.key, { value: number, stands: true });
        touched.add(record.key);
        if (other !== undefined && other !== record.key) throw new HawserError("BAD_REQUEST", `the number ${number} is another identity's`);
        replaced ||= before !== undefined && before !== number;
      }
      return [];
    },
    gone: (place) => {
      doubtful = true;
      if (place.kind === "slice") {
        for (const [slice, claimed] of slices) if (slice.startsWith(`${place.address}/`)) claimed.stands = false;
        return giveBack(([slice, { value }]) => slice.startsWith(`${place.address}/`) && value !== self);
      }
      const claimed = place.kind === "identity" ? byNumber.get(place.number) : undefined;
      if (claimed !== undefined) claimed.stands = false;
      return [];
    },
    emptied: () => {
      doubtful = true;
      for (const claims of [slices, byNumber, byKey]) for (const claimed of claims.values()) claimed.stands = false;
    },
    completed: () => {
      const own = [...slices.values()].filter(({ value }) => value === self);
      return own.some(({ stands }) => !stands) ? [] : giveBack(([, { stands }]) => !stands);
    },
    ownerOf: (slice) => slices.get(slice)?.value,
    sliceOf,
    moreOf: (node) => {
      const first = [sliceOf(node, 4), sliceOf(node, 6)];
      return ofNode(node).filter((slice) => !first.includes(slice));
    },
    slices: () => slices.keys(),
    keyOf: (number) => byNumber.get(number)?.value,
    stands,
    incomplete: () => {
      doubtful &&= ![...slices.keys(), ...numbers.keys()].every(stands);
      return doubtful;
    },
    numbers: () => numbers,
    settle: () => {
      const before = numbers;
      numbers = numbers.with(new Map([...touched].map((key) => [key, agreed(key)])));
      touched.clear();
      return numbers !== before;
    },
    replaced: () => {
      const was = replaced;
      replaced = false;
      return was;
    },
    *records() {
      for (const [slice, { value }] of slices) yield { kind: "slice", slice, node: value };
      for (const [number, { value }] of byNumber) yield { kind: "identity", number, key: value };
      for (const [key, { value }] of byKey) yield { kind: "identity key", key, number: value };
    },
  };
}
