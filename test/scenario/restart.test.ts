// The agent and dockerd are killed, stopped and started under running transfers.
//
//   a: web, peer (shop)  ◀── streams ──▶  outside, a itself
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import { run, waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";
import type { Place, Stream } from "../lab/place.ts";
import type { ExecutionContext } from "ava";

const stage = scene(test);

/** A stream each way: in through a published port, out through the masquerade, across the network, and from the host. */
async function streams(web: Place, peer: Place): Promise<readonly Stream[]> {
  const { host, world: { outside } } = stage;
  return [
    await outside.stream(host.ipv4, 8080),
    await web.stream(outside.ipv4, 7000),
    await web.stream(outside.ipv6, 7000),
    await peer.stream(web.ipv4, 7000),
    await host.stream(web.ipv4, 7000),
    await host.stream("127.0.0.1", 8080),
  ];
}

async function unharmed(t: ExecutionContext, all: readonly Stream[]): Promise<void> {
  for (const stream of all) {
    const report = await stream.report();
    t.is(report.error, null);
    t.is(report.retransmits, 0);
    t.true(report.exchanges > 0);
  }
}

async function shop(): Promise<readonly [Place, Place]> {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("web", ["--network", "shop", "-p", "8080:7000"]);
  await host.container("peer", ["--network", "shop"]);
  return [await host.inside("web"), await host.inside("peer")];
}

const progress = async (all: readonly Stream[], count: number): Promise<unknown> => Promise.all(all.map((stream) => stream.progress(count)));

test.serial("kill -9 of the agent, its absence and its restart interrupt no connection (R11)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, peer] = await shop();
  const before = await host.drops();
  await using _serving = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const all = await streams(web, peer);
  await progress(all, 10);
  await host.agent.kill();
  await progress(all, 25);
  t.regex(await outside.ask("tcp", host.ipv4, 8080), /^\S+ \d+$/, "new connections are made while it is away");
  t.regex(await web.ask("tcp", outside.ipv4, 7000), /^\S+ \d+$/);
  t.regex(await host.ask("tcp", "127.0.0.1", 8080), /^\S+ \d+$/);
  await host.agent.start();
  await progress(all, 25);
  await unharmed(t, all);
  t.deepEqual(((await host.json("endpoint", "list")) as readonly { readonly name: string; readonly state: string }[]).map(({ name, state }) => [name, state]).sort(),
    [["peer", "ready"], ["web", "ready"]], "everything is adopted");
  await expectDrops(host, before, {});
});

test.serial("an agent that is killed again and again loses no packet and leaves nothing over (R12)", async (t) => {
  const { host, world: { outside } } = stage;
  const [web, peer] = await shop();
  await using _serving = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const all = await streams(web, peer);
  const links = await host.links();
  const pins = await host.sh("find /sys/fs/bpf/hawser | sort");
  for (let round = 0; round < 4; round += 1) {
    await host.agent.kill();
    await host.agent.start();
  }
  await progress(all, 10);
  await unharmed(t, all);
  t.deepEqual(await host.links(), links);
  t.is(await host.sh("find /sys/fs/bpf/hawser | sort"), pins);
});

test.serial("what is denied stays denied through restarts: not one of thousands of probes passes (R14)", async (t) => {
  const { host } = stage;
  const [web] = await shop();
  await host.network("yard");
  await host.container("stranger", ["--network", "yard"]);
  const stranger = await host.inside("stranger");
  await stranger.run(["ping", "-c1", "-W1", web.ipv4], { mayFail: true });
  const gateway = /default via (\S+)/.exec(await stranger.sh("ip route"))?.[1] ?? "";
  await stranger.run(["ping", "-c1", "-W1", gateway]);
  const mac = /lladdr (\S+)/.exec(await stranger.sh(`ip neigh show ${gateway}`))?.[1] ?? "";
  const received = async (): Promise<string> => web.sh("awk '/^Udp: [0-9]/ { print $2 + $3 }' /proc/net/snmp");
  const had = await received();
  const before = await host.drops();
  const probing = stranger.frames("udp4", { source: stranger.ipv4, target: web.ipv4, targetMac: mac, port: 7000, count: 6000, interval: 0.0005 });
  for (let round = 0; round < 3; round += 1) {
    await host.agent.kill();
    await host.agent.start();
  }
  t.is(await probing, "sent 6000");
  t.is(await received(), had);
  await expectDrops(host, before, { NETWORK_ISOLATED: 6000 });
});

test.serial("after kill -9 of dockerd a container that restarts by itself gets its published port again (R20)", async (t) => {
  const { host, world: { outside } } = stage;
  const serve = ["httpd", "-f", "-p", "80", "-h", "/www"];
  await host.docker("network", "create", "-d", "hawser", "plain");
  await host.network("shop");
  await host.container("phoenix", ["--network", "plain", "-p", "8091:80", "--restart", "always"], serve);
  await host.container("ember", ["--network", "shop", "-p", "8092:80", "--restart", "always"], serve);
  await host.dockerd.kill();
  await host.dockerd.start();
  for (const port of [8091, 8092]) {
    await waitFor(`port ${port} to answer again`, async () =>
      (await outside.run(["curl", "-sS", "-m", "1", `http://${host.ipv4}:${port}/`], { mayFail: true })).code === 0, { explain: () => host.dockerd.tail(5) });
  }
  t.is((await host.docker("ps", "--format", "{{.Names}}")).split("\n").length, 2);
});

test.serial("containers removed and renamed while the agent is away are reconciled when it comes back (R16, R17)", async (t) => {
  const { host } = stage;
  // With Docker's own address management a starting dockerd calls nobody for stale endpoints, so none is told of their end.
  await host.docker("network", "create", "-d", "hawser", "plain");
  await host.container("gone", ["--network", "plain", "-p", "8090:80"]);
  await host.container("renamed", ["--network", "plain", "--restart", "no"]);
  await host.agent.kill();
  await host.docker("rename", "renamed", "fresh");
  await host.agent.start();
  const names = async (): Promise<readonly string[]> => ((await host.json("endpoint", "list")) as readonly { readonly name: string }[]).map((each) => each.name).sort();
  await waitFor("the new name", async () => (await names()).includes("fresh"));
  await host.agent.kill();
  await host.dockerd.kill();
  await host.dockerd.start();
  await host.docker("rm", "-f", "gone", "fresh");
  await host.agent.start();
  // What is younger than a minute may be in the making, so the agent lets it stand that long.
  await waitFor("the endpoints to be gone", async () => (await names()).length === 0, { promisedMs: 110_000, everyMs: 500 });
  await waitFor("the links to be gone", async () => (await host.links()).every((name) => name === "hwhost" || name === "hwnet"));
  t.deepEqual(await host.json("port"), []);
});

test.serial("with live-restore a restart of dockerd, even kill -9, disturbs nobody (R20)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.dockerd.stop();
  await host.dockerd.start(["--live-restore"]);
  const [web, peer] = await shop();
  await using _serving = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  const all = await streams(web, peer);
  await progress(all, 10);
  await host.dockerd.stop();
  await progress(all, 25);
  await host.dockerd.start(["--live-restore"]);
  await progress(all, 25);
  await host.dockerd.kill();
  await host.dockerd.start(["--live-restore"]);
  await progress(all, 25);
  await unharmed(t, all);
  await host.container("late", ["--network", "shop"]);
  t.is((await host.dockerOutput(["exec", "late", "ping", "-c1", "-W1", "web"])).code, 0, "and the networks go on");
  await host.clear();
  await host.dockerd.stop();
  await host.dockerd.start();
});

test.serial("without live-restore a stopped dockerd and a killed one leave nothing of their containers (R20)", async (t) => {
  const { host } = stage;
  const ours = async (): Promise<boolean> => (await host.links()).every((name) => name === "hwhost" || name === "hwnet");
  await shop();
  await host.dockerd.stop();
  await host.dockerd.start();
  await waitFor("the links to be gone after a stop", ours, { promisedMs: 45_000 });
  await host.docker("start", "web", "peer");
  t.is((await host.dockerOutput(["exec", "peer", "ping", "-c1", "-W1", "web"])).code, 0);
  await host.dockerd.kill();
  await host.dockerd.start();
  await waitFor("the links to be gone after a kill", ours, { promisedMs: 45_000 });
  await host.docker("start", "web", "peer");
  t.is((await host.dockerOutput(["exec", "peer", "ping", "-c1", "-W1", "web"])).code, 0);
});

test.serial("a stopped agent ends within its time and one that starts twice is refused", async (t) => {
  const { host } = stage;
  await host.agent.stop();
  t.is(host.agent.pid(), null);
  const { code, stderr } = await host.hawser(["status"], { mayFail: true });
  t.is(code, 3, stderr);
  await host.agent.start();
  const second = await host.hawser(["agent", "--config", host.configuration], { mayFail: true, timeoutMs: 15_000 });
  t.not(second.code, 0);
  t.not(second.code, 124, "it does not hang");
  t.is((await run(["kill", "-0", String(host.agent.pid())], { mayFail: true })).code, 0, "the first goes on");
});
