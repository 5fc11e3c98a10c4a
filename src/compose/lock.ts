// One agent per run folder: a lock that the kernel takes back when its holder dies, however it dies.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { HawserError, messageOf } from "../std/errors.ts";

/** @throws HawserError IN_USE naming the process that holds it, BAD_CONFIG when the folder cannot be used. */
export function lockFolder(folder: string): Disposable {
  const [file, pidFile] = [join(folder, "agent.lock"), join(folder, "agent.pid")];
  let lock: DatabaseSync | undefined;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    // Node has no flock; SQLite's exclusive lock is a POSIX lock on the file, and nothing is ever written to it.
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec("BEGIN EXCLUSIVE");
    writeFileSync(pidFile, `${process.pid}\n`);
  } catch (error) {
    lock?.close();
    if (((error as { readonly errcode?: number }).errcode ?? 0) === busy) {
      throw new HawserError("IN_USE", `another agent${holder(pidFile)} uses ${folder}; stop it, or give this one its own paths.run`, { cause: error });
    }
    const mend = (error as NodeJS.ErrnoException).code === "EACCES" ? "; run this as root" : "";
    throw new HawserError("BAD_CONFIG", `paths.run: ${folder} cannot be used: ${messageOf(error)}${mend}`, { cause: error });
  }
  const held = lock;
  return {
    [Symbol.dispose]: () => {
      rmSync(pidFile, { force: true });
      held.close();
    },
  };
}

/** SQLITE_BUSY in sqlite3.h. */
const busy = 5;

function holder(pidFile: string): string {
  try {
    return ` (process ${readFileSync(pidFile, "utf8").trim()})`;
  } catch {
    return "";
  }
}
