// The store of one host: a SQLite file in which every row carries a checksum, and one older generation beside it.
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { HawserError } from "../std/errors.ts";
import type { Clock } from "../std/clock.ts";
import type { Log } from "../std/log.ts";
import { copyOf } from "./copy.ts";
import { DamagedFile, openFile } from "./file.ts";
import type { OpenFile } from "./file.ts";
import type { Change, Json, Store, StoreHealth, Tables } from "./types.ts";

export interface EmbeddedOptions {
  /** The database; its folder is made when it is not there. */
  readonly file: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Least time between two generations, in milliseconds. */
  readonly backupEvery?: number;
}

const fiveMinutes = 5 * 60_000;

/**
 * Opens the store, healing what it can: a damaged file is moved aside and the older generation takes its place; a file that
 * cannot be written is read, and every write then fails until it can be.
 * @throws HawserError STORE when the file belongs to a newer build or another agent, or can neither be read nor made.
 */
export function openEmbedded(options: EmbeddedOptions): Store {
  const { file, log } = options;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw storeError(`the folder of ${file} cannot be made`, error);
  }
  return new EmbeddedStore(options, openOrHeal(file, log, options.clock));
}

interface Opened {
  /** null when the file can only be read: what it says is in memory then. */
  readonly database: OpenFile | null;
  readonly tables: Tables;
  /** Why writes cannot work; null when they can. */
  readonly readOnly: string | null;
}

function openOrHeal(file: string, log: Log, clock: Clock): Opened {
  try {
    return openWritable(file);
  } catch (error) {
    if (error instanceof DamagedFile) {
      moveAside(file, error, log, clock);
      return openWritable(file);
    }
    if (!(error instanceof HawserError) || error.code !== "STORE" || !existsSync(file) || !cannotWrite(error)) throw error;
    log.error("the state cannot be written; running on what it says", { file, error });
    using copy = openFile(copyOf(file), { temporary: true });
    return { database: null, tables: copy.readAll(), readOnly: error.message };
  }
}

function openWritable(file: string): Opened {
  const database = openFile(file, { temporary: false });
  try {
    return { database, tables: database.readAll(), readOnly: null };
  } catch (error) {
    database.close();
    throw error;
  }
}

function moveAside(file: string, damage: DamagedFile, log: Log, clock: Clock): void {
  const aside = `${file}.damaged-${new Date(clock.now()).toISOString().replaceAll(":", "")}`;
  try {
    for (const end of ["", "-wal", "-shm"]) if (existsSync(file + end)) renameSync(file + end, aside + end);
    const older = backupOf(file);
    const usable = existsSync(older) && isSound(older);
    if (usable) renameSync(older, file);
    log.error(usable ? "the state file was damaged; the older generation is used" : "the state file was damaged; starting empty", {
      file, movedTo: aside, error: damage,
    });
  } catch (error) {
    throw storeError(`${file} is damaged and cannot be moved aside`, error);
  }
}

function isSound(file: string): boolean {
  try {
    using database = openFile(file, { temporary: false });
    database.readAll();
    return true;
  } catch {
    return false;
  }
}

class EmbeddedStore implements Store {
  readonly #options: EmbeddedOptions;
  readonly #tables: Map<string, Map<string, Json>>;
  #database: OpenFile | null;
  #identity: string;
  #readOnly: string | null;
  #problem: string | null = null;
  #changed = false;
  #backedUpAt: number;
  #closed = false;

  constructor(options: EmbeddedOptions, opened: Opened) {
    this.#options = options;
    this.#database = opened.database;
    this.#readOnly = opened.readOnly;
    this.#tables = new Map([...opened.tables].map(([name, rows]) => [name, new Map(rows)]));
    this.#identity = identityOf(options.file);
    this.#backedUpAt = existsSync(backupOf(options.file)) ? options.clock.now() : 0;
  }

  async load(): Promise<Tables> {
    this.#assertOpen();
    return new Map([...this.#tables].map(([name, rows]) => [name, new Map(rows)]));
  }

  async write(changes: readonly Change[], more?: "more"): Promise<void> {
    this.#assertOpen();
    if (changes.length === 0) return;
    try {
      const database = this.#database !== null && identityOf(this.#options.file) === this.#identity ? this.#database : this.#reopen();
      database.write(changes, more !== undefined);
    } catch (error) {
      this.#problem = error instanceof HawserError ? error.message : `${this.#options.file} cannot be written`;
      throw error instanceof HawserError ? error : storeError(this.#problem, error);
    }
    this.#problem = null;
    this.#changed = true;
    for (const { table, key, value } of changes) {
      const rows = this.#tables.get(table) ?? new Map<string, Json>();
      this.#tables.set(table, rows);
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
  }

  async backup(): Promise<void> {
    this.#assertOpen();
    const { file, clock, backupEvery = fiveMinutes } = this.#options;
    if (!this.#changed || this.#database === null || clock.now() - this.#backedUpAt < backupEvery) return;
    const fresh = `${backupOf(file)}.new`;
    try {
      rmSync(fresh, { force: true });
      this.#database.copyTo(fresh);
      renameSync(fresh, backupOf(file));
    } catch (error) {
      throw storeError(`${backupOf(file)} cannot be written`, error);
    }
    this.#backedUpAt = clock.now();
    this.#changed = false;
  }

  health(): StoreHealth {
    const problem = this.#problem ?? this.#readOnly;
    return problem === null ? { state: "ok", detail: this.#options.file } : { state: "degraded", detail: problem };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#database?.close();
  }

  /** The file was deleted under us, or could not be written before: makes it anew from what is remembered in memory. */
  #reopen(): OpenFile {
    const { file, log } = this.#options;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const database = openFile(file, { temporary: false });
    try {
      const rows = [...this.#tables].flatMap(([table, entries]) => [...entries].map(([key, value]) => ({ table, key, value })));
      database.replaceAll(rows);
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database?.close();
    this.#database = database;
    this.#identity = identityOf(file);
    this.#readOnly = null;
    log.warn("the state file was made anew", { file });
    return database;
  }

  #assertOpen(): void {
    if (this.#closed) throw new HawserError("STORE", `${this.#options.file} is closed`);
  }
}

export function backupOf(file: string): string {
  return join(dirname(file), "previous.db");
}

function identityOf(file: string): string {
  try {
    const { dev, ino } = statSync(file);
    return `${dev}:${ino}`;
  } catch {
    return "absent";
  }
}

const unwritable = ["SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "EROFS", "EACCES", "ENOSPC"];

function cannotWrite(error: HawserError): boolean {
  return unwritable.some((word) => error.message.includes(word));
}

function storeError(what: string, cause: unknown): HawserError {
  return new HawserError("STORE", `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
}
