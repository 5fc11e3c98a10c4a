// Probes on their own thread: that of the agent may stand still, and theirs may end, and nobody is taken for down by that.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import test from "ava";
import { createHealthDoor } from "../../../src/health/door.ts";
import type { HealthDoor } from "../../../src/health/door.ts";
import type { Result, Target } from "../../../src/health/types.ts";
import { systemClock } from "../../../src/std/clock.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { until } from "../peers/world.ts";

interface Running extends AsyncDisposable {
  readonly door: HealthDoor;
  readonly results: Result[];
  readonly lines: string[];
  of(id: string): readonly Result[];
}

/** Ten times as fast, so that a thread that stands still is found out in half a second. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 10, signal) };

function running({ code, clock = systemClock }: { code?: URL; clock?: Clock } = {}): Running {
  const [life, results, lines] = [new AbortController(), [] as Result[], [] as string[]];
  const door = createHealthDoor({
    clock, log: createLog((line) => lines.push(line), () => 0), told: (some) => results.push(...some), ...(code === undefined ? {} : { code }),
  });
  const ran = door.run(life.signal);
  return {
    door, results, lines,
    of: (id) => results.filter((result) => result.id === id),
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await ran;
    },
  };
}

function target(id: string, port: number, more: Partial<Target> = {}): Target {
  return { id, address: parseIp("127.0.0.1"), port, kind: "http", path: "/", interval: 200, timeout: 1000, ...more };
}

interface WebServer extends AsyncDisposable {
  readonly port: number;
  /** Ends it. @returns how many requests it has answered */
  count(): Promise<number>;
}

async function webServer(): Promise<WebServer> {
  const child = spawn(process.execPath, [new URL("server.ts", import.meta.url).pathname], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const number = async (): Promise<number> => Number((await lines.next()).value);
  return {
    port: await number(),
    count: () => {
      child.stdin.end();
      return number();
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** Of nobody, until it is taken. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const stop = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

test.serial("while the agent's own thread stands still for three seconds everybody is asked in time, no answer is lost and nobody is down", async (t) => {
  await using server = await webServer();
  await using run = running();
  const ids = Array.from({ length: 20 }, (_, at) => `backend ${at}`);
  run.door.follow(ids.map((id) => target(id, server.port)));
  await until(() => ids.every((id) => run.of(id).length > 0));
  const [before, told] = [Date.now(), run.results.length];
  stop(3000);
  t.is(run.results.length, told, "the agent's thread did stand still");
  const after = Date.now();
  await until(() => run.results.some(({ at }) => at > after));
  for (const id of ids) {
    const during = run.of(id).filter(({ at }) => at > before && at < after);
    t.true(during.length >= 7, `${id} was asked ${during.length} times in three seconds`);
  }
  t.deepEqual(run.results.filter(({ ok }) => !ok), []);
  t.deepEqual(run.lines, [], "nor is the thread taken for one that stands still");
  await until(() => run.results.every(({ at }) => at < Date.now()));
  run.door.follow([]);
  const asked = await server.count();
  t.true(asked >= run.results.length && asked - run.results.length <= ids.length, `${asked} were answered, ${run.results.length} were told`);
});

test.serial("who stops answering is told as not ok, with the reason, and who answers again as ok", async (t) => {
  const port = await freePort();
  await using run = running();
  run.door.follow([target("a", port, { kind: "tcp" })]);
  await until(() => run.of("a").length > 0);
  const { ok, why } = run.of("a")[0] ?? {};
  t.deepEqual({ ok, why }, { ok: false, why: "connection refused" });
  await using server = createServer((socket) => void socket.on("error", () => undefined)).listen(port, "127.0.0.1");
  await once(server, "listening");
  await until(() => run.of("a").at(-1)?.ok === true);
  t.is(run.of("a").at(-1)?.why, "connected");
});

test.serial("a list that is the same changes nothing, one that differs changes what differs, and answers of what was are not told", async (t) => {
  await using server = await webServer();
  const nobody = await freePort();
  await using run = running();
  run.door.follow([target("a", server.port), target("b", server.port, { interval: 60_000 })]);
  await until(() => run.of("a").length > 1 && run.of("b").length > 0);
  run.door.follow([target("b", server.port, { interval: 60_000 }), target("a", nobody)]);
  const changed = run.of("a").length;
  await until(() => run.of("a").length > changed);
  t.deepEqual([...new Set(run.of("a").slice(changed).map(({ why }) => why))], ["connection refused"]);
  t.is(run.of("b").length, 1, "its turn had not come");
  run.door.follow([target("b", server.port)]);
  await until(() => run.of("b").length > 2);
  const gone = run.of("a").length;
  await until(() => run.of("b").length > 5);
  t.is(run.of("a").length, gone);
});

test.serial("a thread that ends is replaced, says why, and takes nobody down", async (t) => {
  await using server = await webServer();
  await using run = running({ code: new URL("threads/ending.ts", import.meta.url) });
  run.door.follow([target("a", server.port)]);
  await until(() => run.door.trouble() !== undefined);
  t.is(run.door.trouble(), "out of luck");
  const told = run.results.length;
  await until(() => run.results.length > told);
  t.deepEqual(run.results.filter(({ ok }) => !ok), []);
  await until(() => run.door.trouble() === undefined);
});

test.serial("a thread that stands still is found out and replaced, and takes nobody down", async (t) => {
  await using server = await webServer();
  await using run = running({ code: new URL("threads/standing.ts", import.meta.url), clock: hasty });
  run.door.follow([target("a", server.port)]);
  await until(() => run.door.trouble() !== undefined);
  t.is(run.door.trouble(), "the thread has stood still for 5 seconds");
  const told = run.results.length;
  await until(() => run.results.length > told);
  t.deepEqual(run.results.filter(({ ok }) => !ok), []);
});

test.serial("without targets there is no thread, and there is one again with the next", async (t) => {
  const threads = (): number => process.getActiveResourcesInfo().filter((name) => name === "MessagePort").length;
  await using server = await webServer();
  await using run = running();
  t.is(threads(), 0);
  for (let round = 1; round <= 2; round++) {
    const told = run.results.length;
    run.door.follow([target("a", server.port)]);
    await until(() => run.results.length > told);
    t.is(threads(), 1);
    run.door.follow([]);
    await until(() => threads() === 0);
  }
});

test.serial("a door that has ended has ended its thread and its sockets", async (t) => {
  await using server = await webServer();
  {
    await using run = running();
    run.door.follow([target("a", server.port)]);
    await until(() => run.results.length > 0);
  }
  t.true(await server.count() > 0);
});
