// What the agent stands on is taken away: its state, its programs, its maps, its devices, the whole host.
// Runs alone: it measures how soon everything works again.
//
//   a: web, peer (shop)  ◀── outside, a itself
import { rmSync } from "node:fs";
import test from "ava";
import type { Place } from "../lab/place.ts";
import { waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

interface Row {
  readonly name: string;
  readonly state: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;
}

const rows = async (): Promise<readonly Row[]> => ((await stage.host.json("endpoint", "list")) as readonly Row[])
  .map(({ name, state, ipv4, ipv6, mac }) => ({ name, state, ipv4, ipv6, mac }))
  .toSorted((a, b) => a.name.localeCompare(b.name));

const reaches = async (from: Place, address: string, port: number): Promise<boolean> =>
  (await from.run(["curl", "-sS", "-o", "/dev/null", "-m", "1", `http://${address.includes(":") ? `[${address}]` : address}:${port}/`], { mayFail: true })).code === 0;

/** The dockerd of the lab keeps its plugin's networks; web serves on port 80, published as 8080. */
const serve = ["httpd", "-f", "-p", "80", "-h", "/www"];

const stateFolder = (): string => `${stage.world.directory}/${stage.host.name}/state`;

test.serial("with its state deleted the agent takes back from Docker and the kernel what lives, and interrupts nothing (R24)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--ipv6", "-o", "com.docker.network.driver.mtu=1400");
  await host.network("quiet", "--internal");
  await host.container("web", ["--network", "shop", "-p", "8080:7000", "-p", "127.0.0.1:8081:7000/udp"]);
  await host.container("peer", ["--network", "shop"]);
  const [web, peer] = [await host.inside("web"), await host.inside("peer")];
  await using _serving = await web.serve({ tcp: [7000] });
  const links = await host.links();
  const streams = [await outside.stream(host.ipv4, 8080), await peer.stream(web.ipv4, 7000), await host.stream("127.0.0.1", 8080)];
  const [endpoints, networks, ports] = [await rows(), await host.json("network", "list"), await host.json("port")];
  await host.agent.stop();
  rmSync(stateFolder(), { recursive: true, force: true });
  const sweep = await host.hawser(["sweep", "--config", host.configuration], { mayFail: true });
  t.is(sweep.code, 1);
  t.regex(sweep.stderr, /there is no state in .*; start the agent, which asks Docker, or sweep with --all/);
  t.deepEqual(await host.links(), links);
  await host.agent.start();
  await waitFor("Docker's truth", async () => (await rows()).length === 2, { promisedMs: 10_000 });
  for (const stream of streams) {
    await stream.progress(10);
    t.like(await stream.report(), { error: null, retransmits: 0 });
  }
  t.deepEqual(await rows(), endpoints);
  const byName = (list: unknown): unknown => [...(list as readonly { readonly name: string }[])].toSorted((a, b) => a.name.localeCompare(b.name));
  t.deepEqual(byName(await host.json("network", "list")), byName(networks));
  const sorted = (list: unknown): readonly string[] => (list as readonly unknown[]).map((port) => JSON.stringify(port)).toSorted();
  t.deepEqual(sorted(await host.json("port")), sorted(ports));
  await host.container("late", ["--network", "shop", "-p", "8082:80"], serve);
  t.is(new Set((await rows()).map((row) => row.ipv4)).size, 3, "no address is given out twice");
  t.true(await reaches(outside, host.ipv4, 8082));
  t.is((await host.dockerOutput(["exec", "late", "ping", "-c1", "-W1", "web"])).code, 0);
  await host.docker("rm", "-f", "web", "peer", "late");
  await host.docker("network", "rm", "shop", "quiet");
  t.deepEqual(await host.json("network", "list"), []);
});

test.serial("with its state deleted and Docker away the agent sweeps nothing until Docker has spoken (R24, R91)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.dockerd.stop();
  await host.dockerd.start(["--live-restore"]);
  await host.network("shop");
  await host.container("web", ["--network", "shop", "-p", "8080:7000"]);
  const web = await host.inside("web");
  await using _serving = await web.serve({ tcp: [7000] });
  const stream = await outside.stream(host.ipv4, 8080);
  const known = await rows();
  await host.dockerd.stop();
  await host.agent.stop();
  rmSync(stateFolder(), { recursive: true, force: true });
  await host.agent.start();
  t.deepEqual(await rows(), [], "nothing is known");
  await stream.progress(25);
  t.regex(await outside.ask("tcp", host.ipv4, 8080), /^\S+ \d+$/, "and everything goes on, new connections too");
  await host.dockerd.start(["--live-restore"]);
  await waitFor("the endpoint to be known again", async () => (await rows()).length === 1, { promisedMs: 15_000 });
  t.deepEqual(await rows(), known);
  await stream.progress(10);
  t.like(await stream.report(), { error: null, retransmits: 0 });
  await host.clear();
  await host.dockerd.stop();
  await host.dockerd.start();
});

test.serial("programs, pins and the host's addresses that somebody takes away come back within a round (R25, R99)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  await host.container("web", ["--network", "shop", "-p", "8080:80"], serve);
  const web = await host.inside("web");
  const works = async (): Promise<boolean> =>
    (await reaches(outside, host.ipv4, 8080)) && (await reaches(host, web.ipv4, 80)) && (await reaches(host, "127.0.0.1", 8080)) &&
    (await web.run(["ping", "-c1", "-W1", outside.ipv4], { mayFail: true })).code === 0;
  t.true(await works());
  const blows: readonly (readonly [string, string, number])[] = [
    ["hwhost's addresses and routes", "ip addr flush dev hwhost; ip route flush dev hwhost", 5_500],
    ["hwhost itself", "ip link delete hwhost", 5_500],
    ["every program's pin", "rm -f /sys/fs/bpf/hawser/links/*", 5_500],
    ["the whole bpffs", "umount /sys/fs/bpf", 5_500],
  ];
  for (const [what, blow, limit] of blows) {
    await host.sh(blow);
    await waitFor(`everything to work again without ${what}`, works, { promisedMs: limit, everyMs: 250, explain: () => host.agent.tail(4) });
    t.pass(what);
  }
  await waitFor("the status to be clean", async () => ((await host.json("status")) as { readonly problems: readonly string[] }).problems.length === 0, { promisedMs: 40_000 });
});

test.serial("after a reboot containers that restart by themselves have their addresses and ports again (R21)", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--subnet", "10.71.0.0/24");
  await host.docker("network", "create", "-d", "hawser", "--subnet", "10.72.0.0/24", "plain");
  await host.container("fixed", ["--network", "shop", "--ip", "10.71.0.9", "-p", "8091:80", "--restart", "always"], serve);
  await host.container("any", ["--network", "shop", "-p", "8092:80", "--restart", "always"], serve);
  await host.container("plain", ["--network", "plain", "--ip", "10.72.0.9", "-p", "8093:80", "--restart", "always"], serve);
  // What a reboot takes: processes, devices, pins, sockets. What it leaves: the folders on disk.
  const tasks = (await host.docker("inspect", "-f", "{{.State.Pid}}", "fixed", "any", "plain")).split("\n");
  const shims = await host.sh(`ps -o ppid= -p ${tasks.join(",")}`);
  await host.dockerd.kill();
  await host.agent.kill();
  await host.containerd.kill();
  await host.sh(`kill -9 ${shims.split(/\s+/).join(" ")} ${tasks.join(" ")}`);
  await host.sh("for mount in $(awk '$2 ~ \"^/run/(docker|containerd)/\" { print $2 }' /proc/mounts | sort -r); do umount -l $mount; done; rm -rf /run/docker* /run/containerd /run/hawser; mkdir -p /run/docker/plugins /run/containerd");
  await host.sh("for link in $(ip -o link show | sed -n 's/^[0-9]*: \\(hw[^:@]*\\).*/\\1/p'); do ip link delete $link 2>/dev/null; done; rm -rf /sys/fs/bpf/hawser");
  await host.containerd.start();
  await host.agent.start();
  const began = Date.now();
  await host.dockerd.start();
  t.true(Date.now() - began < 15_000, `dockerd was up after ${Date.now() - began} ms (R91)`);
  for (const port of [8091, 8092, 8093]) await waitFor(`port ${port} to answer`, () => reaches(outside, host.ipv4, port), { promisedMs: 30_000, explain: () => host.agent.tail(6) });
  t.is((await host.inside("fixed")).ipv4, "10.71.0.9");
  t.is((await host.inside("plain")).ipv4, "10.72.0.9");
  t.deepEqual((await rows()).map(({ name, state }) => `${name} ${state}`), ["any ready", "fixed ready", "plain ready"]);
});
