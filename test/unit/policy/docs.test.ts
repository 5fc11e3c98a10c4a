// Every example of docs/policy.md is read by the code that it describes.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { policyOfLabels } from "../../../src/policy/own-labels.ts";
import { readPolicies } from "../../../src/policy/read.ts";
import { policyWith, understood } from "./language.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/policy.md"), "utf8");
const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text ?? "");
const sentences = [...new Set([...page.replace(/```.*?```/gs, "").matchAll(/`([^`\n]*\S -> \S[^`\n]*)`/g)].map(([, text]) => text ?? ""))];
/** The page says of these that they are refused. */
const refused = ["web -> db, api:8080"];

test("the page has its examples", (t) => {
  t.is(blocks.length, 5);
  t.true(sentences.length > 30, String(sentences.length));
});

for (const [i, text] of blocks.entries()) {
  test(`example ${i + 1} of the page is a policy`, (t) => {
    t.is(readPolicies([{ file: "page.yaml", text }]).length, 1);
  });
}

for (const sentence of sentences.filter((one) => !/FROM|NAME/.test(one))) {
  test(`the page's ${sentence} is ${refused.includes(sentence) ? "refused" : "understood"}`, (t) => {
    if (refused.includes(sentence)) t.throws(() => understood(sentence), { message: /it is not clear which ports/ });
    else t.true(understood(sentence).length > 0);
  });
}

test("the page's labels are a policy", (t) => {
  const labels = [...page.matchAll(/--label (?:"([^"]+)"|(\S+))/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
  const own = Object.fromEntries(labels.map((label) => [label.slice(0, label.indexOf("=")), label.slice(label.indexOf("=") + 1)]));
  t.deepEqual(Object.keys(own), ["hawser.default.out", "hawser.allow.out", "hawser.default.in", "hawser.allow.in"]);
  const policy = policyOfLabels({ network: "shop", project: null, service: null, name: null, own }, "key");
  t.deepEqual(policy?.defaults, { in: "deny", out: "deny" });
  t.is(policy?.rules.length, 4);
});

test("what the page says of the trap with a space is so", (t) => {
  t.throws(() => readPolicies([{ file: "a.yaml", text: policyWith(["  - web -> api: 8080"]) }]), { message: /YAML takes this for a map/ });
});
