// What a network is told to be: isolated, internal, closed within, of another MTU, of given subnets; and what is refused.
//
//   a: c1, c2 (shop)   d1 (yard)      LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);

test.serial("containers on different networks do not reach each other", async (t) => {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.network("yard", "--ipv6");
  await host.container("c1", ["--network", "shop"]);
  await host.container("d1", ["--network", "yard"]);
  const [c1, d1] = [await host.inside("c1"), await host.inside("d1")];
  const before = await host.drops();
  await using _server = await d1.serve({ tcp: [7000], udp: [7000] });
  for (const address of [d1.ipv4, d1.ipv6]) {
    t.is(await c1.ask("tcp", address, 7000, { timeout: 1 }), "TIMEOUT");
    t.is(await c1.ask("udp", address, 7000, { timeout: 1 }), "TIMEOUT");
    t.not((await c1.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  await expectDrops(host, before, { NETWORK_ISOLATED: some });
});

test.serial("an internal network talks within, and neither out nor in", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("vault", "--internal", "--ipv6");
  await host.container("c1", ["--network", "vault", "-p", "8080:7000"]);
  await host.container("c2", ["--network", "vault"]);
  const [c1, c2] = [await host.inside("c1"), await host.inside("c2")];
  await using _server = await c1.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  for (const address of [c1.ipv4, c1.ipv6]) t.regex(await c2.ask("tcp", address, 7000), /^\S+ \d+$/);
  t.is(await c2.ask("tcp", outside.ipv4, 7000), "ENETUNREACH", "there is no route out");
  t.is((await c2.sh("ls /proc/self/net > /dev/null; ip -o link show | grep -c eth")), "1", "and no second way out through a bridge of Docker's");
  const before = await host.drops();
  await c2.sh(`ip route add default via ${c1.ipv4} && ip -6 route add default via ${c1.ipv6}`);
  t.not(await c2.ask("tcp", outside.ipv4, 7000, { timeout: 1 }), `${host.ipv4} 7000`);
  const gateway = (await host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "vault")).split("/")[0] ?? "";
  await c2.sh(`ip route replace default via ${gateway}`);
  t.is(await c2.ask("tcp", outside.ipv4, 7000, { timeout: 1 }), "TIMEOUT", "not even with a route of its own making");
  t.is(await outside.ask("tcp", host.ipv4, 8080, { timeout: 1 }), "ECONNREFUSED", "its ports are not published");
  await expectDrops(host, before, { INTERNAL_NETWORK: some });
});

test.serial("with enable_icc=false containers of one network reach the world but not each other", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop", "--ipv6", "-o", "com.docker.network.bridge.enable_icc=false");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop", "-p", "8080:7000"]);
  const [c1, c2] = [await host.inside("c1"), await host.inside("c2")];
  const before = await host.drops();
  await using _server = await c2.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  for (const address of [c2.ipv4, c2.ipv6]) t.is(await c1.ask("tcp", address, 7000, { timeout: 1 }), "TIMEOUT");
  t.regex(await c1.ask("tcp", outside.ipv4, 7000), new RegExp(`^${host.ipv4} `));
  t.regex(await outside.ask("tcp", host.ipv4, 8080), new RegExp(`^${outside.ipv4} `), "what is published stays so");
  await expectDrops(host, before, { ICC_DISABLED: some });
});

test.serial("the MTU asked for is on both ends, and the uplink's is the default", async (t) => {
  const { host } = stage;
  await host.network("narrow", "-o", "com.docker.network.driver.mtu=1280");
  await host.network("usual");
  await host.container("c1", ["--network", "narrow"]);
  await host.container("c2", ["--network", "usual"]);
  const endpoints = (await host.json("endpoint", "list")) as readonly { readonly name: string; readonly hostInterface: string }[];
  for (const [name, mtu] of [["c1", 1280], ["c2", 1500]] as const) {
    const link = endpoints.find((each) => each.name === name)?.hostInterface ?? "?";
    t.regex(await host.docker("exec", name, "ip", "link", "show", "eth0"), new RegExp(`mtu ${mtu} `));
    t.regex(await host.sh(`ip link show dev ${link}`), new RegExp(`mtu ${mtu} `));
  }
});

test.serial("a container on several networks talks on each, and comes and goes while it runs", async (t) => {
  const { host, world: { outside } } = stage;
  await host.network("shop");
  await host.network("yard", "--ipv6");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop"]);
  await host.container("d1", ["--network", "yard"]);
  const before = await host.drops();
  const ping = async (name: string): Promise<number> => (await host.dockerOutput(["exec", "c1", "ping", "-c1", "-W1", name])).code;
  t.is(await ping("c2"), 0);
  t.not(await ping("d1"), 0);
  await host.docker("network", "connect", "--alias", "first", "yard", "c1");
  t.is(await ping("c2"), 0);
  t.is(await ping("d1"), 0);
  t.is((await host.dockerOutput(["exec", "d1", "ping", "-c1", "-W1", "first"])).code, 0);
  t.is(await ping(outside.ipv4), 0);
  await host.docker("network", "disconnect", "shop", "c1");
  t.not(await ping("c2"), 0);
  t.is(await ping("d1"), 0);
  t.is(await ping(outside.ipv4), 0, "the other network took over the way out");
  t.is((await host.links()).filter((name) => name !== "hwhost" && name !== "hwnet").length, 3);
  await expectDrops(host, before, {});
});

test.serial("subnet, gateway, range and reserved addresses are honoured", async (t) => {
  const { host } = stage;
  await host.network("shop", "--subnet", "10.62.0.0/24", "--gateway", "10.62.0.254", "--ip-range", "10.62.0.128/30",
    "--aux-address", "printer=10.62.0.129");
  const addresses: string[] = [];
  for (const name of ["c1", "c2"]) {
    await host.container(name, ["--network", "shop"]);
    addresses.push((await host.inside(name)).ipv4);
  }
  for (const address of addresses) t.regex(address, /^10\.62\.0\.(128|130|131)$/);
  t.regex(await host.docker("exec", "c1", "ip", "route"), /default via 10\.62\.0\.254/);
  t.is((await host.dockerOutput(["exec", "c1", "ping", "-c1", "-W1", "10.62.0.254"])).code, 0);
});

test.serial("subnets that overlap are refused", async (t) => {
  const { host } = stage;
  await host.network("shop", "--subnet", "10.63.0.0/24");
  const overlap = await host.dockerOutput(["network", "create", "-d", "hawser", "--ipam-driver", "hawser", "--subnet", "10.63.0.0/25", "yard"]);
  t.not(overlap.code, 0);
  t.regex(overlap.stderr, /10\.63\.0\.0/);
  const lan = await host.dockerOutput(["network", "create", "-d", "hawser", "--ipam-driver", "hawser", "--subnet", "10.99.0.0/24", "lan"]);
  t.not(lan.code, 0, "so is the LAN's own");
});

test.serial("a wrong option is refused with a sentence that names it, and makes no network", async (t) => {
  const { host } = stage;
  for (const [option, words] of [
    ["com.docker.network.driver.mtu=abc", /com\.docker\.network\.driver\.mtu.*abc|abc.*com\.docker\.network\.driver\.mtu/],
    ["com.docker.network.driver.mtu=7", /com\.docker\.network\.driver\.mtu/],
    ["com.docker.network.bridge.enable_icc=maybe", /enable_icc/],
    ["com.docker.network.bridge.enable_ip_masquerade=2", /enable_ip_masquerade/],
    ["com.docker.network.bridge.host_binding_ipv4=nonsense", /host_binding_ipv4/],
    ["hawser.nonsense=1", /hawser\.nonsense/],
  ] as const) {
    const { code, stderr } = await host.dockerOutput(["network", "create", "-d", "hawser", "--ipam-driver", "hawser", "-o", option, "wrong"]);
    t.not(code, 0, option);
    t.regex(stderr, words);
  }
  t.false((await host.docker("network", "ls", "--format", "{{.Name}}")).split("\n").includes("wrong"));
});
