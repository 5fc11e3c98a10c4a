// Services on sockets together with everything else that carries a container's packets.
//
//   ns a: eth0 10.44.0.2, identity 100 ── connect 203.0.113.10:80 ─ sock-lb ▸ 10.44.0.3:80 ─▸ from-container: policy ─▸ b
//   ns b: eth0 10.44.0.3, identity 200, a server that says who called
import assert from "node:assert/strict";
import { endSockets } from "../../../src/datapath/end-sockets.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import type { Datapath, PacketEvent } from "../../../src/datapath/types.ts";
import type { KernelMap } from "../../../src/kernel/types.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import type { Step } from "../../../src/network/types.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { openSession } from "../sock-lb-session.ts";
import { writeServices } from "../sock-lb-services.ts";
import { serveCallers } from "./callers.ts";
import { inOwnHost } from "./namespace.ts";
import type { Case, World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, cableB, desired, noPolicy } from "./plans.ts";
import { plug, prepare } from "./plug.ts";

const free = { denyIn: false, denyOut: false, covered: false };
const open: PolicyTables = { ...noPolicy, classes: new Map([[100, { ...free, class: 1 }], [200, { ...free, class: 2 }]]) };
/** Nothing of a's reaches b. */
const closed: PolicyTables = {
  ...open,
  pairs: new Map([["out 1 2", 1]]),
  ports: new Map([["1 * 0/0", { ruleset: 1, protocol: null, port: 0, bits: 0, verdict: "deny", wide: true, rule: 1 }]]),
  rules: [{ policy: "shop", action: "deny", place: { file: "shop.yaml", line: 3, column: 5 }, text: "a to b", from: [], to: [], ports: [], ends: "both" }],
};

interface Scene {
  readonly world: World;
  readonly datapath: Datapath;
  readonly services: ReturnType<typeof writeServices>;
  readonly maps: ReadonlyMap<string, KernelMap>;
  program(namespace: "a" | "host"): ReturnType<typeof openSession>;
  enforce(tables: PolicyTables, before: PolicyTables): Promise<void>;
}

function scene(body: (scene: Scene) => Promise<void>): Case {
  return async (world) => {
    await using stack = new AsyncDisposableStack();
    const datapath = stack.use(await world.open());
    prepare(world);
    await doAll(datapath.doers, desired.map((step): Step => {
      if (step.kind === "policy") return { ...step, tables: open };
      return step.kind === "endpoint" ? { ...step, endpoint: { ...step.endpoint, identity: step.endpoint.hostInterface === cableA.hostInterface ? 100 : 200 } } : step;
    }));
    plug(world, "a", cableA.containerInterface, 2);
    plug(world, "b", cableB.containerInterface, 3);
    for (const namespace of ["a", "b"]) stack.use(await serveCallers(namespace));
    const names = ["hw_lb_frontends", "hw_lb_services", "hw_lb_slots", "hw_lb_backends", "hw_lb_places", "hw_lb_sources", "hw_lb_homes", "hw_sock_connected", "hw_sock_udp"];
    const maps = new Map(names.map((name) => [name, stack.use(world.kernel.openPinnedMap(mapPath(world.bpffs, name)))] as const));
    const services = stack.use(writeServices((name) => maps.get(name) as KernelMap));
    for (const [number, at] of ["10.44.0.2@80", "10.44.0.3@80", "fd44::3@80"].entries()) {
      services.backend(number + 1, at);
      services.service(number + 1, [number + 1]);
    }
    for (const [at, service] of [["203.0.113.1@80", 1], ["203.0.113.10@80", 2], ["2001:db8::10@80", 3]] as const) services.frontend(at, service);
    const program = (namespace: "a" | "host"): ReturnType<typeof openSession> =>
      stack.use(openSession(namespace === "host" ? "/proc/self/ns/net" : `/run/netns/${namespace}`, world.cgroup));
    await body({ world, datapath, services, maps, program, enforce: (tables, before) => datapath.doers.policy.do({ kind: "policy", tables, before }) });
  };
}

await inOwnHost(import.meta.url, {
  "a container and the host reach a service, and the backend sees who they are": scene(async ({ program }) => {
    const [a, host] = [program("a"), program("host")];
    await a.do("open x tcp");
    assert.deepEqual(await a.do("connect x 203.0.113.10 80"), { said: "10.44.0.2" });
    assert.deepEqual(await a.do("peer x"), { peer: "203.0.113.10 80" });
    await a.do("open y tcp inet6");
    assert.deepEqual(await a.do("connect y 2001:db8::10 80"), { said: "fd44::2" });
    await host.do("open x tcp");
    assert.deepEqual(await host.do("connect x 203.0.113.10 80"), { said: "10.44.0.1" });
  }),

  "policy judges the backend, by the client's own address": scene(async ({ world, datapath, program, enforce }) => {
    const a = program("a");
    await enforce(closed, open);
    const told: PacketEvent[] = [];
    using _tap = datapath.rawEvents((record) => void told.push(datapath.decodeEvent(record)));
    await a.do("open x tcp");
    const refused = a.do("connect x 203.0.113.10 80");
    await world.until("the drop is told", () => told.some(({ reason }) => reason === "policy-denied"));
    const event = told.find(({ reason }) => reason === "policy-denied");
    assert.deepEqual([event?.source, event?.destination, event?.destinationPort, event?.sourceIdentity, event?.destinationIdentity], ["10.44.0.2", "10.44.0.3", 80, 100, 200]);
    assert.deepEqual(await refused, { error: "no answer" });
    await enforce(open, closed);
    await a.do("open x tcp");
    assert.deepEqual(await a.do("connect x 203.0.113.10 80"), { said: "10.44.0.2" });
  }),

  "a backend that calls its own service and gets itself never leaves its namespace": scene(async ({ program, enforce }) => {
    await enforce(closed, open);
    const a = program("a");
    await a.do("open x tcp");
    assert.deepEqual(await a.do("connect x 203.0.113.1 80"), { said: "10.44.0.2" });
    assert.deepEqual(await a.do("peer x"), { peer: "203.0.113.1 80" });
  }),

  "when a backend is gone its clients are told at once, though no packet of its comes any more": scene(async ({ world, program, maps, services }) => {
    const [a, host] = [program("a"), program("host")];
    for (const one of [a, host]) {
      await one.do("open x tcp");
      await one.do("connect x 203.0.113.10 80");
    }
    world.ip(`link delete ${cableB.hostInterface}`);
    services.service(2, [1]);
    const waiting = [a.do("wait x"), host.do("wait x")];
    const ended = await endSockets(maps, [undefined, "/run/netns/a"], [{ protocol: "tcp", address: parseIp("10.44.0.3"), port: 80 }]);
    assert.equal(ended, 2);
    for (const one of await Promise.all(waiting)) assert.deepEqual(one, { error: "ECONNABORTED" });
    await host.do("open x tcp");
    assert.deepEqual(await host.do("connect x 203.0.113.10 80"), { said: "10.44.0.1" });
  }),
});
