// Addresses and prefixes as written: `10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16`, alone or as the entries of a set.
import { contains, familyOf } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { quoted } from "../yaml/render.ts";
import { parsePrefix } from "../yaml/prefixes.ts";
import { split, words, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";
import type { AddressRange } from "./types.ts";

/** Whether whoever wrote this meant an address, if perhaps a wrong one. */
export function looksLikeAddress(word: string): boolean {
  return /^\d+(?:\.\d+)+(?:\/|$)/.test(word) || /^\d+(?:\.\d+)*\/\d+$/.test(word) || word.split(":", 3).length === 3 || word.startsWith("[");
}

/** `A`, or `A except B and C`, cut at its spaces. */
export function parseRange(parts: readonly Text[]): AddressRange {
  const [first, keyword, ...rest] = parts;
  if (first === undefined) throw new RangeError("parseRange needs a word");
  const include = parsePrefix(first);
  if (keyword === undefined) return { include, except: [] };
  if (keyword.text !== "except") throw wrong(keyword, `${quoted(keyword.text)} after an address; only "except" may follow, and a comma separates several`);
  const except = rest.flatMap((word, i) => {
    if (i % 2 === 0) return word.text === "and" ? [] : [parseException(include, word)];
    if (word.text !== "and") throw wrong(word, `${quoted(word.text)} where "and" or the end was expected: A except B and C`);
    return [];
  });
  if (rest.length % 2 === 0 || except.length * 2 - 1 !== rest.length) throw wrong(parts.at(-1) ?? keyword, "an address is missing here: A except B and C");
  return { include, except };
}

/** One beside the prefix excepts nothing and does no harm. */
export function parseException(include: Cidr, text: Text): Cidr {
  const except = parsePrefix(text);
  if (contains(except, include)) throw wrong(text, `${except} leaves nothing of ${include}`);
  if (familyOf(except) !== familyOf(include)) throw wrong(text, `${except} is not of the family of ${include}, so that it excepts nothing`);
  return except;
}

/** Several with commas, as an entry of a set may hold. */
export function parseRanges(text: Text): readonly AddressRange[] {
  // Of a hundred thousand entries nearly all are one address or prefix.
  if (/^[\da-f.:]+(?:\/\d+)?$/i.test(text.text)) return [{ include: parsePrefix(text), except: [] }];
  return split(text, ",").map((part) => {
    const parts = words(part);
    if (parts.length === 0) throw wrong(part, "an address is missing here");
    if (part.text.startsWith("@")) throw wrong(part, "a set holds addresses, not other sets");
    return parseRange(parts);
  });
}
