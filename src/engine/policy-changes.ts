// Changes of policy as decisions: documents applied, policies deleted, a watched directory read again. All of a change or none.
import { readPolicies } from "../policy/read.ts";
import { runTests } from "../policy/tests.ts";
import { warningsOf } from "../policy/warnings.ts";
import type { Policy, PolicyFacts, StoredPolicy } from "../policy/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { Cidr } from "../std/ip.ts";
import { nearest } from "../std/nearest.ts";
import { nameOfNetwork } from "../network/state.ts";
import type { State } from "../network/types.ts";
import type { ApplyPolicy, DirectoryReading, PolicyDocument } from "./types.ts";

/** What a candidate is judged by: its policies with those of labels, and who is there. */
export interface Judge {
  policies(state: State): readonly Policy[];
  facts(state: State): PolicyFacts;
}

export interface Applied {
  readonly next: State;
  readonly applied: readonly string[];
  readonly warnings: readonly string[];
}

/** @throws HawserError BAD_POLICY */
export function applyDocuments(state: State, { documents, strict }: ApplyPolicy, now: number, judge: Judge): Applied {
  if (documents.length === 0) throw new HawserError("BAD_POLICY", "no policy was given: name at least one file");
  const twice = documents.find(({ file }, i) => documents.findIndex((other) => other.file === file) < i);
  // A policy is remembered by its document, and that by its name.
  if (twice !== undefined) throw new HawserError("BAD_POLICY", `the file ${twice.file} is given twice`);
  const read = readPolicies(documents);
  for (const { name, place } of read) {
    const standing = state.policies.get(name);
    if (standing?.source === "directory") {
      throw new HawserError("BAD_POLICY", `${place.file}:${place.line}:${place.column}: policy "${name}" stands in the watched directory, in ${standing.file}; change it there, or give this one another name`);
    }
  }
  const next = withPolicies(state, rowsOf(read, documents, "apply", state, now));
  const warnings = verify(next, new Set(read.map(({ name }) => name)), strict, judge);
  return { next, applied: read.map(({ name }) => name), warnings };
}

/** @throws HawserError NOT_FOUND, IN_USE */
export function deletePolicy(state: State, name: string, filesThere: ReadonlySet<string>): State {
  const standing = state.policies.get(name);
  if (standing === undefined) throw unknownPolicy(state, name);
  if (standing.source === "directory" && filesThere.has(standing.file)) {
    throw new HawserError("IN_USE", `policy "${name}" stands in ${standing.file}, which is watched; remove it there`);
  }
  const policies = new Map(state.policies);
  policies.delete(name);
  return { ...state, policies };
}

export function unknownPolicy(state: State, name: string): HawserError {
  const names = [...state.policies.keys()];
  const like = nearest(name, names);
  const hint = like !== undefined ? `; did you mean "${like}"?` : names.length === 0 ? "; there are none" : `; there are ${names.toSorted().join(", ")}`;
  return new HawserError("NOT_FOUND", `no policy is called "${name}"${hint}`);
}

export interface DirectoryChange {
  readonly next: State;
  /** What is not in force as its file says, by file. */
  readonly problems: ReadonlyMap<string, string>;
}

/**
 * A file that is wrong keeps what it said last; so does a directory that cannot be read, or that lost all of its policies at once,
 * which is rather a disk that is not there than somebody's wish (R7).
 */
export function readDirectory(state: State, reading: DirectoryReading, now: number, judge: Judge): DirectoryChange {
  const problems = new Map<string, string>(Object.entries(reading.unreadable));
  const before = [...state.policies.values()].filter(({ source }) => source === "directory");
  if (reading.documents === null) {
    if (before.length > 0) problems.set(reading.directory, `${reading.unreadable[reading.directory] ?? "it cannot be read"}; the policies that it held stay in force: ${namesOf(before)}`);
    return { next: state, problems };
  }
  if (reading.documents.length === 0 && Object.keys(reading.unreadable).length === 0 && before.length > 0) {
    problems.set(reading.directory, `it holds no policy any more, and held some; they stay in force until \`hawser policy delete\`: ${namesOf(before)}`);
    return { next: state, problems };
  }
  const there = new Set([...reading.documents.map(({ file }) => file), ...Object.keys(reading.unreadable)]);
  const kept = new Map([...state.policies].filter(([, row]) => row.source !== "directory" || there.has(row.file)));
  const base: State = kept.size === state.policies.size ? state : { ...state, policies: kept };
  const changed = reading.documents.filter(({ file, text }) => !before.some((row) => row.file === file && row.text === text));
  if (changed.length === 0) return { next: base, problems };
  const together = take(base, changed, now, judge);
  if (together.error === null) return { next: together.next, problems };
  // One at a time, to find the files that are wrong and take the others.
  let next = base;
  for (const document of changed) {
    const alone = take(next, [document], now, judge);
    if (alone.error === null) next = alone.next;
    else problems.set(document.file, alone.error);
  }
  return { next, problems };
}

function take(state: State, documents: readonly PolicyDocument[], now: number, judge: Judge): { readonly next: State; readonly error: string | null } {
  try {
    const read = readPolicies(documents);
    const files = new Set(documents.map(({ file }) => file));
    for (const { name, place } of read) {
      const standing = state.policies.get(name);
      if (standing !== undefined && !files.has(standing.file)) {
        throw new HawserError("BAD_POLICY", `${place.file}:${place.line}:${place.column}: there is a policy "${name}" already, of ${standing.file}; give one of them another name`);
      }
    }
    const others = new Map([...state.policies].filter(([, row]) => row.source !== "directory" || !files.has(row.file)));
    const rows = rowsOf(read, documents, "directory", state, now);
    const next = withPolicies({ ...state, policies: others }, rows);
    verify(next, new Set(read.map(({ name }) => name)), false, judge);
    return { next, error: null };
  } catch (error) {
    return { next: state, error: messageOf(error) };
  }
}

/** Runs every policy's tests. @throws HawserError BAD_POLICY. Returns the warnings about `names`. */
function verify(candidate: State, names: ReadonlySet<string>, strict: boolean, judge: Judge): readonly string[] {
  const policies = judge.policies(candidate);
  const facts = judge.facts(candidate);
  // Names before tests: one that is mistyped is why its test fails.
  const found = warningsOf(policies.filter(({ name }) => names.has(name)), facts, { strict, ...knownIn(candidate) });
  const errors = found.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new HawserError("BAD_POLICY", errors.map(({ message }) => message).join("\n"));
  const failed = runTests(policies, facts).filter(({ ok }) => !ok);
  if (failed.length > 0) throw new HawserError("BAD_POLICY", failed.map(({ message }) => message).join("\n"));
  return found.map(({ message }) => message);
}

function knownIn(state: State): { readonly subnets: ReadonlyMap<string, readonly Cidr[]>; readonly names: readonly string[] } {
  const subnets = [...state.networks.values()].map((network) =>
    [nameOfNetwork(network), [network.ipv4, network.ipv6].flatMap((subnet) => (subnet === null ? [] : [subnet.prefix]))] as const);
  const here = [...state.endpoints.values()].flatMap(({ container }) => (container === null ? [] : [container.name]));
  return { subnets: new Map(subnets), names: [...new Set([...here, ...[...state.cluster.endpoints.values()].map(({ name }) => name)])] };
}

function rowsOf(read: readonly Policy[], documents: readonly PolicyDocument[], source: StoredPolicy["source"], state: State, now: number): readonly StoredPolicy[] {
  return read.map(({ name, place }) => {
    const text = documents.find(({ file }) => file === place.file)?.text ?? "";
    const standing = state.policies.get(name);
    if (standing !== undefined && standing.text === text && standing.file === place.file && standing.source === source) return standing;
    return { name, file: place.file, text, source, revision: (standing?.revision ?? 0) + 1, changedAt: now };
  });
}

function withPolicies(state: State, rows: readonly StoredPolicy[]): State {
  if (rows.every((row) => state.policies.get(row.name) === row)) return state;
  const policies = new Map(state.policies);
  for (const row of rows) policies.set(row.name, row);
  return { ...state, policies };
}

function namesOf(rows: readonly StoredPolicy[]): string {
  return rows.map(({ name }) => name).toSorted().join(", ");
}
