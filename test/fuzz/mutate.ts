// Damaged texts: seeds from a folder, with parts cut, doubled, swapped for others or for what breaks parsers.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";

/** How many inputs a fuzz test tries; `HAWSER_FUZZ_RUNS` for a long run. fast-check prints the seed of what fails, `HAWSER_SEED` repeats it. */
export function fuzzParameters(few: number): { readonly numRuns: number; readonly seed?: number; readonly includeErrorInReport: true } {
  const runs = Number(process.env["HAWSER_FUZZ_RUNS"] ?? few);
  const seed = process.env["HAWSER_SEED"];
  return { numRuns: runs, includeErrorInReport: true, ...(seed === undefined ? {} : { seed: Number(seed) }) };
}

export interface Seed {
  readonly file: string;
  readonly text: string;
}

export function seedsOf(kind: "policy" | "libnetwork" | "service"): readonly Seed[] {
  const folder = join(import.meta.dirname, "corpus", kind);
  return readdirSync(folder).sort().map((file) => ({ file, text: readFileSync(join(folder, file), "utf8") }));
}

type Change = (text: string) => string;

/** Where, as a part of the text's length, so that it shrinks with it. */
const where = fc.double({ min: 0, max: 1, noNaN: true });
const at = (text: string, part: number): number => Math.floor(part * text.length);

/** One to six changes to one of the seeds. `tokens`: what the format's parser looks for. */
export function mutated(seeds: readonly Seed[], tokens: readonly string[]): fc.Arbitrary<string> {
  const texts = seeds.map(({ text }) => text);
  const piece = fc.oneof(fc.constantFrom(...tokens), fc.string({ unit: "binary", maxLength: 8 }), fc.constantFrom("\0", "\ufeff", "\r", "\ud800", "\u2028", "💥", "-1", "4294967296", "1e999"));
  const change: fc.Arbitrary<Change> = fc.oneof(
    fc.tuple(where, fc.nat(40)).map(([start, length]): Change => (text) => text.slice(0, at(text, start)) + text.slice(at(text, start) + length)),
    fc.tuple(where, piece).map(([start, inserted]): Change => (text) => text.slice(0, at(text, start)) + inserted + text.slice(at(text, start))),
    fc.tuple(where, piece).map(([start, other]): Change => (text) => text.slice(0, at(text, start)) + other + text.slice(at(text, start) + other.length)),
    fc.tuple(where, fc.nat(60), fc.integer({ min: 2, max: 300 })).map(([start, length, times]): Change => (text) => {
      const from = at(text, start);
      return text.slice(0, from) + text.slice(from, from + length).repeat(times) + text.slice(from + length);
    }),
    fc.tuple(where, where, fc.constantFrom(...texts)).map(([start, part, other]): Change => (text) => text.slice(0, at(text, start)) + other.slice(at(other, part))),
    where.map((end): Change => (text) => text.slice(0, at(text, end))),
  );
  return fc.tuple(fc.constantFrom(...texts), fc.array(change, { minLength: 1, maxLength: 6 }))
    .map(([text, changes]) => changes.reduce((changed, one) => one(changed), text).slice(0, 200_000));
}
