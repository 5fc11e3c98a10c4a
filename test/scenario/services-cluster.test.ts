// Connections from outside through a service of three nodes, while backends, agents and a node come and go: only those are lost whose backend is.
// Runs alone: it opens as many connections as the cores can.
//
//   a: web1   b: web2   c: web3  (shop)      198.18.7.7, 2001:db8:7::7 ◀── router (every node is a way there) ── outside
//   └───┬───────┴─────────┴────┬── LAN ── router
//                       neighbour, e1: servers that are no containers
//
// HAWSER_CROWD is how many connections there are in the end: 500 unless it is set. With 100000 it takes ten minutes.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test, { type ExecutionContext } from "ava";
import { clusterScene, nodeIs } from "../lab/cluster.ts";
import { buildCrowd, crowd, lostBy, openOf, serving, type Crowd, type CrowdReport } from "../lab/crowd.ts";
import { buildFlood, flood } from "../lab/flood.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);
const most = Number(process.env["HAWSER_CROWD"] ?? 500);
const periodMs = Math.max(500, most / 4);
const sources = Array.from({ length: Math.ceil(most / 15_000) }, (_, i) => `203.0.113.${20 + i}`);
const address = "198.18.7.7";
const address6 = "2001:db8:7::7";
const source6 = "2001:db8:113::20";
/** Of connections beside those that the crowd's size is about. */
const some = Math.min(most, 300);
let program = "";

test.serial.before("the crowd's program is built, and outside has its addresses", async () => {
  program = await buildCrowd(stage.world.directory);
  for (const source of sources) await stage.world.outside.run(["ip", "address", "add", `${source}/24`, "dev", "eth0"]);
  await stage.world.outside.run(["ip", "address", "add", `${source6}/64`, "dev", "eth0"]);
});

/** Weights by label, which every backend of that size has. */
async function serve(weights: Readonly<Record<string, number>>): Promise<void> {
  const backends = Object.entries(weights).map(([size, weight]) => ({ select: { network: "shop", label: `size=${size}` }, port: 7000, weight }));
  await apply({ frontends: [`${address}:80`, `[${address6}]:80`], backends, drain: "10m" });
}

async function apply(service: object): Promise<void> {
  const file = `${stage.world.directory}/web.json`;
  writeFileSync(file, JSON.stringify({ service: "web", ...service }));
  await stage.a.hawser(["service", "apply", file]);
}

async function web(host: Host, name: string, size = "small"): Promise<void> {
  const { options, command } = serving(program, name, sources.length);
  await host.container(name, ["--network", "shop", "--label", `size=${size}`, ...options], command);
  await waitFor(`${name} to serve`, async () => (await host.docker("logs", name)).includes("ready"));
}

/** Every one of the hosts has exactly these backends, as `NAME STATE`. */
async function haveBackends(expected: readonly string[], hosts: readonly Host[] = stage.world.hosts, promisedMs = 15_000): Promise<void> {
  let last: unknown;
  for (const host of hosts) {
    await waitFor(`${host.name} to have ${expected.join(", ")}`, async () => {
      const [{ backends } = { backends: [] }] = (await host.json("service", "list")) as readonly { readonly backends: readonly { readonly identity: string; readonly state: string }[] }[];
      last = backends;
      const shown = new Set(backends.map(({ identity, state }) => `${identity.replace(/^.*\/(.*):.*$/, "$1")} ${state}`));
      return [...shown].toSorted().join() === expected.toSorted().join();
    }, { promisedMs, explain: () => JSON.stringify(last) });
  }
}

/** Packets for the service go to these nodes, each flow to one. */
async function routeTo(...hosts: readonly Host[]): Promise<void> {
  await stage.world.router.sh(`for family in 4 6; do echo 1 > /proc/sys/net/ipv$family/fib_multipath_hash_policy; done
ip route replace ${address} ${hosts.map(({ ipv4 }) => `nexthop via ${ipv4}`).join(" ")}
ip -6 route replace ${address6} ${hosts.map(({ ipv6 }) => `nexthop via ${ipv6}`).join(" ")}`);
}

/** Everyone has spoken at least once more, and been answered; whose backend is gone knows it. */
async function goesOn(from: Crowd, gone: Readonly<Record<string, number>>): Promise<CrowdReport> {
  let last = await from.report();
  const goal = last.exchanges + openOf(last);
  await waitFor("everyone's next exchange", async () => {
    last = await from.report();
    return last.exchanges >= goal && Object.entries(gone).every(([name, lost]) => (last.servers[name]?.lost ?? 0) >= lost);
  }, { promisedMs: 120_000 + 4 * periodMs, everyMs: 200, explain: () => JSON.stringify(last) });
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
  await stage.network("shop", "--ipv6");
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
  t.timeout(600_000 + most * 10);
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
  const report = await goesOn(meanwhile, {});
  t.log(`those that began while c was away: ${JSON.stringify(report)}`);
  // One slot in a thousand was a living backend's, another's, and the first one's again: which flows began in between, records alone say, and c has none (C6).
  t.true(Object.values(lostBy(report)).reduce((sum, lost) => sum + lost, 0) <= openOf(report) / 100);
  t.like(report, { refused: 0, wrong: 0 });
});

test.serial("backends come, drain, flap and die, weights change and an agent is killed: who loses a connection lost its backend", async (t) => {
  t.timeout(600_000 + most * 10);
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

/** Of all nodes: flows that were given to backends of the service. */
async function newFlows(): Promise<number> {
  const told = await Promise.all(stage.world.hosts.map((host) => host.sh("curl -sf http://127.0.0.1:9964/metrics")));
  return told.flatMap((text) => [...text.matchAll(/^hawser_service_new_flows_total\{.*\} (\d+)$/gm)]).reduce((sum, [, count]) => sum + Number(count), 0);
}

test.serial("120,000 new flows from outside, half of them IPv6, while a backend comes: no connection is lost, and none refused", async (t) => {
  const { a, world: { directory, outside, router } } = stage;
  const flooder = await buildFlood(directory);
  const [first, first6] = ["100.64.0.0", "2001:db8:f::"];
  await router.sh(`ip route replace ${first}/16 via ${outside.ipv4}; ip -6 route replace ${first6}/112 via ${outside.ipv6}`);
  await using clients = await start();
  await using clients6 = crowd(outside, { program, sources: [source6], periodMs, address: address6, port: 80 });
  for (const each of [clients, clients6]) await each.open(some);
  for (const each of [clients, clients6]) t.deepEqual(Object.keys((await each.report()).servers).toSorted(), ["web1", "web2", "web3"]);
  const before = await newFlows();
  const began = Date.now();
  const floods = ([[first, address], [first6, address6]] as const).map(([from, to]) => flood(outside, { program: flooder, flows: 60_000, first: from, address: to, port: 80 }));
  await web(a, "web4");
  await haveBackends(["web1 active", "web2 active", "web3 active", "web4 active"]);
  for (const each of [clients, clients6]) await each.open(some / 3);
  await Promise.all(floods);
  t.log(`${await newFlows() - before} new flows in ${Date.now() - began} ms`);
  t.true(await newFlows() - before >= 120_000);
  await onlyTheDeadLost(t, clients, {}, "IPv4");
  await onlyTheDeadLost(t, clients6, {}, "IPv6");
});

/** Serves port 7000 as that name. */
async function standIn(place: Place, scope: AsyncDisposableStack): Promise<void> {
  await scope.use(place.start([program, "serve", "7000", place.name, "1"])).says("ready");
}

/** Who is connected to it there. */
async function peersOf(place: Place): Promise<readonly string[]> {
  return (await place.sh("ss -Htn state established sport = :7000")).split("\n").filter(Boolean).map((line) => /(?:::ffff:)?([0-9.]+)\]?:\d+\s*$/.exec(line)?.[1] ?? line);
}

test.serial("servers that are no containers: by way of the node that balances, which they see; with dsr straight back to the client, whom they see, whichever node balances", async (t) => {
  const { a, b, c, etcd, world: { outside, neighbour } } = stage;
  const [member] = etcd.members;
  if (member === undefined) throw new Error("etcd has no member");
  const servers: readonly Place[] = [neighbour, member];
  const nodes = [a, b, c].map(({ ipv4 }) => ipv4).toSorted();
  await using scope = new AsyncDisposableStack();
  for (const server of servers) await standIn(server, scope);
  const backends = servers.map(({ ipv4 }) => ({ address: `${ipv4}:7000` }));
  const active = servers.map(({ ipv4 }) => `${ipv4}:7000 active`);
  await apply({ frontends: [`${address}:7000`], backends, health: { kind: "none" }, mode: "snat" });
  await haveBackends(active);
  await routeTo(a, b, c);
  {
    await using clients = crowd(outside, { program, sources: sources.slice(0, 1), periodMs, address, port: 7000 });
    await clients.open(60);
    const report = await goesOn(clients, {});
    t.like(report, { refused: 0, wrong: 60 }, "every server sees another than the client");
    t.deepEqual(lostBy(report), {});
    t.deepEqual([Object.keys(report.servers).toSorted(), openOf(report)], [["e1", "nb"], 60]);
    const peers = await Promise.all(servers.map(peersOf));
    t.deepEqual([...new Set(peers.flat())].toSorted(), nodes);
  }

  // A raw socket meets packets before any device would have put their checksums in.
  await outside.run(["ethtool", "-K", "eth0", "tx", "off"]);
  scope.defer(() => outside.run(["ethtool", "-K", "eth0", "tx", "on"]).then(() => undefined));
  const unwrap = fileURLToPath(new URL("../lab/unwrap.py", import.meta.url));
  const senders = await Promise.all(servers.map(async (server) => {
    await server.sh(`ip address add ${address}/32 dev lo; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter; echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter; echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce`);
    scope.defer(() => server.run(["ip", "address", "delete", `${address}/32`, "dev", "lo"]).then(() => undefined));
    const taking = scope.use(server.start(["/usr/bin/python3", unwrap]));
    await taking.says("ready");
    return taking;
  }));
  await apply({ frontends: [`${address}:7000`], backends, health: { kind: "none" }, mode: "dsr" });
  await haveBackends(active);
  await using clients = crowd(outside, { program, sources: sources.slice(0, 1), periodMs, address, port: 7000 });
  await clients.open(60);
  await onlyTheDeadLost(t, clients, {}, "dsr");
  t.deepEqual(Object.keys((await clients.report()).servers).toSorted(), ["e1", "nb"]);
  t.deepEqual([...new Set(senders.flatMap((one) => one.printed().split("\n").filter((line) => line.startsWith("10."))))].toSorted(), nodes);
  // Longer than what fits with IPv4 in front: the client is told, and sends shorter ones.
  t.regex(await outside.ask("tcp", address, 7000, { size: 20_000 }), /\.113\.10 \d+$/);
  await routeTo(a, b);
  await onlyTheDeadLost(t, clients, {}, "c is no way any more");
  t.is(openOf(await clients.report()), 60);
});
