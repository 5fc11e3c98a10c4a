// Service files in the watched folder, beside one another and beside what was applied.
import test from "ava";
import { readDirectory } from "../../../src/engine/document-changes.ts";
import type { Written } from "../../../src/engine/document-changes.ts";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import { writtenServices } from "../../../src/engine/service-changes.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { State } from "../../../src/network/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { atOnce } from "../../../src/std/sliced.ts";
import { generator } from "../lb/random.ts";
import { service, shop, text } from "./shop.ts";

test("R7: a file that becomes wrong keeps what it said, and is seen to be wrong; one that goes takes its service along", async (t) => {
  const { engine, host } = await shop();
  const sync = (files: Readonly<Record<string, string>>): Promise<void> => engine.commands.syncServiceDirectory({
    directory: "/etc/hawser/service.d", unreadable: {}, documents: Object.entries(files).map(([name, one]) => ({ file: `/etc/hawser/service.d/${name}`, text: one })),
  });
  await sync({ "web.yaml": text(), "dns.yaml": text("", "dns", "203.0.113.11:53/udp") });
  t.deepEqual(host.services?.map(({ name }) => name), ["dns", "web"]);
  await sync({ "web.yaml": text("drain: long\n"), "dns.yaml": text("", "dns", "203.0.113.11:53/udp"), "new.yaml": "service: new\n" });
  t.deepEqual(host.services?.map(({ name }) => name), ["dns", "web"]);
  t.deepEqual(engine.queries.services().map(({ name, state, source }) => [name, state, source]), [
    ["dns", "enforced", "directory /etc/hawser/service.d/dns.yaml"], ["web", "rejected", "directory /etc/hawser/service.d/web.yaml"], ["new.yaml", "rejected", "directory /etc/hawser/service.d/new.yaml"],
  ]);
  t.regex(engine.queries.services()[1]?.error ?? "", /web\.yaml:5:8: "long" is no time/);
  const part = (await engine.queries.status()).parts.find(({ part: name }) => name === "services");
  t.is(part?.state, "degraded");
  await t.throwsAsync(engine.commands.deleteService("dns"), { code: "IN_USE" });
  await sync({ "web.yaml": text() });
  t.deepEqual(host.services?.map(({ name }) => name), ["web"]);
  t.like((await engine.queries.status()).parts.find(({ part: name }) => name === "services"), { state: "ok", detail: "1 service; nobody serves 203.0.113.10:80/tcp" });
});

test("who deletes what is listed under a wrong file's name is told which file to mend or remove", async (t) => {
  const { engine } = await shop();
  await engine.commands.syncServiceDirectory({ directory: "/d", unreadable: { "/d/closed.yaml": "permission denied" }, documents: [{ file: "/d/web.yaml", text: text() }, { file: "/d/new.yaml", text: "service: new\n" }] });
  t.deepEqual(engine.queries.services().map(({ name, state }) => [name, state]), [["web", "enforced"], ["closed.yaml", "rejected"], ["new.yaml", "rejected"]]);
  for (const name of ["closed.yaml", "new.yaml"]) await t.throwsAsync(engine.commands.deleteService(name), { code: "IN_USE", message: `/d/${name} has never been in force; mend it, or remove it there` });
  await t.throwsAsync(engine.commands.deleteService("other.yaml"), { code: "NOT_FOUND" });
});

test("a file whose name was applied already says how to make way for it, whether or not the applied file is there still", async (t) => {
  const { engine } = await shop();
  await engine.commands.applyService(service());
  const sync = (): Promise<void> => engine.commands.syncServiceDirectory({ directory: "/d", unreadable: {}, documents: [{ file: "/d/mine.yaml", text: text("", "web", "203.0.113.11:80") }] });
  await sync();
  t.is(engine.queries.services().find(({ name }) => name === "mine.yaml")?.error, '/d/mine.yaml:1:10: there is a service "web" already, applied from web.yaml; `hawser service delete web` makes way for this one, or give it another name');
  await engine.commands.deleteService("web");
  await sync();
  t.deepEqual(engine.queries.services().map(({ name, state, source }) => [name, state, source]), [["web", "enforced", "directory /d/mine.yaml"]]);
});

const file = (n: number, address = n): string => text("", `s${n}`, `203.0.${113 + (address >> 8)}.${address & 255}:80`);

/** `looks`: how often all services were looked at. */
function judged() {
  const texts = new ServiceTexts();
  const book = new ServiceBook("n1", texts);
  const pool = { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  const written = writtenServices({ book, texts, shared: false, refusal: () => undefined, pool, hostPrefixes: () => [] });
  const looks = { all: 0 };
  const counted: typeof written = {
    ...written,
    verify: (...args) => {
      looks.all++;
      return written.verify(...args);
    },
  };
  return { written: counted, looks };
}

function read(files: readonly string[], { written }: { readonly written: Written }, state: State = emptyState) {
  const documents = files.map((one, i) => ({ file: `/d/${i}.yaml`, text: one }));
  return atOnce(readDirectory(state, { directory: "/d", documents, unreadable: {} }, 1, written));
}

test("files that are wrong are found among many without a look at all services for each of them", (t) => {
  const judge = judged();
  const files = Array.from({ length: 600 }, (_, i) => (i % 3 === 1 ? `service: s${i}\n` : i % 3 === 2 && i > 300 ? file(i, 0) : file(i)));
  const { next, problems } = read(files, judge);
  t.is(next.services.size, 300);
  t.is(problems.size, 300);
  t.regex(problems.get("/d/1.yaml") ?? "", /^\/d\/1\.yaml:1:1: /);
  t.regex(problems.get("/d/302.yaml") ?? "", /^\/d\/302\.yaml:2:13: 203\.0\.113\.0:80\/tcp is taken: service s0 has it at \/d\/0\.yaml:2:13/);
  t.true(judge.looks.all < 5, `${judge.looks.all} looks`);
});

test("what a file that is wrong said before is in the way of the next one that wants it", (t) => {
  const judge = judged();
  const before = read([file(1), file(2), file(3)], judge).next;
  const { next, problems } = read(["service: s1\n", file(2, 1), file(3, 2), file(4)], judge, before);
  t.deepEqual([...problems.keys()].toSorted(), ["/d/0.yaml", "/d/1.yaml", "/d/2.yaml"]);
  t.deepEqual([...next.services.keys()].toSorted(), ["s1", "s2", "s3", "s4"]);
  t.deepEqual(["s1", "s2", "s3"].map((name) => next.services.get(name)), ["s1", "s2", "s3"].map((name) => before.services.get(name)));
});

test("one by one the same files are found wrong, with the same reasons, as by looks at all", (t) => {
  const random = generator(7);
  for (let round = 0; round < 60; round++) {
    const applied = (i: number) => ({ name: `s${i}`, file: `/a/${i}.yaml`, text: file(i, 20 + i), source: "apply", revision: 1, changedAt: 1 }) as const;
    const state = { ...emptyState, services: new Map([1, 5].map((i) => [`s${i}`, applied(i)] as const)) };
    const files = Array.from({ length: 12 }, () => {
      const [name, address] = [random(14), random(30)];
      return random(10) < 2 ? `service: s${name}\n` : random(10) < 2 ? `${file(name, address)}---\n${file(name + 1, address + 1)}` : random(10) < 1 ? text("", `s${name}`, "10.44.3.4:80") : file(name, address);
    });
    const [one, other] = [judged().written, judged().written];
    const { beside: _, ...byLooks } = other;
    const [found, wanted] = [read(files, { written: one }, state), read(files, { written: byLooks }, state)];
    t.deepEqual([...found.next.services].toSorted(), [...wanted.next.services].toSorted());
    t.deepEqual([...found.problems].toSorted(), [...wanted.problems].toSorted());
  }
});
