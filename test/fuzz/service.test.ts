// Whatever a service file holds: it is read, or refused with places that exist, and neither takes long.
import test from "ava";
import fc from "fast-check";
import { ServiceProblems } from "../../src/lb/problems.ts";
import { readServices } from "../../src/lb/read.ts";
import type { Service } from "../../src/lb/types.ts";
import { fuzzParameters, mutated, seedsOf } from "./mutate.ts";

const seeds = seedsOf("service");
const tokens = [
  ":", ",", "[", "]", "{", "}", "- ", "\n", "\n  ", "\t", "#", "&a ", "*a", "<<: *a", "? ", "|\n", "'", '"', "---\n", "/udp", "/tcp", ":0", ":65536", "::", "::ffff:1.2.3.4", "0.0.0.0/0", "ms", "99999999999d",
  "service: x\n", "frontends: []\n", "backends: []\n", "select: ", "address: ", "label: ", "weight: ", "health: ", "kind: ", "__proto__", "constructor", "toString",
];

/** Reads, or finds problems at places that the text has. Everything else is thrown on. */
function readsOrRefuses(text: string): readonly Service[] | null {
  const file = "fuzz.yaml";
  try {
    return readServices([{ file, text }]);
  } catch (error) {
    if (!(error instanceof ServiceProblems) || error.problems.length === 0) throw error;
    const lines = text.split(/\n/);
    for (const { place, message } of error.problems) {
      const line = lines[place.line - 1];
      if (place.file !== file || line === undefined || place.column < 1 || place.column > line.length + 1) throw new Error(`no such place: ${JSON.stringify(place)} of ${message}`, { cause: error });
      if (message === "" || message.length > 4000) throw new Error(`a message of ${message.length} characters`, { cause: error });
    }
    return null;
  }
}

test("every seed is read or refused, and the good ones are read", (t) => {
  t.deepEqual(seeds.map(({ file, text }) => [file, readsOrRefuses(text)?.length ?? null]), [["broken.yaml", null], ["json.yaml", 1], ["several.yaml", 2], ["web.yaml", 1]]);
});

test("R90: damaged service files are read or refused at places that exist", (t) => {
  const counts = { read: 0, refused: 0 };
  fc.assert(fc.property(mutated(seeds, tokens), (text) => {
    const start = performance.now();
    counts[readsOrRefuses(text) === null ? "refused" : "read"]++;
    t.true(performance.now() - start < 10_000);
  }), fuzzParameters(2000));
  t.log(`${counts.read} read, ${counts.refused} refused`);
  t.true(counts.refused > 0 && counts.read > 0);
});

test("what is read is within what the page says", (t) => {
  fc.assert(fc.property(mutated(seeds, tokens), (text) => {
    for (const { name, frontends, backends, health, drain } of readsOrRefuses(text) ?? []) {
      t.regex(name, /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/);
      t.true(frontends.length > 0 && backends.length > 0);
      for (const { port } of [...frontends, ...backends]) t.true(Number.isInteger(port) && port >= 1 && port <= 65_535);
      for (const { weight } of backends) t.true(Number.isInteger(weight) && weight >= 0 && weight <= 1000);
      t.true(health.timeout <= health.interval && health.rise >= 1 && health.fall >= 1 && drain >= 0 && drain <= 86_400_000);
    }
  }), fuzzParameters(1000));
});
