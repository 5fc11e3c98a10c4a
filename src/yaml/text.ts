// Text that knows where it stands, and how to cut it: at commas, spaces and arrows that no parenthesis, bracket or quote holds.
import { problem } from "./problems.ts";
import type { Problems } from "./problems.ts";
import { quoted } from "./render.ts";
import type { Place } from "./lines.ts";

/** Part of a written text; never with spaces around it. */
export interface Text {
  readonly text: string;
  /** Where it begins in what `place` knows. */
  readonly offset: number;
  /** The place of a character of the whole text. */
  readonly place: (offset: number) => Place;
}

export function wrong(text: Text, message: string, at = 0): Problems {
  return problem(text.place(text.offset + at), message);
}

/** From `start` up to `end`, without the spaces around. */
export function slice({ text, offset, place }: Text, start: number, end = text.length): Text {
  let [first, last] = [start, end];
  while (first < last && isSpace(text.charCodeAt(first))) first++;
  while (last > first && isSpace(text.charCodeAt(last - 1))) last--;
  return { text: text.slice(first, last), offset: offset + first, place };
}

/** Space, tab, line feed, carriage return. */
function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

/** The parts between the separators; a text without one is one part. @throws Problems for a bracket without its other half. */
export function split(text: Text, separator: "," | "->"): readonly Text[] {
  const parts: Text[] = [];
  let start = 0;
  scan(text, (i) => {
    if (i < start || !text.text.startsWith(separator, i)) return;
    parts.push(slice(text, start, i));
    start = i + separator.length;
  });
  parts.push(slice(text, start));
  return parts;
}

export function words(text: Text): readonly Text[] {
  const parts: Text[] = [];
  let start = 0;
  const cut = (end: number): void => {
    const part = slice(text, start, end);
    if (part.text !== "") parts.push(part);
    start = end;
  };
  scan(text, (i) => {
    if (isSpace(text.text.charCodeAt(i))) cut(i);
  });
  cut(text.text.length);
  return parts;
}

const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]" };

/** Calls `open` for every character outside of parentheses and brackets; inside of them quotes hide everything. */
function scan(text: Text, open: (index: number) => void): void {
  let quote = -1;
  const expected: { readonly close: string; readonly at: number }[] = [];
  for (let i = 0; i < text.text.length; i++) {
    const char = text.text.charAt(i);
    const inner = expected.at(-1);
    if (quote >= 0) {
      if (char === '"') quote = -1;
    } else if (inner !== undefined && char === '"') {
      quote = i;
    } else if (closing[char] !== undefined) {
      expected.push({ close: closing[char], at: i });
    } else if (char === inner?.close) {
      expected.pop();
    } else if (char === ")" || char === "]") {
      throw wrong(text, `"${char}" closes nothing`, i);
    } else if (inner === undefined) {
      open(i);
    }
  }
  if (quote >= 0) throw wrong(text, "this quote is not closed", quote);
  const left = expected.at(-1);
  if (left !== undefined) throw wrong(text, `"${text.text.charAt(left.at)}" has no "${left.close}"`, left.at);
}

/** `name(inside)rest`; null when the text does not begin with `name(`. */
export function call(text: Text, name: string): { readonly inside: Text; readonly rest: Text } | null {
  if (!text.text.startsWith(`${name}(`)) return null;
  const start = name.length + 1;
  let inQuote = false;
  for (let i = start; i < text.text.length; i++) {
    const char = text.text.charAt(i);
    if (char === '"') inQuote = !inQuote;
    else if (char === "(" && !inQuote) throw wrong(text, `"(" inside of ${name}(…) needs quotes around it`, i);
    else if (char === ")" && !inQuote) return { inside: slice(text, start, i), rest: slice(text, i + 1) };
  }
  throw wrong(text, `${quoted(text.text)} has no ")"`);
}
