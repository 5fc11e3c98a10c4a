// A private copy of a database that lies where nothing can be written, so that it can still be read.
import { chmodSync, copyFileSync, existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { HawserError, messageOf } from "../std/errors.ts";

/**
 * The copy's path. SQLite cannot read a file in WAL mode without writing beside it, so database and journal go to a folder of
 * their own; whoever opens the copy as temporary removes that folder.
 */
export function copyOf(file: string): string {
  try {
    const copy = join(mkdtempSync(join(tmpdir(), "hawser-state-")), basename(file));
    for (const end of ["", "-wal"]) {
      if (!existsSync(file + end)) continue;
      copyFileSync(file + end, copy + end);
      chmodSync(copy + end, 0o600);
    }
    return copy;
  } catch (error) {
    throw new HawserError("STORE", `${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
