// Without encapsulation: routes to the other nodes' slices, and the sender's identity from its address.
//
//   a: c1 (shop)   b: c2 (shop)   c: c3 (shop)     nb
//   └───────┬──────┴──────┬───────┴────────────────┴── LAN ── router ── outside
import { writeFileSync } from "node:fs";
import test from "ava";
import { allTalk, clusterScene, dropsOf, meet, nodesOf, packetsOf, sniff } from "../lab/cluster.ts";
import { expectDrops, some } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import type { Place } from "../lab/place.ts";
import { isDropped, passes } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test, { mode: "native" });

async function oneOnEach(): Promise<readonly [Place, Place, Place]> {
  const { a, b, c } = stage;
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop"), stage.container(c, "c3", "shop")] as const);
  await meet(places);
  return places;
}

const routes = (host: Host, other: { readonly ipv4: string; readonly ipv6: string }): Promise<string> =>
  host.sh(`ip -4 route show ${other.ipv4}; ip -6 route show ${other.ipv6}`);

test.serial("every pair talks, each packet is on the wire as the container sent it, and there is no tunnel", async (t) => {
  const { b, world: { hosts } } = stage;
  const places = await oneOnEach();
  const before = await dropsOf(hosts);
  await using tunnels = await sniff(b, "udp port 8472 or udp port 6081");
  await using plain = await sniff(b, `host ${places[0].ipv4} and host ${places[1].ipv4}`);
  await allTalk(t, places);
  await waitFor("the containers' packets to be seen", () => packetsOf(plain).length > 0);
  t.deepEqual(packetsOf(tunnels), []);
  for (const [index, host] of hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
});

test.serial("routes to the other nodes' slices are in the kernel with a protocol of their own; others' routes are let be", async (t) => {
  const { a, b } = stage;
  const other = (await nodesOf(a)).find(({ name }) => name === "b");
  if (other === undefined) throw new Error("b is not listed");
  const [four = "", six = ""] = (await routes(a, other)).split("\n");
  const protocol = /proto (\S+)/.exec(four)?.[1] ?? "none";
  t.regex(four, new RegExp(`^${other.ipv4} via ${b.ipv4} dev eth0 `));
  t.regex(six, new RegExp(`^${other.ipv6} via ${b.ipv6} dev eth0 `));
  t.false(["none", "kernel", "boot", "static", "ra", "dhcp", "bird", "zebra", "bgp"].includes(protocol), four);
  t.true(six.includes(`proto ${protocol}`), six);
  await a.sh(`ip route add 10.44.77.0/24 via ${b.ipv4} proto static`);
  try {
    await a.agent.kill();
    t.regex(await routes(a, other), new RegExp(`via ${b.ipv4} `), "they are the kernel's and stay without the agent");
    await a.sh(`ip route del ${other.ipv4}`);
    await a.agent.start();
    await waitFor("the route that somebody took to be there again", async () => (await routes(a, other)).includes(`${other.ipv4} via ${b.ipv4}`), { promisedMs: 40_000 });
    t.regex(await a.sh("ip route show 10.44.77.0/24"), /proto static/);
  } finally {
    await a.sh("ip route del 10.44.77.0/24");
  }
});

test.serial("policy by label holds across nodes though no packet carries an identity", async (t) => {
  const { a, b, c, world: { hosts } } = stage;
  await stage.network("shop", "--ipv6");
  await stage.network("yard");
  const [front, back, stranger] = await Promise.all([
    stage.container(a, "front", "shop", "--label", "tier=front"), stage.container(b, "back", "shop", "--label", "tier=back"), stage.container(c, "stranger", "shop"),
  ] as const);
  await meet([front, back, stranger]);
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - label(tier=front) -> label(tier=back):7000\n");
  await using _back = await back.serve({ tcp: [7000, 7001] });
  const before = await dropsOf(hosts);
  for (const address of [back.ipv4, back.ipv6]) {
    await passes(t, front, address, 7000);
    await isDropped(t, front, address, 7001);
    await isDropped(t, stranger, address, 7000);
  }
  await expectDrops(b, before[1] ?? {}, { POLICY_DEFAULT_IN: some });
  const gnome = await stage.container(c, "gnome", "yard");
  await isDropped(t, gnome, back.ipv4, 7000, "tcp", "for it is on another network");
});

test.serial("a machine of the LAN that routes to a slice by itself may still not call in, and containers reach the world masqueraded", async (t) => {
  const { a, world: { neighbour, outside } } = stage;
  const [c1] = await oneOnEach();
  const before = await a.drops();
  await using _inside = await c1.serve({ tcp: [7000] });
  await using _world = await outside.serve({ tcp: [7000] });
  await neighbour.sh(`ip route add ${c1.ipv4} via ${a.ipv4}; ip -6 route add ${c1.ipv6} via ${a.ipv6}`);
  try {
    for (const address of [c1.ipv4, c1.ipv6]) await isDropped(t, neighbour, address, 7000);
  } finally {
    await neighbour.sh(`ip route del ${c1.ipv4}; ip -6 route del ${c1.ipv6}`);
  }
  t.regex(await c1.ask("tcp", outside.ipv4, 7000), new RegExp(`^${a.ipv4} `));
  await expectDrops(a, before, { DIRECT_ACCESS: some });
});

test.serial("a megabyte by TCP and large datagrams pass at the uplink's full width", async (t) => {
  const [c1, c2] = await oneOnEach();
  t.regex(await stage.a.docker("exec", "c1", "ip", "link", "show", "eth0"), /mtu 1500 /);
  await using _server = await c2.serve({ tcp: [7000], udp: [7000] });
  for (const [mine, theirs] of [[c1.ipv4, c2.ipv4], [c1.ipv6, c2.ipv6]] as const) {
    t.regex(await c1.ask("tcp", theirs, 7000, { size: 1_000_000, timeout: 10 }), new RegExp(`^${mine} `));
    t.regex(await c1.ask("udp", theirs, 7000, { size: 65_400 }), new RegExp(`^${mine} `));
  }
});

test.serial("services reach containers on other nodes, whether these answer themselves or by way of the node that balances", async (t) => {
  const { a, b, world: { directory, outside, router } } = stage;
  const address = "198.18.7.7";
  await router.run(["ip", "route", "replace", address, "via", a.ipv4]);
  await stage.network("shop", "--ipv6");
  const web = await stage.container(b, "web", "shop", "--label", "app=web");
  await using _server = await web.serve({ tcp: [7000], udp: [7000] });
  await using plain = await sniff(b, `(tcp or udp) and src host ${address}`);
  const file = `${directory}/web.yaml`;
  try {
    for (const [mode, first] of [["snat", 5000], ["auto", 5100]] as const) {
      writeFileSync(file, `service: web\nfrontends: ["${address}:80", "${address}:81/udp"]\nbackends: [{ select: { network: shop, label: app=web }, port: 7000 }]\nmode: ${mode}\nhealth: { kind: none }\n`);
      await a.hawser(["service", "apply", file]);
      await waitFor(`a to reach web with mode ${mode}`, async () => (await outside.ask("udp", address, 81, { timeout: 0.3 })).startsWith(outside.ipv4));
      for (const protocol of ["tcp", "udp"] as const) t.is(await outside.ask(protocol, address, protocol === "tcp" ? 80 : 81, { sourcePort: first }), `${outside.ipv4} ${first}`, mode);
      t.is(await outside.ask("tcp", address, 80, { size: 1_000_000, timeout: 10, sourcePort: first + 1 }), `${outside.ipv4} ${first + 1}`, mode);
      if (mode === "snat") t.deepEqual(packetsOf(plain), [], "b sends nothing in the service's name");
      else await waitFor("b to answer itself", () => packetsOf(plain).length > 0);
    }
  } finally {
    await a.hawser(["service", "delete", "web"]);
  }
});
