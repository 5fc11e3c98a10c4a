// What the doers made carries packets, and what the programs refuse is counted and told.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐                ┌ wan0 192.0.2.10 ── lan0 in ns lan 192.0.2.1
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwhost .1 ────┘
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import type { Datapath, PacketEvent } from "../../../src/datapath/types.ts";
import { parseCidr, parseIp } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import { doAll } from "./perform.ts";
import { cable, cableA, cableB, desired, endpoint, port, shop } from "./plans.ts";
import { inside, ping, plug, prepare } from "./plug.ts";

await inOwnHost(import.meta.url, {
  "containers of one network, the host and the world talk, over IPv4 and IPv6": async (world) => {
    await using datapath = await world.open();
    prepare(world);
    await doAll(datapath.doers, desired);
    plug(world, "a", cableA.containerInterface, 2);
    plug(world, "b", cableB.containerInterface, 3);
    for (const target of ["10.44.0.3", "fd44::3", "10.44.0.1", "fd44::1", "192.0.2.1", "192.0.2.10"]) ping("a", target);
    for (const target of ["10.44.0.2", "fd44::3"]) execFileSync("ping", ["-c1", "-W2", target]);
    assert.ok(datapath.counters().some((row) => row.direction === "from-container" && row.reason === "forwarded" && row.packets > 5n));
  },

  "a published port answers a client on the wire, who keeps its address, until it is withdrawn": async (world) => {
    await using datapath = await world.open();
    prepare(world);
    await doAll(datapath.doers, desired);
    plug(world, "a", cableA.containerInterface, 2);
    using _server = serve("a", 80);
    await world.until("the port answers with the client's address", () => ask("lan", "192.0.2.10", 8080).includes("192.0.2.1"));
    await datapath.doers.port.undo({ kind: "port", port });
    assert.equal(ask("lan", "192.0.2.10", 8080), "");
  },

  "while the agent comes back again and again, no allowed packet is lost and no denied one passes (R11, R14)": async (world) => {
    const steps = [...desired, ...otherNetwork()];
    prepare(world);
    {
      await using datapath = await world.open();
      await doAll(datapath.doers, steps);
    }
    plug(world, "a", cableA.containerInterface, 2);
    plug(world, "b", cableB.containerInterface, 3);
    plug(world, "far", "hwcccccccccccc", 2, "10.45.0");
    const [allowed, denied] = [flood("a", "10.44.0.3"), flood("a", "10.45.0.2")];
    for (let round = 0; round < 4; round++) {
      await using datapath = await world.open();
      assert.deepEqual((await datapath.adopt(steps)).failed, []);
    }
    const [sent, received] = await allowed.stop();
    assert.ok(sent > 200, `only ${sent} sent`);
    assert.equal(received, sent);
    const [tried, passed] = await denied.stop();
    assert.ok(tried > 50, `only ${tried} tried`);
    assert.equal(passed, 0);
  },

  "a drop between networks is told as an event and counted": async (world) => {
    await using datapath = await world.open();
    prepare(world);
    await doAll(datapath.doers, [...desired, ...otherNetwork()]);
    plug(world, "a", cableA.containerInterface, 2);
    const abort = new AbortController();
    const first = firstEvent(datapath, abort.signal);
    assert.throws(() => ping("a", "10.45.0.2"));
    const event = await first;
    abort.abort();
    assert.deepEqual(
      { reason: event?.reason, direction: event?.direction, source: event?.source, destination: event?.destination, network: event?.network },
      { reason: "network-isolated", direction: "from-container", source: "10.44.0.2", destination: "10.45.0.2", network: 1 },
    );
    assert.ok(datapath.counters().some((row) => row.reason === "network-isolated" && row.packets >= 1n));
  },
});

async function firstEvent(datapath: Datapath, signal: AbortSignal): Promise<PacketEvent | undefined> {
  for await (const event of datapath.events(signal)) {
    if (event.reason === "network-isolated") return event;
  }
  return undefined;
}

function otherNetwork(): Parameters<typeof doAll>[1] {
  const far = cable("ccccccccccc", 4);
  const network = { ...shop, number: 2, ipv4: { prefix: parseCidr("10.45.0.0/24"), gateway: parseIp("10.45.0.1") }, ipv6: null };
  return [
    { kind: "network", network },
    { kind: "cable", cable: far },
    { kind: "attach", cable: far },
    { kind: "endpoint", endpoint: { ...endpoint(far, 4), network: 2, ipv4: parseIp("10.45.0.2"), ipv6: null } },
  ];
}

/** 250 pings a second until stopped (fewer while none comes back); then how many went and how many came back. */
function flood(namespace: string, target: string): { stop(): Promise<readonly [number, number]> } {
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, "ping", "-q", "-i", "0.004", target], { stdio: ["ignore", "pipe", "ignore"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return {
    stop: () =>
      new Promise((resolve) => {
        child.on("close", () => {
          const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
          resolve([Number(sent), Number(received)]);
        });
        child.kill("SIGINT");
      }),
  };
}

/** A server that answers each connection with the client's address. */
function serve(namespace: string, tcpPort: number): Disposable {
  const program = `require("net").createServer((s) => s.end(s.remoteAddress)).listen(${tcpPort}, "0.0.0.0")`;
  const child = spawn("nsenter", [`--net=/run/netns/${namespace}`, process.execPath, "-e", program], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

/** What the server says; "" when it does not answer. */
function ask(namespace: string, host: string, tcpPort: number): string {
  const program = `const s = require("net").connect({ host: "${host}", port: ${tcpPort}, timeout: 1500 });
    s.pipe(process.stdout); s.on("timeout", () => process.exit(1)); s.on("error", () => process.exit(1));`;
  try {
    return inside(namespace, [process.execPath, "-e", program]);
  } catch {
    return "";
  }
}
