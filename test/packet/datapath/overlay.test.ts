// The overlay against a plain VXLAN device of the kernel's, which stands for another node: what arrives, what is refused, what is told.
// All of it holds whether our programs write and read the tunnel's headers, or the device of this host does.
//
//   ns a: eth0 10.44.0.2 ── hwaaaaaaaaaaa ┐
//   ns b: eth0 10.44.0.3 ── hwbbbbbbbbbbb ┴─ hwtun ── wan0 192.0.2.10 ══ lan0 192.0.2.1 in ns lan ── vx (key 300) 10.44.1.2, fd44:0:0:1::2
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { u32 } from "../../../src/abi/codec.ts";
import { hashOfAddress } from "../../../src/datapath/lb-hash.ts";
import { mapPath } from "../../../src/datapath/pins.ts";
import type { Routing } from "../../../src/datapath/types.ts";
import { networkKey } from "../../../src/network/plan.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { inOwnHost } from "./namespace.ts";
import type { Case } from "./namespace.ts";
import { cluster, dropped, identity, local, pings, remotes, setUp } from "./nodes.ts";
import { otherNode, routing as direct, told } from "./other-node.ts";
import { doAll } from "./perform.ts";
import { inside, ping } from "./plug.ts";

const overlay = (routing: Routing): Readonly<Record<string, Case>> => ({
  "containers of two nodes talk both ways, over IPv4 and IPv6, small and large": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity);
    for (const target of ["10.44.1.2", "fd44:0:0:1::2"]) ping("a", target);
    for (const target of ["10.44.0.2", "fd44::2"]) ping("lan", target);
    inside("a", ["ping", "-c1", "-W2", "-s1350", "-Mdo", "10.44.1.2"]);
    assert.equal(dropped(datapath, "peer-identity") + dropped(datapath, "peer-address") + dropped(datapath, "unknown-peer"), 0n);
  },

  "what goes to other nodes has an address by which they know this one, and the uplink's own where that is one": async (world) => {
    for (const words of ["link add wan1 type veth peer name lan1", "link set wan1 up", "address add 198.51.100.10/24 dev wan1", "address add 192.0.2.20/24 dev wan0"]) world.ip(words);
    await using datapath = await world.open({ routing, devices: ["wan0", "wan1"], addresses: [parseIp("192.0.2.20"), parseIp("198.51.100.10")] });
    const [node, third] = cluster().cluster.nodes;
    assert.ok(node && third);
    await setUp(world, datapath, [...local, cluster({ nodes: [node, { ...third, addresses: [parseIp("198.51.100.3")] }], remotes: remotes({ "10.44.2.2": { node: 2 } }) })]);
    world.ip("link set lan1 netns lan");
    for (const words of ["link set lan1 up", "address add 198.51.100.3/24 dev lan1"]) world.ip(`-n lan ${words}`);
    assert.equal(await sourceOf("10.44.1.2", "192.0.2.1"), "192.0.2.20");
    assert.equal(await sourceOf("10.44.2.2", "198.51.100.3"), routing.direct ? "198.51.100.10" : "192.0.2.20", "who writes the headers knows the uplink");
  },

  "a route that stands gets the source by which other nodes know this one now, from a later agent and as soon as it is there": async (world) => {
    const [source, given] = [(): string => world.ip("route show 10.44.1.0/24"), { routing, addresses: [parseIp("192.0.2.20")] }];
    const source6 = (): string => world.ip("-6 route show fd44:0:0:1::/64");
    {
      await using datapath = await world.open({ routing });
      await setUp(world, datapath, [...local, cluster()]);
      assert.match(source(), / src 192\.0\.2\.10 $/m);
    }
    await using datapath = await world.open({ ...given, addresses: ["192.0.2.20", "2001:db8:1::20"].map((text) => parseIp(text)) });
    assert.deepEqual((await datapath.adopt([...local, cluster()])).failed, []);
    assert.match(source(), / src 192\.0\.2\.10 $/m);
    world.ip("address add 192.0.2.20/24 dev wan0");
    world.ip("-6 address add 2001:db8:1::20/64 dev wan0 nodad");
    await world.until("the routes have them", () => / src 192\.0\.2\.20 $/m.test(source()) && source6().includes("src 2001:db8:1::20"));
    assert.equal(source().trim().split("\n").length + source6().trim().split("\n").length, 2, "in the old ones' place");
    world.ip("address delete 192.0.2.20/24 dev wan0");
    await world.until("the host's own is back", () => / src 192\.0\.2\.10 $/m.test(source()));
  },

  "the tunnel works over IPv6, too": async (world) => {
    await using datapath = await world.open({ routing });
    const [node, third] = cluster().cluster.nodes;
    assert.ok(node && third);
    await setUp(world, datapath, [...local, cluster({ nodes: [{ ...node, addresses: [parseIp("2001:db8:1::1")] }, third] })]);
    otherNode(world, identity, "2001:db8:1::1");
    ping("a", "10.44.1.2");
    ping("lan", "fd44::2");
  },

  "nodes of IPv6 are found by the hash of their address, and no longer than they are there": async (world) => {
    await using datapath = await world.open({ routing });
    const [node, third] = cluster().cluster.nodes;
    assert.ok(node && third);
    await setUp(world, datapath, [...local, cluster()]);
    using map = world.kernel.openPinnedMap(mapPath(world.bpffs, "hw_balancers"));
    const balancers = (): unknown => [...map.entries()].map(([hash, number]) => [u32.decode(hash), u32.decode(number)]);
    assert.deepEqual(balancers(), [[hashOfAddress(parseIp("2001:db8:1::1")), 1]]);
    await doAll(datapath.doers, [cluster({ nodes: [third, { ...node, number: 3, addresses: [parseIp("2001:db8:1::2")] }] })]);
    assert.deepEqual(balancers(), [[hashOfAddress(parseIp("2001:db8:1::2")), 3]]);
    await doAll(datapath.doers, [cluster({ nodes: [third] })]);
    assert.deepEqual(balancers(), []);
  },

  "the host reaches a container on another node in its own name, and only answers come back to it": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    assert.match(world.ip("route show 10.44.1.0/24"), /dev hwhost proto 72 .*src 192\.0\.2\.10/);
    // Its own key goes out; the other side's device speaks with the containers' alone, so the way out is watched.
    otherNode(world, 1);
    world.ip("-n lan link set vx address 02:00:00:00:00:77");
    const received = (): number => (JSON.parse(world.ip("-n lan -j -s link show vx")) as [{ readonly stats64: { readonly rx: { readonly packets: number } } }])[0].stats64.rx.packets;
    const before = received();
    assert.throws(() => execFileSync("ping", ["-c1", "-W1", "10.44.1.2"], { stdio: "ignore" }));
    assert.ok(received() > before, JSON.stringify(datapath.counters().map((row) => `${row.direction} ${row.reason} ${row.packets}`)));
    // What the other side opens to the host is refused, whoever it says it is.
    world.ip("-n lan route add 192.0.2.10/32 dev vx table 7");
    world.ip("-n lan rule add from 10.44.1.2 table 7");
    world.ip("-n lan neighbour replace 192.0.2.10 lladdr 02:00:00:00:00:99 dev vx");
    assert.throws(() => inside("lan", ["ping", "-c1", "-W1", "-I", "10.44.1.2", "192.0.2.10"]));
    assert.ok(dropped(datapath, "peer-identity") >= 1n);
  },

  "R42: a tunnel packet from who is no node is dropped, counted and told with its sender": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity, "192.0.2.66");
    assert.deepEqual(await told(datapath, "unknown-peer", () => assert.ok(!pings("lan", "10.44.0.2"))), { source: "192.0.2.66", destination: "" });
    assert.ok(dropped(datapath, "unknown-peer") >= 1n);
  },

  "R43: a node that speaks for another's container, or with an identity that is not its container's, is dropped and told": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster({ remotes: remotes({ "10.44.1.2": { node: 2 } }) })]);
    otherNode(world, identity);
    assert.deepEqual(await told(datapath, "peer-address", () => assert.ok(!pings("lan", "10.44.0.2"))), { source: "192.0.2.1", destination: "10.44.1.2" });
    await doAll(datapath.doers, [cluster({ remotes: remotes({ "10.44.1.2": { identity: 301 } }) })]);
    assert.deepEqual(await told(datapath, "peer-identity", () => assert.ok(!pings("lan", "10.44.0.2"))), { source: "192.0.2.1", destination: "10.44.1.2" });
    await doAll(datapath.doers, [cluster({ remotes: new Map() })]);
    assert.deepEqual(await told(datapath, "peer-address", () => assert.ok(!pings("lan", "10.44.0.2"))), { source: "192.0.2.1", destination: "10.44.1.2" });
    await doAll(datapath.doers, [cluster()]);
    ping("lan", "10.44.0.2");
  },

  "R37: a container cannot send in the name of another node's container": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity);
    ping("a", "10.44.0.3");
    world.ip("-n a address add 10.44.1.2/32 dev eth0");
    assert.throws(() => inside("a", ["ping", "-c1", "-W1", "-I", "10.44.1.2", "10.44.0.3"]));
    assert.ok(dropped(datapath, "invalid-source-ip") >= 1n);
  },

  "containers on another network than the other node's are apart, and an address that nobody has is refused": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster({ remotes: remotes({ "10.44.1.2": { network: 0 } }) })]);
    otherNode(world, identity);
    assert.ok(!pings("a", "10.44.1.2"));
    assert.ok(!pings("lan", "10.44.0.2"));
    assert.ok(dropped(datapath, "network-isolated") >= 2n);
    assert.ok(!pings("a", "10.44.1.77"));
    assert.ok(dropped(datapath, "no-such-node") >= 1n);
  },

  "what is too large for the way is answered with the size that fits (R70)": async (world) => {
    await using datapath = await world.open({ routing });
    const [node, third] = cluster().cluster.nodes;
    assert.ok(node && third);
    await setUp(world, datapath, [...local, cluster({ nodes: [{ ...node, mtu: 1400 }, third] })]);
    otherNode(world, identity);
    for (const [command, size] of [["-4", "1330"], ["-6", "1330"]] as const) {
      const target = command === "-4" ? "10.44.1.2" : "fd44:0:0:1::2";
      assert.throws(() => inside("a", ["ping", command, "-c1", "-W1", `-s${size}`, "-Mdo", target]));
    }
    assert.match(inside("a", ["ip", "route", "get", "10.44.1.2"]), /mtu 1350/);
    assert.match(inside("a", ["ip", "-6", "route", "get", "fd44:0:0:1::2"]), /mtu 1350/);
    inside("a", ["ping", "-c1", "-W2", "-s1330", "10.44.1.2"]);
  },

  "static peers: networks with the same name are one, others are apart, and of an internal one nothing leaves": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster({ kind: "static", remotes: new Map() })]);
    otherNode(world, networkKey("shop"));
    ping("lan", "10.44.0.2");
    ping("a", "10.44.1.2");
    world.ip("-n lan link delete vx");
    otherNode(world, networkKey("blog"));
    assert.ok(!pings("lan", "10.44.0.3"));
    assert.ok(dropped(datapath, "network-isolated") >= 1n);
  },

  "who goes takes his flows with him, and a node whose address changed is reached at the new one (R58, R102)": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    otherNode(world, identity);
    ping("a", "10.44.1.2");
    await doAll(datapath.doers, [cluster({ remotes: new Map() })]);
    assert.ok(!pings("a", "10.44.1.2"));
    const [node, third] = cluster().cluster.nodes;
    assert.ok(node && third);
    await doAll(datapath.doers, [cluster({ nodes: [{ ...node, addresses: [parseIp("192.0.2.7")] }, third] })]);
    world.ip("-n lan link delete vx");
    otherNode(world, identity, "192.0.2.7");
    ping("a", "10.44.1.2");
  },

  "the programs answer a node that asks whether this one is there, and nobody else": async (world) => {
    await using datapath = await world.open({ routing });
    await setUp(world, datapath, [...local, cluster()]);
    const ask = (from: string): string => inside("lan", ["python3", "-c", `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("${from}", 0)); s.settimeout(1)
q = b"HWP1\\x01" + bytes(range(16)) + bytes(75)
s.sendto(q, ("192.0.2.10", 8473))
try:
  a, who = s.recvfrom(200)
  print(who, a == b"HWP1\\x03" + q[5:])
except OSError as e: print(type(e).__name__)`]).trim();
    assert.equal(ask("192.0.2.1"), "('192.0.2.10', 8473) True");
    world.ip("-n lan address add 192.0.2.66/24 dev lan0");
    assert.notEqual(ask("192.0.2.66"), "('192.0.2.10', 8473) True");
  },

  "while the agent comes back, and with it away, the way to other nodes stays (R11)": async (world) => {
    {
      await using datapath = await world.open({ routing });
      await setUp(world, datapath, [...local, cluster()]);
    }
    otherNode(world, identity);
    ping("a", "10.44.1.2");
    await using datapath = await world.open({ routing });
    ping("a", "10.44.1.2");
    assert.deepEqual((await datapath.adopt([...local, cluster()])).failed, []);
    ping("lan", "10.44.0.2");
    world.ip("link delete hwtun");
    await world.until("the tunnel is missed", () => !datapath.intact());
    assert.deepEqual((await datapath.adopt([...local, cluster()])).failed, []);
    ping("a", "10.44.1.2");
  },
});

/** From where the other node's `underlay` gets a tunnel's packet when a pings. */
async function sourceOf(target: string, underlay: string): Promise<string> {
  const pinging = spawn("nsenter", ["--net=/run/netns/a", "ping", "-c50", "-i0.2", target], { stdio: "ignore" });
  const ended = once(pinging, "exit");
  try {
    return inside("lan", ["python3", "-c", `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("${underlay}", 8472)); s.settimeout(8)
print(s.recvfrom(2000)[1][0])`]).trim();
  } finally {
    pinging.kill();
    await ended;
  }
}

const named = (how: string, cases: Readonly<Record<string, Case>>): Readonly<Record<string, Case>> => Object.fromEntries(Object.entries(cases).map(([title, run]) => [`${how}: ${title}`, run]));

await inOwnHost(import.meta.url, {
  ...named("beside the host's stack", overlay(direct)),
  ...named("by the kernel's device", overlay({ ...direct, direct: false })),

  "without other nodes there is no tunnel, and one that was left goes": async (world) => {
    {
      await using _datapath = await world.open({ routing: direct });
      assert.match(world.ip("-d link show hwtun"), /vxlan external .*dstport 8472/);
    }
    await using _alone = await world.open();
    assert.equal(world.ip("-o link show").includes("hwtun"), false);
  },

  "with native routing the host's own programs come from an address by which other nodes know this one": async (world) => {
    world.ip("address add 192.0.2.20/24 dev wan0");
    world.ip("-6 address add 2001:db8:1::20/64 dev wan0 nodad");
    const native = { ...direct, mode: "native" } as const;
    {
      await using datapath = await world.open({ routing: native });
      await setUp(world, datapath, [...local, cluster()]);
      assert.match(world.ip("route show 10.44.1.0/24"), /^10\.44\.1\.0\/24 via 192\.0\.2\.1 dev wan0 proto 72 $/m);
    }
    await using datapath = await world.open({ routing: native, addresses: ["192.0.2.20", "2001:db8:1::10"].map((text) => parseIp(text)) });
    assert.deepEqual((await datapath.adopt([...local, cluster()])).failed, []);
    assert.match(world.ip("route show 10.44.1.0/24"), /^10\.44\.1\.0\/24 via 192\.0\.2\.1 dev wan0 proto 72 src 192\.0\.2\.20 $/m);
    assert.match(world.ip("-6 route show fd44:0:0:1::/64"), /via 2001:db8:1::1 dev wan0 proto 72 src 2001:db8:1::10 /);
    assert.match(world.ip("route get 10.44.1.2"), / src 192\.0\.2\.20 /);
  },

  "with native routing each slice has a route by its node, and containers are known by their addresses": async (world) => {
    await using datapath = await world.open({ routing: { ...direct, mode: "native" } });
    await setUp(world, datapath, [...local, cluster()]);
    assert.match(world.ip("route show 10.44.1.0/24"), /via 192\.0\.2\.1 dev wan0 proto 72/);
    for (const words of [
      "link add c type veth peer c1", "link set c1 up", "link set c up", "address add 10.44.1.2/32 dev c", "-6 address add fd44:0:0:1::2/128 dev c nodad", "-6 address add 2001:db8:1::1/64 dev lan0 nodad",
      "route add 10.44.0.0/24 via 192.0.2.10 src 10.44.1.2", "-6 route add fd44::/64 via 2001:db8:1::10 src fd44:0:0:1::2",
    ]) world.ip(`-n lan ${words}`);
    // The first may be lost while the two nodes find each other's MAC.
    for (const target of ["10.44.1.2", "fd44:0:0:1::2"]) await world.until(`a reaches ${target}`, () => pings("a", target));
    inside("lan", ["ping", "-c1", "-W2", "-I", "10.44.1.2", "10.44.0.3"]);
    world.ip("-n lan address add 10.44.1.3/32 dev c");
    assert.throws(() => inside("lan", ["ping", "-c1", "-W1", "-I", "10.44.1.3", "10.44.0.3"]));
    assert.ok(dropped(datapath, "direct-access") >= 1n);
    await doAll(datapath.doers, [cluster({ kind: "alone", nodes: [], remotes: new Map() })]);
    assert.equal(world.ip("route show proto 72"), "");
  },
});
