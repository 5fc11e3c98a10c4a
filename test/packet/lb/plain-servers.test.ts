// Backends that are plain servers: what a client sends is wrapped in IPv4 or IPv6, and is itself unchanged.
//
//   client ▸ service address ▸ [ balancer ▸ server │ client ▸ service address │ … ]
import anyTest from "ava";
import type { TestFn } from "ava";
import { frame, ipv4, ipv6, other, protocols, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { client4, client6, gateway, openWeb, out, query, request, to4, to6, uplink, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;

test.serial.before(async (t) => { t.context.world = await openWeb(1); });
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

const rows: readonly (readonly [what: string, packet: Packet, verdict: string, out: string])[] = [
  ["TCP that begins, IPv4", to4(request("S")), "tx", `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp S ttl 64 } ttl 64`],
  ["TCP with data, IPv4", to4(request("A")), "tx", `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp A ttl 64 } ttl 64`],
  ["UDP, IPv4", to4(query()), "tx", `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:53 udp ttl 64 } ttl 64`],
  ["TCP that begins, IPv6", to6(request("S")), "tx", `${out} 2001:db8::1 > 2001:db8:b::1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:80 tcp S ttl 64 } ttl 64`],
  ["UDP, IPv6", to6(query()), "tx", `${out} 2001:db8::1 > 2001:db8:b::1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:53 udp ttl 64 } ttl 64`],
  ["the last hop that it may make, to the service, it has made", ipv4(client4, web4, request("S"), { ttl: 1 }), "tx",
    `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp S ttl 1 } ttl 64`],
];
for (const [what, packet, verdict, left] of rows) {
  test.serial(`${what}: wrapped, and as it was`, async (t) => {
    t.deepEqual(await t.context.world.send(packet), { verdict, packet: left });
    const { data } = await t.context.world.sendBytes(frame(gateway, uplink, packet));
    t.deepEqual(Buffer.from(data.subarray(data.length - packet.bytes.length)).toString("hex"), Buffer.from(packet.bytes).toString("hex"), "byte for byte");
  });
}

test.serial("what is not a service's passes as it is, uncounted", async (t) => {
  for (const packet of [ipv4(client4, "192.0.2.1", request("S")), ipv4(client4, "203.0.113.11", request("S")), ipv6(client6, "2001:db8::1", request("S")), ipv6(client6, "2001:db8:5::11", query())]) {
    t.is((await t.context.world.send(packet)).verdict, "pass");
    const sent = frame(gateway, uplink, packet);
    t.deepEqual((await t.context.world.sendBytes(sent)).data, sent);
  }
  for (const ethertype of [0x0806, 0x88cc, 0x8100, 0x88a8]) t.is((await t.context.world.send({ ethertype, bytes: to4(request("S")).bytes })).verdict, "pass", ethertype.toString(16));
});

test.serial("service class and congestion marks are carried outside as they are inside", async (t) => {
  for (const ecn of [0, 1, 2, 3]) {
    const [four, six] = [await t.context.world.sendBytes(frame(gateway, uplink, ipv4(client4, web4, request("A"), { ecn }))), await t.context.world.sendBytes(frame(gateway, uplink, ipv6(client6, web6, request("A"), { ecn })))];
    t.is(four.data[15], ecn);
    t.is(six.data[15], ecn << 4);
  }
});

test.serial("the outer packet is not to be cut up, and the frame's padding is not the packet's", async (t) => {
  const packet = to4(tcp(5000, 80, "S"));
  const { data } = await t.context.world.sendBytes(Buffer.concat([frame(gateway, uplink, packet), new Uint8Array(6)]));
  t.is(Buffer.from(data.subarray(16, 22)).toString("hex"), "003c00004000", "60 bytes, no number, DF");
  t.is(data.length, 14 + 20 + 40 + 6);
});

test.serial("IPv6 in IPv4 and IPv4 in IPv6, for servers that have only the other", async (t) => {
  const { world } = t.context;
  await world.backend(1, "2001:db8:b::1");
  await world.backend(101, "172.16.1.1");
  t.deepEqual(await world.send(to4(request("S"))), { verdict: "tx", packet: `${out} 2001:db8::1 > 2001:db8:b::1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp S ttl 64 } ttl 64` });
  t.deepEqual(await world.send(to6(request("S"))), { verdict: "tx", packet: `${out} 192.0.2.1 > 172.16.1.1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:80 tcp S ttl 64 } ttl 64` });
  await world.backend(1, "172.16.1.1");
  await world.backend(101, "2001:db8:b::1");
});

test.serial("a server behind another device is reached by it", async (t) => {
  await t.context.world.backend(1, "172.16.3.1");
  t.deepEqual(await t.context.world.send(to4(request("S"))), { verdict: "redirect", packet: "02:00:00:00:00:11 > 02:00:00:00:00:ff 192.0.2.1 > 172.16.3.1 ipip { 198.51.100.7:5000 > 203.0.113.10:80 tcp S ttl 64 } ttl 64" });
  await t.context.world.backend(1, "172.16.1.1");
});

test.serial("a server behind a device that XDP may not send by is netdev's to reach", async (t) => {
  const { world } = t.context;
  await world.uplink("wan1", false);
  await world.backend(1, "172.16.3.1");
  t.is((await world.send(to4(request("S")))).verdict, "pass");
  await world.uplink("wan1", true);
  t.is((await world.send(to4(request("S")))).verdict, "redirect");
  await world.backend(1, "172.16.1.1");
});

test.serial("what is longer than the device that it came by allows is several segments, which netdev tells apart", async (t) => {
  const sized = (bytes: number): Packet => to4(tcp(5000, 80, "A", "x".repeat(bytes - 40)));
  t.is((await t.context.world.send(sized(1480))).verdict, "tx");
  t.regex((await t.context.world.send(sized(1500))).packet, /icmp 3\/4/);
  t.is((await t.context.world.send(sized(1501))).verdict, "pass");
});

test.serial("a server whose neighbour nobody knows is netdev's to find, and the balancer's as soon as it is known", async (t) => {
  const { world } = t.context;
  await world.backend(1, "192.0.2.50");
  const sent = frame(gateway, uplink, to4(request("S")));
  const { verdict, counted, data } = await world.sendBytes(sent);
  t.deepEqual({ verdict, counted, data }, { verdict: 2, counted: [], data: sent });
  await world.ip("neighbour", "add", "192.0.2.50", "lladdr", "02:00:00:00:00:50", "dev", "wan0", "nud", "permanent");
  t.regex((await world.send(to4(request("S")))).packet, /^02:00:00:00:00:01 > 02:00:00:00:00:50 192\.0\.2\.1 > 192\.0\.2\.50 ipip/);
  await world.backend(1, "172.16.1.1");
});

test.serial("a server that no uplink leads to, or none with an address of its family, is netdev's to refuse", async (t) => {
  const { world } = t.context;
  await world.backend(1, "192.0.4.254");
  t.is((await world.send(to4(request("S")))).verdict, "pass");
  await world.backend(1, "172.16.1.1");
  await using bare = await openWeb(1, { lbIpv4: 0, lbIpv6: null });
  for (const packet of [to4(request("S")), to6(request("S"))]) t.is((await bare.send(packet)).verdict, "pass");
});

test.serial("a neighbour that gets another MAC is followed with no agent there", async (t) => {
  const { world } = t.context;
  await world.backend(1, "192.0.2.51");
  const to = async (mac: string): Promise<boolean> => (await world.send(to4(request("A")))).packet.startsWith(`${uplink} > ${mac} `);
  await world.ip("neighbour", "add", "192.0.2.51", "lladdr", "02:00:00:00:00:51", "dev", "wan0", "nud", "permanent");
  t.true(await to("02:00:00:00:00:51"));
  await world.ip("neighbour", "replace", "192.0.2.51", "lladdr", "02:00:00:00:00:52", "dev", "wan0", "nud", "permanent");
  const late = Date.now() + 10_000;
  while (!(await to("02:00:00:00:00:52"))) if (Date.now() > late) return t.fail("the old MAC is still used");
  await world.ip("neighbour", "del", "192.0.2.51", "dev", "wan0");
  t.true(await to("02:00:00:00:00:52"), "and none at all leaves the last one");
  await world.backend(1, "172.16.1.1");
});

test.serial("what was sent to a backend is counted, packet by packet", async (t) => {
  const before = await t.context.world.sentTo(1);
  for (let i = 0; i < 5; i++) await t.context.world.send(to4(request("A")));
  await t.context.world.send(to4(tcp(5000, 81, "S")));
  t.is(await t.context.world.sentTo(1), before + 5);
});

test.serial("flows are counted by their beginnings and by the client's ends", async (t) => {
  const { world } = t.context;
  const before = await world.flowsOf(1);
  for (const flags of ["S", "A", "PA", "FA", "A", "S", "R"]) await world.send(to4(request(flags)));
  await world.send(to4(query()));
  const after = await world.flowsOf(1);
  t.deepEqual([after.begun - before.begun, after.ended - before.ended], [2, 2]);
});

test.serial("a draining server keeps the flows that it has and gets none that begins", async (t) => {
  const { world } = t.context;
  await world.backend(2, "172.16.1.2");
  await world.service(1, [{ current: 2, previous: 1, changed: 10 }]);
  for (const [flags, sport, server] of [["A", 5100, 1], ["S", 5101, 2], ["A", 5101, 2], ["FA", 5100, 1]] as const) {
    t.is((await world.send(to4(request(flags, sport)))).packet, `${out} 192.0.2.1 > 172.16.1.${server} ipip { 198.51.100.7:${sport} > 203.0.113.10:80 tcp ${flags} ttl 64 } ttl 64`);
  }
  await world.service(1, [1]);
});

test.serial("protocols that no service has are dropped, and so are IP options and extension headers", async (t) => {
  t.is((await t.context.world.send(to4(other(protocols.gre)))).verdict, "drop SERVICE_PROTOCOL");
  t.is((await t.context.world.send(to6(other(protocols.gre)))).verdict, "drop SERVICE_PROTOCOL");
  t.is((await t.context.world.send(ipv4(client4, web4, request("S"), { options: [1, 1, 1, 0] }))).verdict, "drop INVALID_OPTIONS");
  t.is((await t.context.world.send(ipv6(client6, web6, request("S"), { routing: 0 }))).verdict, "drop INVALID_OPTIONS");
  const [hopByHop, destination] = [0, 60];
  for (const extension of [hopByHop, destination]) {
    const behind = { protocol: extension, bytes: (...ends: Parameters<Payload["bytes"]>) => Buffer.concat([Uint8Array.of(protocols.tcp, 0, 1, 4, 0, 0, 0, 0), request("S").bytes(...ends)]) };
    t.is((await t.context.world.send(to6(behind))).verdict, "drop INVALID_OPTIONS", `${extension}`);
  }
});

test.serial("runts and lies in length fields are dropped with their reason", async (t) => {
  const change = (packet: Packet, at: number, ...bytes: readonly number[]): Packet => {
    const changed = packet.bytes.slice();
    changed.set(bytes, at);
    return { ...packet, bytes: changed };
  };
  const cut = (packet: Packet, length: number): Packet => ({ ...packet, bytes: packet.bytes.subarray(0, length) });
  const [four, six] = [to4(request("S")), to6(request("S"))];
  const lies: Readonly<Record<string, Packet>> = {
    "IPv4 longer than its frame": change(four, 2, 0, 41), "IPv4 shorter than its header": change(four, 2, 0, 19), "IPv4 that ends in the TCP header": change(four, 2, 0, 39),
    "a header of 4 words": change(four, 0, 0x44), "version 5": change(four, 0, 0x55), "TCP of 4 words": change(four, 32, 0x40), "TCP longer than the packet": change(four, 32, 0x60),
    "TCP without its end": cut(four, 39), "UDP shorter than its header": change(to4(query()), 24, 0, 7), "UDP longer than the packet": change(to4(query()), 24, 0, 13),
    "IPv6 longer than its frame": change(six, 4, 0, 21), "IPv6 that ends in the TCP header": change(six, 4, 0, 19), "version 4 in IPv6": change(six, 0, 0x40), "IPv6's TCP without its end": cut(six, 59),
    "IPv6's UDP longer than the packet": change(to6(udp(5000, 53, "who?")), 44, 0, 13),
  };
  for (const [what, packet] of Object.entries(lies)) t.is((await t.context.world.send(packet)).verdict, "drop MALFORMED", what);
  for (const length of [0, 1, 19]) t.is((await t.context.world.send(cut(four, length))).verdict, "pass", `${length} bytes tell no address`);
  for (const length of [0, 39]) t.is((await t.context.world.send(cut(six, length))).verdict, "pass", `${length} bytes tell no address`);
});
