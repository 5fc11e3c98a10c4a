// Prefixes as four numbers, so that a hundred thousand of them are sorted and nested quickly.
import type { Cidr, Family } from "../std/ip.ts";
import { familyOf, networkOf } from "../std/ip.ts";

export interface Prefix {
  /** As given; the address may have host bits, the words have none. */
  readonly text: Cidr;
  readonly family: Family;
  /** 32 bits each, the highest first; an IPv4 address is the first one. */
  readonly words: readonly [number, number, number, number];
  readonly length: number;
  readonly hasHostBits: boolean;
}

export function readPrefix(text: Cidr): Prefix {
  const slash = text.indexOf("/");
  const length = Number(text.slice(slash + 1));
  const family = familyOf(text);
  const given = family === 4 ? ([words4(text, slash), 0, 0, 0] as const) : words6(text, slash);
  const words = [0, 1, 2, 3].map((at) => ((given[at] ?? 0) & mask(length - 32 * at)) >>> 0) as [number, number, number, number];
  return { text, family, words, length, hasHostBits: words.some((word, at) => word !== given[at]) };
}

/** With the network's address. */
export function textOf(prefix: Prefix): Cidr {
  return prefix.hasHostBits ? networkOf(prefix.text) : prefix.text;
}

/** By family, then by address, and the wider before what lies in it. */
export function comparePrefixes(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let at = 0; at < 4; at++) {
    const [x, y] = [a.words[at] as number, b.words[at] as number];
    if (x !== y) return x - y;
  }
  return a.length - b.length;
}

export function encloses(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  for (let at = 0; 32 * at < outer.length; at++) {
    if ((((outer.words[at] as number) ^ (inner.words[at] as number)) & mask(outer.length - 32 * at)) !== 0) return false;
  }
  return true;
}

/** The highest `bits` of a word. */
function mask(bits: number): number {
  return bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits);
}

function words4(text: string, end: number): number {
  let [value, part] = [0, 0];
  for (let i = 0; i < end; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0) part = 10 * part + digit;
    else [value, part] = [256 * value + part, 0];
  }
  return 256 * value + part;
}

function words6(text: string, end: number): readonly [number, number, number, number] {
  const groups: number[] = [];
  let [gap, group, digits] = [-1, 0, 0];
  for (let i = 0; i <= end; i++) {
    const code = i < end ? text.charCodeAt(i) : colon;
    if (code !== colon) {
      // 0…9 are 0x30…, a…f and A…F end in 1…6 with bit 6 set.
      group = 16 * group + (code & 15) + (code > 64 ? 9 : 0);
      digits++;
      continue;
    }
    if (digits > 0) groups.push(group);
    else if (i < end && i > 0) gap = groups.length;
    [group, digits] = [0, 0];
  }
  const full = gap < 0 ? groups : [...groups.slice(0, gap), ...Array<number>(8 - groups.length).fill(0), ...groups.slice(gap)];
  const word = (at: number): number => 65536 * (full[2 * at] ?? 0) + (full[2 * at + 1] ?? 0);
  return [word(0), word(1), word(2), word(3)];
}

const colon = 58;
