// The YAML that nearly every file of ours is written in, read in one go: a block map of plain and quoted words, lists, and flow collections on one line. Whatever
// is written otherwise, or wrongly, is the library's, which takes ten times as long; of what is read here it would make the same nodes.
import { Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";
import type { Node } from "yaml";

/** Deeper ones are the library's, which knows how deep is too deep. */
const deepest = 20;

const readable = /^[\n\x20-\x7e]+$/;
/** Empty lines and those with a comment alone, then what the next one is indented by. */
const gap = /(?: *(?:#[^\n]*)?\n)* */y;
const ending = / *(?: #[^\n]*)?(?:\n|$)/y;
const keyword = /([A-Za-z][\w.-]{0,99}):(?= |\n)/y;
const word = /[A-Za-z0-9/.](?:[\w./+=-]|:(?=[A-Za-z0-9/])|:(?=:[A-Za-z0-9/]))*/y;
const quotation = /"[^"\\\n]*"|'[^'\n]*'(?!')/y;
const spaces = / */y;
const mark = "---\n";

/** Thrown away with what was read so far. */
class Otherwise extends Error {}
const otherwise = new Otherwise("it is written otherwise");

/** The text's documents; undefined: it is not written so. */
export function readPlainly(text: string): readonly Node[] | undefined {
  if (!readable.test(text)) return undefined;
  try {
    return new PlainText(text).documents();
  } catch (error) {
    if (error !== otherwise) throw error;
    return undefined;
  }
}

class PlainText {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  documents(): readonly Node[] {
    const documents: Node[] = [];
    this.#gap();
    this.#skipMark();
    do {
      if (this.#gap() !== 0) throw otherwise;
      documents.push(this.#blockMap(0, 0));
    } while (this.#skipMark());
    if (this.#at < this.#text.length) throw otherwise;
    return documents;
  }

  #isMark(): boolean {
    return this.#text.startsWith(mark, this.#at) && (this.#at === 0 || this.#text[this.#at - 1] === "\n");
  }

  #skipMark(): boolean {
    const is = this.#isMark();
    if (is) this.#at += mark.length;
    return is;
  }

  /** What matches next, which is then behind; undefined: it does not. */
  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found[1] ?? found[0];
  }

  /** Goes to the first word of the next line that has any. @returns by how much it is indented; -1: there is none */
  #gap(): number {
    this.#take(gap);
    if (this.#at >= this.#text.length) return -1;
    return this.#at - this.#text.lastIndexOf("\n", this.#at - 1) - 1;
  }

  #endLine(): void {
    if (this.#take(ending) === undefined) throw otherwise;
  }

  #isItem(): boolean {
    return this.#text.startsWith("- ", this.#at);
  }

  #blockMap(indent: number, depth: number): YAMLMap {
    if (depth > deepest) throw otherwise;
    const map = new YAMLMap();
    const start = this.#at;
    for (let column = indent; column === indent && !this.#isMark(); column = this.#gap()) {
      const from = this.#at;
      const name = this.#take(keyword);
      if (name === undefined) throw otherwise;
      const key = scalar(name, from, this.#at - 1, "PLAIN");
      map.items.push(new Pair(key, this.#blockValue(indent, depth + 1)));
    }
    return between(map, start, this.#at);
  }

  #blockValue(indent: number, depth: number): Node {
    const before = this.#at;
    this.#take(spaces);
    if (this.#text[this.#at] !== "\n" && this.#text[this.#at] !== "#") return this.#lineValue(depth);
    this.#at = before;
    this.#endLine();
    const column = this.#gap();
    if (column >= indent && this.#isItem()) return this.#blockList(column, depth);
    if (column <= indent) throw otherwise;
    return this.#blockMap(column, depth);
  }

  #blockList(indent: number, depth: number): YAMLSeq {
    if (depth > deepest) throw otherwise;
    const list = new YAMLSeq();
    const start = this.#at;
    for (let column = indent; column === indent && this.#isItem(); column = this.#gap()) {
      const line = this.#at - indent;
      this.#at++;
      this.#take(spaces);
      const from = this.#at;
      const named = this.#take(keyword) !== undefined;
      this.#at = from;
      list.items.push(named ? this.#blockMap(from - line, depth + 1) : this.#lineValue(depth + 1));
    }
    return between(list, start, this.#at);
  }

  #lineValue(depth: number): Node {
    const value = this.#flowValue(depth);
    this.#endLine();
    return value;
  }

  #flowValue(depth: number): Node {
    if (depth > deepest) throw otherwise;
    const start = this.#at;
    const first = this.#text[start];
    if (first === "{") return this.#flowMap(depth);
    if (first === "[") return this.#flowList(depth);
    const quoted = this.#take(quotation);
    if (quoted !== undefined) return scalar(quoted.slice(1, -1), start, this.#at, first === '"' ? "QUOTE_DOUBLE" : "QUOTE_SINGLE");
    const plain = this.#take(word);
    if (plain === undefined) throw otherwise;
    return scalar(plain, start, this.#at, "PLAIN");
  }

  #flowMap(depth: number): YAMLMap {
    const map = new YAMLMap();
    return this.#within(map, "}", () => map.items.push(this.#flowPair(depth + 1)));
  }

  #flowList(depth: number): YAMLSeq {
    const list = new YAMLSeq();
    return this.#within(list, "]", () => list.items.push(this.#flowValue(depth + 1)));
  }

  #within<T extends YAMLMap | YAMLSeq>(collection: T, close: string, item: () => void): T {
    const start = this.#at++;
    collection.flow = true;
    this.#take(spaces);
    while (this.#text[this.#at] !== close) {
      if (collection.items.length > 0) {
        if (this.#text[this.#at] !== ",") throw otherwise;
        this.#at++;
        this.#take(spaces);
      }
      item();
      this.#take(spaces);
    }
    this.#at++;
    return between(collection, start, this.#at);
  }

  #flowPair(depth: number): Pair {
    const key = this.#flowValue(depth);
    if (!(key instanceof Scalar) || this.#at - (key.range?.[0] ?? 0) > 100 || !this.#text.startsWith(": ", this.#at)) throw otherwise;
    this.#at++;
    this.#take(spaces);
    return new Pair(key, this.#flowValue(depth));
  }
}

function scalar(text: string, start: number, end: number, type: Scalar.Type): Scalar {
  const made = new Scalar<string>(text);
  made.source = text;
  made.type = type;
  return between(made, start, end);
}

function between<T extends Node>(node: T, start: number, end: number): T {
  node.range = [start, end, end];
  return node;
}
