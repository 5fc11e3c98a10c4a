// Programs as clients of services: known by their container's address, and told at once when their backend is gone.
//
//   ns a: eth0 10.44.0.2 ── connect 203.0.113.10:80 ─ sock-lb ▸ 10.44.0.3:80 ─▸ ns b: eth0 10.44.0.3
//   host: wan0 192.0.2.10 ── the same
import assert from "node:assert/strict";
import type { Datapath } from "../../../src/datapath/types.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { ClientsPlan } from "../../../src/network/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { openSession } from "../sock-lb-session.ts";
import type { Session } from "../sock-lb-session.ts";
import { serveCallers } from "./callers.ts";
import { inOwnHost } from "./namespace.ts";
import type { Case, World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired } from "./plans.ts";
import { plug, prepare } from "./plug.ts";

const web = (more = ""): string => `service: web
frontends: ["203.0.113.10:80"]
backends: [{ select: { network: shop, label: app }, port: 80 }]
health: { kind: none }
drain: 30s
${more}`;
const other = web().replace("service: web", "service: other").replace("203.0.113.10", "203.0.113.11");
const container = (name: string, ipv4: string, stopping = false): ServingContainer =>
  ({ node: "n1", id: `${name}#1`, name, network: "shop", project: null, service: null, ipv4: ipv4 as Ip, ipv6: null, labels: { app: "web" }, stopping });
const [a, b, stopping] = [container("a", "10.44.0.2"), container("b", "10.44.0.3"), container("b", "10.44.0.3", true)];
const inA = { sandbox: "/run/netns/a", ipv4: "10.44.0.2" as Ip, ipv6: null };

interface Scene {
  readonly world: World;
  readonly datapath: Datapath;
  readonly a: Session;
  readonly host: Session;
  /** Puts these in force, as an engine does. */
  serve(text: string, ...containers: readonly ServingContainer[]): Promise<void>;
  clients(plan: ClientsPlan): Promise<void>;
}

function scene(body: (scene: Scene) => Promise<void>): Case {
  return async (world) => {
    await using stack = new AsyncDisposableStack();
    const datapath = stack.use(await world.open());
    prepare(world);
    await doAll(datapath.doers, desired);
    plug(world, "a", cableA.containerInterface, 2);
    plug(world, "b", cableB.containerInterface, 3);
    for (const namespace of ["a", "b"]) stack.use(await serveCallers(namespace));
    let before: Balancing = noBalancing;
    const plansOf = (text: string, containers: readonly ServingContainer[]): readonly ServicePlan[] => {
      const { next, plans } = advance(before, { services: text === "" ? [] : readServices([{ file: "web.yaml", text }]), containers, mode: "auto", largestTable: 1021, now: Date.now() });
      before = next;
      return plans;
    };
    await body({
      world, datapath,
      a: stack.use(openSession("/run/netns/a", world.cgroup)), host: stack.use(openSession("/proc/self/ns/net", world.cgroup)),
      serve: (text, ...containers) => datapath.doers.services.do({ kind: "services", plans: plansOf(text, containers), before: null }),
      clients: (clients) => datapath.doers.clients.do({ kind: "clients", clients, before: null }),
    });
  };
}

async function connect(program: Session, to = "203.0.113.10"): Promise<Readonly<Record<string, unknown>>> {
  await program.do("open x tcp");
  return program.do(`connect x ${to} 80`);
}

const [refused, ended] = [{ error: "EPERM" }, { error: "ECONNABORTED" }];

await inOwnHost(import.meta.url, {
  "a service with sources knows the host and containers by their own addresses, also one that Docker makes later": scene(async ({ world, a: inside, host, serve, clients }) => {
    await serve(web("sources: { allow: [10.44.0.2/32, 192.0.2.10/32] }"), b);
    assert.deepEqual(await connect(inside), refused, "nobody has said who it is");
    await clients({ known: true, namespaces: [inA] });
    assert.deepEqual(await connect(inside), { said: "10.44.0.2" });
    assert.deepEqual(await connect(host), { said: "10.44.0.1" });
    await clients({ known: true, namespaces: [{ ...inA, sandbox: "/run/netns/later" }] });
    assert.deepEqual(await connect(inside), refused);
    world.ip("netns add later");
    world.ip("link add moves type veth peer name moved");
    world.ip("link set moved netns later");
    await using later = openSession("/run/netns/later", world.cgroup);
    await world.until("it is known when a device has moved there", async () => (await connect(later))["error"] === "ENETUNREACH");
    await clients({ known: true, namespaces: [] });
    assert.deepEqual(await connect(later), refused);
    await serve(web("sources: { deny: [192.0.2.10/32] }"), b);
    assert.deepEqual(await connect(host), refused);
    world.ip("address add 192.0.2.11/24 dev wan0");
    world.ip("address change 192.0.2.10/24 dev wan0 preferred_lft 0");
    await world.until("the host is known by its new address", async () => (await connect(host))["said"] === "10.44.0.1");
  }),

  "sockets end when their backend is gone, and not while it drains": scene(async ({ world, a: inside, host, serve, clients }) => {
    await clients({ known: false, namespaces: [inA] });
    await serve(web(), b);
    for (const program of [inside, host]) await connect(program);
    await serve(web(), a, stopping);
    for (const program of [inside, host]) assert.deepEqual(await program.do("peer x"), { peer: "203.0.113.10 80" });
    const waiting = [inside.do("wait x"), host.do("wait x")];
    await serve(web(), a);
    assert.deepEqual(await Promise.all(waiting), [ended, ended]);
    assert.deepEqual(await connect(host), { said: "10.44.0.1" }, "and a new connection is had at once");
    assert.ok(world.lines.some(({ message, sockets }) => message === "ended sockets whose backend is gone" && sockets === 2));
  }),

  "sockets of a service that is deleted end, and those to its backends through another stay": scene(async ({ a: inside, serve, clients }) => {
    await clients({ known: false, namespaces: [inA] });
    await serve(`${web()}---\n${other}`, b);
    await connect(inside);
    await inside.do("open y tcp");
    await inside.do("connect y 203.0.113.11 80");
    await inside.do("open z tcp");
    await inside.do("connect z 10.44.0.3 80");
    const waiting = inside.do("wait x");
    await serve(other, b);
    assert.deepEqual(await waiting, ended);
    for (const [socket, peer] of [["y", "203.0.113.11 80"], ["z", "10.44.0.3 80"]]) assert.deepEqual(await inside.do(`peer ${socket}`), { peer });
    const last = inside.do("wait y");
    await serve("");
    await clients({ known: false, namespaces: [] });
    assert.deepEqual(await last, ended);
    assert.deepEqual(await inside.do("peer z"), { peer: "10.44.0.3 80" });
  }),

  "what went while no agent ran is found by the next": scene(async ({ world, datapath, a: inside, serve, clients }) => {
    await clients({ known: false, namespaces: [inA] });
    await serve(web(), b);
    await connect(inside);
    await datapath[Symbol.asyncDispose]();
    await using second = await world.open();
    await second.doers.clients.do({ kind: "clients", clients: { known: false, namespaces: [inA] }, before: null });
    const { plans } = advance(noBalancing, { services: readServices([{ file: "web.yaml", text: web() }]), containers: [a], mode: "auto", largestTable: 1021, now: Date.now() });
    await second.adopt([...desired, { kind: "services", plans, before: null }]);
    await world.until("the program is told", async () => (await inside.do("wait x"))["error"] === ended.error);
  }),
});
