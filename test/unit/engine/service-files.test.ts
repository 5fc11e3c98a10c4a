// Service files in the watched folder, beside one another and beside what was applied.
import test from "ava";
import { readDirectory } from "../../../src/engine/document-changes.ts";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import { writtenServices } from "../../../src/engine/service-changes.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { emptyState } from "../../../src/network/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { atOnce } from "../../../src/std/sliced.ts";
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

test("a file that is wrong is found among many without a look at all services for each of them", (t) => {
  const texts = new ServiceTexts();
  const book = new ServiceBook("n1", texts);
  const pool = { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  const written = writtenServices({ services: (state) => book.candidates(state), texts, shared: false, refusal: () => undefined, pool, hostPrefixes: () => [] });
  let looks = 0;
  const counted: typeof written = {
    ...written,
    verify: (...args) => {
      looks++;
      return written.verify(...args);
    },
  };
  const file = (n: number, address = n): string => text("", `s${n}`, `203.0.113.${address}:80`);
  const wrong = { 70: "service: s70\n", 150: file(150, 149) };
  const documents = Array.from({ length: 200 }, (_, i) => ({ file: `/d/${i}.yaml`, text: wrong[i as keyof typeof wrong] ?? file(i) }));
  const { next, problems } = atOnce(readDirectory(emptyState, { directory: "/d", documents, unreadable: {} }, 1, counted));
  t.is(next.services.size, 198);
  t.deepEqual([...problems.keys()], ["/d/70.yaml", "/d/150.yaml"]);
  t.regex(problems.get("/d/150.yaml") ?? "", /^\/d\/150\.yaml:2:13: 203\.0\.113\.149:80\/tcp is taken: service s149 has it/);
  t.true(looks < 30, `${looks} looks`);
});
