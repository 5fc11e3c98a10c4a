// Containers and the world beyond the router: masquerading, errors that come back, packets that are too large.
//
//   a: c1 ── LAN ── router ── outside
import test from "ava";
import { expectDrops, some } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";
import type { Place } from "../lab/place.ts";

const stage = scene(test);

async function container(...options: readonly string[]): Promise<Place> {
  const { host } = stage;
  await host.network("shop", "--ipv6", ...options);
  await host.container("c1", ["--network", "shop"]);
  return host.inside("c1");
}

test.serial("flows to the world carry the host's address and a port outside its ephemeral range", async (t) => {
  const { host, world: { outside } } = stage;
  const c1 = await container();
  const before = await host.drops();
  const [low = 0, high = 0] = (await host.sh("cat /proc/sys/net/ipv4/ip_local_port_range")).split(/\s+/).map(Number);
  await using _server = await outside.serve({ tcp: [7000], udp: [7000] });
  for (const [address, mine] of [[outside.ipv4, host.ipv4], [outside.ipv6, host.ipv6]] as const) {
    for (const protocol of ["tcp", "udp"] as const) {
      const [seen, port] = (await c1.ask(protocol, address, 7000)).split(" ");
      t.is(seen, mine);
      t.true(Number(port) < low || Number(port) > high, `${protocol} port ${port} is none of the host's own (${low}…${high})`);
    }
    t.is((await c1.run(["ping", "-c2", "-i0.2", "-W1", address], { mayFail: true })).code, 0);
  }
  await expectDrops(host, before, {});
});

test.serial("two containers with the same source port to one server are kept apart", async (t) => {
  const { host, world: { outside } } = stage;
  const c1 = await container();
  await host.container("c2", ["--network", "shop"]);
  const c2 = await host.inside("c2");
  await using _server = await outside.serve({ udp: [7000] });
  const answers = await Promise.all([c1, c2].map((each) => each.ask("udp", outside.ipv4, 7000, { sourcePort: 5353, size: 100 })));
  t.is(new Set(answers).size, 2, answers.join(" and "));
});

test.serial("errors from the world reach the container that asked", async (t) => {
  const { host, world: { outside, router } } = stage;
  const c1 = await container();
  const before = await host.drops();
  for (const address of [outside.ipv4, outside.ipv6]) {
    t.is(await c1.ask("tcp", address, 7001), "ECONNREFUSED");
    t.is(await c1.ask("udp", address, 7001), "ECONNREFUSED", "a port unreachable finds its way back through the masquerade");
  }
  t.is(await c1.ask("tcp", "198.51.100.1", 80), "ENETUNREACH", "so does the router's own error");
  const hops = await host.docker("exec", "c1", "traceroute", "-n", "-q1", "-w1", "-m4", outside.ipv4);
  t.true(hops.includes(router.ipv4), hops);
  t.regex(hops, new RegExp(`${outside.ipv4}  \\d`), hops);
  await expectDrops(host, before, {});
});

test.serial("packets and replies larger than the MTU cross the masquerade in fragments", async (t) => {
  const { host, world: { outside } } = stage;
  const c1 = await container();
  const before = await host.drops();
  await using _server = await outside.serve({ udp: [7000] });
  for (const address of [outside.ipv4, outside.ipv6]) {
    t.regex(await c1.ask("udp", address, 7000, { size: 6000 }), /^\S+ \d+$/);
    t.is((await c1.run(["ping", "-c1", "-W1", "-s", "4000", address], { mayFail: true })).code, 0);
  }
  await expectDrops(host, before, {});
});

test.serial("a narrower path is discovered: the router's packet-too-big reaches the container (R70)", async (t) => {
  const { host, world: { outside, router } } = stage;
  const c1 = await container();
  const before = await host.drops();
  await router.sh("ip link set eth1 mtu 1400");
  try {
    await using _server = await outside.serve({ tcp: [7000] });
    for (const address of [outside.ipv4, outside.ipv6]) {
      const { stdout, stderr } = await c1.run(["ping", "-M", "do", "-s", "1440", "-c2", "-i0.2", "-W1", address], { mayFail: true });
      t.regex(stdout + stderr, /mtu ?= ?1400/i);
      t.regex(await c1.ask("tcp", address, 7000, { size: 200_000 }), /^\S+ \d+$/);
    }
  } finally {
    await router.sh("ip link set eth1 mtu 1500");
  }
  await expectDrops(host, before, {});
});

test.serial("without masquerading the world sees the container's own address", async (t) => {
  const { host, world: { outside, router } } = stage;
  const c1 = await container("-o", "com.docker.network.bridge.enable_ip_masquerade=false", "--subnet", "10.61.0.0/24", "--subnet", "fd61::/64");
  await router.sh(`ip route add 10.61.0.0/24 via ${host.ipv4}; ip -6 route add fd61::/64 via ${host.ipv6}`);
  try {
    const before = await host.drops();
    await using _server = await outside.serve({ tcp: [7000] });
    t.regex(await c1.ask("tcp", outside.ipv4, 7000), new RegExp(`^${c1.ipv4} `));
    t.regex(await c1.ask("tcp", outside.ipv6, 7000), new RegExp(`^${c1.ipv6} `));
    await using _inside = await c1.serve({ tcp: [7000] });
    t.is(await outside.ask("tcp", c1.ipv4, 7000, { timeout: 1 }), "TIMEOUT", "and still may not call in");
    await expectDrops(host, before, { DIRECT_ACCESS: some });
  } finally {
    await router.sh("ip route del 10.61.0.0/24; ip -6 route del fd61::/64");
  }
});
