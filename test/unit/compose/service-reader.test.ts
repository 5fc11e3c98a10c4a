// Many service documents are read by another process as they would be here, and one that fails says so.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import test from "ava";
import type { ExecutionContext } from "ava";
import { createServiceReader } from "../../../src/compose/service-reader.ts";
import { readDocument } from "../../../src/lb/read.ts";
import type { ReadServices, ServiceSource } from "../../../src/lb/read.ts";

const whole = [
  'service: web\nfrontends: ["203.0.113.10:80", "[2001:db8::10]:53/udp"]\nbackends: [{ select: { network: shop, label: "app=web, __proto__=x, tier" }, port: 8080, weight: 0 }]\nmode: snat',
  "# Übung\nservice: api\nfrontends: [203.0.113.11:80]\nbackends:\n  - &a { address: 192.0.2.7:8080 }\naffinity: { by: client, timeout: 1h }\nsources: { allow: [10.0.0.0/8], deny: [10.1.0.0/16] }\n",
  '---\nservice: one\nfrontends: [203.0.113.12:80]\nbackends: [{ address: 192.0.2.7:80 }]\n---\n{ "service": "two", "frontends": ["203.0.113.12:80"], "backends": [] }\n',
  "", "service: web\0", "service: [", `service: x${"[".repeat(200)}`, "- 1\n- 2\n",
];

/** Texts in which something is left out somewhere, so that all kinds of problems are among them. */
const documents: readonly ServiceSource[] = whole.flatMap((text, i) =>
  [text, ...Array.from({ length: Math.min(60, text.length) }, (_, n) => text.slice(0, n * 7 % text.length) + text.slice(n * 7 % text.length + 1 + (n % 5)))]
    .map((one, n) => ({ file: `/d/${i}-${n}.yaml`, text: one, ...(n % 3 === 0 ? { line: 10 } : {}) })));

test("each is what it is when it is read here, in their order", async (t) => {
  const found: (readonly [ServiceSource, ReadServices])[] = [];
  await createServiceReader()(documents, (document, read) => found.push([document, read]));
  t.deepEqual(found, documents.map((document) => [document, readDocument(document)]));
  const problems = found.filter(([, read]) => read.problems.length > 0).length;
  t.true(problems > 100 && problems < found.length - 10, `${problems} of ${found.length} have problems`);
});

test("a longer one may take longer", async (t) => {
  const file = scriptOf(t, 'process.once("message", () => setTimeout(() => process.send([{ services: [], problems: [] }]), 1500));');
  const read = (text: string): Promise<void> => createServiceReader({ file, silence: 1000 })([{ file: "all.yaml", text }], () => undefined);
  await t.throwsAsync(read("service: web"), { message: /does not answer in time/ });
  await t.notThrowsAsync(read("#".repeat(400_000)));
});

test("one of another build is not believed", async (t) => {
  let found = 0;
  await t.throwsAsync(createServiceReader({ build: "another" })(documents, () => found++), { message: /is of another build than the agent/ });
  t.is(found, 0);
});

test("when nobody waits any more it is gone at once, and none is started anew", async (t) => {
  const file = scriptOf(t, 'process.on("message", () => process.send([{ services: [{ name: String(process.pid) }], problems: [] }]));');
  const given = new AbortController();
  const why = new Error("the agent stops");
  let pid = 0;
  const reading = createServiceReader({ file })(documents, (_, { services: [first] }) => {
    pid = Number(first?.name);
    given.abort(why);
  }, given.signal);
  t.is(await t.throwsAsync(reading), why);
  while (isAlive(pid)) await new Promise(setImmediate);
  t.true(pid > 1);
  t.is(await t.throwsAsync(createServiceReader({ file })(documents, () => t.fail(), given.signal)), why);
});

for (const [what, code, message] of [
  ["dies", "process.exit(3);", /has ended: 3/],
  ["is killed", 'process.once("message", () => process.kill(process.pid, "SIGKILL"));', /has ended: SIGKILL/],
  ["dies half-way", 'process.once("message", () => process.send([{ services: [], problems: [] }], () => process.exit(4)));', /has ended: 4/],
  ["says nothing", 'process.on("message", () => undefined);', /does not answer in time/],
] as const) {
  test(`one that ${what} is told of, and is gone`, async (t) => {
    const file = scriptOf(t, code);
    let found = 0;
    await t.throwsAsync(createServiceReader({ file, silence: 2000 })(documents, () => found++), { message });
    t.is(found, what === "dies half-way" ? 1 : 0);
  });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function scriptOf(t: ExecutionContext, code: string): URL {
  const folder = mkdtempSync(join(tmpdir(), "hawser-reader-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "reader.mjs");
  writeFileSync(file, code);
  return pathToFileURL(file);
}
