// Services of a node that shares them with others through a store: what is applied and what stands in the watched directory is in force when the store has it.
import type { SharedServices, StoredService } from "../lb/stored.ts";
import { nothingShared } from "../lb/stored.ts";
import type { State } from "../network/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { inTurns } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import { ServiceBook } from "./service-book.ts";
import type { ServicesWritten } from "./service-changes.ts";
import type { ServiceTexts } from "./service-texts.ts";
import { applyShared, deleteShared, restoreShared, shareDirectory, takeBack } from "./shared-services.ts";
import type { Around } from "./shared-services.ts";
import type { ApplyDocuments, DirectoryReading } from "./types.ts";

/**
 * Changes what all nodes have: `decide` takes it, perhaps several times, because others change it as well, and says what it should be. Resolves when the
 * engine has been told of it. @throws what `decide` throws; HawserError STORE, and then nothing was changed, or not everything.
 */
export type ShareServices = (decide: (known: SharedServices) => Promise<SharedServices>, signal?: AbortSignal) => Promise<void>;

export interface SharingOptions {
  readonly self: string;
  readonly share: ShareServices;
  readonly texts: ServiceTexts;
  /** The one in force. */
  readonly state: () => State;
  /** By services as that book reads them. */
  readonly written: (book: ServiceBook) => ServicesWritten;
  readonly now: () => number;
  /** Resolves when the state's services of these names are in force. @throws HawserError why one of them cannot be */
  readonly inForce: (names: readonly string[]) => Promise<void>;
  /** Resolves when the state has what `rowsAfter` says now. */
  readonly retake: () => Promise<void>;
  readonly log: Log;
}

const none: ReadonlyMap<string, string> = new Map();

export class ServiceSharing {
  readonly #options: SharingOptions;
  /** Candidates are read apart from what is in force, so that both stay read. */
  readonly #book: ServiceBook;
  #known: SharedServices | undefined;
  #reading: DirectoryReading | undefined;
  #running: Promise<void> | undefined;
  #wanted = false;
  /** What was in force before nodes shared it, or when the store lost it, has been given to the store. */
  #restored = false;
  #unrestorable: ReadonlySet<string> = new Set();
  #ownFiles = none;
  /** What is not in force as its file says, by file. */
  problems = none;
  /** Why the others do not know it yet, by file. */
  waiting = none;

  constructor(options: SharingOptions) {
    this.#options = options;
    this.#book = new ServiceBook(options.self, options.texts);
  }

  /** undefined: the store was not heard yet. */
  get known(): SharedServices | undefined {
    return this.#known;
  }

  async apply(documents: ApplyDocuments["documents"], signal?: AbortSignal): Promise<readonly string[]> {
    let [before, after, names] = [nothingShared, nothingShared, [] as readonly string[]];
    await this.#change(async (known) => {
      const { wanted, applied } = await inTurns(applyShared(known, documents, this.#around()));
      [before, after, names] = [withoutOwn(known, before, after), wanted, applied];
      return wanted;
    }, signal).catch(async (error: unknown) => {
      // When others were faster, a part of it may be written.
      if (error instanceof HawserError && error.code === "BAD_SERVICE" && before !== after) await this.#takeBack(before, after, names);
      throw error;
    });
    try {
      await this.#options.inForce(names);
    } catch (error) {
      await this.#takeBack(before, after, names);
      throw error;
    }
    return names;
  }

  async #takeBack(before: SharedServices, after: SharedServices, names: readonly string[]): Promise<void> {
    let lost: readonly string[] = [];
    await this.#change(async (known) => {
      const back = await inTurns(takeBack(known, before, after, this.#around()));
      lost = names.filter((name) => before.services.has(name) && known.services.has(name) && !back.services.has(name));
      return back;
    });
    for (const name of lost) this.#options.log.warn("a service was changed in vain, but cannot be what it was: what it had is another's now; it is not in force any more", { service: name });
  }

  async delete(name: string, filesThere: ReadonlySet<string>, signal?: AbortSignal): Promise<void> {
    await this.#change(async (known) => deleteShared(known, name, filesThere, this.#options.self), signal);
    await this.#options.inForce([]);
  }

  /** Never fails: what cannot be shared now is among `waiting`, and tried again. */
  syncDirectory(reading: DirectoryReading): Promise<void> {
    this.#reading = reading;
    return this.#again();
  }

  /** The services of a state in which this is known. What the others do not have yet, or the store has lost, stays until it is given to it. */
  *rowsAfter(known: SharedServices, { services: before }: Pick<State, "services">): Sliced<State["services"]> {
    const missing = this.#missing(known, before, () => true);
    const after = new Map<string, StoredService>();
    let changed = false;
    for (const row of [...known.services.values(), ...missing]) {
      const was = before.get(row.name);
      const same = was !== undefined && sameRow(was, row) ? was : row;
      changed ||= same !== was;
      after.set(row.name, same);
      yield;
    }
    return changed || after.size !== before.size ? after : before;
  }

  /** To be called when `rowsAfter` is in the state. */
  told(known: SharedServices): void {
    this.#known = known;
    const own = known.files.get(this.#options.self) ?? none;
    const amiss = own.size !== this.#ownFiles.size || [...own].some(([name, file]) => this.#ownFiles.get(name) !== file);
    const missing = this.#missing(known, this.#options.state().services, isApplied);
    if (!this.#restored || amiss || missing.length > 0 || this.problems.size + this.waiting.size > 0) void this.#again();
  }

  #again(): Promise<void> {
    this.#wanted = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    while (this.#wanted) {
      this.#wanted = false;
      await this.#shareOwn();
    }
    // In the same breath as the last look at what is wanted.
    this.#running = undefined;
  }

  async #shareOwn(): Promise<void> {
    const { self, share, state } = this.#options;
    let [problems, ownFiles] = [none, none];
    let missing: readonly StoredService[] = [];
    let after = nothingShared;
    try {
      await share(async (known) => {
        missing = this.#missing(known, state().services, isApplied);
        const restored = missing.length === 0 ? known : await inTurns(restoreShared(known, missing, this.#around()));
        after = restored;
        if (this.#reading === undefined) return restored;
        const directory = await inTurns(shareDirectory(restored, this.#reading, this.#around()));
        [after, problems, ownFiles] = [directory.wanted, directory.problems, directory.wanted.files.get(self) ?? none];
        return after;
      });
      const first = !this.#restored;
      [this.problems, this.waiting, this.#ownFiles, this.#restored] = [problems, none, ownFiles, true];
      this.#unrestorable = new Set(missing.map(({ name }) => name).filter((name) => !after.services.has(name)));
      for (const name of this.#unrestorable) this.#options.log.warn("a service of this node's own does not agree with those of other nodes, and is not in force any more", { service: name });
      if (first || missing.length > 0) await this.#options.retake();
    } catch (error) {
      const why = `not told to the other nodes yet, and not in force: ${messageOf(error)}`;
      [this.problems, this.waiting] = await this.#untold(why);
    }
  }

  /** What of the directory the others do not know, as far as can be told without them. */
  async #untold(why: string): Promise<readonly [problems: ReadonlyMap<string, string>, waiting: ReadonlyMap<string, string>]> {
    if (this.#reading === undefined) return [none, none];
    const { self, state } = this.#options;
    const { turn, files } = this.#known ?? nothingShared;
    const services = new Map([...state().services].map(([name, row]) => [name, { ...row, node: row.node ?? self, turn: row.turn ?? turn }] as const));
    const { wanted, problems } = await inTurns(shareDirectory({ turn, services, files }, this.#reading, this.#around()));
    const changed = [...wanted.services.values()].filter((row) => services.get(row.name) !== row);
    return [problems, new Map(changed.map(({ file }) => [file, why] as const))];
  }

  #missing(known: SharedServices, rows: State["services"], whose: (row: StoredService) => boolean): readonly StoredService[] {
    const absent = [...rows.values()].filter(({ name }) => !known.services.has(name) && !this.#unrestorable.has(name));
    // Changes are counted from one on: a store that counts less than it did has lost them.
    const lost = [...rows.values()].some(({ turn = 0 }) => turn > known.turn);
    return absent.filter((row) => (row.turn === undefined ? !this.#restored && whose(row) : lost));
  }

  async #change(decide: (known: SharedServices) => Promise<SharedServices>, signal?: AbortSignal): Promise<void> {
    try {
      await this.#options.share(decide, signal);
    } catch (error) {
      if (error instanceof HawserError && error.code === "STORE") throw new HawserError("STORE", `the other nodes cannot be told, so that what was in force stays: ${error.message}`, { cause: error });
      throw error;
    }
  }

  #around(): Around {
    const { self, state, written, now, texts } = this.#options;
    return {
      self, state: state(), now: now(), written: { ...written(this.#book), self },
      read: (rows) => this.#book.candidates({ services: rows }),
      partsOf: texts.parts,
    };
  }

}

/** What stands in a directory is given to the store by whose directory it is. */
function isApplied({ source }: StoredService): boolean {
  return source === "apply";
}

/** What is known, but for what it has of a change that was written in part before another node was faster: there it is as `before`. */
function withoutOwn(known: SharedServices, before: SharedServices, after: SharedServices): SharedServices {
  const services = new Map(known.services);
  for (const [name, row] of after.services) {
    const [was, is] = [before.services.get(name), known.services.get(name)];
    if (row === was || is === undefined || !sameRow(is, row)) continue;
    if (was === undefined) services.delete(name);
    else services.set(name, was);
  }
  return { ...known, services };
}

function sameRow(a: StoredService, b: StoredService): boolean {
  return a.text === b.text && a.file === b.file && a.source === b.source && a.revision === b.revision && a.node === b.node && a.turn === b.turn;
}
