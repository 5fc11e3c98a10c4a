// Addresses and prefixes as written: `10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16`, alone or as the entries of a set.
import { addressOf, bitsOf, cidrOf, contains, familyOf, ipToBigInt, lengthOf, networkOf, parseCidr, parseIp } from "../std/ip.ts";
import type { Cidr } from "../std/ip.ts";
import { messageOf } from "../std/errors.ts";
import { quoted } from "./render.ts";
import { slice, split, words, wrong } from "./text.ts";
import type { Text } from "./text.ts";
import type { AddressRange } from "./types.ts";

/** Whether whoever wrote this meant an address, if perhaps a wrong one. */
export function looksLikeAddress(word: string): boolean {
  return /^\d+(?:\.\d+)+(?:\/|$)/.test(word) || /^\d+(?:\.\d+)*\/\d+$/.test(word) || word.split(":", 3).length === 3 || word.startsWith("[");
}

/** An address is the prefix of itself alone. @throws PolicyProblems naming the network meant when host bits are set. */
export function parsePrefix(text: Text): Cidr {
  const bare = text.text.startsWith("[") && text.text.endsWith("]") ? slice(text, 1, text.text.length - 1) : text;
  const cidr = understand(bare);
  const host = BigInt(bitsOf(familyOf(cidr)) - lengthOf(cidr));
  if ((ipToBigInt(addressOf(cidr)) & ((1n << host) - 1n)) === 0n) return cidr;
  throw wrong(bare, `${quoted(bare.text)} has bits set behind its prefix length; the network is ${networkOf(cidr)}`);
}

function understand(text: Text): Cidr {
  try {
    if (text.text.includes("/")) return parseCidr(text.text);
    const ip = parseIp(text.text);
    return cidrOf(ip, bitsOf(familyOf(ip)));
  } catch (error) {
    const reason = messageOf(error).replace(/^(?:address|prefix): /, "");
    throw wrong(text, reason.length < 200 ? reason : `${quoted(text.text)} is no address`);
  }
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
