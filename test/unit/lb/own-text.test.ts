// A file with several services taken apart: each part alone says what it said in the file, and says it is at the same place.
import test from "ava";
import { takeApart } from "../../../src/lb/own-text.ts";
import { readDocument, readRightly } from "../../../src/lb/read.ts";
import { atOnce } from "../../../src/std/sliced.ts";

const web = 'service: web\nfrontends: ["203.0.113.10:80"]\nbackends: [{ address: 192.0.2.7:8080 }]\n';
const more = 'service: more\nfrontends: ["203.0.113.11:80"]\nbackends:\n  - { address: 192.0.2.8:8080 }\n';
const json = '{ "service": "last", "frontends": ["203.0.113.12:80"], "backends": [{ "address": "192.0.2.9:80" }] }';

const partsOf = (text: string, line?: number) => {
  const source = { file: "f.yaml", text, ...(line === undefined ? {} : { line }) };
  return atOnce(takeApart(source, readRightly(readDocument(source)) ?? []));
};

for (const [what, text, lines] of [
  ["with comments above, and marks with a line for themselves", `# ours\n${web}---   # the second\n\n# of another\n${more}---\n${json}\n...\n`, [1, 6, 13]],
  ["whose documents begin in the line of their mark", `--- ${json}\n--- &anchor\n${web}---\t# none\n${more}`, [1, 2, 7]],
  ["that ends documents with dots", `${web}...\n# bare\n${more}...\n---\n---\n${json}`, [1, 5, 13]],
  ["with lines as Windows ends them", `${web}---\n${more}`.replaceAll("\n", "\r\n"), [1, 5]],
  ["with marks that are none", `${web}description: |\n  ---\n  ...\n---\n${more}`.replace("description: |\n  ---\n  ...\n", "# a\n#---\n"), [1, 7]],
] as const) {
  test(`a file ${what} is taken apart`, (t) => {
    const parts = partsOf(text);
    t.deepEqual(parts.map(({ line = 1 }) => line), lines);
    for (const { name, service, ...own } of parts) {
      t.true(own.text.length < text.length);
      t.deepEqual(readDocument({ file: "f.yaml", ...own }), { services: [service], problems: [] }, `${name}, with its places`);
    }
  });
}

test("a part counts its lines from those of the file, and so does a part of it", (t) => {
  const parts = partsOf(`${web}---\n${more}`, 41);
  t.deepEqual(parts.map(({ line }) => line), [41, 45]);
  t.like(parts[1]?.service.place, { line: 45, column: 10 });
  t.deepEqual(readDocument({ file: "f.yaml", text: "service: web\nfrontend: []\n", line: 45 }).problems[0]?.place.line, 46);
});

test("what may mean something else alone is kept with its file", (t) => {
  const text = `%TAG !e! tag:example.com,2000:\n---\n${web.replace("web", "!e!name web")}---\n${more}`;
  t.deepEqual(partsOf(text).map(({ name, text: own }) => [name, own === text ? "file" : own]), [["web", "file"], ["more", more]]);
  t.deepEqual(partsOf(web).map(({ text: own }) => own), [web]);
});

test("aliases stay within a part, which says the same alone", (t) => {
  const aliased = more.replace("- {", "- &one {") + "  - *one\n";
  t.deepEqual(partsOf(`${web}---\n${aliased}`).map(({ text: own }) => own), [web, aliased]);
});
