// What is different between two readings of something large, without looking at all of it where the two can tell.
import type { Descended } from "../network/cluster.ts";

/** Keys under which the two hold something else, perhaps with some under which both hold the same. Can be gone through while nothing of it is kept. */
export function differing<K, V>(after: ReadonlyMap<K, V>, before: ReadonlyMap<K, V>): Iterable<K> {
  if (isDescended(after) && after.constructor === before.constructor) return after.differing(before as Descended<K, V>);
  return new Set([...before.keys(), ...after.keys()]);
}

function isDescended<K, V>(map: ReadonlyMap<K, V>): map is Descended<K, V> {
  return "differing" in map;
}
