// A container with NET_RAW tries to be somebody else.
//
//   a: evil ── victim (shop)      LAN ── outside
import test from "ava";
import { expectDrops } from "../lab/drops.ts";
import { scene } from "../lab/scenario.ts";
import type { Place } from "../lab/place.ts";

const stage = scene(test);

interface Cast {
  readonly evil: Place;
  readonly victim: Place;
  /** The MAC that evil's frames must carry to be taken by the host. */
  readonly gatewayMac: string;
  readonly gateway: string;
}

async function cast(...options: readonly string[]): Promise<Cast> {
  const { host } = stage;
  await host.network("shop", ...options);
  await host.container("evil", ["--network", "shop"]);
  await host.container("victim", ["--network", "shop"]);
  const [evil, victim] = [await host.inside("evil"), await host.inside("victim")];
  const gateway = /default via (\S+)/.exec(await evil.sh("ip route"))?.[1] ?? "";
  await evil.run(["ping", "-c1", "-W1", gateway]);
  await victim.run(["ping", "-c1", "-W1", evil.ipv4]);
  const gatewayMac = /lladdr (\S+)/.exec(await evil.sh(`ip neigh show ${gateway}`))?.[1] ?? "";
  return { evil, victim, gateway, gatewayMac };
}

const neighbours = async (place: Place): Promise<string> => (await place.sh("ip neigh; ip -6 neigh")).replaceAll(/ (REACHABLE|STALE|DELAY|PROBE)/g, "").split("\n").sort().join("\n");
const datagrams = async (place: Place): Promise<string> => place.sh("cat /proc/net/snmp /proc/net/snmp6 | awk '/^Udp: [0-9]/ { print $2, $3 } /^Udp6(InDatagrams|NoPorts)/ { print $2 }'");

test.serial("a foreign source address is dropped, to a neighbour, to the host and to the world (R37)", async (t) => {
  const { host, world: { outside } } = stage;
  const { evil, victim, gatewayMac } = await cast("--ipv6");
  const before = await host.drops();
  const had = await datagrams(victim);
  for (const target of [victim.ipv4, outside.ipv4, host.ipv4]) {
    await evil.frames("udp4", { source: "10.99.0.100", target, targetMac: gatewayMac, count: 2 });
  }
  await evil.frames("udp4", { source: victim.ipv4, target: outside.ipv4, targetMac: gatewayMac, count: 2 });
  for (const source of ["fd99::100", victim.ipv6]) {
    await evil.frames("udp6", { source, target: outside.ipv6, targetMac: gatewayMac, count: 2 });
  }
  t.is(await datagrams(victim), had);
  await expectDrops(host, before, { INVALID_SOURCE_IP: 12 });
});

test.serial("a foreign source MAC is dropped (R38)", async (t) => {
  const { host } = stage;
  const { evil, victim, gatewayMac } = await cast();
  const before = await host.drops();
  const had = await datagrams(victim);
  await evil.frames("udp4", { source: evil.ipv4, target: victim.ipv4, targetMac: gatewayMac, sourceMac: "02:00:00:00:00:66", count: 3 });
  t.is(await datagrams(victim), had);
  await expectDrops(host, before, { INVALID_SOURCE_MAC: 3 });
});

test.serial("claims to be the gateway or a neighbour by ARP change nobody's table (R38)", async (t) => {
  const { host } = stage;
  const { evil, victim, gateway } = await cast();
  const known = await neighbours(victim);
  const before = await host.drops();
  for (const source of [gateway, victim.ipv4]) {
    await evil.frames("arp", { operation: 2, source, target: victim.ipv4 });
    await evil.frames("arp", { operation: 1, source, target: source });
  }
  t.is(await neighbours(victim), known);
  await expectDrops(host, before, { INVALID_ARP: 4 });
});

test.serial("router advertisements, redirects and neighbour claims never leave a container (R39)", async (t) => {
  const { host } = stage;
  const { evil, victim } = await cast("--ipv6");
  const linkLocal = /inet6 (fe80::\S+)\//.exec(await evil.sh("ip -6 address show dev eth0"))?.[1] ?? evil.ipv6;
  const [known, routes] = [await neighbours(victim), await victim.sh("ip -6 route")];
  const before = await host.drops();
  await evil.frames("ra", { source: linkLocal });
  await evil.frames("na", { source: evil.ipv6, target: victim.ipv6, claim: victim.ipv6 });
  await evil.frames("redirect", { source: linkLocal, target: victim.ipv6, claim: victim.ipv6 });
  t.is(await neighbours(victim), known);
  t.is(await victim.sh("ip -6 route"), routes);
  t.is(await host.sh("ip -6 route show 2001:db8:bad::/64"), "");
  await expectDrops(host, before, { ROUTER_ADVERTISEMENT: 1, INVALID_ND: 2 });
});

test.serial("an IPv4-only network carries no IPv6 at all (R40)", async (t) => {
  const { host } = stage;
  const { evil, victim, gatewayMac } = await cast();
  t.is(await evil.sh("ip -6 address show dev eth0"), "");
  const before = await host.drops();
  const had = await datagrams(victim);
  await evil.frames("udp6", { source: "fe80::1", target: "fe80::2", targetMac: gatewayMac, count: 3 });
  t.is(await datagrams(victim), had);
  await expectDrops(host, before, { IPV6_OFF: 3 });
});

test.serial("a tunnel packet to a node's tunnel port is dropped (R41)", async (t) => {
  const { host } = stage;
  const { evil, gatewayMac } = await cast();
  const before = await host.drops();
  await evil.frames("udp4", { source: evil.ipv4, target: host.ipv4, port: 8472, targetMac: gatewayMac, count: 3 });
  await expectDrops(host, before, { ENCAP_PROHIBITED: 3 });
  t.pass();
});

test.serial("source routing is dropped (R47)", async (t) => {
  const { host } = stage;
  const { evil, victim, gateway, gatewayMac } = await cast();
  const before = await host.drops();
  const had = await datagrams(victim);
  await evil.frames("options4", { source: evil.ipv4, target: gateway, via: victim.ipv4, targetMac: gatewayMac, count: 3 });
  t.is(await datagrams(victim), had);
  await expectDrops(host, before, { INVALID_OPTIONS: 3 });
});
