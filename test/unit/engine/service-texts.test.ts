// Texts that were read are remembered as long as somebody may ask for them, and no longer.
import test from "ava";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import type { WrittenDocument } from "../../../src/engine/types.ts";
import { readDocument } from "../../../src/lb/read.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import { HawserError } from "../../../src/std/errors.ts";
import type { FakeHost } from "./fake.ts";
import { service, text } from "./shop.ts";

const named = (name: string, more = ""): WrittenDocument => ({ file: `${name}.yaml`, text: text(more, name) });
const several = (count: number, edit: number): WrittenDocument =>
  ({ file: "all.yaml", text: Array.from({ length: count }, (_, i) => text(`# ${"-".repeat(500)} ${i === 0 ? edit : ""}\n`, `s${i}`, `203.0.113.${i}:80`)).join("---\n") });

test("a long file that changes again and again is not remembered as it was, however few its services are", (t) => {
  const texts = new ServiceTexts();
  const row = named("web");
  const [web, first] = [texts.one(row), texts.one(several(100, 0))];
  for (let edit = 1; edit < 20; edit++) {
    texts.one(several(100, edit));
    texts.keep(100, () => row.text.length, () => [row]);
  }
  t.is(texts.one(row), web);
  t.not(texts.one(several(100, 0)), first);
});

test("what is held is not forgotten when others change services meanwhile, nor are its parts; later it is", async (t) => {
  const texts = new ServiceTexts();
  const documents = [...Array.from({ length: 300 }, (_, i) => named(`s${i}`)), several(3, 0)];
  const held = texts.hold(documents);
  await texts.prepare(documents);
  const all = several(3, 0);
  const parts = (): readonly unknown[] => (texts.parts(all) ?? []).map(({ text, line = 1 }) => texts.one({ file: all.file, text, line }));
  const [read, partsRead] = [documents.map(texts.one), parts()];
  for (let i = 0; i < 500; i++) texts.one(named(`other${i}`));
  texts.keep(0, () => 0, () => []);
  t.true(documents.every((document, i) => texts.one(document) === read[i]));
  t.true(parts().every((part, i) => part === partsRead[i]));
  held[Symbol.dispose]();
  texts.keep(0, () => 0, () => []);
  t.true(documents.every((document, i) => texts.one(document) !== read[i]));
});

test("what of a change was read is not read again though others change services while the rest is", async (t) => {
  const host = fakeHost();
  const documents = Array.from({ length: 800 }, (_, i) => ({ file: `s${i}.yaml`, text: text(`# ${"-".repeat(500)}\n`, `s${i}`, `203.0.${i >> 8}.${i & 255}:80`) }));
  const told = (one: WrittenDocument) => ({ services: readDocument(one).services.map((each) => ({ ...each, frontends: each.frontends.map((one) => ({ ...one, port: 81 })) })), problems: [] });
  const engine = desk(host, memoryStore(), {
    readServices: async (unread, found) => {
      for (const one of unread.slice(0, 400)) found(one, told(one));
      await engine.commands.applyService(service("", "other", "203.0.113.10:80"));
      for (const one of unread.slice(400)) found(one, told(one));
    },
  });
  await engine.start();
  await engine.commands.applyService({ documents });
  await engine.close();
  t.is(host.services?.filter(({ frontends }) => frontends.every(({ port }) => port === 81)).length, 800);
});

const large = (name: string, address: string): WrittenDocument => ({ file: `${name}.yaml`, text: text(`# ${"-".repeat(400_000)}\n`, name, address) });

test("what comes from elsewhere at once is looked at in several turns", async (t) => {
  const documents = Array.from({ length: 30 }, (_, i) => ({ file: `s${i}.yaml`, text: text(`# ${"-".repeat(15_000)}\n`, `s${i}`, `203.0.113.${i}:80`) }));
  let [looked, atOnce] = [0, 0];
  const texts = new ServiceTexts(async (unread, found) => {
    for (const one of unread) found(one, readDocument(one));
    atOnce = looked;
  });
  await texts.prepare(documents, () => {
    looked++;
    for (const since = performance.now(); performance.now() - since < 4;);
  });
  t.true(atOnce <= 1);
  t.true(looked >= 30);
});

test("large changes at once are read elsewhere one after the other, and what was read meanwhile is not read again", async (t) => {
  const asked: string[] = [];
  const engine = desk(fakeHost(), memoryStore(), {
    readServices: async (unread, found) => {
      const names = unread.map(({ file }) => file).join(" ");
      asked.push(`begins ${names}`);
      await new Promise(setImmediate);
      for (const one of unread) found(one, readDocument(one));
      asked.push(`ends ${names}`);
    },
  });
  await engine.start();
  const [a, b] = [large("a", "203.0.113.1:80"), large("b", "203.0.113.2:80")];
  await Promise.all([[a], [b], [a, b]].map((documents) => engine.commands.applyService({ documents })));
  t.deepEqual(asked, ["begins a.yaml", "ends a.yaml", "begins b.yaml", "ends b.yaml"]);
  await engine.close();
});

for (const who of ["whoever asked for it", "the agent"] as const) {
  test(`when ${who} waits no longer what is read elsewhere is given up, and not read here`, async (t) => {
    const given = new AbortController();
    const begun = Promise.withResolvers<void>();
    const host = fakeHost();
    const engine = desk(host, memoryStore(), {
      readServices: async (_unread, _found, signal) => {
        begun.resolve();
        await new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("it was killed"))));
      },
    });
    await engine.start();
    const applied = engine.commands.applyService({ documents: [large("a", "203.0.113.1:80")] }, given.signal);
    const outcome = t.throwsAsync(applied, { message: who === "the agent" ? /the agent stops/ : /not wanted any more/ });
    await begun.promise;
    if (who === "the agent") await engine.close();
    else given.abort(new HawserError("DEADLINE", "it is not wanted any more"));
    await outcome;
    t.deepEqual(engine.lines.filter((line) => line.includes("read by the agent itself")), []);
    t.deepEqual(engine.queries.services(), []);
    await engine.close();
  });
}

test("why services are read by the agent is in the log", async (t) => {
  const engine = desk(fakeHost(), memoryStore(), { readServices: () => Promise.reject(new Error("it cannot be started")) });
  await engine.start();
  await engine.commands.applyService({ documents: [{ file: "web.yaml", text: text(`# ${"-".repeat(400_000)}\n`) }] });
  t.is(engine.lines.filter((line) => /services are read by the agent itself.*it cannot be started/.test(line)).length, 1);
  await engine.close();
});

test("a change is not thought through again because the host was looked at, and is as it was", async (t) => {
  const asked = async (host: FakeHost): Promise<number> => {
    let count = 0;
    host.refusal = () => void count++;
    const engine = desk(host, memoryStore());
    await engine.start();
    await engine.commands.applyService({ documents: [{ file: "web.yaml", text: 'service: web\nfrontends: ["203.0.113.10:80"]\nbackends: [{ address: 192.0.2.9:80 }]\n' }] });
    await engine.close();
    return count;
  };
  const looked = fakeHost();
  const { facts } = looked.datapath;
  Object.defineProperty(looked.datapath, "facts", { get: () => ({ ...facts, hostPrefixes: [...facts.hostPrefixes] }) });
  t.is(await asked(looked), await asked(fakeHost()));
});
