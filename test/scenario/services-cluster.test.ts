// Connections from outside through a service of three nodes, while backends, agents and a node come and go: only those are lost whose backend is.
//
//   a: web1   b: web2   c: web3  (shop)      198.18.7.7:80 ◀── router (every node is a way there) ── outside
//   └───┬───────┴─────────┴── LAN ── router
//
// HAWSER_CROWD is how many connections there are in the end: 500 unless it is set. With 100000 it takes ten minutes.
import { writeFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { clusterScene, nodeIs } from "../lab/cluster.ts";
import { buildCrowd, crowd, lostBy, openOf, serving, type Crowd, type CrowdReport } from "../lab/crowd.ts";
import type { Host } from "../lab/host.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const most = Number(process.env["HAWSER_CROWD"] ?? 500);
const periodMs = Math.max(500, most / 4);
const sources = Array.from({ length: Math.ceil(most / 15_000) }, (_, i) => `203.0.113.${20 + i}`);
const address = "198.18.7.7";
let program = "";

test.serial.before("the crowd's program is built, and outside has its addresses", async () => {
  program = await buildCrowd(stage.world.directory);
  for (const source of sources) await stage.world.outside.run(["ip", "address", "add", `${source}/24`, "dev", "eth0"]);
});

/** Weights by label, which every backend of that size has. */
async function serve(weights: Readonly<Record<string, number>>): Promise<void> {
  const backends = Object.entries(weights).map(([size, weight]) => ({ select: { network: "shop", label: `size=${size}` }, port: 7000, weight }));
  const file = `${stage.world.directory}/web.json`;
  writeFileSync(file, JSON.stringify({ service: "web", frontends: [`${address}:80`], backends, drain: "10m" }));
  await stage.a.hawser(["service", "apply", file]);
}

async function web(host: Host, name: string, size = "small"): Promise<void> {
  const { options, command } = serving(program, name, sources.length);
  await host.container(name, ["--network", "shop", "--label", `size=${size}`, ...options], command);
  await waitFor(`${name} to serve`, async () => (await host.docker("logs", name)).includes("ready"));
}

/** Every one of the hosts has exactly these backends, as `NAME STATE`. */
async function haveBackends(expected: readonly string[], hosts: readonly Host[] = stage.world.hosts, timeoutMs = 15_000): Promise<void> {
  let last: unknown;
  for (const host of hosts) {
    await waitFor(`${host.name} to have ${expected.join(", ")}`, async () => {
      const [{ backends } = { backends: [] }] = (await host.json("service", "list")) as readonly { readonly backends: readonly { readonly identity: string; readonly state: string }[] }[];
      last = backends;
      return backends.map(({ identity, state }) => `${identity.replace(/^.*\/(.*):.*$/, "$1")} ${state}`).toSorted().join() === expected.toSorted().join();
    }, { timeoutMs, explain: () => JSON.stringify(last) });
  }
}

/** Packets for the service go to these nodes, each flow to one. */
async function routeTo(...hosts: readonly Host[]): Promise<void> {
  await stage.world.router.sh(`echo 1 > /proc/sys/net/ipv4/fib_multipath_hash_policy; ip route replace ${address} ${hosts.map(({ ipv4 }) => `nexthop via ${ipv4}`).join(" ")}`);
}

/** Everyone has spoken at least once more, and been answered; whose backend is gone knows it. */
async function goesOn(from: Crowd, gone: Readonly<Record<string, number>>): Promise<CrowdReport> {
  let last = await from.report();
  const goal = last.exchanges + openOf(last);
  await waitFor("everyone's next exchange", async () => {
    last = await from.report();
    return last.exchanges >= goal && Object.entries(gone).every(([name, lost]) => (last.servers[name]?.lost ?? 0) >= lost);
  }, { timeoutMs: 20_000 + 4 * periodMs, everyMs: 200, explain: () => JSON.stringify(last) });
  return last;
}

/** Nobody lost a connection but those whose backend is gone, all of them, and nobody was refused or answered wrongly. */
async function onlyTheDeadLost(t: ExecutionContext, clients: Crowd, gone: Readonly<Record<string, number>>, what: string): Promise<void> {
  const report = await goesOn(clients, gone);
  t.log(`${what}: ${JSON.stringify(report)}`);
  t.deepEqual(lostBy(report), gone, what);
  t.like(report, { refused: 0, wrong: 0 }, what);
}

async function openMore(clients: Crowd, share: number): Promise<CrowdReport> {
  await clients.open(Math.round(most * share));
  return clients.report();
}

async function start(): Promise<Crowd> {
  const { a, b, c } = stage;
  await stage.network("shop");
  for (const [host, name] of [[a, "web1"], [b, "web2"], [c, "web3"]] as const) await web(host, name);
  await serve({ small: 1 });
  await haveBackends(["web1 active", "web2 active", "web3 active"]);
  await routeTo(a, b, c);
  return crowd(stage.world.outside, { program, sources, periodMs, address, port: 80 });
}

test.serial.afterEach.always("no service is left", async () => {
  await stage.a.hawser(["service", "delete", "web"], { mayFail: true });
});

test.serial("a node dies: connections to its containers end, and those that only came by it go on by another, whose table is the same", async (t) => {
  t.timeout(150_000 + most * 10);
  const { a, b, c } = stage;
  await using clients = await start();
  await openMore(clients, 0.5);
  await onlyTheDeadLost(t, clients, {}, "before");
  const had = (await clients.report()).servers["web3"]?.open ?? 0;
  const died = Date.now();
  await c.unplug();
  await routeTo(a, b);
  await haveBackends(["web1 active", "web2 active"], [a, b], 60_000);
  t.log(`web3 is struck out ${Date.now() - died} ms after its node died`);
  await onlyTheDeadLost(t, clients, { web3: had }, "c is dead");
  await using meanwhile = crowd(stage.world.outside, { program, sources: [stage.world.outside.ipv4], periodMs, address, port: 80 });
  t.deepEqual(Object.keys((await openMore(meanwhile, 0.1)).servers).toSorted(), ["web1", "web2"], "who is dead gets nothing new");
  await c.plug();
  await nodeIs(a, "c", "ready");
  await haveBackends(["web1 active", "web2 active", "web3 active"]);
  await routeTo(a, b, c);
  t.true(((await openMore(clients, 0.1)).servers["web3"]?.open ?? 0) > 0, "c's container is used again");
  await onlyTheDeadLost(t, clients, { web3: had }, "c is back");
  await onlyTheDeadLost(t, meanwhile, {}, "those that began while c was away");
});

test.serial("backends come, drain, flap and die, weights change and an agent is killed: who loses a connection lost its backend", async (t) => {
  t.timeout(150_000 + most * 10);
  const { a, b } = stage;
  await using clients = await start();
  const gone: Record<string, number> = {};
  const first = await openMore(clients, 0.5);
  t.deepEqual(Object.keys(first.servers).toSorted(), ["web1", "web2", "web3"]);
  await onlyTheDeadLost(t, clients, gone, "from the start");

  await web(a, "web4");
  await haveBackends(["web1 active", "web2 active", "web3 active", "web4 active"]);
  const wider = await openMore(clients, 0.2);
  t.true((wider.servers["web4"]?.open ?? 0) > 0, "a backend that came is used");
  await onlyTheDeadLost(t, clients, gone, "a backend came");

  await b.agent.kill();
  await openMore(clients, 0.05);
  await b.agent.start();
  await openMore(clients, 0.05);
  await onlyTheDeadLost(t, clients, gone, "b's agent was killed, and is back");

  for (let flap = 0; flap < 3; flap++) {
    await serve({ small: 1, big: 3 });
    await web(b, "web5", "big");
    await haveBackends(["web1 active", "web2 active", "web3 active", "web4 active", "web5 active"]);
    if (flap < 2) await b.docker("rm", "-f", "web5");
  }
  await openMore(clients, 0.1);
  await serve({ small: 2, big: 0 });
  await serve({ small: 1, big: 1 });
  await onlyTheDeadLost(t, clients, gone, "a backend flapped, and weights changed");

  gone["web2"] = (await clients.report()).servers["web2"]?.open ?? 0;
  await b.docker("kill", "web2");
  await haveBackends(["web1 active", "web3 active", "web4 active", "web5 active"]);
  await openMore(clients, 0.05);
  await onlyTheDeadLost(t, clients, gone, "web2 was killed");

  const seconds = Math.ceil((4 * periodMs) / 1000) + 4;
  const stopping = a.dockerOutput(["stop", "-t", String(seconds), "web1"], { timeoutMs: seconds * 2000 });
  await haveBackends(["web1 draining", "web3 active", "web4 active", "web5 active"]);
  const had = (await clients.report()).servers["web1"]?.open ?? 0;
  const draining = await openMore(clients, 0.05);
  t.is(draining.servers["web1"]?.open, had, "nothing new goes to who drains");
  await onlyTheDeadLost(t, clients, gone, "web1 drains");
  await stopping;
  gone["web1"] = had;
  await haveBackends(["web3 active", "web4 active", "web5 active"]);
  await onlyTheDeadLost(t, clients, gone, "web1 is gone");
  t.is(openOf(await clients.report()), most - had - (gone["web2"] ?? 0));
});
