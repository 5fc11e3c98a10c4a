// What this node's probes find reaches the engine: a backend that answers badly goes out and comes back, and an agent that stands still takes nobody out.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import test from "ava";
import { keptOut, openHealth } from "../../../src/compose/health.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import type { ProbeTarget, TraceView } from "../../../src/engine/types.ts";
import { HawserError } from "../../../src/std/errors.ts";
import { createLog } from "../../../src/std/log.ts";
import { systemClock } from "../../../src/std/clock.ts";
import { desk, fakeHost, memoryStore } from "../engine/fake.ts";
import { until } from "../peers/world.ts";

async function webServer() {
  let [status, answered] = [200, 0];
  const server = createServer((_request, response) => {
    answered++;
    response.writeHead(status).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    say: (next: number) => void (status = next),
    answered: () => answered,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const text = (name: string, address: string, ports: readonly number[]): string => `service: ${name}
frontends: ["${address}:80"]
backends: [${ports.map((port) => `{ address: 203.0.113.7:${port} }`).join(", ")}]
health: { kind: http, interval: 200ms, timeout: 200ms, rise: 2, fall: 2 }
`;

/** Its servers are this process, which has no other address for sure than one that no server can have. */
function besideUs(engine: Engine): Parameters<typeof openHealth>[0] {
  const probeTargets = (): readonly ProbeTarget[] => engine.queries.probeTargets().map((target) => ({ ...target, address: "127.0.0.1" }));
  return { commands: engine.commands, queries: { ...engine.queries, probeTargets }, onProbeTargets: (listener) => engine.onProbeTargets(listener) };
}

async function balancing(...documents: readonly string[]) {
  const host = fakeHost();
  const engine = desk(host, memoryStore(), { clock: systemClock });
  await engine.start();
  await engine.commands.applyService({ documents: documents.map((one, i) => ({ file: `${i}.yaml`, text: one })) });
  const life = new AbortController();
  const health = openHealth(besideUs(engine), systemClock, createLog(() => undefined, () => 0));
  const running = health.run(life.signal);
  return {
    engine, health,
    states: () => engine.queries.services().flatMap(({ name, backends }) => backends.map(({ port, state }) => `${name} ${port} ${state}`)),
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await running;
      await engine.close();
    },
  };
}

test("a server that answers 500 goes out and is named, and comes back; services that ask alike share its probes", async (t) => {
  await using one = await webServer();
  await using other = await webServer();
  await using node = await balancing(text("web", "203.0.113.10", [one.port, other.port]), text("more", "203.0.113.11", [one.port]));
  const states = (state: string) => [`more ${one.port} ${state}`, `web ${one.port} ${state}`, `web ${other.port} active`].toSorted();
  await until(() => node.states().toSorted().join() === states("active").join());
  await until(() => node.health.status().detail === "2 asked");
  one.say(500);
  await until(() => node.states().toSorted().join() === states("down").join());
  t.like(node.health.status(), { state: "ok" });
  t.regex(node.health.status().detail, new RegExp(`^2 asked; not well: (web|more) 127\\.0\\.0\\.1:${one.port} \\(HTTP 500\\)$`));
  one.say(204);
  await until(() => node.states().toSorted().join() === states("active").join());
  const before = [one.answered(), other.answered()] as const;
  await until(() => other.answered() >= before[1] + 5);
  t.true(one.answered() - before[0] <= 8, "of two services that ask alike one probe is sent");
});

test("who is asked no more is forgotten", async (t) => {
  await using one = await webServer();
  await using node = await balancing(text("web", "203.0.113.10", [one.port]));
  one.say(500);
  await until(() => node.states().join() === `web ${one.port} down` && node.health.status().detail.includes("HTTP 500"));
  await node.engine.commands.deleteService("web");
  t.deepEqual(node.health.status(), { part: "health", state: "ok", detail: "nobody is to be asked" });
});

test("who is silent because policy keeps the host out is told with what decides", (t) => {
  const silent = [["203.0.113.7", 80], ["10.44.0.2", 80], ["fd44::2", 81]].map(([address, port]) => ({ service: "web", backend: `${address}`, address, port }) as ProbeTarget);
  const judged = (verdict: "allow" | "deny", decidedBy: TraceView["decidedBy"]) => ({
    trace: (from: string, to: string) => {
      if (from !== "host" || to.startsWith("203.")) throw new HawserError("BAD_REQUEST", "no container");
      return { verdict, decidedBy } as TraceView;
    },
  });
  t.deepEqual(keptOut(silent, judged("deny", "default:in")), ["policy keeps this host, which probes, from 10.44.0.2:80 (default:in)"]);
  t.deepEqual(keptOut(silent.slice(2), judged("deny", { policy: "shop", rule: "host -> web", file: "shop.yaml", line: 3 })), ["policy keeps this host, which probes, from [fd44::2]:81 (shop: host -> web)"]);
  for (const those of [silent.slice(0, 1), []]) t.deepEqual(keptOut(those, judged("deny", "default:in")), []);
  t.deepEqual(keptOut(silent, judged("allow", "default:in")), []);
});

test("an agent that stands still for three seconds takes no backend out, nor does anything in the moments in which it catches up", async (t) => {
  const child = spawn(process.execPath, [new URL("../health/server.ts", import.meta.url).pathname], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const port = Number((await lines.next()).value);
  await using node = await balancing(text("web", "203.0.113.10", [port]));
  await until(() => node.states().join() === `web ${port} active`);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);
  const seen = new Set<string>();
  const end = Date.now() + 1000;
  await until(() => {
    seen.add(node.states().join());
    return Date.now() > end;
  });
  t.deepEqual([...seen], [`web ${port} active`]);
  t.is(node.health.status().state, "ok");
  child.stdin.end();
  t.true(Number((await lines.next()).value) >= 10, "it was asked while the agent stood still");
});
