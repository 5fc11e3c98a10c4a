// Makes a map hold what is wanted: what goes first, what comes last, what is the same untouched.
import type { Table } from "./tables.ts";

/**
 * `before`: what the map is known to hold; read from it when left out.
 * @returns keys of entries that were there and went or changed
 */
export function syncTable<K, V>(
  table: Table<K, V>, wanted: ReadonlyMap<K, V>, same: (a: V, b: V) => boolean, before: ReadonlyMap<K, V> = new Map(table.entries()),
): readonly K[] {
  const others: K[] = [];
  for (const key of before.keys()) {
    if (wanted.has(key)) continue;
    table.delete(key);
    others.push(key);
  }
  for (const [key, value] of wanted) {
    const known = before.get(key);
    if (known !== undefined && same(known, value)) continue;
    table.set(key, value);
    if (known !== undefined) others.push(key);
  }
  return others;
}
