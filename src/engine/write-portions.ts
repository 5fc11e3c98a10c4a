// Rows for the store in as many writes as leave others their turns in between.
import type { Change } from "../store/types.ts";

/** Characters in one write: a few milliseconds' worth. */
const size = 100_000;

export function portionsOf(rows: readonly Change[]): readonly (readonly Change[])[] {
  const cut: Change[][] = [];
  let room = 0;
  for (const row of rows) {
    if (room <= 0) {
      cut.push([]);
      room = size;
    }
    cut.at(-1)?.push(row);
    room -= 500 + (typeof row.value === "string" ? row.value.length : 0);
  }
  return cut;
}
