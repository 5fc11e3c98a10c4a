// Containers of one network, their names, and their host.
//
//   a: c1 ── c2      (one network, IPv4 and IPv6)
//    └ the host itself: gateway address, container addresses
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import type { Place } from "../lab/place.ts";
import { scene } from "../lab/scenario.ts";

const stage = scene(test);
/** c1 and c2 on a dual-stack network. */
async function twoOnShop(): Promise<readonly [Place, Place]> {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop"]);
  return [await host.inside("c1"), await host.inside("c2")];
}

const web = ["httpd", "-f", "-p", "80", "-h", "/www"];

test.serial("containers on one network talk over TCP, UDP and ICMP, IPv4 and IPv6", async (t) => {
  const { host } = stage;
  const [c1, c2] = await twoOnShop();
  const before = await host.drops();
  await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
  for (const [mine, theirs] of [[c1.ipv4, c2.ipv4], [c1.ipv6, c2.ipv6]] as const) {
    t.regex(await c1.ask("tcp", theirs, 7000), new RegExp(`^${mine} \\d+$`), "no address is rewritten on the way");
    t.regex(await c1.ask("udp", theirs, 7000), new RegExp(`^${mine} \\d+$`));
    t.is((await c1.run(["ping", "-c2", "-i0.2", "-W1", theirs], { mayFail: true })).code, 0);
    t.is(await c1.ask("tcp", theirs, 7001), "ECONNREFUSED");
    t.is(await c1.ask("udp", theirs, 7001), "ECONNREFUSED");
  }
  await expectDrops(host, before, {});
});

test.serial("containers find each other by name, by alias and by reverse lookup through Docker's embedded DNS", async (t) => {
  const { host } = stage;
  const before = await host.drops();
  await host.network("shop");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop", "--network-alias", "db"], web);
  t.is(await host.docker("exec", "c1", "wget", "-qO-", "http://c2/"), "hello from a container");
  t.is(await host.docker("exec", "c1", "wget", "-qO-", "http://db/"), "hello from a container");
  const { ipv4 } = await host.inside("c2");
  t.regex(await host.docker("exec", "c1", "nslookup", ipv4), /name = c2\.shop/);
  await expectDrops(host, before, {});
});

test.serial("the host reaches containers by address, and they reach it by the gateway's and by its own address", async (t) => {
  const { host } = stage;
  await host.network("shop", "--ipv6");
  await host.container("c1", ["--network", "shop"]);
  const c1 = await host.inside("c1");
  const gateways = (await host.docker("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", "shop"))
    .split(" ").filter(Boolean).map((gateway) => gateway.split("/")[0] ?? "");
  t.is(gateways.length, 2);
  const before = await host.drops();
  await using _inContainer = await c1.serve({ tcp: [7000], udp: [7000] });
  await using _onHost = await host.serve({ tcp: [7002], udp: [7002] });
  for (const address of [c1.ipv4, c1.ipv6]) {
    t.regex(await host.ask("tcp", address, 7000), /^\S+ \d+$/);
    t.regex(await host.ask("udp", address, 7000), /^\S+ \d+$/);
    t.is(await host.ask("tcp", address, 7001), "ECONNREFUSED");
    t.is((await host.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  for (const address of [...gateways, host.ipv4, host.ipv6]) {
    const mine = address.includes(":") ? c1.ipv6 : c1.ipv4;
    t.regex(await c1.ask("tcp", address, 7002), new RegExp(`^${mine} \\d+$`), `the host sees the container's address at ${address}`);
    t.regex(await c1.ask("udp", address, 7002), new RegExp(`^${mine} \\d+$`));
    t.is(await c1.ask("tcp", address, 7003), "ECONNREFUSED");
    t.is((await c1.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  await expectDrops(host, before, {});
});

test.serial("a datagram and a ping larger than the MTU arrive in both directions", async (t) => {
  const { host } = stage;
  const [c1, c2] = await twoOnShop();
  const before = await host.drops();
  await using _server = await c2.serve({ udp: [7000] });
  for (const address of [c2.ipv4, c2.ipv6]) {
    t.regex(await c1.ask("udp", address, 7000, { size: 6000 }), /^\S+ \d+$/);
    t.is((await c1.run(["ping", "-c1", "-W1", "-s", "4000", address], { mayFail: true })).code, 0);
    t.is((await host.run(["ping", "-c1", "-W1", "-s", "4000", address], { mayFail: true })).code, 0);
  }
  await expectDrops(host, before, {});
});

test.serial("static addresses and MACs are honoured", async (t) => {
  const { host } = stage;
  await host.network("shop", "--ipv6", "--subnet", "10.60.0.0/24", "--subnet", "fd60::/64");
  await host.container("c1", ["--network", "shop", "--ip", "10.60.0.77", "--ip6", "fd60::77", "--mac-address", "02:00:5e:10:00:77"]);
  await host.container("c2", ["--network", "shop"]);
  const c2 = await host.inside("c2");
  t.regex(await host.docker("exec", "c1", "ip", "link", "show", "eth0"), /link\/ether 02:00:5e:10:00:77/);
  for (const address of ["10.60.0.77", "fd60::77"]) {
    t.is((await c2.run(["ping", "-c1", "-W1", address], { mayFail: true })).code, 0);
  }
  const taken = await host.dockerOutput(["run", "--rm", "--network", "shop", "--ip", "10.60.0.77", "hawser/busybox", "true"]);
  t.not(taken.code, 0, "an address is given once");
});

test.serial("a network works with Docker's own address management as well", async (t) => {
  const { host } = stage;
  const before = await host.drops();
  await host.docker("network", "create", "-d", "hawser", "plain");
  await host.container("c1", ["--network", "plain"]);
  await host.container("c2", ["--network", "plain"], web);
  t.is(await host.docker("exec", "c1", "wget", "-qO-", "http://c2/"), "hello from a container");
  await expectDrops(host, before, {});
});

test.serial("an IPv4-only network has no IPv6 and a restarted container is reachable again", async (t) => {
  const { host } = stage;
  await host.network("shop");
  await host.container("c1", ["--network", "shop"]);
  await host.container("c2", ["--network", "shop"], web);
  t.is((await host.inside("c1")).ipv6, "");
  await host.docker("restart", "-t", "0", "c2");
  t.is(await host.docker("exec", "c1", "wget", "-qO-", "http://c2/"), "hello from a container");
});
