// What nodes that share a store agree on of services. Each decision takes what all have, and says what they should have; it is taken anew when another node was faster.
import { meaningOf } from "../lb/own-text.ts";
import type { ServicePart } from "../lb/own-text.ts";
import type { SharedService, SharedServices, StoredService } from "../lb/stored.ts";
import type { Service } from "../lb/types.ts";
import type { State } from "../network/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Sliced } from "../std/sliced.ts";
import { applyDocuments, calledIn, readDirectory, unknownName } from "./document-changes.ts";
import { serviceDocuments } from "./service-changes.ts";
import type { ServicesWritten } from "./service-changes.ts";
import type { ApplyDocuments, DirectoryReading, WrittenDocument } from "./types.ts";

export interface Around {
  /** This node. */
  readonly self: string;
  readonly state: State;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** With `self`. */
  readonly written: ServicesWritten;
  /** What rows say. */
  read(rows: Rows): Sliced<readonly Service[]>;
  /** null: something in it is wrong. */
  partsOf(document: WrittenDocument): readonly ServicePart[] | null;
}

type Rows = ReadonlyMap<string, StoredService>;

/** A service that stands in a document of the directory. */
interface Found {
  readonly part: ServicePart;
  readonly document: WrittenDocument;
}

/** @throws HawserError BAD_SERVICE */
export function* applyShared(known: SharedServices, documents: ApplyDocuments["documents"], around: Around): Sliced<{ readonly wanted: SharedServices; readonly applied: readonly string[] }> {
  const base: Rows = new Map([...known.services].map(([name, row]) => [name, standing(known, row)]));
  const { next, applied } = yield* applyDocuments({ ...around.state, services: base }, { documents, strict: false }, around.now, around.written);
  return { wanted: { ...known, services: yield* agreed(known, base, next.services, around) }, applied };
}

/** `filesThere`: those in this node's watched directory. @throws HawserError NOT_FOUND, IN_USE */
export function deleteShared(known: SharedServices, name: string, filesThere: ReadonlySet<string>, self: string): SharedServices {
  const row = known.services.get(name);
  if (row === undefined) throw unknownName({ services: known.services, policies: new Map() }, name, serviceDocuments);
  const held = standing(known, row);
  if (held.source === "directory" && (held.node !== self || filesThere.has(held.file))) {
    throw new HawserError("IN_USE", `service "${name}" stands in ${calledIn(held, self)}, which is watched; remove it there`);
  }
  const services = new Map(known.services);
  services.delete(name);
  return { ...known, services, files: new Map([...known.files].map(([node, files]) => [node, without(files, name)])) };
}

/**
 * As it was before a change that turned out not to be possible, unless somebody changed it since. What can stand no more, because another
 * took its frontend meanwhile, is left out.
 */
export function* takeBack(known: SharedServices, before: SharedServices, after: SharedServices, around: Around): Sliced<SharedServices> {
  const services = new Map(known.services);
  const were: SharedService[] = [];
  for (const [name, row] of after.services) {
    const was = before.services.get(name);
    const now = services.get(name);
    if (row === was || now === undefined || now.text !== row.text || now.changedAt !== row.changedAt) continue;
    services.delete(name);
    if (was !== undefined) were.push(was);
  }
  return yield* withThose({ ...known, services }, were, around);
}

/** Rows that the store does not have, or has no more because it lost them, as far as they can stand beside what it has. */
export function* restoreShared(known: SharedServices, rows: Iterable<StoredService>, around: Around): Sliced<SharedServices> {
  const absent = [...rows].filter(({ name }) => !known.services.has(name));
  return yield* withThose(known, absent.map((row) => ({ ...ownPart(row, around), node: row.node ?? around.self, turn: known.turn + 1 })), around);
}

/** What earlier builds kept of a service that nobody was told of is all of its file. */
function ownPart(row: StoredService, { partsOf }: Around): StoredService {
  const own = partsOf(row)?.find(({ name }) => name === row.name);
  return own === undefined ? row : placed(row, own);
}

/** With those of the rows that can stand beside what there is, and beside one another. */
function* withThose(known: SharedServices, rows: readonly SharedService[], { state, written }: Around): Sliced<SharedServices> {
  const services = new Map(known.services);
  const judge = yield* written.beside({ ...state, services: known.services });
  for (const row of rows) {
    yield;
    if (judge.problemsOf(row).length > 0) continue;
    judge.take(row);
    services.set(row.name, row);
  }
  return { ...known, services };
}

/** What this node's watched directory makes of it. `problems`: what is not in force as its file says, by file. */
export function* shareDirectory(known: SharedServices, reading: DirectoryReading, around: Around): Sliced<{ readonly wanted: SharedServices; readonly problems: ReadonlyMap<string, string> }> {
  const { self, state, now, written } = around;
  const base = yield* ownedBy(known, reading, around);
  const { next, problems } = yield* readDirectory({ ...state, services: base }, reading, now, written);
  const own = [...next.services.values()].filter((row) => row.source === "directory" && (row.node === undefined || row.node === self));
  const services = yield* agreed(known, base, next.services, around);
  const files = new Map(known.files);
  if (own.length === 0) files.delete(self);
  else files.set(self, new Map(own.map(({ name, file }) => [name, file] as const)));
  return { wanted: { ...known, services, files }, problems };
}

/**
 * The rows as this node's directory sees them: its own are those that it holds, or alone has a word in, under their file here; of what other nodes hold
 * and this one says otherwise, or not at all, the others are.
 */
function* ownedBy(known: SharedServices, reading: DirectoryReading, { self, read, partsOf }: Around): Sliced<Rows> {
  const mine = known.files.get(self) ?? new Map<string, string>();
  const documents = reading.documents ?? [];
  const lost = reading.documents === null || (documents.length === 0 && Object.keys(reading.unreadable).length === 0);
  const broken = new Set(Object.keys(reading.unreadable));
  const here = new Map<string, Found>();
  for (const document of documents) {
    const parts = partsOf(document);
    if (parts === null) broken.add(document.file);
    for (const part of parts ?? []) if (!here.has(part.name) || mine.get(part.name) === document.file) here.set(part.name, { part, document });
    yield;
  }
  const services = byName(yield* read(known.services));
  const says = (name: string): Found | undefined => {
    const [found, meant] = [here.get(name), services.get(name)];
    return found !== undefined && meant !== undefined && known.services.get(name)?.source === "directory" && meaningOf(found.part.service) === meaningOf(meant) ? found : undefined;
  };
  /** Those of which everything is known, and nothing else: they need not be looked at. */
  const settled = new Set<WrittenDocument>();
  const heldIn = Map.groupBy(mine.keys(), (name) => mine.get(name));
  for (const document of documents) {
    yield;
    const names = new Set((partsOf(document) ?? []).map(({ name }) => name));
    const isSettled = names.size > 0 && [...names].every((name) => says(name)?.document === document) && (heldIn.get(document.file) ?? []).every((name) => names.has(name));
    if (isSettled) settled.add(document);
  }
  const owned = (name: string, row: SharedService): StoredService => {
    if (row.source === "apply") return row;
    const [found, same, held] = [here.get(name), says(name), mine.get(name)];
    if (same !== undefined) return { ...placed(row, settled.has(same.document) ? same.part : { text: "" }), node: self, file: same.document.file };
    if (held !== undefined && (lost || broken.has(held))) return { ...row, node: self, file: held };
    const [other] = othersOf(known, name, self);
    if (other !== undefined) return { ...row, node: other, file: known.files.get(other)?.get(name) ?? row.file };
    const isMine = found !== undefined || held !== undefined || row.node === self;
    return isMine ? { ...row, node: self, file: found?.document.file ?? held ?? row.file } : row;
  };
  const rows = new Map<string, StoredService>();
  for (const [name, row] of known.services) {
    rows.set(name, owned(name, row));
    yield;
  }
  return rows;
}

function byName(services: readonly Service[]): ReadonlyMap<string, Service> {
  return new Map(services.map((service) => [service.name, service]));
}

function placed<Row extends StoredService>({ line: _, ...row }: Row, { text, line }: Pick<ServicePart, "text" | "line">): Omit<Row, "line"> & Pick<StoredService, "line"> {
  return { ...row, text, ...(line === undefined ? {} : { line }) };
}

/** Rows as they are to be shared: those that say what is known already stay as they are. */
function* agreed(known: SharedServices, base: Rows, next: Rows, { self, read }: Around): Sliced<ReadonlyMap<string, SharedService>> {
  const [were, are] = [byName(yield* read(known.services)), byName(yield* read(next))];
  const agree = (name: string, row: StoredService): SharedService => {
    const [before, was, is] = [known.services.get(name), were.get(name), are.get(name)];
    if (before !== undefined && row === base.get(name)) return before;
    if (before !== undefined && was !== undefined && is !== undefined && before.source === row.source && meaningOf(was) === meaningOf(is)) return before;
    return { ...row, revision: (before?.revision ?? 0) + 1, node: self, turn: known.turn + 1 };
  };
  const all = new Map<string, SharedService>();
  for (const [name, row] of next) {
    all.set(name, agree(name, row));
    yield;
  }
  return all;
}

/** Where it stands now. One whose file no living node has is anybody's to replace or to delete. */
function standing(known: SharedServices, row: SharedService): SharedService {
  if (row.source === "apply") return row;
  const holders = holdersOf(known, row.name);
  const node = holders.includes(row.node) ? row.node : holders[0];
  return node === undefined ? { ...row, source: "apply" } : { ...row, node, file: known.files.get(node)?.get(row.name) ?? row.file };
}

/** In whose watched directories it stands, in order of their names. */
export function holdersOf({ files }: Pick<SharedServices, "files">, name: string): readonly string[] {
  return [...files].filter(([, those]) => those.has(name)).map(([node]) => node).toSorted();
}

function othersOf(known: SharedServices, name: string, self: string): readonly string[] {
  return holdersOf(known, name).filter((node) => node !== self);
}

function without(files: ReadonlyMap<string, string>, name: string): ReadonlyMap<string, string> {
  return files.has(name) ? new Map([...files].filter(([one]) => one !== name)) : files;
}
