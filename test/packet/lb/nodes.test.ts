// Backends that are containers on other nodes: wrapped in Geneve, the container named in an option, the packet itself as the client sent it.
//
//   Ethernet 14 │ IPv4 20 or IPv6 40 │ UDP 8 │ Geneve 8 │ option 12 or 24 │ Ethernet 14 │ packet
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { describe, frame, icmpError, ip, ipv4, slice, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { client4, gateway, openWeb, out, query, request, to4, to6, uplink, web4 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;
/** Flags: critical options. Then the key, a node's own, and the option's class, type and length. */
const geneve4 = "03406558" + "00000100" + "ff488102" + "0a2c0902" + "1f900000";
const geneve6 = "06406558" + "00000100" + "ff488105" + "fd440009000000000000000000000002" + "1f900000";

test.serial.before(async (t) => {
  const world = (t.context.world = await openWeb(1));
  await world.backend(1, "10.44.9.2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9" });
  await world.backend(101, "fd44:9::2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9" });
  // The same by the node's IPv6 address.
  await world.backend(2, "10.44.9.2", { mode: "GENEVE", port: 8080, outer: "2001:db8:9::9" });
  await world.backend(102, "fd44:9::2", { mode: "GENEVE", port: 8080, outer: "2001:db8:9::9" });
});
test.serial.beforeEach(async (t) => {
  await t.context.world.service(1, [1]);
  await t.context.world.service(2, [101]);
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

const hex = (bytes: Uint8Array, from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString("hex");

const carried: readonly (readonly [what: string, packet: Packet, option: string])[] = [
  ["TCP over IPv4", to4(request("S")), geneve4], ["UDP over IPv4", to4(query()), geneve4], ["TCP over IPv6", to6(request("A")), geneve6], ["UDP over IPv6", to6(query()), geneve6],
  ["UDP without a checksum", ip(client4, web4, udp(5000, 53, "who?", { checksum: "none" })), geneve4],
  ["a fragment", ipv4(client4, web4, slice(udp(5000, 53, "x".repeat(64)), 0, 32), { more: true, id: 1 }), geneve4],
  ["an ICMP error", ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, tcp(80, 5000, "A")), { mtu: 1400 })), geneve4],
];

for (const [what, packet, option] of carried) {
  test.serial(`${what} to a node of IPv4: every header, and what is inside unchanged`, async (t) => {
    const sent = frame(gateway, uplink, packet);
    const { data, verdict } = await t.context.world.sendBytes(sent);
    const headers = 28 + option.length / 2;
    t.is(verdict, 3);
    t.is(data.length, sent.length + 14 + headers);
    t.is(describe(data), `${out} 192.0.2.1:${port(data, 34)} > 172.16.9.9:6081 udp unsummed ttl 64`);
    t.true(port(data, 34) >= 49152);
    t.is(hex(data, 16, 18), (sent.length + headers).toString(16).padStart(4, "0"), "the outer packet's length");
    t.is(hex(data, 38, 40), (sent.length + headers - 20).toString(16).padStart(4, "0"), "the datagram's length");
    t.is(hex(data, 42, 42 + option.length / 2), option);
    t.is(hex(data, 14 + headers, data.length), Buffer.from(sent).toString("hex"));
  });
}

for (const [what, packet, option] of carried) {
  test.serial(`${what} to a node of IPv6: every header, without a checksum, and what is inside unchanged`, async (t) => {
    const { world } = t.context;
    await world.service(1, [2]);
    await world.service(2, [102]);
    const sent = frame(gateway, uplink, packet);
    const { data, verdict } = await world.sendBytes(sent);
    const payload = (sent.length + 8 + option.length / 2).toString(16).padStart(4, "0");
    t.is(verdict, 3);
    t.is(data.length, sent.length + 62 + option.length / 2);
    t.is(describe(data), `${out} [2001:db8::1]:${port(data, 54)} > [2001:db8:9::9]:6081 udp unsummed ttl 64`);
    t.is(hex(data, 14, 20), `60000000${payload}`);
    t.is(hex(data, 58, 62), `${payload}0000`);
    t.is(hex(data, 62, 62 + option.length / 2), option);
    t.is(hex(data, 62 + option.length / 2, data.length), Buffer.from(sent).toString("hex"));
  });
}

test.serial("other nodes are sent to from the address by which they know this one, plain servers from the uplinks' own, in both families", async (t) => {
  await using world = await openWeb(1, { nodeIpv4: 0xc0000907, nodeIpv6: parseIp("2001:db8:7::7") });
  const way = async (): Promise<readonly string[]> => [(await world.send(to4(request("S")))).packet, (await world.send(to6(request("S")))).packet].map((packet) => / ([^ ]+) > /.exec(packet.slice(out.length))?.[1]?.replace(/:\d{5}$/, "") ?? packet);
  t.deepEqual(await way(), ["192.0.2.1", "2001:db8::1"], "wrapped for servers");
  await world.backend(1, "10.44.9.2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9" });
  await world.backend(101, "fd44:9::2", { mode: "GENEVE", port: 8080, outer: "2001:db8:9::9" });
  t.deepEqual(await way(), ["192.0.9.7", "[2001:db8:7::7]"], "in Geneve");
  await using bare = await openWeb(1, { nodeIpv4: 0, nodeIpv6: null });
  t.is((await bare.send(to4(request("S")))).verdict, "tx");
  await bare.backend(1, "10.44.9.2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9" });
  t.is((await bare.send(to4(request("S")))).verdict, "pass", "without one netdev is to refuse it");
});

test.serial("congestion that a packet has met stays inside, where its receiver finds it: outside it would keep the other node from reading it", async (t) => {
  const { world } = t.context;
  const marked = frame(gateway, uplink, ipv4(client4, web4, request("A"), { ecn: 3 }));
  for (const [backend, tos] of [[1, (data: Uint8Array) => data[15]], [2, (data: Uint8Array) => (data[15] ?? 0) >> 4]] as const) {
    await world.service(1, [backend]);
    const { data } = await world.sendBytes(marked);
    t.is(tos(data), 0);
    t.is(hex(data, data.length - marked.length, data.length), Buffer.from(marked).toString("hex"));
  }
});

test.serial("a short frame's padding is carried inside: the outer packet is as long as it says", async (t) => {
  const { world } = t.context;
  const sent = Buffer.concat([frame(gateway, uplink, to4(request("S"))), new Uint8Array(6)]);
  for (const [backend, lengthAt] of [[1, 16], [2, 18]] as const) {
    await world.service(1, [backend]);
    const { data } = await world.sendBytes(sent);
    t.is(port(data, lengthAt), data.length - (backend === 1 ? 14 : 54));
    t.is(hex(data, data.length - sent.length, data.length), sent.toString("hex"));
  }
});

test.serial("where answers shall come back by this node the option says so, and nothing else is different", async (t) => {
  const { world } = t.context;
  await world.backend(4, "10.44.9.2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9", returns: true });
  await world.backend(104, "fd44:9::2", { mode: "GENEVE", port: 8080, outer: "172.16.9.9", returns: true });
  for (const [sent, number, option] of [[frame(gateway, uplink, to4(request("S"))), 4, geneve4], [frame(gateway, uplink, to6(query())), 104, geneve6]] as const) {
    const { data: plain } = await world.sendBytes(sent);
    await world.service(number === 4 ? 1 : 2, [number]);
    const { data, verdict } = await world.sendBytes(sent);
    t.is(verdict, 3);
    t.is(hex(data, 0, data.length), hex(plain, 0, plain.length).replace(option, option.replace(/00$/, "01")));
  }
});

test.serial("flows have source ports of their own, so that receivers spread them", async (t) => {
  const ports = new Set<number>();
  for (let sport = 4000; sport < 4064; sport++) {
    const [one, again] = [await t.context.world.sendBytes(frame(gateway, uplink, to4(request("S", sport)))), await t.context.world.sendBytes(frame(gateway, uplink, to4(request("A", sport))))];
    t.is(port(one.data, 34), port(again.data, 34));
    ports.add(port(one.data, 34));
  }
  t.true(ports.size > 56, `${ports.size}`);
});

test.serial("what does not fit with all headers is refused with the size that does (R78)", async (t) => {
  const { world } = t.context;
  t.is((await world.send(to4(tcp(5000, 80, "A", "x".repeat(1500 - 62 - 40))))).verdict, "tx");
  t.regex((await world.send(to4(tcp(5000, 80, "A", "x".repeat(1500 - 62 - 39))))).packet, /198\.51\.100\.7 icmp 3\/4 mtu 1438 /);
  t.regex((await world.send(to6(tcp(5000, 80, "A", "x".repeat(1500 - 74 - 59))))).packet, /2001:db8:c::7 icmp 2\/0 mtu 1426 /);
});

test.serial("to a node of IPv6 that is 20 bytes less", async (t) => {
  const { world } = t.context;
  await world.service(1, [2]);
  await world.service(2, [102]);
  t.is((await world.send(to4(tcp(5000, 80, "A", "x".repeat(1500 - 82 - 40))))).verdict, "tx");
  t.regex((await world.send(to4(tcp(5000, 80, "A", "x".repeat(1500 - 82 - 39))))).packet, /198\.51\.100\.7 icmp 3\/4 mtu 1418 /);
  t.is((await world.send(to6(tcp(5000, 80, "A", "x".repeat(1500 - 94 - 60))))).verdict, "tx");
  t.regex((await world.send(to6(tcp(5000, 80, "A", "x".repeat(1500 - 94 - 59))))).packet, /2001:db8:c::7 icmp 2\/0 mtu 1406 /);
});

test.serial("a container of this host is netdev's: its packets pass as they are, counted, while its flows are left to conntrack", async (t) => {
  const { world } = t.context;
  const [packets, flows] = [await world.sentTo(3), await world.flowsOf(3)];
  await world.backend(3, "10.44.0.2", { mode: "LOCAL" });
  await world.service(1, [3]);
  const sent = frame(gateway, uplink, to4(request("S")));
  const { verdict, counted, data } = await world.sendBytes(sent);
  t.deepEqual({ verdict, counted, data }, { verdict: 2, counted: [], data: sent });
  t.is(await world.sentTo(3), packets + 1);
  t.deepEqual(await world.flowsOf(3), flows);
});

function port(data: Uint8Array, at: number): number {
  return Number.parseInt(hex(data, at, at + 2), 16);
}
