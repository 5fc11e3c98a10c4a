// What the word check finds, and what it leaves alone.
import test from "ava";
import { findingsIn } from "../../../tools/check-words.ts";

const opening = "// A file.\n";
const unwanted: readonly string[] = [
  `const host = "registry.${"npm"}${"js"}.org";`,
  `read("/${"work"}/main/file");`,
  `// ${"TO"}${"DO"}: later`,
  `const value: ${"any"} = 1;`,
  `const value = x as ${"any"};`,
  `test.${"skip"}("later", (t) => t.pass());`,
];

for (const line of unwanted) {
  test(`found, with its line and the reason: ${line}`, (t) => {
    const [only, ...others] = findingsIn("src/x.ts", `${opening}${line}\n`);
    t.regex(only ?? "", /^src\/x\.ts:2: ".+": .{20}/);
    t.deepEqual(others, []);
  });
}

test("left alone: the Debian package docker.io, a folder called work, the word any in a sentence", (t) => {
  t.deepEqual(findingsIn("src/x.ts", `${opening}install("docker.io", \`\${root}/work/x\`); // (any port will do)\n`), []);
});

test("found: a file that does not open with a sentence, and one that is too long", (t) => {
  t.deepEqual(findingsIn("src/x.ts", 'import test from "ava";\n'), ["src/x.ts:1: a file opens with one sentence on its job"]);
  t.is(findingsIn("bpf/x.c", "\n".repeat(401)).length, 1);
  t.deepEqual(findingsIn("src/generated/x.ts", "\n".repeat(401)), []);
});
