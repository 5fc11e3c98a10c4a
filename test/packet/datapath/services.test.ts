// A service from its plan to answers on the wire.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐                ┌ wan0 192.0.2.10 ── lan0 in ns lan 192.0.2.1, which reaches 203.0.113.10 by wan0
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwhost .1 ────┘
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Datapath } from "../../../src/datapath/types.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import type { Case } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired } from "./plans.ts";
import { inside, plug, prepare } from "./plug.ts";

const text = 'service: web\nfrontends: ["203.0.113.10:80", "203.0.113.10:80/udp"]\nbackends: [{ select: { network: shop }, port: 8080 }]\nhealth: { kind: none }\n';
const container = (name: string, ipv4: string): ServingContainer =>
  ({ node: "n1", id: `${name}#1`, name, network: "shop", project: null, service: null, ipv4: ipv4 as Ip, ipv6: null, labels: {}, stopping: false });
const [a, b] = [container("a", "10.44.0.2"), container("b", "10.44.0.3")];

/** Plans one after another, as an engine makes them. */
function planner(): (...containers: readonly ServingContainer[]) => readonly ServicePlan[] {
  let before: Balancing = noBalancing;
  return (...containers) => {
    const { next, plans } = advance(before, { services: readServices([{ file: "web.yaml", text }]), containers, mode: "auto", largestTable: 1021, now: Date.now() });
    before = next;
    return plans;
  };
}

const install = (datapath: Datapath, plans: readonly ServicePlan[]): Promise<void> => datapath.doers.services.do({ kind: "services", plans, before: null });

/** `tcx` false: the real kernel, which says that it knows none. */
const served = (tcx: boolean): Case => async (world) => {
  const open = (): Promise<Datapath> => world.open(tcx ? {} : { kernel: { ...world.kernel, probeTcx: () => false } });
  await using datapath = await open();
  prepare(world);
  await doAll(datapath.doers, desired);
  plug(world, "a", cableA.containerInterface, 2);
  plug(world, "b", cableB.containerInterface, 3);
  inside("lan", ["ip", "route", "add", "203.0.113.10", "via", "192.0.2.10"]);
  using _a = serve("a");
  using _b = serve("b");
  await using early = await connectEarly("a");
  const plans = planner();
  await install(datapath, plans(a, b));
  // No socket was led there: its packets are balanced, and if they come back to it, then in the gateway's name.
  assert.match(await early.ask(), /^(a 10\.44\.0\.1|b 10\.44\.0\.2)$/);
  const { tracked } = await datapath.traffic();
  assert.deepEqual(tracked.map(({ port, flows }) => ({ port, flows })), [{ port: 8080, flows: 1 }]);
  assert.match(String(tracked[0]?.address), /^10\.44\.0\.[23]$/);
  await world.until("both containers answer with the client's address", () => {
    const answers = new Set(Array.from({ length: 8 }, ask));
    return answers.has("a 192.0.2.1") && answers.has("b 192.0.2.1");
  });
  const { sent } = await datapath.traffic();
  assert.equal(sent.size, 2);
  for (const { begun, ended, tracked: here } of sent.values()) assert.ok(begun > 0n && ended === 0n && here);
  await install(datapath, plans(a));
  assert.deepEqual([...new Set(Array.from({ length: 8 }, ask))], ["a 192.0.2.1"]);
  const last = plans(a);
  const [slots] = last.map((plan) => plan.slots);
  const number = last[0]?.backends[0]?.number;
  assert.deepEqual(datapath.dumpMap("hw_lb_slots", 5000).map(({ key, value }) => [(key as { readonly slot: number }).slot, (value as { readonly current: number }).current]), Array.from({ length: slots?.size ?? 0 }, (_, i) => [i, number]));
  assert.equal(datapath.dumpMap("hw_lb_slots", 7).length, 7);
  assert.deepEqual(datapath.dumpMap("hw_lb_services", 5).map(({ value }) => ({ ...(value as object), table: 0 })), [{ table: 0, slots: slots?.size, form: "FULL", flags: 0, depth: 0, sources: 0, affinity: 0 }]);
  const frontends = datapath.dumpMap("hw_lb_frontends", 10);
  assert.ok(frontends.length > 0 && frontends.length < 10 && frontends.every(({ value }) => JSON.stringify(value).includes("203.0.113.10")), "an array's empty slots are left out");
  assert.deepEqual((await datapath.maps()).filter(({ name }) => name === "hw_lb_slots").map(({ capacity, entries }) => [capacity, entries]), [[1024 * 65_536, 65_536]]);
  await datapath[Symbol.asyncDispose]();
  await using second = await open();
  assert.equal(ask(), "a 192.0.2.1", "between two agents");
  assert.deepEqual((await second.adopt([...desired, { kind: "services", plans: last, before: null }])).failed, []);
  assert.equal(ask(), "a 192.0.2.1", "with the next agent");
  await install(second, []);
  assert.equal(ask(), "");
};

await inOwnHost(import.meta.url, {
  "clients reach containers by the service's address, and answers come from it; a backend that goes gets nothing any more": served(true),
  "the same where programs are filters, as before Linux 6.6": served(false),
});

/** A datagram socket that was connected to the service before there was one; `ask` tells what it hears. */
async function connectEarly(namespace: string): Promise<AsyncDisposable & { ask(): Promise<string> }> {
  const program = `const s = require("dgram").createSocket("udp4"); s.connect(80, "203.0.113.10", () => console.log("connected"));
    s.on("message", (m) => console.log(String(m))); process.stdin.on("data", () => s.send("who?"));`;
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, process.execPath, "-e", program], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await lines.next();
  return {
    ask: async () => {
      child.stdin.write("?");
      const { value } = await lines.next();
      return String(value);
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Says its name and whom it sees. */
function serve(namespace: string): Disposable {
  const program = `require("net").createServer((s) => s.end("${namespace} " + s.remoteAddress)).listen(8080, "0.0.0.0");
    const u = require("dgram").createSocket("udp4").bind(8080); u.on("message", (_, from) => u.send("${namespace} " + from.address, from.port, from.address));`;
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, process.execPath, "-e", program], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** What the service says to a client on the wire; "" when nobody answers. */
function ask(): string {
  const program = `const s = require("net").connect({ host: "203.0.113.10", port: 80, timeout: 1000 });
    s.pipe(process.stdout); s.on("timeout", () => process.exit(1)); s.on("error", () => process.exit(1));`;
  try {
    return inside("lan", [process.execPath, "-e", program]);
  } catch {
    return "";
  }
}
