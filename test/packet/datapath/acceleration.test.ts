// The balancer before the driver of an uplink: there with the first service, kept, followed, and never in another program's place.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ─┐              ┌ wan0 192.0.2.10 ── lan0 192.0.2.1 in ns lan, where the client and a server are
//                                          └─ hwhost .1 ──┘
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, unlinkSync } from "node:fs";
import { sweep } from "../../../src/datapath/sweep.ts";
import type { Datapath, DatapathOptions } from "../../../src/datapath/types.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { LinkInfo } from "../../../src/kernel/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { inOwnHost, objectDirectory } from "./namespace.ts";
import type { Case, World } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cableA, desired } from "./plans.ts";
import { inside, ping, plug, prepare } from "./plug.ts";

const text = `service: far
frontends: ["203.0.113.20:80"]
backends: [{ address: "192.0.2.1:80" }]
mode: dsr
health: { kind: none }
---
service: near
frontends: ["203.0.113.10:80"]
backends: [{ select: { network: shop }, port: 8080 }]
health: { kind: none }
`;
const a: ServingContainer = { node: "n1", id: "a#1", name: "a", network: "shop", project: null, service: null, ipv4: "10.44.0.2" as Ip, ipv6: null, labels: {}, stopping: false };
const { plans } = advance(noBalancing, { services: readServices([{ file: "web.yaml", text }]), containers: [a], mode: "auto", largestTable: 1021, now: Date.now() });

/** Prints `OUTER-SOURCE > DESTINATION protocol` of the frames that come in at a device. */
const watcher = `
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((sys.argv[1], 0))
print("ready", flush=True)
while True:
    data, where = s.recvfrom(65536)
    if where[2] != socket.PACKET_OUTGOING and data[12:14] == bytes.fromhex("0800"):
        print(socket.inet_ntoa(data[26:30]), ">", socket.inet_ntoa(data[30:34]), data[23], flush=True)
`;

interface Scene {
  readonly world: World;
  open(changes?: Partial<DatapathOptions>): Promise<Datapath>;
  install(datapath: Datapath, plans: readonly ServicePlan[]): Promise<void>;
  /** What takes a device's frames first; null: nothing. */
  xdp(device?: string): Promise<LinkInfo["xdp"]>;
  /** Whether both services' packets come through, and which sources the far one's outer packets have; `seen`: whether wan0's stack met it. */
  works(): Promise<{ readonly from: string; readonly seen: boolean }>;
}

function scene(body: (scene: Scene) => Promise<void>, { taken = true } = {}): Case {
  return async (world) => {
    // A veth hands frames over before the driver only to one that takes them there, and its own have no checksums until they leave the machine.
    using object = await world.kernel.loadObject(`${objectDirectory}/xdp-lb.bpf.o`);
    const passing = object.programs.get("xdp_lb");
    assert.ok(passing);
    using _lan = taken ? world.kernel.attachXdp(passing, (await world.netlink.link("lan0"))?.index ?? 0, "native") : undefined;
    prepare(world);
    inside("lan", ["ethtool", "-K", "lan0", "tx", "off"]);
    inside("lan", ["ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.10"]);
    let server: Disposable | undefined;
    const open: Scene["open"] = async (changes) => {
      const datapath = await world.open({ acceleration: "native", ...changes });
      if (server === undefined) {
        await doAll(datapath.doers, desired);
        plug(world, "a", cableA.containerInterface, 2);
        server = serve();
      } else await datapath.adopt(desired);
      return datapath;
    };
    try {
      await body({
        world, open,
        install: (datapath, all) => datapath.doers.services.do({ kind: "services", plans: all, before: null }),
        xdp: async (device = "wan0") => (await world.netlink.link(device))?.xdp ?? null,
        works: () => works(world),
      });
    } finally {
      server?.[Symbol.dispose]();
    }
  };
}

await inOwnHost(import.meta.url, {
  "it comes with the first service and goes with the last; what it passes on is answered, and no agent need be there": scene(async ({ open, install, xdp, works }) => {
    await using first = await open();
    assert.equal(await xdp(), null, "no packet pays for services that there are not");
    await install(first, plans);
    const there = await xdp();
    assert.equal(there?.mode, "native");
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
    assert.deepEqual(first.inspect().programs.filter(({ mode }) => mode === "xdp"), [{ name: "xdp_lb", device: "wan0", hook: "native", mode: "xdp" }]);
    assert.deepEqual(first.inspect().problems, []);
    await first[Symbol.asyncDispose]();
    assert.deepEqual(await xdp(), there);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
    await using second = await open();
    assert.equal((await xdp())?.mode, "native");
    assert.notDeepEqual(await xdp(), there, "its own program, in the place of the last agent's");
    await install(second, plans);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
    await install(second, []);
    assert.equal(await xdp(), null);
    await install(second, plans);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
  }),

  "what somebody takes away is missed and comes back": scene(async ({ world, open, install, xdp, works }) => {
    await using datapath = await open();
    await install(datapath, plans);
    await datapath.adopt([...desired, { kind: "services", plans, before: null }]);
    assert.ok(datapath.intact());
    const pin = `${world.bpffs}/links/xdp_lb@wan0`;
    unlinkSync(pin);
    // A veth says so when its program goes, and the notice alone may bring it back before anybody asks.
    await world.until("the program goes with its pin, and that is seen", async () => existsSync(pin) || ((await xdp()) === null && !datapath.intact()));
    await datapath.adopt([...desired, { kind: "services", plans, before: null }]);
    assert.equal((await xdp())?.mode, "native");
    assert.ok(datapath.intact());
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
  }),

  "uplinks that are renamed, go and come have it, and no others": scene(async ({ world, open, install, xdp }) => {
    await using datapath = await open({ devices: ["wan0", "wan1"] });
    await install(datapath, plans);
    world.ip("link add wan1 type veth peer name lan1");
    await world.until("the new uplink has it", async () => (await xdp("wan1"))?.mode === "native");
    world.ip("link set wan1 down");
    world.ip("link set wan1 name old1");
    await world.until("what is no uplink any more has it not", async () => (await xdp("old1")) === null);
    world.ip("link delete old1");
    world.ip("link add wan1 type veth peer name lan1");
    await world.until("another device of that name has it", async () => (await xdp("wan1"))?.mode === "native");
    world.ip("link delete wan1");
    await world.until("a device that is gone is forgotten", () => datapath.inspect().programs.every(({ device }) => device !== "wan1"));
    assert.ok(datapath.intact());
    assert.equal((await xdp())?.mode, "native");
  }),

  "another's program stays, and is named until it is gone": scene(async ({ world, open, install, xdp, works }) => {
    const other = await world.kernel.loadObject(`${objectDirectory}/xdp-lb.bpf.o`);
    const program = other.programs.get("xdp_lb");
    assert.ok(program);
    const link = world.kernel.attachXdp(program, (await world.netlink.link("wan0"))?.index ?? 0, "native");
    await using datapath = await open();
    await install(datapath, plans);
    assert.equal((await xdp())?.program, program.id);
    const [problem, ...others] = datapath.inspect().problems;
    assert.deepEqual(others, []);
    assert.match(problem ?? "", new RegExp(`^uplink wan0 has another XDP program \\(number ${program.id}, .*ip link set dev wan0 xdp off`));
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: true }, "balanced at the uplink's ingress");
    link.detach();
    link.close();
    await datapath.syncHost();
    assert.deepEqual(datapath.inspect().problems, []);
    assert.notEqual((await xdp())?.program, program.id);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
  }),

  "where a driver refuses it that is a problem, until it does not": scene(async ({ world, open, install, xdp, works }) => {
    for (const [namespace, device] of [["lan", "lan0"], [null, "wan0"]] as const) world.ip(`${namespace === null ? "" : `-n ${namespace} `}link set ${device} mtu 9000`.trim());
    await using datapath = await open();
    await install(datapath, plans);
    assert.equal(await xdp(), null);
    assert.match(datapath.inspect().problems.join("; "), /^uplink wan0: its driver takes no XDP program as it is \(.*\); .*loadBalancer\.acceleration: auto/);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: true });
    for (const [namespace, device] of [["lan", "lan0"], [null, "wan0"]] as const) world.ip(`${namespace === null ? "" : `-n ${namespace} `}link set ${device} mtu 1500`.trim());
    await world.until("it is tried again", async () => (await xdp())?.mode === "native");
    assert.deepEqual(datapath.inspect().problems, []);
  }, { taken: false }),

  "a setting takes the place of the last agent's: generic for native, and the other way round": scene(async ({ open, install, xdp, works }) => {
    await using native = await open();
    await install(native, plans);
    await native[Symbol.asyncDispose]();
    await using generic = await open({ acceleration: "generic" });
    assert.equal((await xdp())?.mode, "generic");
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
    await generic[Symbol.asyncDispose]();
    await using _again = await open();
    assert.equal((await xdp())?.mode, "native");
  }),

  "left to choose it is not on a veth, and what is there goes when it is off": scene(async ({ open, install, xdp, works }) => {
    await using auto = await open({ acceleration: "auto" });
    await install(auto, plans);
    assert.equal(await xdp(), null);
    assert.deepEqual(auto.inspect().problems, []);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: true });
    await auto[Symbol.asyncDispose]();
    {
      await using native = await open();
      assert.equal((await xdp())?.mode, "native");
      assert.deepEqual(native.inspect().problems, []);
    }
    await using off = await open({ acceleration: "off" });
    assert.equal(await xdp(), null);
    assert.deepEqual(off.inspect().problems, []);
  }),

  "outer packets follow the node's address": scene(async ({ world, open, install, xdp, works }) => {
    await using datapath = await open({ devices: ["wan0"] });
    await install(datapath, plans);
    assert.deepEqual(await works(), { from: "192.0.2.10", seen: false });
    const before = await xdp();
    world.ip("address delete 192.0.2.10/24 dev wan0");
    world.ip("address add 192.0.2.77/24 dev wan0");
    inside("lan", ["ip", "route", "replace", "203.0.113.0/24", "via", "192.0.2.77"]);
    await world.until("the program is another", async () => (await xdp())?.program !== before?.program);
    await world.until("the source is the new address", async () => (await works()).from === "192.0.2.77");
    assert.equal((await works()).seen, false);
  }),

  "a sweep without an agent keeps it while there are services; without any, and with --all, it goes": scene(async ({ world, open, install, xdp }) => {
    {
      await using datapath = await open();
      await install(datapath, plans);
    }
    const { kernel, netlink, bpffs } = world;
    await sweep({ kernel, netlink, bpffs, claimed: desired, all: false, services: true });
    assert.equal((await xdp())?.mode, "native");
    const none = await sweep({ kernel, netlink, bpffs, claimed: desired, all: false, services: false });
    assert.deepEqual([none.pins, none.entries], [["xdp_lb@wan0"], { hw_lb_frontends: 2, hw_lb_services: 2 }]);
    assert.equal(await xdp(), null);
    assert.deepEqual((await sweep({ kernel, netlink, bpffs, claimed: desired, all: false, services: false })).entries, {});
    {
      await using datapath = await open();
      assert.equal(await xdp(), null, "the next agent finds no services");
      await install(datapath, plans);
    }
    const { pins } = await sweep({ kernel, netlink, bpffs, claimed: [], all: true });
    assert.ok(pins.includes("xdp_lb@wan0"));
    assert.equal(await xdp(), null);
  }),
});


/** Says whom it sees. */
function serve(): Disposable {
  const program = 'require("net").createServer((s) => s.end(s.remoteAddress)).listen(8080, "0.0.0.0")';
  const child = spawn("nsenter", ["--net=/run/netns/a", process.execPath, "-e", program], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

function watch(device: string, namespace?: string): Disposable & { readonly lines: () => readonly string[] } {
  const words = ["python3", "-c", watcher, device];
  const child = namespace === undefined ? spawn("python3", words.slice(1)) : spawn("nsenter", [`--net=/run/netns/${namespace}`, ...words]);
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return { lines: () => output.split("\n").slice(0, -1), [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

async function works(world: World): ReturnType<Scene["works"]> {
  // The balancer knows no neighbours that nobody has asked for.
  ping("lan", world.ip("-4 -o address show dev wan0").match(/inet ([0-9.]+)/)?.[1] ?? "");
  using far = watch("lan0", "lan");
  using near = watch("wan0");
  await world.until("both look", () => [far, near].every(({ lines }) => lines()[0] === "ready"));
  await world.until("the container answers by the service's address", () => ask("203.0.113.10") === "192.0.2.1");
  const wrapped = (): string | undefined => far.lines().find((line) => line.endsWith("> 192.0.2.1 4"));
  await world.until("the server is reached", () => {
    ask("203.0.113.20");
    return wrapped() !== undefined;
  });
  await world.until("the container's was met", () => near.lines().some((line) => line.includes("> 203.0.113.10 ")));
  return { from: wrapped()?.split(" ")[0] ?? "", seen: near.lines().some((line) => line.includes("> 203.0.113.20 ")) };
}

/** What the service says to a client on the wire; "" when nobody answers soon. */
function ask(address: string): string {
  const program = `const s = require("net").connect({ host: "${address}", port: 80 });
    setTimeout(() => process.exit(1), 300); s.pipe(process.stdout); s.on("end", () => process.exit(0)); s.on("error", () => process.exit(1));`;
  try {
    return inside("lan", [process.execPath, "-e", program]);
  } catch {
    return "";
  }
}
