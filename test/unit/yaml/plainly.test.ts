// What is read without the library is what the library would make of it, or is left to it.
import test from "ava";
import { isMap, isScalar, isSeq, parseAllDocuments } from "yaml";
import { readPlainly } from "../../../src/yaml/plainly.ts";
import { generator } from "../lb/random.ts";

const byLibrary = (text: string): readonly unknown[] | null => {
  const documents = parseAllDocuments(text, { schema: "failsafe", uniqueKeys: false, logLevel: "silent" });
  return "empty" in documents || documents.some(({ errors }) => errors.length > 0) ? null : documents.map(({ contents }) => contents);
};

/** What is looked at by those who read a document: of a block only where it begins. */
function shown(node: unknown): unknown {
  if (isScalar(node)) return { text: node.source, value: node.value, type: node.type, at: node.range?.slice(0, 2), anchor: node.anchor };
  const at = (isMap(node) || isSeq(node)) && node.flow === true ? node.range?.slice(0, 2) : isMap(node) || isSeq(node) ? node.range?.[0] : undefined;
  if (isMap(node)) return { map: node.items.map(({ key, value }) => [shown(key), shown(value)]), flow: node.flow === true, at };
  if (isSeq(node)) return { list: node.items.map(shown), flow: node.flow === true, at };
  return node;
}

const same = (text: string): { readonly plain: boolean; readonly same: boolean } => {
  const plain = readPlainly(text);
  return { plain: plain !== undefined, same: plain === undefined || JSON.stringify(plain.map(shown)) === JSON.stringify(byLibrary(text)?.map(shown)) };
};

const pieces = [
  "a", "service", "web-1", "203.0.113.10:80/tcp", "2001:db8::1", "[2001:db8::10]:53/udp", '"quoted, text: #"', "'it'", "''", '""', "app=web", "none", "10.20", "-", "- ", "--", "---\n", "---", "...\n", ": ", ":", ":\n", "\n", "\n  ", "\n    ", "\n - ",
  "\n- ", " ", "  ", "{ ", " }", "[", "]", ", ", ",", " # why", "#", "# all\n", "{}", "[ ]", "a: b", "\nkey: ", "\n  key: value", "key: { a: b, c: [d, e] }", "*a", "&a ", "!t ", "| ", ">", "?", "%", "@", "`", "\t", "\r\n", "\\", "é", "<<: ", "y:\n", "a:b", "a::b", "/",
];

function written(random: (limit: number) => number, depth: number, indent: string): string {
  const word = (): string => ["web", "10.0.0.1:80", '"a b"', "'x'", "/path", "a.b-c=d", "2001:db8::7"][random(7)] ?? "";
  const flow = (left: number): string => (left === 0 || random(3) > 0 ? word() : random(2) === 0 ? `[${Array.from({ length: random(3) }, () => flow(left - 1)).join(", ")}]` : `{ ${Array.from({ length: random(3) }, (_, i) => `k${i}: ${flow(left - 1)}`).join(",")} }`);
  const rest = (): string => ["\n", "\n", "\n", " # why: not\n", "\n\n", "\n # alone\n", "  \n"][random(7)] ?? "\n";
  const entry = (i: number): string => {
    if (depth === 0 || random(3) === 0) return `key${i}: ${flow(2)}${rest()}`;
    if (random(2) === 0) return `key${i}:${rest()}${indent}  ${written(random, depth - 1, `${indent}  `)}`;
    const deeper = random(2) === 0 ? indent : `${indent}  `;
    const item = (): string => `${deeper}- ${random(2) === 0 ? `${flow(1)}${rest()}` : written(random, depth - 1, `${deeper}  `)}`;
    return `key${i}:${rest()}${item()}${random(2) === 0 ? item() : ""}`;
  };
  return Array.from({ length: 1 + random(3) }, (_, i) => entry(i)).join(indent);
}

test("what is written plainly is read as the library reads it, also where it was changed by chance", (t) => {
  const random = generator(7);
  let [plain, changed] = [0, 0];
  for (let round = 0; round < 1500; round++) {
    const text = Array.from({ length: 1 + random(2) }, () => written(random, random(4), "")).join("---\n");
    const whole = same(text);
    if (whole.plain) plain++;
    if (!whole.same) return t.fail(text);
    for (let i = 0; i < 4; i++) {
      const [at, cut] = [random(text.length + 1), random(3)];
      const other = text.slice(0, at) + (random(4) === 0 ? "" : pieces[random(pieces.length)] ?? "") + text.slice(at + cut);
      const one = same(other);
      if (one.plain) changed++;
      if (!one.same) return t.fail(other);
    }
  }
  t.true(plain > 1200, `${plain} of 1500`);
  t.true(changed > 500, `${changed} of 6000`);
});

test("pieces in any order are read as the library reads them", (t) => {
  const random = generator(11);
  let plain = 0;
  for (let round = 0; round < 6000; round++) {
    const text = (random(2) === 0 ? "k: " : "") + Array.from({ length: 1 + random(7) }, () => pieces[random(pieces.length)] ?? "").join("");
    const one = same(text);
    if (one.plain) plain++;
    if (!one.same) return t.fail(JSON.stringify(text));
  }
  t.true(plain > 100, `${plain}`);
});

test("services as documentation writes them need no library", (t) => {
  for (const text of [
    'service: web\nfrontends: ["203.0.113.10:80"]\nbackends: [{ address: "172.16.1.1:80" }, { select: { network: shop, label: app=web }, port: 80 }]\nhealth: { kind: none }\n',
    "# ours\nservice: web   # unique\nfrontends:\n  - 203.0.113.10:80\n  - 203.0.113.10:53/udp\nbackends:\n- address: 172.16.1.1:80\n  weight: 3\n- select: { network: shop }\n  port: 80\nhealth:\n  kind: http\n  path: /ready\n",
    "---\nservice: a\nmode: dsr\n---\nservice: b\n",
  ]) t.true(same(text).plain, text);
});

test("what the library warns of, or does otherwise, is its own", (t) => {
  for (const text of ["a: *b\n", "a: &b c\n", "a: |\n  b\n", "a: b\n  c\n", "a:\n", "a: [b\n", "a: \"b\\n\"\n", "a: 'it''s'\n", "a: b: c\n", "a: [b: c]\n", "\ta: b\n", "", "a", "[a]\n", `a: ${"[".repeat(200)}\n`, "a: é\n", "a: b\n--- c\n", "a: b\n...\n"]) t.is(readPlainly(text), undefined, text);
});
