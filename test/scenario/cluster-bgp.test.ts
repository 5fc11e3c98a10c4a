// Native routing between subnets: BIRD on every host announces its node's slices to a router that knows nothing of Hawser.
//
//   a: c1 ── router ── b: c2        (BGP: AS 64513, 64512, 64514, 64515)
//              ├────── c: c3
//              └── LAN: e1 e2 e3 (etcd), nb
import test from "ava";
import { bgp } from "../lab/bird.ts";
import { allTalk, clusterScene, dropsOf, meet, nodesOf, packetsOf, sniff, type NodeRow } from "../lab/cluster.ts";
import { expectDrops } from "../lab/drops.ts";
import type { Host } from "../lab/host.ts";
import { isDropped, passes, pings } from "../lab/policy.ts";
import { waitFor } from "../lab/run.ts";

const stage = clusterScene(test, { mode: "native" }, { subnets: "each" });

/** By name, as the first host lists them. */
async function nodes(): Promise<(host: Host) => NodeRow> {
  const rows = await nodesOf(stage.a);
  return (host) => {
    const found = rows.find(({ name }) => name === host.name);
    if (found === undefined) throw new Error(`${host.name} is not listed`);
    return found;
  };
}

test.serial("slices go from node to node by BGP; every pair talks and policy by label holds (native, several subnets)", async (t) => {
  const { a, b, c, world } = stage;
  const slicesOf = await nodes();
  await using routing = await bgp(world, slicesOf);
  await stage.network("shop", "--ipv6");
  const places = await Promise.all([
    stage.container(a, "c1", "shop", "--label", "tier=front"), stage.container(b, "c2", "shop", "--label", "tier=back"), stage.container(c, "c3", "shop"),
  ] as const);
  const [c1, c2, c3] = places;
  await meet(places);
  for (const host of world.hosts) {
    for (const other of world.hosts.filter((each) => each !== host)) {
      const { ipv4, ipv6 } = slicesOf(other);
      const listed = await host.sh(`ip -4 route show ${ipv4}; ip -6 route show ${ipv6}`);
      t.is(listed.split("\n").length, 2, `${host.name} keeps no route of its own to another subnet's node: ${listed}`);
      for (const line of listed.split("\n")) t.regex(line, /proto bird/);
    }
  }
  const before = await dropsOf(world.hosts);
  await using wire = await sniff(world.router, `host ${c1.ipv4} and host ${c2.ipv4}`, "b");
  await using tunnels = await sniff(world.router, "udp port 8472", "b");
  await allTalk(t, places);
  await waitFor("the router to see the containers' own packets", () => packetsOf(wire).length > 0);
  t.deepEqual(packetsOf(tunnels), []);
  for (const [index, host] of world.hosts.entries()) await expectDrops(host, before[index] ?? {}, {});
  await stage.apply("policy: shop\nfor: { network: shop }\ndefault: { in: deny }\nallow:\n  - label(tier=front) -> label(tier=back):7000\n");
  await using _back = await c2.serve({ tcp: [7000] });
  await passes(t, c1, c2.ipv4, 7000);
  await passes(t, c1, c2.ipv6, 7000);
  await isDropped(t, c3, c2.ipv4, 7000);
  await routing.nodes[2]?.stop();
  await waitFor("c's slices to be withdrawn", async () => (await a.sh(`ip route show ${slicesOf(c).ipv4}`)) === "");
  await a.hawser(["policy", "delete", "shop"]);
  await b.hawser(["policy", "delete", "shop"]);
  t.false(await pings(c1, c3.ipv4));
  t.true(await pings(c1, c2.ipv4), "the others do not mind");
});

test.serial("a narrow path between the subnets is told to the sender by the router, IPv4 and IPv6 (R70)", async (t) => {
  const { a, b, world } = stage;
  await using _routing = await bgp(world, await nodes());
  await stage.network("shop", "--ipv6");
  const [c1, c2] = await Promise.all([stage.container(a, "c1", "shop"), stage.container(b, "c2", "shop")] as const);
  await meet([c1, c2]);
  await world.router.sh("ip link set dev b mtu 1300");
  try {
    await using _server = await c2.serve({ tcp: [7000] });
    for (const address of [c2.ipv4, c2.ipv6]) {
      const { stdout, stderr } = await c1.run(["ping", "-M", "do", "-s", "1400", "-c2", "-i0.2", "-W1", address], { mayFail: true });
      t.regex(stdout + stderr, /mtu ?= ?1300/i);
      t.regex(await c1.ask("tcp", address, 7000, { size: 200_000, timeout: 5 }), /^\S+ \d+$/);
    }
  } finally {
    await world.router.sh("ip link set dev b mtu 1500");
  }
});
