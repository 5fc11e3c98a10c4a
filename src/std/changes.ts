// What two readings of a long list do not have in common.

export interface Changes<T> {
  readonly left: readonly T[];
  readonly came: readonly T[];
}

/** Equal are those that are the same object. Costs little where most of both lists, whose order does not matter, is the same in the same order. */
export function changesOf<T extends object>(before: readonly T[], after: readonly T[]): Changes<T> {
  if (before === after) return { left: [], came: [] };
  const most = Math.min(before.length, after.length);
  let [first, last] = [0, 0];
  while (first < most && before[first] === after[first]) first++;
  while (last < most - first && before[before.length - 1 - last] === after[after.length - 1 - last]) last++;
  const [left, came] = [before.slice(first, before.length - last), after.slice(first, after.length - last)];
  if (left.length === 0 || came.length === 0) return { left, came };
  const [had, has] = [new Set(left), new Set(came)];
  return { left: left.filter((one) => !has.has(one)), came: came.filter((one) => !had.has(one)) };
}

/** `kept` with `fresh`, both in the order of their `keyOf`. */
export function inOrder<T>(kept: readonly T[], fresh: readonly T[], keyOf: (one: T) => string): readonly T[] {
  const all = [...kept];
  // Each takes a look at a few and moves the rest, which for many is more than to go through all.
  if (fresh.length > all.length / 50) return merged(kept, fresh, keyOf);
  for (const one of fresh) all.splice(placeOf(all, keyOf(one), keyOf), 0, one);
  return all;
}

/** Keys are made for `fresh`, and for a few of `kept` beside each: of thousands that come in a row hardly any. */
function merged<T>(kept: readonly T[], fresh: readonly T[], keyOf: (one: T) => string): readonly T[] {
  const all: T[] = [];
  let from = 0;
  for (const one of fresh.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))) {
    const key = keyOf(one);
    const next = kept[from];
    if (next !== undefined && keyOf(next) < key) {
      const to = placeOf(kept, key, keyOf, from);
      for (; from < to; from++) all.push(kept[from] as T);
    }
    all.push(one);
  }
  for (; from < kept.length; from++) all.push(kept[from] as T);
  return all;
}

/** Of the first whose key is not before this one, in a list in the order of keys. `from`: whose key is not after it, at most. */
export function placeOf<T>(all: readonly T[], key: string, keyOf: (one: T) => string, from = 0): number {
  let [low, high] = [from, all.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keyOf(all[middle] as T) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
