// Files with several services: each is remembered with its own document, read once, and says in which line of its file something is wrong.
import test from "ava";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import type { StoredService } from "../../../src/lb/stored.ts";
import type { Json } from "../../../src/store/types.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";

const directory = "/etc/hawser/service.d";
const file = `${directory}/all.yaml`;
const one = (n: number, port = 80, more = ""): string => `${more}service: s${n}\nfrontends: ["203.0.113.${n}:${port}"]\nbackends: [{ address: 192.0.2.7:8080 }]\nmode: snat\n`;
const several = (...texts: readonly string[]): string => texts.join("---\n");

async function started(rows = new Map<string, Map<string, Json>>()) {
  const host = fakeHost();
  const store = memoryStore(rows);
  const engine = desk(host, store);
  await engine.start();
  const written: string[] = [];
  store.onWrite = (changes) => {
    for (const { table, key, value } of changes) if (table === "services") written.push(`${key}${value === undefined ? " gone" : ""}`);
  };
  return {
    host, engine,
    rows: () => Object.fromEntries([...rows.get("services") ?? []].map(([name, row]) => {
      const { text, line = 1, revision } = row as unknown as StoredService;
      return [name, { text, line, revision }];
    })),
    /** What was written for it, by name. */
    sync: async (text: string): Promise<readonly string[]> => {
      written.length = 0;
      await engine.commands.syncServiceDirectory({ directory, documents: [{ file, text }], unreadable: {} });
      await engine.idle();
      return written.toSorted();
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

test("each service of a file is remembered with its own part of it, and a change of one writes that one", async (t) => {
  await using world = await started();
  await world.sync(several(one(1), one(2), one(3)));
  t.deepEqual(world.rows(), { s1: { text: one(1), line: 1, revision: 1 }, s2: { text: one(2), line: 6, revision: 1 }, s3: { text: one(3), line: 11, revision: 1 } });
  t.is(world.engine.queries.service("s2").text, one(2));
  t.deepEqual(await world.sync(several(one(1), one(2), one(3))), []);
  t.deepEqual(await world.sync(several(one(1), one(2, 81), one(3))), ["s2"]);
  t.is(world.rows()["s2"]?.revision, 2);
  t.deepEqual(await world.sync(several(one(1), one(2, 81))), ["s3 gone"]);
});

test("what stands further down in its file is not changed, and its line is told", async (t) => {
  await using world = await started();
  await world.sync(several(one(1), one(2)));
  await world.sync(several(one(1, 80, "# one\n# more\n"), one(2)));
  t.deepEqual(world.rows()["s2"], { text: one(2), line: 8, revision: 1 });
  await t.throwsAsync(world.engine.commands.applyService({ documents: [{ file: "x.yaml", text: one(2).replace("s2", "x") }] }),
    { message: new RegExp(`x\\.yaml:2:13: 203\\.0\\.113\\.2:80/tcp is taken: service s2 has it at ${file}:9:13`) });
});

test("rows that hold all of their file, as earlier builds wrote them, are in force, and become parts without being changed", async (t) => {
  const text = several(one(1), one(2));
  const row = (name: string): Json => ({ name, file, text, source: "directory", revision: 5, changedAt: 1 });
  await using world = await started(new Map([["services", new Map(["s1", "s2"].map((name) => [name, row(name)] as const))]]));
  t.deepEqual(world.engine.queries.services().map(({ name, revision }) => [name, revision]), [["s1", 5], ["s2", 5]]);
  await world.engine.idle();
  t.deepEqual(world.host.services?.map(({ name }) => name), ["s1", "s2"]);
  t.deepEqual(await world.sync(text), ["s1", "s2"]);
  t.deepEqual(world.rows(), { s1: { text: one(1), line: 1, revision: 5 }, s2: { text: one(2), line: 6, revision: 5 } });
  t.deepEqual(await world.sync(text), []);
});

test("of a row that holds all of its file its own document counts: it stays in force though another one is refused by now", async (t) => {
  const text = several(one(1), one(2).replace("203.0.113.2", "127.0.0.1"), one(3));
  const row = (name: string): Json => ({ name, file, text, source: "directory", revision: 5, changedAt: 1 });
  await using world = await started(new Map([["services", new Map(["s1", "s2", "s3"].map((name) => [name, row(name)] as const))]]));
  await world.engine.idle();
  t.deepEqual(world.host.services?.map(({ name }) => name), ["s1", "s3"]);
  t.deepEqual(await world.sync(text), []);
  t.deepEqual(world.host.services?.map(({ name }) => name), ["s1", "s3"]);
  t.regex(world.engine.queries.services().find(({ name }) => name === "s1")?.error ?? "", /all\.yaml:7:14: /);
});

test("a part of a file that was read is not read again", (t) => {
  const texts = new ServiceTexts();
  const parts = texts.parts({ file, text: several(one(1), one(2), one(3)) }) ?? [];
  for (const { service, text, line } of parts) t.is(texts.one({ file, text, ...(line === undefined ? {} : { line }) }).services[0], service);
  t.is(parts.length, 3);
});
