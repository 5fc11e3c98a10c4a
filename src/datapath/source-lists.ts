// A service's clients as the programs read them: starts of ranges in lines of hw_lb_sources (bpf/abi/lb.h).
import { LbSourceLayout } from "../abi/generated.ts";
import type { Sources } from "../lb/types.ts";
import { familyOf, firstOf, lastOf } from "../std/ip.ts";
import type { Cidr, Family } from "../std/ip.ts";

export interface SourceList {
  /** As the service's entry has it. */
  readonly depth: number;
  /** Whole lines. */
  readonly bytes: Uint8Array;
}

/** From there on, until the next one, it is so. */
interface Turn {
  readonly at: bigint;
  readonly may: boolean;
}

/** Starts in a line, and the addresses that they and beginnings are of: of IPv6 the upper half. */
interface Shape {
  readonly places: number;
  readonly bits: bigint;
  /** A beginning is no multiple of less. */
  readonly step: bigint;
}

/** Bytes. */
export const lineSize = 64;
const shapes: Readonly<Record<Family, Shape>> = { 4: { places: 16, bits: 32n, step: 1n }, 6: { places: 8, bits: 64n, step: 2n } };
const half = 64n;
const lowest = (1n << half) - 1n;

export function listOf(sources: Sources, family: Family): SourceList {
  const turns = turnsOf(sources, family);
  const { upper, longer } = family === 4 ? { upper: turns, longer: [] } : halvesOf(turns);
  const { places, bits, step } = shapes[family];
  const starts = startsOf(upper, true, 1n << bits);
  const wide = startsOf(longer, false, 1n << (2n * half));
  const two = [starts.filter((start) => start < 1n << (bits - 1n)), starts.filter((start) => start >= 1n << (bits - 1n))] as const;
  const pair = [two[0], two[0].length % 2 === 0 ? two[1] : [1n << (bits - 1n), ...two[1]]];
  if (wide.length === 0 && pair.every((line) => line.length <= places)) {
    const bytes = new Uint8Array(2 * lineSize).fill(0xff);
    writeLines(bytes, pair, shapes[family]);
    return { depth: 1, bytes };
  }
  const { beginnings, lines } = linesOf(starts, shapes[family]);
  const steps = Math.max(LbSourceLayout.NEAR, Math.ceil(Math.log2(lines.length)));
  const above = 2 ** steps / places;
  const count = above + lines.length;
  const bytes = new Uint8Array(lineSize * (count + Math.ceil(wide.length / 4))).fill(0xff);
  writeLines(bytes.subarray(lineSize * above), lines, shapes[family]);
  if (family === 4) {
    new Uint32Array(bytes.buffer).set([count, ...beginnings.slice(1).map((beginning) => Number(beginning - 1n))]);
  } else {
    const words = new BigUint64Array(bytes.buffer);
    words.fill((1n << 63n) - 1n, 0, 2 ** steps);
    words.set([(BigInt(wide.length) << 32n) | BigInt(count), ...beginnings.slice(1).map((beginning) => beginning / step - 1n)]);
    words.set(wide.flatMap((start) => [start >> half, start & lowest]), 8 * count);
  }
  return { depth: steps + 1, bytes };
}

/** How many lines a list has that begins with these bytes. */
export function lineCount(depth: number, bytes: Uint8Array, family: Family): number {
  if (depth === 1) return 2;
  const [count = 0, wide = 0] = new Uint32Array(bytes.slice(0, 8).buffer);
  return family === 4 ? count : count + Math.ceil(wide / 4);
}

/** Where it begins that they may and that they may not. Denied is what any prefix denies. */
function turnsOf({ allow, deny }: Sources, family: Family): readonly Turn[] {
  const edgesOf = (prefixes: readonly Cidr[], allowed: number, denied: number) => prefixes.flatMap((prefix) =>
    familyOf(prefix) === family ? [{ at: firstOf(prefix), allowed, denied }, { at: lastOf(prefix) + 1n, allowed: -allowed, denied: -denied }] : []);
  const edges = [...edgesOf(allow ?? [], 1, 0), ...edgesOf(deny, 0, 1)].sort((a, b) => (a.at < b.at ? -1 : Number(a.at > b.at)));
  let [allowed, denied] = [allow === null ? 1 : 0, 0];
  return [{ at: 0n, may: allowed > 0 }, ...edges.map((edge) => {
    allowed += edge.allowed;
    denied += edge.denied;
    return { at: edge.at, may: allowed > 0 && denied === 0 };
  })];
}

/** Of several turns at one address the last counts. */
function startsOf(turns: readonly Turn[], may: boolean, end: bigint): readonly bigint[] {
  let before = may;
  return turns.flatMap((turn, i) => {
    if (turn.at >= end || turns[i + 1]?.at === turn.at || turn.may === before) return [];
    before = turn.may;
    return [turn.at];
  });
}

/** What the upper half of an address says, and what all of it within upper halves that prefixes longer than it divide. */
function halvesOf(turns: readonly Turn[]): { readonly upper: readonly Turn[]; readonly longer: readonly Turn[] } {
  const starts = startsOf(turns, true, 1n << (2n * half));
  const [upper, longer]: [Turn[], Turn[]] = [[], []];
  let may = true;
  for (let i = 0; i < starts.length;) {
    const at = (starts[i] as bigint) >> half;
    const within: bigint[] = [];
    for (let start = starts[i]; start !== undefined && start >> half === at; start = starts[++i]) within.push(start);
    const divided = within.some((start) => (start & lowest) !== 0n);
    if (divided) {
      upper.push({ at, may: false });
      longer.push({ at: at << half, may });
    }
    for (const start of within) {
      may = !may;
      if (divided) longer.push({ at: start, may });
    }
    if (divided) longer.push({ at: (at + 1n) << half, may: false });
    upper.push({ at: divided ? at + 1n : at, may });
  }
  return { upper, longer };
}

/** Starts in as few lines as they fill, and from which address on each has them. */
function linesOf(starts: readonly bigint[], { places, bits, step }: Shape): { readonly beginnings: readonly bigint[]; readonly lines: readonly (readonly bigint[])[] } {
  const middle = 1n << (bits - 1n);
  const [beginnings, lines]: [bigint[], bigint[][]] = [[], []];
  for (let [beginning, at] = [0n as bigint | undefined, 0]; beginning !== undefined;) {
    const line = at % 2 === 0 ? [] : [beginning];
    const end = beginning < middle ? middle : 1n << bits;
    for (let start = starts[at]; start !== undefined && start < end && line.length < places; start = starts[++at]) line.push(start);
    beginnings.push(beginning);
    lines.push(line);
    const next = starts[at];
    // Between the line's last start, if not at it, and the next.
    if (next !== undefined && next < end) beginning = next - (next % step);
    else beginning = end === middle ? middle : undefined;
  }
  return { beginnings, lines };
}

function writeLines(bytes: Uint8Array, lines: readonly (readonly bigint[])[], { places, bits }: Shape): void {
  const rest = (1n << (bits - 1n)) - 1n;
  const words = bits === 32n ? new Uint32Array(bytes.buffer, bytes.byteOffset) : new BigUint64Array(bytes.buffer, bytes.byteOffset);
  lines.forEach((line, i) => line.forEach((start, place) => {
    const value = (start & rest) + rest;
    words[places * i + place] = bits === 32n ? Number(value) : value;
  }));
}
