// Changes of what is written in documents (policies, services) as decisions: documents applied, one deleted, a watched directory read again. All of a change or none.
import type { StoredService } from "../lb/stored.ts";
import type { State } from "../network/types.ts";
import type { StoredPolicy } from "../policy/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { ErrorCode } from "../std/errors.ts";
import { nearest, slip } from "../std/nearest.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Place } from "../yaml/lines.ts";
import { Problems } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { placeText } from "../yaml/render.ts";
import type { ApplyDocuments, DirectoryReading, WrittenDocument } from "./types.ts";

type Stored = StoredPolicy & StoredService;
type Rows = ReadonlyMap<string, Stored>;

/** What is written, and what a candidate state must stand before it is in force. */
export interface Written {
  readonly table: "policies" | "services";
  readonly one: "policy" | "service";
  readonly code: ErrorCode;
  /** This node, where documents are shared with others; left out: they are not. */
  readonly self?: string;
  /** @throws Problems */
  read(documents: readonly WrittenDocument[]): Sliced<readonly Named[]>;
  /** What of a document each one's row is to hold, which each reads as before; null: something in it is wrong. Left out: the whole document. */
  parts?(document: WrittenDocument): readonly Part[] | null;
  /** Returns the warnings about those `names`. @throws HawserError */
  verify(candidate: State, names: ReadonlySet<string>, strict: boolean): Sliced<readonly string[]>;
  /** What those `names` must stand beside that when they are written; what is in force already, or is again, is not asked it. @throws HawserError */
  verifyNew?(candidate: State, names: ReadonlySet<string>): Sliced<void>;
  /** Left out: what rows do to others is seen only when all are looked at. */
  beside?(state: State): Sliced<Beside>;
}

/** Judges rows one by one. */
export interface Beside {
  /** Beside what the state has, and what was taken since. */
  problemsOf(row: Stored): readonly Problem[];
  take(row: Stored): void;
}

interface Named {
  readonly name: string;
  readonly place: Place;
}

type Part = Omit<WrittenDocument, "file"> & { readonly name: string };

export interface Applied {
  readonly next: State;
  readonly applied: readonly string[];
  readonly warnings: readonly string[];
}

/** @throws HawserError of the kind's code */
export function* applyDocuments(state: State, { documents, strict }: ApplyDocuments, now: number, kind: Written): Sliced<Applied> {
  const { one, code, table, self } = kind;
  if (documents.length === 0) throw new HawserError(code, `no ${one} was given: name at least one file`);
  const files = new Set<string>();
  const twice = documents.find(({ file }) => files.size === files.add(file).size);
  // Each is remembered by its document, and that by its name.
  if (twice !== undefined) throw new HawserError(code, `the file ${twice.file} is given twice`);
  const read = yield* kind.read(documents);
  for (const { name, place } of read) {
    const standing = state[table].get(name);
    if (standing?.source === "directory") {
      throw new HawserError(code, `${placeText(place)}: ${one} "${name}" stands in the watched directory, in ${calledIn(standing, self)}; change it there, or give this one another name`);
    }
  }
  yield;
  const next = withRows(state, table, yield* rowsOf(read, documents, "apply", state[table], now, kind));
  yield;
  const names = new Set(read.map(({ name }) => name));
  const warnings = yield* kind.verify(next, names, strict);
  if (kind.verifyNew !== undefined) yield* kind.verifyNew(next, names);
  return { next, applied: read.map(({ name }) => name), warnings };
}

/** @throws HawserError NOT_FOUND, IN_USE */
export function deleteDocument(state: State, name: string, filesThere: ReadonlySet<string>, { one, table }: Pick<Written, "one" | "table">): State {
  const standing = state[table].get(name);
  if (standing === undefined) throw unknownName(state, name, { one, table });
  if (standing.source === "directory" && filesThere.has(standing.file)) {
    throw new HawserError("IN_USE", `${one} "${name}" stands in ${standing.file}, which is watched; remove it there`);
  }
  const rows = new Map(state[table]);
  rows.delete(name);
  return { ...state, [table]: rows };
}

export function unknownName(state: Pick<State, Written["table"]>, name: string, { one, table }: Pick<Written, "one" | "table">): HawserError {
  const names = [...state[table].keys()];
  const like = nearest(name, names, slip);
  const hint = like !== undefined ? `; did you mean "${like}"?` : names.length === 0 ? "; there are none" : `; there are ${names.toSorted().join(", ")}`;
  return new HawserError("NOT_FOUND", `no ${one} is called "${name}"${hint}`);
}

export interface DirectoryChange {
  readonly next: State;
  /** What is not in force as its file says, by file. */
  readonly problems: ReadonlyMap<string, string>;
}

/**
 * A file that is wrong keeps what it said last; so does a directory that cannot be read, or that lost all that it held at once,
 * which is rather a disk that is not there than somebody's wish (R7).
 */
export function* readDirectory(state: State, reading: DirectoryReading, now: number, kind: Written): Sliced<DirectoryChange> {
  const { one, table } = kind;
  const problems = new Map<string, string>(Object.entries(reading.unreadable));
  const isOwn = (row: Stored): boolean => row.source === "directory" && !isForeign(row, kind.self);
  const before = [...state[table].values()].filter(isOwn);
  if (reading.documents === null) {
    if (before.length > 0) problems.set(reading.directory, `${reading.unreadable[reading.directory] ?? "it cannot be read"}; the ${table} that it held stay in force: ${namesOf(before)}`);
    return { next: state, problems };
  }
  if (reading.documents.length === 0 && Object.keys(reading.unreadable).length === 0 && before.length > 0) {
    problems.set(reading.directory, `it holds no ${one} any more, and held some; they stay in force until \`hawser ${one} delete\`: ${namesOf(before)}`);
    return { next: state, problems };
  }
  const there = new Set([...reading.documents.map(({ file }) => file), ...Object.keys(reading.unreadable)]);
  const kept = new Map([...state[table]].filter(([, row]) => !isOwn(row) || there.has(row.file)));
  const base: State = kept.size === state[table].size ? state : { ...state, [table]: kept };
  const rows = Map.groupBy(before, ({ file }) => file);
  const changed: WrittenDocument[] = [];
  for (const document of reading.documents) {
    if (!isKnown(document, rows.get(document.file) ?? [], kind)) changed.push(document);
    yield;
  }
  if (changed.length === 0) return { next: base, problems };
  // Each look is at all that there is: files that are right are taken together.
  const taken = function* (from: State, documents: readonly WrittenDocument[]): Sliced<State> {
    const { next, error } = yield* take(from, documents, now, kind);
    if (error === null) return next;
    if (documents.length > 1) {
      const wrong = kind.beside === undefined ? new Map<string, string>() : yield* wrongAmong(from, documents, now, kind, kind.beside);
      for (const [file, why] of wrong) problems.set(file, why);
      // What a file that is wrong said before stays, and may be in the way of another.
      if (wrong.size > 0) {
        const right = documents.filter(({ file }) => !wrong.has(file));
        const without = yield* taken(from, right);
        // What was in the way of others may not be in force itself.
        if (!right.some(({ file }) => problems.has(file))) return without;
        for (const file of wrong.keys()) problems.delete(file);
        return yield* taken(without, documents.filter(({ file }) => wrong.has(file)));
      }
      const half = documents.length >> 1;
      return yield* taken(yield* taken(from, documents.slice(0, half)), documents.slice(half));
    }
    for (const { file } of documents) problems.set(file, error);
    return from;
  };
  return { next: yield* taken(base, changed), problems };
}

function* take(state: State, documents: readonly WrittenDocument[], now: number, kind: Written): Sliced<{ readonly next: State; readonly error: string | null }> {
  const { table, self } = kind;
  try {
    const read = yield* kind.read(documents);
    const files = new Set(documents.map(({ file }) => file));
    const others = new Map([...state[table]].filter(([, row]) => row.source !== "directory" || isForeign(row, self) || !files.has(row.file)));
    refuseTaken(read, (name) => state[table].get(name), files, kind);
    yield;
    const next = withRows({ ...state, [table]: others }, table, yield* rowsOf(read, documents, "directory", state[table], now, kind));
    yield;
    const names = new Set(read.map(({ name }) => name));
    yield* kind.verify(next, names, false);
    if (kind.verifyNew !== undefined) yield* kind.verifyNew(next, names);
    return { next, error: null };
  } catch (error) {
    return { next: state, error: messageOf(error) };
  }
}

/** Which documents cannot stand beside what others say and those before them, and why, by file: with one look at each. */
function* wrongAmong(state: State, documents: readonly WrittenDocument[], now: number, kind: Written, beside: NonNullable<Written["beside"]>): Sliced<ReadonlyMap<string, string>> {
  const { code, table, self } = kind;
  const files = new Set(documents.map(({ file }) => file));
  const standing = new Map([...state[table]].filter(([, row]) => isForeign(row, self) || !files.has(row.file)));
  const judge = yield* beside({ ...state, [table]: new Map(standing) });
  const wrong = new Map<string, string>();
  for (const document of documents) {
    yield;
    try {
      const read = yield* kind.read([document]);
      refuseTaken(read, (name) => standing.get(name), new Set([document.file]), kind);
      const rows = yield* rowsOf(read, [document], "directory", state[table], now, kind);
      const problems = rows.flatMap((row) => judge.problemsOf(row));
      if (problems.length > 0) throw new Problems(problems, code);
      for (const row of rows) {
        judge.take(row);
        standing.set(row.name, row);
      }
    } catch (error) {
      wrong.set(document.file, messageOf(error));
    }
  }
  return wrong;
}

/** @throws HawserError of the kind's code, of the first whose name is another's than of these files */
function refuseTaken(read: readonly Named[], rowOf: (name: string) => Stored | undefined, files: ReadonlySet<string>, kind: Written): void {
  for (const { name, place } of read) {
    const standing = rowOf(name);
    if (standing !== undefined && (isForeign(standing, kind.self) || !files.has(standing.file))) throw new HawserError(kind.code, `${placeText(place)}: there is a ${kind.one} "${name}" already, ${inTheWay(standing, kind)}`);
  }
}

/** Where it stands, and what to do: its file need not be there any more if it was applied, and on another node it may only be the older one. */
function inTheWay(standing: Stored, { one, self }: Pick<Written, "one" | "self">): string {
  const file = calledIn(standing, self);
  if (standing.source === "apply") return `applied from ${file}; \`hawser ${one} delete ${standing.name}\` makes way for this one, or give it another name`;
  return isForeign(standing, self) ? `of ${file}, which says otherwise; change it there, too, or give one of them another name` : `of ${file}; give one of them another name`;
}

function* rowsOf(
  read: readonly Named[], documents: readonly WrittenDocument[], source: Stored["source"], standingRows: Rows, now: number,
  { parts }: Pick<Written, "parts">,
): Sliced<readonly Stored[]> {
  const whole = new Map(documents.map((document) => [document.file, document] as const));
  const own = new Map<string, Part>();
  for (const document of documents) {
    for (const part of parts?.(document) ?? []) own.set(part.name, part);
    yield;
  }
  // Of what earlier builds kept many rows hold one text.
  const apart = new Map<string, ReadonlyMap<string, string>>();
  const ownOf = ({ name, ...document }: Stored): string | undefined => {
    const known = apart.get(document.text) ?? new Map((parts?.(document) ?? []).map((part) => [part.name, part.text] as const));
    apart.set(document.text, known);
    return known.get(name);
  };
  const rows: Stored[] = [];
  for (const { name, place: { file } } of read) {
    yield;
    const { text, line } = own.get(name) ?? whole.get(file) ?? { text: "" };
    const standing = standingRows.get(name);
    const there = standing !== undefined && standing.file === file && standing.source === source;
    if (there && standing.text === text && standing.line === line) {
      rows.push(standing);
      continue;
    }
    // Where in the file it stands is no change of it.
    const { revision, changedAt } = there && (standing.text === text || ownOf(standing) === text) ? standing : { revision: (standing?.revision ?? 0) + 1, changedAt: now };
    rows.push({ name, file, text, ...(line === undefined ? {} : { line }), source, revision, changedAt });
  }
  return rows;
}

/** Whether a document of the directory says what its rows hold. */
function isKnown(document: WrittenDocument, rows: readonly Stored[], kind: Written): boolean {
  if (kind.parts === undefined) return rows.some(({ text }) => text === document.text);
  const parts = kind.parts(document);
  const held = new Map(rows.map((row) => [row.name, row] as const));
  return parts !== null && parts.length === held.size && parts.every(({ name, text, line }) => held.get(name)?.text === text && held.get(name)?.line === line);
}

type Placed = { readonly file: string; readonly node?: string };

function isForeign({ node }: Placed, self: string | undefined): boolean {
  return self !== undefined && node !== undefined && node !== self;
}

/** A document's file, with its node's name before it when that is another: `b:/etc/hawser/service.d/web.yaml`. */
export function calledIn(row: Placed, self: string | undefined): string {
  return isForeign(row, self) ? `${row.node}:${row.file}` : row.file;
}

function withRows(state: State, table: Written["table"], rows: readonly Stored[]): State {
  if (rows.every((row) => state[table].get(row.name) === row)) return state;
  const all = new Map<string, Stored>(state[table]);
  for (const row of rows) all.set(row.name, row);
  return { ...state, [table]: all };
}

function namesOf(rows: readonly Stored[]): string {
  return rows.map(({ name }) => name).toSorted().join(", ");
}
