// The example of docs/services.md is read by the code that it describes, and its defaults and limits are the code's.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { defaults } from "../../../src/lb/document.ts";
import { timeText } from "../../../src/lb/fields.ts";
import { example, read, serviceWith } from "./given.ts";

const page = readFileSync(join(import.meta.dirname, "../../../docs/services.md"), "utf8");

test("the page's example is the contract's, and lets clients of both families in", (t) => {
  const [, text = "", ...more] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  t.deepEqual(more, []);
  const plain = (yaml: string): unknown => JSON.parse(JSON.stringify(read(yaml), (key, value: unknown) => (key === "place" ? undefined : value)));
  t.deepEqual(plain(text), plain(example.replace("allow: [0.0.0.0/0]", 'allow: [0.0.0.0/0, "::/0"]')));
});

test("the page's backends are read", (t) => {
  const backends = [...page.matchAll(/^- `(\{.*?\})`:/gm)].map(([, text]) => text ?? "");
  t.is(backends.length, 2);
  t.is(read(serviceWith(`backends: [${backends.join(", ").replace("network: NAME", "network: shop").replace("port: N", "port: 80")}]`)).backends.length, 2);
});

test("the page's defaults are the code's", (t) => {
  const row = (key: string): string => page.split("\n").find((line) => line.startsWith(`| \`${key}\` |`)) ?? "";
  t.true(row("drain").endsWith(`| ${timeText(defaults.drain)} |`));
  t.true(row("affinity").endsWith(`\`timeout\` ${timeText(defaults.affinity)} |`));
  const { interval, timeout, rise, fall, path } = defaults.health;
  for (const text of [`path: ${path} }`, `\`interval\` (${timeText(interval)};`, `\`timeout\` (${timeText(timeout)};`, `\`fall\` (${fall})`, `\`rise\` (${rise})`, `is ${defaults.weight} when`]) t.true(page.includes(text), text);
});
