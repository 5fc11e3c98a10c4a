// One SQLite file with checked rows: opening it, reading it whole, changing it in one transaction.
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { HawserError } from "../std/errors.ts";
import type { Change, Json, Tables } from "./types.ts";

/** The layout that this build writes. Entry n brings a file of version n to n + 1. */
const migrations: readonly string[] = [
  `CREATE TABLE entries (
     home TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, checksum INTEGER NOT NULL,
     PRIMARY KEY (home, key)
   ) STRICT, WITHOUT ROWID`,
];

/** The bytes are not what we wrote. The file is closed when this is thrown. */
export class DamagedFile extends HawserError {
  constructor(file: string, detail: string, cause?: unknown) {
    super("STORE", `${file} is damaged: ${detail}`, { cause });
  }
}

export interface OpenFile extends Disposable {
  /** @throws DamagedFile when a row's checksum is wrong. */
  readAll(): Tables;
  /** `unsynced`: the disk has it for sure with the next that is not. */
  write(changes: readonly Change[], unsynced?: boolean): void;
  /** Empties the file and writes these, in one transaction. */
  replaceAll(rows: readonly Change[]): void;
  /** A whole, compact copy. Fails when the target exists. */
  copyTo(path: string): void;
  close(): void;
}

/** `temporary`: the file's folder is removed when it is closed. */
export function openFile(file: string, options: { readonly temporary: boolean }): OpenFile {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { timeout: 0 });
    // One writer: a second agent on the same state is told so at once.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -512");
    migrate(database, file);
    const verdict = database.prepare("PRAGMA quick_check(1)").get() as { quick_check?: unknown } | undefined;
    if (verdict?.quick_check !== "ok") throw new DamagedFile(file, String(verdict?.quick_check));
  } catch (error) {
    database?.close();
    throw explain(file, error);
  }
  return new SqliteFile(file, database, options.temporary);
}

class SqliteFile implements OpenFile {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #temporary: boolean;
  /** As it is opened. */
  #synced = true;

  constructor(file: string, database: DatabaseSync, temporary: boolean) {
    this.#file = file;
    this.#database = database;
    this.#temporary = temporary;
  }

  readAll(): Tables {
    return this.#guard(() => {
      const tables = new Map<string, Map<string, Json>>();
      for (const row of this.#database.prepare("SELECT home, key, value, checksum FROM entries").iterate()) {
        const [home, key, value] = [String(row["home"]), String(row["key"]), String(row["value"])];
        if (checksumOf(home, key, value) !== row["checksum"]) throw new DamagedFile(this.#file, `the row ${home}/${key} does not match its checksum`);
        const rows = tables.get(home) ?? new Map<string, Json>();
        tables.set(home, rows.set(key, JSON.parse(value) as Json));
      }
      return tables;
    });
  }

  write(changes: readonly Change[], unsynced = false): void {
    this.#sync(!unsynced);
    this.#transaction(() => this.#apply(changes));
  }

  replaceAll(rows: readonly Change[]): void {
    this.#sync(true);
    this.#transaction(() => {
      this.#database.exec("DELETE FROM entries");
      this.#apply(rows);
    });
  }

  copyTo(path: string): void {
    this.#guard(() => this.#database.prepare("VACUUM INTO ?").run(path));
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close();
    if (this.#temporary) rmSync(dirname(this.#file), { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #apply(changes: readonly Change[]): void {
    const put = this.#database.prepare("INSERT OR REPLACE INTO entries (home, key, value, checksum) VALUES (?, ?, ?, ?)");
    const remove = this.#database.prepare("DELETE FROM entries WHERE home = ? AND key = ?");
    for (const { table, key, value } of changes) {
      if (value === undefined) {
        remove.run(table, key);
      } else {
        const text = JSON.stringify(value);
        put.run(table, key, text, checksumOf(table, key, text));
      }
    }
  }

  /** Whether the log is synced with each transaction, and all that stands in it before: a sync takes as long as the disk says. */
  #sync(each: boolean): void {
    if (each === this.#synced) return;
    this.#guard(() => this.#database.exec(`PRAGMA synchronous = ${each ? "FULL" : "NORMAL"}`));
    this.#synced = each;
  }

  #transaction(work: () => void): void {
    this.#guard(() => {
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        work();
        this.#database.exec("COMMIT");
      } catch (error) {
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw explain(this.#file, error);
    }
  }
}

function migrate(database: DatabaseSync, file: string): void {
  const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"] ?? 0);
  if (version > migrations.length) {
    throw new HawserError("STORE", `${file} was written by a newer Hawser (layout ${version}; this build knows ${migrations.length}); start that build`);
  }
  for (const [index, statement] of migrations.entries()) {
    if (index < version) continue;
    database.exec(`BEGIN IMMEDIATE; ${statement}; PRAGMA user_version = ${index + 1}; COMMIT`);
  }
}

function checksumOf(home: string, key: string, value: string): number {
  return crc32(`${home}\0${key}\0${value}`);
}

// Primary result codes of sqlite3.h; node:sqlite gives the extended code, whose low byte is the primary one.
const names: Readonly<Record<number, string>> = {
  5: "SQLITE_BUSY", 6: "SQLITE_LOCKED", 8: "SQLITE_READONLY", 10: "SQLITE_IOERR", 11: "SQLITE_CORRUPT", 13: "SQLITE_FULL",
  14: "SQLITE_CANTOPEN", 26: "SQLITE_NOTADB",
};

function explain(file: string, error: unknown): HawserError {
  if (error instanceof HawserError) return error;
  const code = (error as { errcode?: unknown }).errcode;
  const name = typeof code === "number" ? (names[code & 0xff] ?? `SQLite ${code}`) : "error";
  const text = error instanceof Error ? error.message : String(error);
  if (name === "SQLITE_CORRUPT" || name === "SQLITE_NOTADB") return new DamagedFile(file, text, error);
  if (name === "SQLITE_BUSY" || name === "SQLITE_LOCKED") {
    return new HawserError("STORE", `${file} is used by another process; is an agent running already?`, { cause: error });
  }
  return new HawserError("STORE", `${file}: ${text} (${name})`, { cause: error });
}
