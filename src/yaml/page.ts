// YAML as nodes that know their place: a text's documents, and the ways to look into one, each within bounds.
import { Composer, Lexer, Parser, isAlias, isCollection, isMap, isScalar, isSeq, visit } from "yaml";
import type { Alias, Document, Node, Scalar } from "yaml";
import { atOnce } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import { placesIn } from "./lines.ts";
import { problem } from "./problems.ts";
import type { Problem } from "./problems.ts";
import { quoted } from "./render.ts";
import type { Text } from "./text.ts";
import type { Place } from "./lines.ts";

export type { Node } from "yaml";

const largest = 16 * 1024 * 1024;
/** Deeper than any document of ours, and than anything in a Compose file. */
const deepest = 100;
/** Characters and values read for each character of the text, and for all of it: only aliases can make more of a text (R90). */
const budget = { each: 4, all: 1_000_000 };
/** Of one file; further down they are mostly consequences. */
const mostErrors = 10;

export interface Entry {
  readonly key: Text;
  /** null: the key has no value. */
  readonly value: Node | null;
}

/** The documents that hold anything; what keeps one from being read is added to `problems`. `what` the file should hold: "policy". `line`: as `placesIn`. */
export function readPages(file: string, text: string, what: string, problems: Problem[], line = 1): readonly Page[] {
  return atOnce(readingPages(file, text, what, problems, line));
}

/** As `readPages`. */
export function* readingPages(file: string, text: string, what: string, problems: Problem[], line = 1): Sliced<readonly Page[]> {
  const top: Place = { file, line, column: 1 };
  const refuse = (message: string): readonly Page[] => {
    problems.push({ place: top, message });
    return [];
  };
  if (text.length > largest) return refuse(`the file is larger than ${largest / 1024 / 1024} MiB`);
  if (text.includes("\0")) return refuse("the file holds zero bytes: it is no text, or was cut off when the disk was full");
  const place = placesIn(file, text, line);
  const documents: Document.Parsed[] = [];
  try {
    documents.push(...yield* compose(text));
  } catch (error) {
    if (!(error instanceof TooDeep)) throw error;
    problems.push({ place: place(error.offset), message: `lists and maps are nested more than ${deepest} deep` });
    return [];
  }
  const broken = documents.flatMap(({ errors }) => errors);
  for (const { pos, message } of broken.slice(0, mostErrors)) problems.push({ place: place(pos[0]), message: sayBroken(message.slice(0, 200), text, pos[0]) });
  if (broken.length > 0) return [];
  const pages = documents.filter(({ contents }) => contents !== null && !isEmpty(contents)).map((document) => new Page(document, text, place));
  return pages.length > 0 ? pages : refuse(`the file holds no ${what}: it is empty, or has comments alone`);
}

const lexerMarks: ReadonlySet<string> = new Set(["\u0002", "\u0018", "\u001f"]);

class TooDeep extends Error {
  readonly offset: number;

  constructor(offset: number) {
    super("too deep");
    this.offset = offset;
  }
}

/** As yaml's `parseAllDocuments`, but watching the depth: its composer calls itself for each level and would run out of stack. */
function* compose(text: string): Sliced<readonly Document.Parsed[]> {
  const documents: Document.Parsed[] = [];
  const parser = new Parser();
  // Without a schema every scalar stays as written: 10.20 is no number and `no` no boolean. Its own check for doubled keys is quadratic.
  const composer = new Composer({ schema: "failsafe", uniqueKeys: false, logLevel: "silent" });
  let [offset, errors] = [0, 0];
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) {
      if (token.type === "error" && ++errors > mostErrors) return [...documents, ...composer.end(true, offset)];
      for (const document of composer.next(token)) {
        documents.push(document);
        yield;
      }
    }
    if (parser.stack.length > deepest) throw new TooDeep(offset);
    // The lexer's own marks are one control character each, which is not in the text.
    if (!lexerMarks.has(lexeme)) offset += lexeme.length;
  }
  for (const token of parser.end()) documents.push(...composer.next(token));
  documents.push(...composer.end());
  return documents;
}

/** Words for the traps that sentences fall into when YAML reads them first. */
function sayBroken(message: string, text: string, offset: number): string {
  const sign = text.charAt(offset);
  if (sign === "@" || sign === "`" || (sign === "%" && message.includes("Plain"))) return `a text that begins with ${sign} needs quotes around it in YAML: "${sign}…"`;
  if (/(?:^|[-:,[{])\s*\*\S*\s+$/.test(text.slice(Math.max(0, offset - 100), offset))) return `a text that begins with * needs quotes around it in YAML: ${message}`;
  if (/^[ ]*\t/.test(text.slice(text.lastIndexOf("\n", offset - 1) + 1)) && /tab/i.test(message)) return "YAML indents by spaces, and this line by a tab; write spaces instead";
  if (offset >= text.trimEnd().length) return `the file ends too early; it may have been cut off: ${message}`;
  return message;
}

function isEmpty(node: Node): boolean {
  return isScalar(node) && (node.source ?? "") === "" && node.type === "PLAIN";
}

/** One YAML document. Every method @throws Problems with the node's place. */
export class Page {
  readonly root: Node;
  readonly #document: Document.Parsed;
  readonly #text: string;
  readonly #place: (offset: number) => Place;
  #anchors: ReadonlyMap<Alias, Node> | undefined;
  #spent = 0;

  constructor(document: Document.Parsed, text: string, place: (offset: number) => Place) {
    this.#document = document;
    this.#text = text;
    this.#place = place;
    this.root = document.contents as Node;
  }

  placeOf(node: Node): Place {
    return this.#place(node.range?.[0] ?? 0);
  }

  /** What an alias stands for. */
  resolve(node: Node): Node {
    this.#spend(node, 1);
    if (!isAlias(node)) return node;
    this.#anchors ??= anchorsOf(this.#document);
    const meant = this.#anchors.get(node);
    if (meant === undefined) throw problem(this.placeOf(node), `*${node.source} names no anchor above it; a text that begins with * needs quotes around it`);
    return meant;
  }

  isMap(node: Node): boolean {
    return isMap(this.resolve(node));
  }

  isList(node: Node): boolean {
    return isSeq(this.resolve(node));
  }

  /** By key, in order. `<<` brings in what the map does not say itself. */
  map(node: Node, what: string): ReadonlyMap<string, Entry> {
    return this.#map(node, what, 0);
  }

  #map(node: Node, what: string, depth: number): ReadonlyMap<string, Entry> {
    const given = this.resolve(node);
    if (!isMap(given)) throw problem(this.placeOf(node), `${what} must be a map of keys, and is ${kindOf(given)}`);
    if (depth > deepest) throw problem(this.placeOf(node), "<< is nested too deep");
    const entries = new Map<string, Entry>();
    const merged: Node[] = [];
    for (const { key, value } of given.items) {
      const name = this.text(key as Node, "a key");
      const entry = { key: name, value: value === null || isEmpty(value as Node) ? null : value as Node };
      if (entries.has(name.text)) throw problem(name.place(name.offset), `the key ${quoted(name.text)} is here twice`);
      if (name.text !== "<<") entries.set(name.text, entry);
      else if (entry.value !== null) merged.push(...(this.isList(entry.value) ? this.list(entry.value, "<<") : [entry.value]));
    }
    for (const from of merged) {
      for (const [name, entry] of this.#map(from, "<<", depth + 1)) if (!entries.has(name)) entries.set(name, entry);
    }
    return entries;
  }

  list(node: Node, what: string): readonly Node[] {
    const given = this.resolve(node);
    if (!isSeq(given)) throw problem(this.placeOf(node), `${what} must be a list, and is ${kindOf(given)}`);
    return given.items as readonly Node[];
  }

  /** A scalar as written, whatever YAML would take it for. */
  text(node: Node, what: string): Text {
    const given = this.resolve(node);
    if (!isScalar(given)) throw problem(this.placeOf(node), `${what} must be text, and is ${kindOf(given)}`);
    const value = given.source ?? String(given.value ?? "");
    this.#spend(node, value.length);
    const start = value.length - value.trimStart().length;
    return { text: value.trim(), offset: start, place: this.#finder(given, value) };
  }

  /** Where each of its characters stands; of text that YAML unfolded or unescaped, where the whole begins. */
  #finder(scalar: Scalar, value: string): (offset: number) => Place {
    const start = scalar.range?.[0] ?? 0;
    const first = start + (scalar.type === "QUOTE_DOUBLE" || scalar.type === "QUOTE_SINGLE" ? 1 : 0);
    return (offset) => this.#place(this.#text.startsWith(value, first) ? first + offset : start);
  }

  /** A value on one line, in YAML's flow form. */
  flow(node: Node): string {
    const given = this.resolve(node);
    const [start, end] = given.range ?? [0, 0];
    const written = this.#text.slice(start, end);
    if (isCollection(given) && given.flow === true && !/[\n&*]/.test(written)) return written;
    if (isMap(given)) return `{ ${given.items.map(({ key, value }) => `${this.flow(key as Node)}: ${value === null ? "" : this.flow(value as Node)}`).join(", ")} }`;
    if (isSeq(given)) return `[${given.items.map((item) => this.flow(item as Node)).join(", ")}]`;
    const { text } = this.text(given, "a value");
    return /^[\w@./][\w@./:()= >-]*$/.test(text) && !/: |:$/.test(text) ? text : JSON.stringify(text);
  }

  /** Only aliases can make a document so large; each may stand for many others. */
  #spend(node: Node, cost: number): void {
    this.#spent += cost;
    if (this.#spent > budget.each * this.#text.length + budget.all) throw problem(this.placeOf(node), "the aliases of this file stand for too much text");
  }
}

/** What each alias means: the nearest anchor of its name above it. yaml's own way looks through the document for each. */
function anchorsOf(document: Document.Parsed): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const meant = new Map<Alias, Node>();
  visit(document, (_key, node) => {
    if (isAlias(node)) {
      const target = anchors.get(node.source);
      if (target !== undefined) meant.set(node, target);
    } else if ((isScalar(node) || isCollection(node)) && node.anchor !== undefined) {
      anchors.set(node.anchor, node);
    }
  });
  return meant;
}

function kindOf(node: Node): string {
  if (isMap(node)) return "a map";
  if (isSeq(node)) return "a list";
  if (!isScalar(node)) return "an alias";
  const text = node.source ?? String(node.value ?? "");
  return text === "" ? "empty" : quoted(text);
}
