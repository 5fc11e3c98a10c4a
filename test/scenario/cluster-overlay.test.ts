// The same network name on three hosts is one network, in tunnels between them.
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)     nb    e1 e2 e3 (etcd)
//   └───────┬──────┴──────┬───────┴────────────────┴─────┴── LAN ── router ── outside
import test from "ava";
import { allTalk, clusterScene, dropsOf, meet, packetsOf, sniff, withinASecond } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { isDropped } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test);

/** c1, c2 and c3 on the dual-stack network shop, one on each host; they know each other. */
async function oneOnEach(...options: readonly string[]): Promise<readonly [Place, Place, Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([
    stage.container(a, "c1", "shop", ...options), stage.container(b, "c2", "shop", ...options), stage.container(c, "c3", "shop", ...options),
  ]);
  await meet(places);
  return places;
}

test.serial("containers of one network on three hosts talk over TCP, UDP and ICMP, IPv4 and IPv6, with their own addresses", async (t) => {
  const { world: { hosts }, b } = stage;
  const places = await oneOnEach();
  t.is(new Set(places.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])).size, 6, "each node has slices of its own");
  const before = await dropsOf(hosts);
  await using plain = await sniff(b, "net 10.44.0.0/16 or net fd44::/48");
  await using tunnels = await sniff(b, "udp port 8472");
  await allTalk(t, places);
  await waitFor("the tunnels to be seen", () => packetsOf(tunnels).length > 0);
  t.deepEqual(packetsOf(plain), [], "nothing of a container's is on the wire as it is");
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("what is refused is refused at once, across nodes as within one", async (t) => {
  const [c1, c2] = await oneOnEach();
  for (const address of [c2.ipv4, c2.ipv6]) {
    t.is(await c1.ask("tcp", address, 7001), "ECONNREFUSED");
    t.is(await c1.ask("udp", address, 7001), "ECONNREFUSED");
  }
});

test.serial("a megabyte by TCP and the largest datagrams arrive", async (t) => {
  const { world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  const before = await dropsOf(hosts);
  await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
  for (const [mine, theirs] of [[c1.ipv4, c2.ipv4], [c1.ipv6, c2.ipv6]] as const) {
    t.regex(await c1.ask("tcp", theirs, 7000, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `));
    t.regex(await c1.ask("udp", theirs, 7000, { size: 65_400 }), new RegExp(`^${mine} `));
    t.is((await c1.run(["ping", "-c1", "-W2", "-s", "8000", theirs], { mayFail: true })).code, 0);
  }
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("with uplinks of 1280 bytes, the least of IPv6, a megabyte by TCP and the largest datagrams pass (R70)", async (t) => {
  const { world: { hosts } } = stage;
  for (const host of hosts) await host.setMtu(1280);
  try {
    const [c1, c2] = await oneOnEach();
    await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
    for (const [mine, theirs] of [[c1.ipv4, c2.ipv4], [c1.ipv6, c2.ipv6]] as const) {
      t.regex(await c1.ask("tcp", theirs, 7000, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `));
      await waitFor(`a large datagram to be answered by ${theirs}`, async () => (await c1.ask("udp", theirs, 7000, { size: 65_400, timeout: 1 })).startsWith(`${mine} `), { promisedMs: 5000 });
    }
  } finally {
    for (const host of hosts) await host.setMtu(1500);
  }
});

test.serial("containers on different networks do not reach each other across nodes", async (t) => {
  const { a, b, world: { hosts } } = stage;
  const [c1, c2] = await oneOnEach();
  await stage.network("yard", "--ipv6");
  const [d1, d2] = [await stage.container(a, "d1", "yard"), await stage.container(b, "d2", "yard")];
  await meet([d1, d2]);
  const before = await dropsOf(hosts);
  await using _c2 = await c2.serve({ tcp: [7000], udp: [7000] });
  await using _c1 = await c1.serve({ tcp: [7000], udp: [7000] });
  for (const [from, to] of [[d1, c2], [d2, c1]] as const) {
    for (const address of [to.ipv4, to.ipv6]) {
      await isDropped(t, from, address, 7000);
      await isDropped(t, from, address, 7000, "udp");
    }
  }
  await expectDrops(a, before[0] ?? {}, { NETWORK_ISOLATED: some });
  await expectDrops(b, before[1] ?? {}, { NETWORK_ISOLATED: some });
});

test.serial("a container on two networks reaches other nodes' containers on each of them, with its address there", async (t) => {
  const { a, b, c } = stage;
  await stage.network("shop");
  await stage.network("yard");
  const [c2, d3] = [await stage.container(b, "c2", "shop"), await stage.container(c, "d3", "yard")];
  const onShop = await stage.container(a, "both", "shop");
  await a.docker("network", "connect", "yard", "both");
  const onYard = await a.docker("inspect", "-f", "{{.NetworkSettings.Networks.yard.IPAddress}}", "both");
  await using _c2 = await c2.serve({ tcp: [7000] });
  await using _d3 = await d3.serve({ tcp: [7000] });
  for (const [to, mine] of [[c2, onShop.ipv4], [d3, onYard]] as const) {
    await waitFor(`${to.name} to answer`, async () => (await onShop.ask("tcp", to.ipv4, 7000, { timeout: 0.5 })).startsWith(`${mine} `), { promisedMs: 5000 });
  }
  await a.docker("restart", "-t", "0", "both");
  const routes = await (await a.inside("both")).sh("ip route show proto boot");
  for (const host of [b, c]) {
    for (const name of ["shop", "yard"]) {
      const subnet = (await host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name)).trim();
      t.true(routes.includes(`${subnet} via `), `started again, it has a route to ${subnet} from its first moment on: ${routes}`);
    }
  }
});

test.serial("a container that Docker puts on its own bridge as well reaches other nodes' containers by its first network as before", async (t) => {
  const { a, b } = stage;
  await stage.network("shop");
  const [c1, c2] = [await stage.container(a, "c1", "shop"), await stage.container(b, "c2", "shop")];
  await meet([c1, c2]);
  await a.docker("network", "connect", "bridge", "c1");
  t.regex(await c1.sh("ip route show default"), /via 172\./, "where its default route leads now");
  await waitFor("the route by shop", async () => (await c1.sh("ip route show proto 72")).includes(" dev eth0 "));
  await allTalk(t, [c1, c2]);
  await a.docker("network", "disconnect", "bridge", "c1");
  await waitFor("no route but the default one", async () => (await c1.sh("ip route show proto 72")) === "");
  await allTalk(t, [c1, c2]);
});

test.serial("a container's routes follow the other nodes' networks, also what changed while no agent ran, and through its own restart", async (t) => {
  const { a, b, c } = stage;
  await stage.network("vault", "--internal", "--ipv6");
  const [v1, v2] = [await stage.container(a, "v1", "vault"), await stage.container(b, "v2", "vault")];
  await meet([v1, v2]);
  const subnet = async (host: Host, family: number): Promise<string> => (await host.docker("network", "inspect", "-f", `{{(index .IPAM.Config ${family === 4 ? 0 : 1}).Subnet}}`, "vault")).trim();
  const [onB, onC] = [[await subnet(b, 4), await subnet(b, 6)], [await subnet(c, 4), await subnet(c, 6)]];
  const routes = async (): Promise<readonly string[]> => (await v1.sh("ip route; ip -6 route")).split("\n").filter((line) => line.includes(" via ")).map((line) => line.split(" ")[0] ?? "").toSorted();
  const become = async (...subnets: readonly string[]): Promise<void> => {
    let last: readonly string[] = [];
    await waitFor(`routes to ${subnets.join(", ")}`, async () => (last = await routes()).join() === subnets.toSorted().join(), { explain: () => last.join() });
  };
  await become(...onB, ...onC);
  await c.docker("network", "rm", "vault");
  await become(...onB);
  await a.agent.kill();
  await c.network("vault", "--internal", "--ipv6");
  const again = [await subnet(c, 4), await subnet(c, 6)];
  await allTalk(t, [v1, v2], "while its agent is away");
  await a.agent.start();
  await become(...onB, ...again);
  await a.agent.kill();
  await c.docker("network", "rm", "vault");
  await a.agent.start();
  await become(...onB);
  await a.docker("restart", "-t", "0", "v1");
  const again1 = await a.inside("v1");
  await meet([again1, v2]);
  t.deepEqual((await again1.sh("ip route")).split("\n").filter((line) => line.includes(" via ") && line.includes(onB[0] ?? "?")).length, 1, "one route to a subnet, not two");
});

test.serial("an internal network talks within across nodes, and neither out nor in", async (t) => {
  const { a, b, world: { outside } } = stage;
  await stage.network("vault", "--internal", "--ipv6");
  const [v1, v2] = [await stage.container(a, "v1", "vault"), await stage.container(b, "v2", "vault")];
  await meet([v1, v2]);
  await allTalk(t, [v1, v2]);
  await using _world = await outside.serve({ tcp: [7000] });
  t.is(await v1.ask("tcp", outside.ipv4, 7000, { timeout: 1 }), "ENETUNREACH");
  const [c1] = await oneOnEach();
  await isDropped(t, c1, v2.ipv4, 7000);
});

test.serial("published ports serve the world and other nodes' containers, and containers reach the world and every host", async (t) => {
  const { a, b, world: { hosts, outside } } = stage;
  const [c1, c2] = await oneOnEach();
  const web = await stage.container(a, "web", "shop", "-p", "8080:7000");
  await using _web = await web.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  await using _host = await b.serve({ tcp: [7002] });
  const before = await dropsOf(hosts);
  t.regex(await outside.ask("tcp", a.ipv4, 8080), new RegExp(`^${outside.ipv4} `), "with the client's own address");
  t.regex(await b.ask("tcp", a.ipv4, 8080), new RegExp(`^${b.ipv4} `));
  t.regex(await c2.ask("tcp", a.ipv4, 8080), /^\S+ \d+$/);
  t.regex(await c2.ask("tcp", a.ipv6, 8080), /^\S+ \d+$/);
  for (const [from, host] of [[c1, a], [c2, b]] as const) {
    t.regex(await from.ask("tcp", outside.ipv4, 7000), new RegExp(`^${host.ipv4} `), "masqueraded as before");
    t.regex(await from.ask("tcp", outside.ipv6, 7000), new RegExp(`^${host.ipv6} `));
    for (const address of [b.ipv4, b.ipv6]) t.regex(await from.ask("tcp", address, 7002), /^\S+ \d+$/);
  }
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("a host reaches other nodes' containers by address; what nobody has there goes nowhere", async (t) => {
  const { a, b, world: { hosts, neighbour } } = stage;
  const [c1, c2] = await oneOnEach();
  const before = await dropsOf(hosts);
  await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
  for (const address of [c2.ipv4, c2.ipv6]) {
    t.regex(await a.ask("tcp", address, 7000), /^\S+ \d+$/);
    t.regex(await a.ask("udp", address, 7000), /^\S+ \d+$/);
    t.is(await a.ask("tcp", address, 7001), "ECONNREFUSED");
    t.is((await a.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  await expectDrops(a, before[0] ?? {}, {});
  await expectDrops(b, before[1] ?? {}, {});
  await using wire = await sniff(neighbour, "net 10.44.0.0/16 or net 203.0.113.0/24");
  const unused = c2.ipv4.replace(/\d+$/, "251");
  t.not((await c1.run(["ping", "-c2", "-i0.2", "-W1", unused], { mayFail: true })).code, 0);
  t.not((await c1.run(["ping", "-c2", "-i0.2", "-W1", "10.44.250.1"], { mayFail: true })).code, 0, "nor in a slice that nobody has");
  t.deepEqual(packetsOf(wire), []);
});

test.serial("a container finds others by name and alias on every node, with every agent killed as well, and new ones a moment later", async (t) => {
  const { a, b, c, world: { hosts } } = stage;
  await stage.network("shop", "--ipv6");
  await stage.container(a, "web", "shop");
  const db = await stage.container(b, "db", "shop", "--network-alias", "store");
  const pings = async (...command: readonly string[]): Promise<boolean> => (await a.dockerOutput(["exec", "web", "ping", "-c1", "-W1", ...command])).code === 0;
  await waitFor("db to be found", () => pings("db"));
  t.true(await pings("store"));
  t.true(await pings("-6", "db"));
  t.regex(await a.docker("exec", "web", "nslookup", "db"), new RegExp(`Address.*${db.ipv4}`));
  t.false(await pings("nobody"));
  await stage.network("yard");
  await stage.container(c, "gnome", "yard");
  await Promise.all(hosts.map((host) => host.agent.kill()));
  for (const command of [["db"], ["store"], ["-6", "db"]]) t.true(await pings(...command), `${command.join(" ")} while no agent runs`);
  await Promise.all(hosts.map((host) => host.agent.start()));
  t.true(await pings("db"));
  await stage.container(c, "late", "shop");
  await waitFor("the new name", () => pings("late"), { ...withinASecond, promisedMs: 2000 });
  t.false(await pings("gnome"), "a name of another network is none here");
  await b.docker("rm", "-f", "db");
  await waitFor("the name to go", async () => !(await pings("db")));
});
