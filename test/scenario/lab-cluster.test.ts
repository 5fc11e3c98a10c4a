// The lab of several hosts itself, without Hawser: etcd and what happens to it, hosts on subnets of their own, BGP, cables.
//
//   a ── router ── b        e1 e2 e3 nb
//          │                └────┬────┘
//          └────────────────────┘ LAN
import test from "ava";
import { bgp } from "../lab/bird.ts";
import { slicesOf } from "../lab/installation.ts";
import { run, waitFor } from "../lab/run.ts";
import { scene } from "../lab/scenario.ts";
import type { Etcd } from "../lab/etcd.ts";
import { openLab } from "../lab/world.ts";
import { readFileSync } from "node:fs";
import { parse } from "yaml";

const stage = scene(test, { hosts: 2, agent: false, cluster: { store: "etcd" }, subnets: "each", mtus: [1500, 1400] });

function server(): Etcd {
  const { etcd } = stage.world;
  if (etcd === null) throw new Error("this world has no etcd");
  return etcd;
}

const answers = async (key: string): Promise<boolean> => server().ctl("get", key).then(() => true, () => false);

test.serial("every host reaches the others through the router, the members of etcd and the world, over IPv4 and IPv6", async (t) => {
  const { hosts, neighbour, outside, etcd } = stage.world;
  for (const from of hosts) {
    for (const to of [...hosts, neighbour, outside, ...(etcd?.members ?? [])]) {
      for (const address of [to.ipv4, to.ipv6]) t.is((await from.run(["ping", "-c1", "-W2", address], { mayFail: true })).code, 0, `${from.name} to ${address}`);
    }
  }
  const [a, b] = hosts;
  const expired = await a?.run(["ping", "-c1", "-t1", "-W2", b?.ipv4 ?? ""], { mayFail: true });
  t.regex(expired?.stdout ?? "", /From 10\.99\.1\.1 .*Time to live exceeded/);
});

test.serial("all hosts are configured as one installation, also when another process opens the lab", async (t) => {
  const world = openLab(stage.world.id);
  for (const [index, { configuration, name }] of world.hosts.entries()) {
    t.like(parse(readFileSync(configuration, "utf8")), {
      node: { name }, pool: { ipv4: "10.44.0.0/16", ipv6: "fd44::/48" },
      store: { kind: "etcd", endpoints: ["http://10.99.0.21:2379", "http://10.99.0.22:2379", "http://10.99.0.23:2379"] },
    }, `host ${index}`);
  }
  const { stdout } = await run([process.execPath, "test/lab/cli.ts", "exec", "e2", "hostname", "-I"], { env: { HAWSER_LAB: world.id } });
  t.regex(stdout, /10\.99\.0\.22/);
});

test.serial("etcd answers with one of three members killed, paused or behind a black hole, and not with two", async (t) => {
  const etcd = server();
  const [e1, e2] = etcd.members;
  if (e1 === undefined || e2 === undefined) throw new Error("two members are needed");
  await etcd.ctl("put", "/lab/key", "value");
  await e1.process.kill();
  await waitFor("the others to answer", () => answers("/lab/key"));
  e2.pause();
  t.false(await answers("/lab/key"));
  e2.resume();
  await waitFor("two to answer again", () => answers("/lab/key"));
  await etcd.start();
  await e1.blackHole();
  await waitFor("the others to answer", () => answers("/lab/key"));
  await e2.blackHole();
  await waitFor("nobody to answer", async () => !(await answers("/lab/key")));
  await e1.heal();
  await e2.heal();
  await etcd.start();
  for (const each of etcd.members) await each.slow("256kbit");
  await waitFor("slow ones to answer", () => answers("/lab/key"));
  for (const each of etcd.members) await each.slow(null);
  t.deepEqual([...(await etcd.read("/lab/"))], [["/lab/key", "value"]]);
});

test.serial("etcd killed whole comes back with what it knew, and started empty it knows nothing", async (t) => {
  const etcd = server();
  await etcd.ctl("put", "/lab/key", "value");
  await etcd.kill();
  t.deepEqual(etcd.members.map(({ process }) => process.pid()), [null, null, null]);
  await etcd.start();
  t.is((await etcd.read("/lab/")).get("/lab/key"), "value");
  await etcd.startEmpty();
  t.is((await etcd.read("/")).size, 0);
});

test.serial("BIRD carries each host's slice to the other's kernel, and takes it away when its host is off", async (t) => {
  const [a, b] = stage.world.hosts;
  if (a === undefined || b === undefined) throw new Error("two hosts are needed");
  await using routing = await bgp(stage.world, (host) => slicesOf(stage.world.hosts.indexOf(host)));
  await b.sh("ip address add 10.44.2.9/32 dev lo; ip -6 address add fd44:0:0:2::9/128 dev lo");
  for (const address of ["10.44.2.9", "fd44:0:0:2::9"]) t.is((await a.run(["ping", "-c1", "-W2", address], { mayFail: true })).code, 0, address);
  await b.sh("ip address del 10.44.2.9/32 dev lo; ip -6 address del fd44:0:0:2::9/128 dev lo");
  await routing.nodes[1]?.stop();
  await waitFor("the routes to go", async () => (await a.sh("ip -4 route show proto bird; ip -6 route show proto bird")) === "");
});

test.serial("a cable has its host's MTU at both ends, and can be pulled", async (t) => {
  const [a, b] = stage.world.hosts;
  if (a === undefined || b === undefined) throw new Error("two hosts are needed");
  const passes = async (size: number): Promise<boolean> => (await a.run(["ping", "-M", "do", "-c1", "-W1", "-s", String(size), b.ipv4], { mayFail: true })).code === 0;
  t.true(await passes(1372));
  t.false(await passes(1373));
  await b.setMtu(1500);
  await a.sh("ip route flush cache");
  t.true(await passes(1472));
  await b.unplug();
  t.false(await passes(100));
  await b.plug();
  await waitFor("the cable to work again", () => passes(100));
  t.is((await a.run(["ping", "-c1", "-W2", b.ipv6], { mayFail: true })).code, 0);
});
