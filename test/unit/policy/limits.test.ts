// What a policy file may cost: large sets are read in good time, and bombs are refused.
import test from "ava";
import { readPolicies } from "../../../src/policy/read.ts";
import { problemsOf } from "./language.ts";

const file = "big.yaml";
const v4 = Array.from({ length: 100_000 }, (_, i) => `${10 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`);
const v6 = v4.map((_, i) => `2001:db8:${(i >> 8).toString(16)}:${(i & 255).toString(16)}::/64`);
const withSet = (set: string): string => `policy: big\nfor: all\nsets:\n  x: ${set}\nallow: ["@x -> web:80", "@x -> web:443"]\n`;

const shapes: readonly (readonly [title: string, text: string])[] = [
  ["a list", withSet(`\n${v4.map((cidr) => `    - ${cidr}`).join("\n")}`)],
  ["a list of IPv6 on one line", withSet(`[${v6.join(", ")}]`)],
  ["one text", withSet(`"${v4.join(", ")}"`)],
];

for (const [title, text] of shapes) {
  test.serial(`a set of a hundred thousand prefixes as ${title} is read in seconds, and once for all its rules`, (t) => {
    const start = process.cpuUsage();
    const rules = readPolicies([{ file, text }])[0]?.rules ?? [];
    const { user, system } = process.cpuUsage(start);
    const sets = rules.map(({ from: [peer] }) => (peer?.kind === "addresses" ? peer.ranges : []));
    t.deepEqual(sets.map(({ length }) => length), [100_000, 100_000]);
    t.is(sets[0], sets[1]);
    const seconds = (user + system) / 1e6;
    t.log(`${seconds.toFixed(2)} s of CPU`);
    // Anything quadratic takes minutes.
    t.true(seconds < 8, `${seconds} s`);
  });
}

test("fifty thousand rules are read", (t) => {
  const text = `policy: big\nfor: all\nallow:\n${Array.from({ length: 50_000 }, (_, i) => `  - a${i} -> b${i}:${1 + (i % 65535)}\n`).join("")}`;
  t.is(readPolicies([{ file, text }])[0]?.rules.length, 50_000);
});

test("R90: a file above 16 MiB is refused unread", (t) => {
  t.deepEqual(problemsOf(`# ${"x".repeat(16 * 1024 * 1024)}`, file), ["1:1: the file is larger than 16 MiB"]);
});

const deep: readonly (readonly [title: string, text: string])[] = [
  ["brackets", "[".repeat(1_000_000)],
  ["closed brackets", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
  ["braces", "{a: ".repeat(200_000)],
  ["dashes", "- ".repeat(200_000)],
  ["question marks", "? ".repeat(200_000)],
  ["brackets in a rule", `policy: a\nfor: all\nallow: ${"[".repeat(100_000)}`],
];

for (const [title, text] of deep) {
  test(`R90: endless nesting of ${title} is refused where it gets too deep`, (t) => {
    const [problem, ...more] = problemsOf(text, file);
    t.deepEqual(more, []);
    t.regex(problem ?? "", /^\d+:\d+: lists and maps are nested more than 100 deep$/);
  });
}

/** Nine levels of ten aliases each: a billion of whatever `first` is. */
const levels = (first: string, level: (below: string) => string): string => {
  const lines = [`b0: &b0 ${first}`];
  for (let i = 1; i < 10; i++) lines.push(`b${i}: &b${i} ${level(`*b${i - 1}`)}`);
  return lines.map((line) => `  ${line}`).join("\n");
};
const ten = (item: string): string => `[${Array<string>(10).fill(item).join(", ")}]`;

test("R90: a billion laughs in a set are refused without being told", (t) => {
  const text = `policy: a\nfor: all\nsets:\n${levels("[10.0.0.1]", ten)}\nallow: ["@b9 -> web"]\n`;
  t.regex(problemsOf(text, file)[0] ?? "", /^5:\d+: an address must be text, and is a list$/);
});

test("R90: merged maps that stand for a billion others are refused", (t) => {
  const text = `policy: a\nfor: all\nsets:\n${levels("{ k: 10.0.0.1 }", (below) => `{ <<: ${ten(below)} }`)}\n  <<: *b9\nallow: [a -> b]\n`;
  t.regex(problemsOf(text, file).join("\n"), /aliases of this file stand for too much text/);
});

test("R90: ten thousand aliases of a long text are refused once they stand for too much", (t) => {
  const long = Array.from({ length: 10_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`).join(", ");
  const text = `policy: a\nfor: all\nsets:\n  x: &x "${long}"\n  y: [${Array<string>(10_000).fill("*x").join(", ")}]\nallow: [a -> b]\n`;
  t.regex(problemsOf(text, file)[0] ?? "", /aliases of this file stand for too much text/);
});

test("R90: an alias inside of its own anchor is refused", (t) => {
  for (const text of ["policy: a\nfor: all\nallow: &a [*a]\n", "policy: a\nfor: all\nallow: [&a { from: *a, to: b }]\n", "policy: a\nfor: all\nsets: &a { <<: *a }\nallow: [a -> b]\n"]) {
    t.true(problemsOf(text, file).length > 0, text);
  }
});

test("twenty thousand keys, errors or documents cost no more than their number", (t) => {
  const many = (line: (i: number) => string): string => Array.from({ length: 20_000 }, (_, i) => line(i)).join("");
  const start = process.cpuUsage();
  for (const text of [many((i) => `k${i}: 1\n`), many(() => "]\n"), many(() => "---\n- a\n"), many(() => "- *a\n"), many(() => '"'), many((i) => `&a${i} k${i}: 1\n`)]) {
    t.true(problemsOf(text, file).length > 0);
  }
  const { user } = process.cpuUsage(start);
  // Anything quadratic takes minutes.
  t.true(user < 20e6, `${user / 1e6} s`);
});
