// Long texts that rows of the store have in common are rows of their own, named by what is in them: ten thousand services of the same backends name them once each.
import { createHash } from "node:crypto";
import type { Json } from "../store/types.ts";

/** Characters. What is shorter stands in each row. */
const long = 1000;
const mark = "#";
const sharedKey = (name: string): string => `shared ${name}`;
export const isSharedKey = (key: string): boolean => key.startsWith(sharedKey(mark));

export interface Named {
  readonly name: string;
  readonly long: string;
}

interface Text {
  /** As it stands in a row. */
  readonly text: string;
  /** What it names; left out: it stands there itself. */
  readonly named?: Named;
}

export class SharedRows {
  readonly #known = new WeakMap<object, Map<string, Text>>();
  /** Short ones, until all rows are written that are to be: kept, they would take more than the rows themselves. */
  #short = new Map<object, Map<string, Text>>();
  /** By row: what it names. */
  readonly #rows = new Map<string, readonly Named[]>();
  /** By name: in how many rows it is. */
  readonly #users = new Map<string, { readonly long: string; count: number }>();
  #touched = new Set<string>();

  /** What stands in a row for what `make` says of an object, which is asked once for each kind. */
  text(kind: string, of: object, make: () => unknown): Text {
    const known = this.#known.get(of)?.get(kind) ?? this.#short.get(of)?.get(kind);
    if (known !== undefined) return known;
    const text = this.#newText(JSON.stringify(make()));
    const those = text.named === undefined ? this.#short : this.#known;
    const kinds = those.get(of);
    if (kinds === undefined) those.set(of, new Map([[kind, text]]));
    else kinds.set(kind, text);
    return text;
  }

  #newText(text: string): Text {
    if (text.length < long) return { text };
    const name = `${mark}${createHash("sha256").update(text).digest("base64url").slice(0, 22)}`;
    return { text: JSON.stringify(name), named: { name, long: text } };
  }

  /** The row of that key names these now; none: it is no more. */
  become(key: string, named: readonly Named[]): void {
    for (const one of named) this.#count(one, 1);
    for (const one of this.#rows.get(key) ?? []) this.#count(one, -1);
    if (named.length === 0) this.#rows.delete(key);
    else this.#rows.set(key, named);
  }

  #count({ name, long: text }: Named, by: 1 | -1): void {
    const users = this.#users.get(name) ?? { long: text, count: 0 };
    users.count += by;
    if (users.count === 0) this.#users.delete(name);
    else this.#users.set(name, users);
    if (users.count === (by > 0 ? 1 : 0)) this.#touched.add(name);
  }

  /** What is named since this was asked last and was not before, to be written before whoever names it; and what is named no more, to be deleted after. */
  changes(): { readonly came: readonly (readonly [key: string, text: string])[]; readonly gone: readonly string[] } {
    const touched = [...this.#touched];
    this.#touched = new Set();
    this.#short = new Map();
    const gone = touched.filter((name) => !this.#users.has(name));
    const came = touched.filter((name) => this.#users.has(name)).map((name) => [sharedKey(name), this.#users.get(name)?.long ?? ""] as const);
    return { came, gone: gone.map(sharedKey) };
  }

  /** Keys of the rows that are named. */
  keys(): readonly string[] {
    return Array.from(this.#users.keys(), sharedKey);
  }
}

/** What stands for itself in a row, or is named there; undefined: what is named is not among the rows. The same object for the same name. */
export function readShared(rows: ReadonlyMap<string, Json>): (value: unknown) => unknown {
  const read = new Map<string, unknown>();
  return (value) => {
    if (typeof value !== "string" || !value.startsWith(mark)) return value;
    const text = rows.get(sharedKey(value));
    if (!read.has(value)) read.set(value, typeof text === "string" ? JSON.parse(text) : undefined);
    return read.get(value);
  };
}
