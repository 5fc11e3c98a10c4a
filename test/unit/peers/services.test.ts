// Services that nodes share: engines with their doors over one server. What one applies, or has in its directory, is in force on all, and never two things at once.
import test from "ava";
import type { ExecutionContext } from "ava";
import type { DirectoryReading } from "../../../src/engine/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { desk, fakeHost, memoryStore } from "../engine/fake.ts";
import type { MemoryStore } from "../engine/fake.ts";
import { Server } from "./server.ts";
import type { Client } from "./server.ts";
import { freshPort, node, until } from "./world.ts";

const directory = "/etc/hawser/service.d";
const text = (name = "web", frontend = "203.0.113.10:80", more = ""): string =>
  `service: ${name}\nfrontends: ["${frontend}"]\nbackends: [{ address: 192.0.2.7:8080 }]\nmode: snat\nhealth: { kind: none }\n${more}`;
const applied = (...args: Parameters<typeof text>) => ({ documents: [{ file: `${args[0] ?? "web"}.yaml`, text: text(...args) }] });
const reading = (files: Readonly<Record<string, string>>): DirectoryReading =>
  ({ directory, documents: Object.entries(files).map(([file, one]) => ({ file: `${directory}/${file}`, text: one })), unreadable: {} });
/** Its directory is never empty, which would be a disk that is gone. */
const other = { "other.yaml": text("other", "203.0.113.99:99") };

async function member(name: string, at: number, port: number, store: Client, memory: MemoryStore = memoryStore()) {
  const host = fakeHost();
  const engine = desk(host, memory, {
    node: name, clock: systemClock, shareServices: async (decide, signal) => {
      const share = made.door.shareServices;
      if (share === undefined) throw new Error("services are not shared");
      await share(decide, signal ?? AbortSignal.timeout(10_000));
    },
  });
  await engine.start();
  const made = node({ name, address: `127.0.${at}.${name.charCodeAt(0)}`, port, store, options: { commands: engine.commands, random: () => 0.1 } });
  await made.start();
  return {
    engine, store, memory, host,
    sync: (files: Readonly<Record<string, string>>) => engine.commands.syncServiceDirectory(reading(files)),
    /** `NAME STATE FRONTEND-PORT SOURCE NODES`, and what was said of it. */
    list: () => engine.queries.services().map(({ name: one, state, frontends, source, nodes }) => `${one} ${state} ${frontends.map(({ port: p }) => p).join()} ${source.split(" ")[0]} ${nodes.join("+")}`),
    error: (one: string) => engine.queries.services().find(({ name: it }) => it === one)?.error ?? "",
    /** Ports that the datapath was given. */
    ports: () => (host.services ?? []).flatMap(({ frontends }) => frontends.map(({ port: p }) => p)).toSorted().join(),
    [Symbol.asyncDispose]: async () => {
      await made[Symbol.asyncDispose]();
      await engine.close();
    },
  };
}

/** A turn's plans are the datapath's before the turn has ended and they are said to be in force. */
async function listed(t: ExecutionContext, one: { list(): readonly string[] }, rows: readonly string[]): Promise<void> {
  await until(() => one.list().join() === rows.join()).catch(() => undefined);
  t.deepEqual(one.list(), rows);
}

async function pair(at: number) {
  const [server, port] = [new Server(), freshPort()];
  const [a, b] = await Promise.all(["a", "b"].map((name) => member(name, at, port, server.connect(name))));
  if (a === undefined || b === undefined) throw new Error("there are no two");
  return {
    server, port, a, b,
    [Symbol.asyncDispose]: async () => {
      await a[Symbol.asyncDispose]();
      await b[Symbol.asyncDispose]();
    },
  };
}

test("what one node applies is in force on all, with where it comes from, and any of them deletes it", async (t) => {
  await using world = await pair(31);
  const { server, a, b } = world;
  t.like(await a.engine.commands.applyService(applied()), { applied: ["web"] });
  t.is(a.ports(), "80");
  await until(() => b.ports() === "80" && b.list().join() === a.list().join());
  await listed(t, b, ["web enforced 80 apply a"]);
  t.deepEqual(server.keys("service"), ["service-turn", "services/web"]);
  await b.engine.commands.applyService(applied("web", "203.0.113.10:81"));
  await until(() => a.ports() === "81");
  await listed(t, a, ["web enforced 81 apply b"]);
  await a.engine.commands.deleteService("web");
  await until(() => b.ports() === "");
  t.deepEqual([a.list(), b.list()], [[], []]);
  await t.throwsAsync(b.engine.commands.deleteService("web"), { code: "NOT_FOUND" });
});

test("two files of one name that say the same agree, whatever else they hold; another is refused with who has it, until he has it no more", async (t) => {
  await using world = await pair(32);
  const { a, b } = world;
  await a.sync({ ...other, "web.yaml": text() });
  await b.sync({ "several.yaml": `# as on the other node\n${text()}---\n${text("more", "203.0.113.11:90")}` });
  await until(() => a.ports() === "80,90,99" && b.ports() === "80,90,99");
  await listed(t, a, ["more enforced 90 directory b", "other enforced 99 directory a", "web enforced 80 directory a+b"]);
  await until(() => b.list().join() === a.list().join());
  t.is(b.engine.queries.service("more").text, text("more", "203.0.113.11:90"), "its own part of the file");
  await t.throwsAsync(a.engine.commands.applyService(applied("x", "203.0.113.11:90")), { message: /service more has it at b:\/etc\/hawser\/service\.d\/several\.yaml:9:13/ });

  // A change is in force when the last node that has the file has it.
  await a.sync({ ...other, "web.yaml": text("web", "203.0.113.10:8080") });
  t.is(a.error("web"), "");
  await listed(t, a, ["more enforced 90 directory b", "other enforced 99 directory a", "web enforced 80 directory b", "web.yaml rejected  directory a"]);
  t.regex(a.error("web.yaml"), /^\/etc\/hawser\/service\.d\/web\.yaml:1:10: there is a service "web" already, of b:\/etc\/hawser\/service\.d\/several\.yaml, which says otherwise; change it there, too, or give one of them another name$/);
  t.deepEqual([a.ports(), b.ports()], ["80,90,99", "80,90,99"]);
  await b.sync({ "several.yaml": `${text("web", "203.0.113.10:8080")}---\n${text("more", "203.0.113.11:90")}` });
  await until(() => a.ports() === "8080,90,99" && b.ports() === "8080,90,99");
  await until(() => a.list().includes("web enforced 8080 directory a+b"));
  t.deepEqual(a.list().filter((one) => one.includes("rejected")), []);

  // It goes with its last file.
  await t.throwsAsync(a.engine.commands.deleteService("more"), { code: "IN_USE", message: /stands in b:\/etc\/hawser\/service\.d\/several\.yaml, which is watched/ });
  await t.throwsAsync(a.engine.commands.applyService(applied("more", "203.0.113.11:91")), { code: "BAD_SERVICE", message: /in b:\/etc\/hawser\/service\.d\/several\.yaml; change it there/ });
  await b.sync({ "several.yaml": text("more", "203.0.113.11:90") });
  await until(() => b.list().includes("web enforced 8080 directory a"));
  t.is(b.ports(), "8080,90,99");
  await a.sync(other);
  await until(() => a.ports() === "90,99" && b.ports() === "90,99");
});

test("of two that are written at the same moment and are not compatible one is in force, everywhere the same one, and the other is told who has it", async (t) => {
  await using world = await pair(33);
  const { a, b } = world;
  for (let round = 0; round < 5; round++) {
    const tried = await Promise.allSettled([a, b].map((one, i) => one.engine.commands.applyService(applied(`s${i}`, "203.0.113.10:80", `drain: ${round + 1}s\n`))));
    t.is(tried.filter(({ status }) => status === "fulfilled").length, 1);
    const winner = tried.findIndex(({ status }) => status === "fulfilled");
    const lost = tried[1 - winner] as PromiseRejectedResult;
    t.true(lost.reason instanceof HawserError && lost.reason.code === "BAD_SERVICE");
    t.regex((lost.reason as Error).message, new RegExp(`203.0.113.10:80/tcp is taken: service s${winner} has it at ${"ab"[winner]}:s${winner}.yaml:2:13`));
    await until(() => a.list().length === 1 && a.list().join() === b.list().join());
    await listed(t, a, [`s${winner} enforced 80 apply ${"ab"[winner]}`]);
    await world.b.engine.commands.deleteService(`s${winner}`);
    await until(() => a.ports() === "" && b.ports() === "");
  }
  const [one, two] = ["203.0.113.10:81", "203.0.113.10:82"].map((frontend) => ({ ...other, "web.yaml": text("web", frontend) }));
  await Promise.all([a.sync(one as typeof other), b.sync(two as typeof other)]);
  await until(() => a.ports() === b.ports() && /^8[12],99$/.test(a.ports()));
  await until(() => [...a.list(), ...b.list()].filter((row) => row.includes("rejected")).length === 1);
});

test("with the store away what is in force stays, a change says that it waits, and it is in force on all when the store is back", async (t) => {
  await using world = await pair(34);
  const { a, b } = world;
  await a.engine.commands.applyService(applied());
  await b.sync(other);
  await until(() => a.ports() === "80,99" && b.ports() === "80,99");
  b.store.cut();
  await t.throwsAsync(b.engine.commands.deleteService("web"), { code: "STORE", message: /^the other nodes cannot be told, so that what was in force stays: (the store is not heard: )?etcd at/ });
  await b.sync({ "other.yaml": text("other", "203.0.113.99:98"), "late.yaml": text("late", "203.0.113.99:97"), "wrong.yaml": "service: [" });
  t.is(b.ports(), "80,99");
  await listed(t, b, ["other pending 99 directory b", "web enforced 80 apply a", "wrong.yaml rejected  directory b", "late.yaml pending  directory b"]);
  t.regex(b.error("late.yaml"), /^not told to the other nodes yet, and not in force: (the store is not heard: )?etcd at/);
  t.regex(b.error("wrong.yaml"), /wrong\.yaml:/);
  b.store.heal();
  await until(() => a.ports() === "80,97,98" && b.ports() === "80,97,98");
  await until(() => b.list().join() === "late enforced 97 directory b,other enforced 98 directory b,web enforced 80 apply a,wrong.yaml rejected  directory b");
  t.pass();
});

test("a start without the store goes on with what was in force last, and a node that is gone leaves its services, which anybody then may delete", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const memory = memoryStore();
  const gone = server.connect("a");
  await using b = await member("b", 35, port, server.connect("b"));
  {
    await using a = await member("a", 35, port, gone, memory);
    await a.sync({ "web.yaml": text() });
    await b.engine.commands.applyService(applied("more", "203.0.113.11:90"));
    await until(() => a.ports() === "80,90" && b.ports() === "80,90");
  }
  await t.throwsAsync(b.engine.commands.deleteService("web"), { code: "IN_USE" });
  gone.expire();
  await until(() => server.get("service-files/a") === undefined);
  t.is(b.ports(), "80,90", "the address is served though the node that has its file is gone");
  {
    const away = server.connect("a2");
    away.cut();
    await using again = await member("a", 36, port, away, memory);
    t.is(again.ports(), "80,90");
    await listed(t, again, ["more enforced 90 apply b", "web enforced 80 directory a"]);
  }
  await b.engine.commands.deleteService("web");
  await until(() => b.ports() === "90");
  t.is(server.get("services/web"), undefined);
});

test("a store that comes back empty is filled again, and no service is out of force meanwhile", async (t) => {
  await using world = await pair(37);
  const { server, a, b } = world;
  await a.engine.commands.applyService(applied());
  await a.engine.commands.applyService(applied("more", "203.0.113.11:90"));
  await b.sync(other);
  await until(() => a.ports() === "80,90,99" && b.ports() === "80,90,99");
  const seen = new Set<string>();
  const watching = setInterval(() => void seen.add(`${a.ports()} ${b.ports()}`), 1);
  server.wipe();
  await until(() => ["services/web", "services/more", "services/other", "service-files/b"].every((key) => server.get(key) !== undefined));
  await until(() => a.list().join() === b.list().join() && a.list().includes("other enforced 99 directory b"));
  clearInterval(watching);
  t.deepEqual([...seen], ["80,90,99 80,90,99"]);
});

test("what its node's kernel refuses is taken back on all, and what another node's refuses is in force elsewhere and said there", async (t) => {
  await using world = await pair(41);
  const { server, a, b } = world;
  await a.engine.commands.applyService(applied());
  await until(() => b.ports() === "80");
  const full = (call: string): void => {
    if (call === "do services: 2") throw new HawserError("TABLE_FULL", "no place is left");
  };
  a.host.before = full;
  await t.throwsAsync(a.engine.commands.applyService(applied("more", "203.0.113.11:90")), { message: "no place is left" });
  await until(() => server.get("services/more") === undefined && b.ports() === "80");
  for (const one of [a, b]) await listed(t, one, ["web enforced 80 apply a"]);
  await b.engine.commands.applyService(applied("more", "203.0.113.11:90"));
  await until(() => a.error("more") === "no place is left");
  t.deepEqual([a.list()[0], b.list()[0]], ["more pending 90 apply b", "more enforced 90 apply b"]);
  t.deepEqual([a.ports(), b.ports()], ["80", "80,90"]);
});

test("services of a node that had its own before it shared a store are given to it, and what does not fit there is told", async (t) => {
  const [server, port, memory] = [new Server(), freshPort(), memoryStore()];
  const alone = desk(fakeHost(), memory, { node: "a", clock: systemClock });
  await alone.start();
  await alone.commands.applyService(applied());
  await alone.commands.applyService(applied("more", "203.0.113.11:90"));
  await alone.close();
  await using b = await member("b", 38, port, server.connect("b"));
  await b.engine.commands.applyService(applied("taken", "203.0.113.11:90"));
  await using a = await member("a", 38, port, server.connect("a"), memory);
  await until(() => a.ports() === "80,90" && b.ports() === "80,90" && a.list().join() === b.list().join());
  await listed(t, a, ["taken enforced 90 apply b", "web enforced 80 apply a"]);
  t.true(a.engine.lines.some((line) => line.includes("does not agree with those of other nodes") && line.includes('"service":"more"')));
});

test("of two records with one frontend that somebody wrote past the nodes the earlier is in force, on every node", async (t) => {
  await using world = await pair(40);
  const { server, a, b } = world;
  await a.engine.commands.applyService(applied("b", "203.0.113.10:80"));
  await b.engine.commands.applyService(applied("c", "203.0.113.11:90"));
  const record = (server.get("services/b") ?? "").replaceAll('"b"', '"a"').replaceAll("service: b", "service: a").replace(/"turn":\d+/, '"turn":77');
  server.put({ "services/a": record });
  for (const one of [a, b]) {
    await listed(t, { list: () => one.list().map((row) => row.split(" ").slice(0, 2).join(" ")) }, ["a pending", "b enforced", "c enforced"]);
    t.is(one.ports(), "80,90");
    t.regex(one.error("a"), /a service that was there before has its frontend/);
  }
  await a.engine.commands.deleteService("b");
  await until(() => a.list().join() === b.list().join() && a.list()[0]?.startsWith("a enforced") === true);
  t.is(b.ports(), "80,90");
});

test("a record that is none changes nothing", async (t) => {
  await using world = await pair(39);
  const { server, a, b } = world;
  await a.engine.commands.applyService(applied());
  await until(() => b.ports() === "80");
  for (const wrong of ["", "{}", '{"v":2}', '{"v":1,"name":"other"}', (server.get("services/web") ?? "").replace('"apply"', '"heaven"')]) server.put({ "services/web": wrong, "services/../x": "{}", "service-files/b": "[" });
  await b.engine.commands.applyService(applied("more", "203.0.113.11:90"));
  await until(() => a.ports() === "80,90" && b.ports() === "80,90");
  t.pass();
});

test("what is too long for others to read is refused where it is written, and many long ones reach etcd in requests that it takes", async (t) => {
  const [server, port] = [new Server(), freshPort()];
  const store = server.connect("a");
  const asEtcd: Client = { ...store, exchange: async (expected, changes, signal) => {
    const bytes = changes.reduce((sum, { value = "" }) => sum + Buffer.byteLength(value), 0);
    if (bytes > 1.5 * 1024 * 1024) throw new HawserError("STORE", `a request of ${bytes} bytes is too large`);
    return store.exchange(expected, changes, signal);
  } };
  await using a = await member("a", 42, port, asEtcd);
  await using b = await member("b", 42, port, server.connect("b"));
  const comment = (bytes: number): string => `# ${"ü".repeat(bytes / 2 - 2)}\n`;
  const why = /web\.yaml:1:10: the service takes \d+ bytes in the store that nodes share, and 1048576 are the most; make lists of it shorter, or several services of it/;
  await t.throwsAsync(a.engine.commands.applyService(applied("web", "203.0.113.10:80", comment(1024 * 1024))), { code: "BAD_SERVICE", message: why });
  t.deepEqual(server.keys("service"), []);
  await a.sync({ ...other, "web.yaml": text("web", "203.0.113.10:80", comment(1024 * 1024)) });
  await listed(t, a, ["other enforced 99 directory a", "web.yaml rejected  directory a"]);
  t.regex(a.error("web.yaml"), why);
  await a.sync({ ...other, "web.yaml": text("web", "203.0.113.10:80", comment(1024 * 1024 - 1000)) });
  await until(() => b.ports() === "80,99");
  await a.engine.commands.applyService({ documents: Array.from({ length: 8 }, (_, i) => ({ file: `s${i}.yaml`, text: text(`s${i}`, `203.0.113.20:${i + 1}`, comment(500_000)) })) });
  await until(() => b.list().filter((row) => row.includes(" enforced ")).length === 10 && a.list().join() === b.list().join());
});
