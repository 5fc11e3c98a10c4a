// Services of mode snat whose containers are on other nodes: they see their clients, and answer them by way of the node that balanced.
//
//   here as a container's node     192.0.2.9 balances ▸ Geneve, answers wanted ▸ netdev ▸ a (10.44.0.2) ▸ from-container ▸ tunnel, key 2 ▸ 192.0.2.9
//   here as the balancing node     192.0.2.9 has the container ▸ tunnel, key 2: 203.0.114.10 ▸ client ▸ netdev ▸ client, by the uplink
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { a, containers, hostMac, openBench } from "../bench.ts";
import type { Bench, Row } from "../bench.ts";
import { describe, frame, icmpError, ip, ipv4, ipv6, protocols, sctp, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { said, tablesOf } from "../policy-tables.ts";
import { wrapped } from "./wrapped.ts";
import type { Wrapping } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const into = `${hostMac} > ${a.mac}`;
const out = "02:00:00:00:00:fe > 02:00:00:00:00:01";
const config = { services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") };
const at = (address: string, port: number): string => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
const sides = [
  { family: 4, client: "198.51.100.7", far: "198.51.100.130", vip: "203.0.114.10", own: "10.44.0.2", router: "192.0.2.77", unreachable: [3, 3], long: [3, 4] },
  { family: 6, client: "2001:db8:c::7", far: "2001:db8:5ca1::7", vip: "2001:db8:5::10", own: "fd44::2", router: "2001:db8::77", unreachable: [1, 4], long: [2, 0] },
] as const;
type Side = (typeof sides)[number];

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench(config));
  for (const [n, address] of [[1, "203.0.114.10"], [11, "2001:db8:5::10"]] as const) {
    const backend = { address: parseIp(n === 1 ? "10.44.9.2" : "fd44:9::2"), port: 8080, mode: "GENEVE", outer: parseIp("192.0.2.9"), returns: true } as const;
    await bench.service(n, { address: parseIp(address), port: 80, protocol: protocols.tcp }, backend);
    await bench.service(n + 1, { address: parseIp(address), port: 53, protocol: protocols.udp }, backend);
    await bench.service(n + 2, { address: parseIp(address), port: 9, protocol: protocols.sctp }, { ...backend, port: 9 });
  }
});
test.serial.beforeEach(async (t) => {
  const { bench } = t.context;
  await bench.forget();
  await bench.policy(tablesOf(containers));
  for (const [number, address] of [[1, "192.0.2.9"], [2, "192.0.2.10"]] as const) await bench.otherNode({ number, address, containers: number === 1 ? ["10.44.9.2"] : [], identity: 77, network: 1 });
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

/** What a sends, as `NODE: PACKET` when it leaves by the tunnel for that node, as answers do; otherwise the verdict and the packet. */
async function answered(bench: Bench, packet: Packet): Promise<string> {
  const [ran] = await bench.each(a, [packet]);
  const data = ran?.data ?? new Uint8Array();
  const hex = Buffer.from(data).toString("hex");
  // In this node's name, to the tunnel's port, Geneve without options and with the key of answers. The frame's own protocol is the kernel's to write.
  const [, node] = /^.{28}45.{22}c0000201c00002(..)....17c1....0000(?:00006558)(?:00000200)/.exec(hex) ?? [];
  return node === undefined ? `${ran?.verdict} ${describe(data)}` : `${Number.parseInt(node, 16)}: ${describe(data.subarray(50))}`;
}

const from = `${a.mac} > ${hostMac}`;
const wanted = ({ own }: Side, port: number, inner: Packet, options: Wrapping = {}): Packet => wrapped(own, port, inner, { returns: true, ...options });

/** What another node's container answers. */
function tunnelled(inner: Packet, { key = "00000200", from: node = "192.0.2.9" } = {}): Packet {
  const bytes = Buffer.concat([Buffer.from(`00006558${key}`, "hex"), frame("02:00:00:00:00:07", "02:00:00:00:00:08", inner)]);
  return ipv4(node, "192.0.2.1", udp(50_000, 6081, bytes, { checksum: "none" }));
}

for (const side of sides) {
  const { family, client, far, vip, own, router, unreachable, long } = side;
  const part = (source: string, dest: string, payload: Payload, offset: number, more: boolean): Packet =>
    (family === 4 ? ipv4(source, dest, slice(payload, offset, 48), { id: 9, offset, more }) : ipv6(source, dest, slice(payload, offset, 48), { fragment: { id: 9, offset, more } }));

  test.serial(`IPv${family}: the container sees its client, and what it answers in the service's name goes to the node that balanced`, async (t) => {
    const { bench } = t.context;
    t.deepEqual(await bench.fromUplink(wanted(side, 8080, ip(client, vip, tcp(5000, 80, "S")))), { verdict: "redirect", packet: `${into} ${at(client, 5000)} > ${at(own, 8080)} tcp S ttl 64` });
    t.is(await answered(bench, ip(own, client, tcp(8080, 5000, "SA", "", [2, 4, 5, 180]))), `9: ${from} ${at(vip, 80)} > ${at(client, 5000)} tcp SA mss ${family === 4 ? 1398 : 1366} ttl 64`);
    t.deepEqual(await bench.fromUplink(wanted(side, 8080, ip(client, vip, tcp(5000, 80, "A", "GET /")))), { verdict: "redirect", packet: `${into} ${at(client, 5000)} > ${at(own, 8080)} tcp A ttl 64` });
    t.is(await answered(bench, ip(own, client, tcp(8080, 5000, "A", "here"))), `9: ${from} ${at(vip, 80)} > ${at(client, 5000)} tcp A ttl 64`);
    t.deepEqual(await bench.fromUplink(wanted(side, 5353, ip(client, vip, udp(5000, 53, "who?")))), { verdict: "redirect", packet: `${into} ${at(client, 5000)} > ${at(own, 5353)} udp ttl 64` });
    t.is(await answered(bench, ip(own, client, udp(5353, 5000, "me"))), `9: ${from} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 64`);
    await bench.fromUplink(wanted(side, 9, ip(client, vip, sctp(5000, 9, 1))));
    t.is(await answered(bench, ip(own, client, sctp(9, 5000, 2))), `9: ${from} ${at(vip, 9)} > ${at(client, 5000)} sctp ttl 64`);
  });

  test.serial(`IPv${family}: errors about either direction, and fragments of an answer, go with their flow`, async (t) => {
    const { bench } = t.context;
    await bench.fromUplink(wanted(side, 5353, ip(client, vip, udp(5000, 53, "who?"))));
    const reply = udp(5353, 5000, "x".repeat(96));
    t.is(await answered(bench, ip(own, client, icmpError(unreachable[0], unreachable[1], ip(client, own, udp(5000, 5353, "who?"))))),
      `9: ${from} ${vip} > ${client} icmp ${unreachable.join("/")} { ${at(client, 5000)} > ${at(vip, 53)} udp ttl 64 } ttl 64`);
    t.deepEqual(await bench.fromUplink(wanted(side, 5353, ip(router, vip, icmpError(long[0], long[1], ip(vip, client, udp(53, 5000, "x")), { mtu: 1400 })))),
      { verdict: "redirect", packet: `${into} ${router} > ${own} icmp ${long.join("/")} mtu 1400 { ${at(own, 5353)} > ${at(client, 5000)} udp ttl 64 } ttl 64` });
    t.is(await answered(bench, part(own, client, reply, 0, true)), `9: ${from} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 64 fragment 0+`);
    t.is(await answered(bench, part(own, client, reply, 48, false)), `9: ${from} ${vip} > ${client} protocol 17 ttl 64 fragment 48`);
  });

  test.serial(`IPv${family}: an answer that does not fit the tunnel is told to the container, with the size that does`, async (t) => {
    const { bench } = t.context;
    await bench.fromUplink(wanted(side, 8080, ip(client, vip, tcp(5000, 80, "S"))));
    const { verdict, packet } = await bench.fromContainer(a, ip(own, client, tcp(8080, 5000, "A", "x".repeat(1450))));
    t.is(verdict, "redirect");
    t.true(packet.includes(` > ${own} icmp ${long.join("/")} mtu 1450 { ${at(own, 8080)} > ${at(client, 5000)} tcp`), packet);
    const { verdict: cut } = await bench.fromContainer(a, ip(own, client, tcp(8080, 5000, "A", "x".repeat(3000))), { gsoSize: 1300 });
    t.is(cut, "redirect", "many segments at once");
  });

  test.serial(`IPv${family}: by the balancing node an answer goes to the client as it is, with one hop less`, async (t) => {
    const { bench } = t.context;
    const back = async (payload: Payload): Promise<Row> => bench.fromUplink(tunnelled(ip(vip, client, payload)));
    t.deepEqual(await back(tcp(80, 5000, "SA")), { verdict: "redirect", packet: `${out} ${at(vip, 80)} > ${at(client, 5000)} tcp SA ttl 63` });
    t.deepEqual(await back(udp(53, 5000, "me")), { verdict: "redirect", packet: `${out} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63` });
    t.deepEqual(await back(sctp(9, 5000, 2)), { verdict: "redirect", packet: `${out} ${at(vip, 9)} > ${at(client, 5000)} sctp ttl 63` });
    t.deepEqual(await back(icmpError(unreachable[0], unreachable[1], ip(client, vip, udp(5000, 53, "who?")))),
      { verdict: "redirect", packet: `${out} ${vip} > ${client} icmp ${unreachable.join("/")} { ${at(client, 5000)} > ${at(vip, 53)} udp ttl 64 } ttl 63` });
    const reply = udp(53, 5000, "x".repeat(96));
    t.is((await bench.fromUplink(tunnelled(part(vip, client, reply, 48, false)))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
    t.is((await bench.fromUplink(tunnelled(part(vip, client, reply, 0, true)))).packet, `${out} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63 fragment 0+`);
    t.is((await bench.fromUplink(tunnelled(part(vip, client, reply, 48, false)))).packet, `${out} ${vip} > ${client} protocol 17 ttl 63 fragment 48`);
    t.is((await bench.fromUplink(tunnelled(ip(vip, client, tcp(80, 5000, "A"), { ttl: 1 })))).verdict, "drop TTL_EXCEEDED");
  });

  test.serial(`IPv${family}: an answer that is too long for the client's way is told to the container as a router there would, once more by this node's uplink`, async (t) => {
    const { bench } = t.context;
    const { verdict, packet } = await bench.fromUplink(tunnelled(ip(vip, far, tcp(80, 5000, "A", "x".repeat(1350)))));
    t.is(verdict, "answered MTU_EXCEEDED");
    // To this node's own MAC: the uplink hears it.
    const error = `02:00:00:00:00:fe > 02:00:00:00:00:01 ${far} > ${vip} icmp ${long.join("/")} mtu 1300 { ${at(vip, 80)} > ${at(far, 5000)} tcp `;
    t.true(packet.startsWith(error), packet);
    const told = await bench.raw(ip(far, vip, icmpError(long[0], long[1], ip(vip, far, tcp(80, 5000, "A", "x".repeat(40))), { mtu: 1300 })));
    t.regex(Buffer.from(told.data).toString("hex"), /^.{60}c0000209/, "and sends it to the container's node");
  });
}

const [four] = sides;
const syn = (flags = "S", sport = 5000): Packet => ip(four.client, four.vip, tcp(sport, 80, flags));
const reply = (sport = 5000): Packet => ip(four.own, four.client, tcp(8080, sport, "A", "x"));
const by = (node: number | string): string => `${node}: ${from} 203.0.114.10:80 > 198.51.100.7:5000 tcp A ttl 64`;

test.serial("answers go where the client's packets come from: another node that takes over, an older one that does not want them, this one", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(wanted(four, 8080, syn()));
  t.is(await answered(bench, reply()), by(9));
  await bench.fromUplink(wanted(four, 8080, syn("A"), { from: "192.0.2.10" }));
  t.is(await answered(bench, reply()), by(10));
  await bench.fromUplink(wanted(four, 8080, ip(four.router, four.vip, icmpError(3, 4, ip(four.vip, four.client, tcp(80, 5000, "A")), { mtu: 1400 })), { from: "192.0.2.9" }));
  t.is(await answered(bench, reply()), by(10), "an error may come by anybody");
  await bench.fromUplink(wrapped(four.own, 8080, syn("A")));
  t.regex(await answered(bench, reply()), /^7 \S+ > \S+ 203\.0\.114\.10:80 > 198\.51\.100\.7:5000 tcp A ttl 63$/);
  await bench.fromUplink(wanted(four, 8080, syn("A")));
  t.is(await answered(bench, reply()), by(9));
  await bench.fromUplink(syn("A"));
  t.regex(await answered(bench, reply()), /^7 \S+ > \S+ 203\.0\.114\.10:80 > 198\.51\.100\.7:5000 tcp A ttl 63$/, "this node balances now");
});

test.serial("once the node that balanced is struck out the container's own answers, until the client comes by another", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(wanted(four, 8080, syn()));
  await bench.nodeGone(1);
  t.regex(await answered(bench, reply()), /^7 \S+ > \S+ 203\.0\.114\.10:80 > 198\.51\.100\.7:5000 tcp A ttl 63$/);
  await bench.fromUplink(wanted(four, 8080, syn("A"), { from: "192.0.2.10" }));
  t.is(await answered(bench, reply()), by(10));
});

test.serial("a new connection on the ports of one that has ended goes by its own way", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(wanted(four, 8080, syn()));
  await answered(bench, ip(four.own, four.client, tcp(8080, 5000, "RA")));
  await bench.fromUplink(wanted(four, 8080, syn(), { from: "192.0.2.10" }));
  t.is(await answered(bench, reply()), by(10));
});

test.serial("what was passed on names the node that balanced, and that one is answered by", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(wanted(four, 8080, syn(), { from: "192.0.2.10", passed: 1, returns: "192.0.2.9" }));
  t.is(await answered(bench, reply()), by(9));
  await bench.service(4, { address: parseIp("203.0.114.10"), port: 84, protocol: protocols.tcp }, { address: a.ipv4, port: 8080, mode: "LOCAL" }, { slot: { current: 1, previous: 4, changed: 10 } });
  const on = ip(four.client, four.vip, tcp(5001, 84, "A", "x"));
  const macOf = async (packet: Packet): Promise<string> => {
    const hex = Buffer.from((await bench.raw(packet)).data).toString("hex");
    return /^.{60}c0000209.{4}17c1.{8}03406558.{8}ff4881020a2c09021f90(..)(..).{12}(.{12})/.exec(hex)?.slice(1).join(" ") ?? hex;
  };
  t.is(await macOf(wanted(four, 8080, on, { from: "192.0.2.10" })), "01 01 0200c000020a", "by who sent it");
  t.is(await macOf(wanted(four, 8080, on, { from: "192.0.2.9", passed: 1, returns: "192.0.2.10" })), "02 01 0200c000020a", "and once more by the same");
  t.is(await macOf(on), "01 01 0200c0000201", "this node itself");
  t.is(await macOf(wanted(four, 8080, on, { from: "192.0.2.10", passed: 1, returns: "192.0.2.99" })), "02 01 0200c0000263", "whoever that is");
  await bench.fromUplink(wanted(four, 8080, syn("S", 5002), { from: "192.0.2.10", passed: 1, returns: "192.0.2.99" }));
  t.regex(await answered(bench, reply(5002)), /^7 \S+ > \S+ 203\.0\.114\.10:80 > 198\.51\.100\.7:5002 tcp A ttl 63$/, "no node has that address");
});

test.serial("a node turns what a service's client is answered, and never what a container asks of the world", async (t) => {
  const { bench } = t.context;
  const asks = (flags: string): Promise<string> => answered(bench, ip("10.44.0.2", "198.51.100.7", tcp(5000, 443, flags)));
  const first = await asks("S");
  const port = Number(/ 192\.0\.2\.1:(\d+) > 198\.51\.100\.7:443 tcp S /.exec(first)?.[1]);
  t.true(port > 0, first);
  await bench.fromUplink(wrapped("10.44.0.2", 5000, ip("198.51.100.7", "192.0.2.1", tcp(443, port, "SA")), { returns: true }));
  t.is(await asks("A"), first.replace(" tcp S ", " tcp A "));
});

test.serial("policy asks of the client's own address, at the container's node", async (t) => {
  const { bench } = t.context;
  await bench.policy(tablesOf(containers, [said(1, "deny", "in", a, `${four.client}/32`)]));
  t.is((await bench.fromUplink(wanted(four, 8080, syn()))).verdict, "drop POLICY_DENIED");
  t.is((await bench.fromUplink(wanted(four, 8080, ip("198.51.100.8", four.vip, tcp(5000, 80, "S"))))).verdict, "redirect");
});

test.serial("a node may answer for the services of this one alone, and only a node may", async (t) => {
  const { bench } = t.context;
  const answer = (source: string, sport: number, options: Parameters<typeof tunnelled>[1] = {}): Promise<Row> => bench.fromUplink(tunnelled(ip(source, four.client, tcp(sport, 5000, "A")), options));
  t.is((await answer(four.vip, 81)).verdict, "drop PEER_ADDRESS", "no service's port");
  t.is((await answer("192.0.2.1", 80)).verdict, "drop PEER_ADDRESS", "the host's own address");
  t.is((await answer("10.44.9.2", 8080)).verdict, "drop PEER_ADDRESS", "its own container");
  t.is((await answer(four.vip, 80, { from: "192.0.2.77" })).verdict, "pass untouched", "a stranger");
  t.is((await answer(four.vip, 80, { key: "00000100" })).verdict, "drop PEER_ADDRESS", "with another key");
  for (const client of ["192.0.2.1", "203.0.113.9", "198.18.0.1"]) t.regex((await bench.fromUplink(tunnelled(ip(four.vip, client, tcp(80, 5000, "A"))))).verdict, /^drop (NO_ROUTE|NOT_AN_UPLINK)$/, client);
});

test.serial("with native routing tunnels carry what services need, and nothing else", async (t) => {
  await using bench = await openBench({ ...config, tunnelIfindex: 0, native: 1 });
  await bench.service(1, { address: parseIp(four.vip), port: 80, protocol: protocols.tcp }, { address: parseIp("10.44.9.2"), port: 8080, mode: "GENEVE", outer: parseIp("192.0.2.9"), returns: true });
  await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2"], identity: 77, network: 1 });
  t.is((await bench.fromUplink(wanted(four, 8080, syn()))).packet, `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp S ttl 64`);
  t.is(await answered(bench, reply()), by(9));
  const { packet } = await bench.fromContainer(a, ip(four.own, four.client, tcp(8080, 5000, "A", "x".repeat(1380))));
  t.regex(packet, /icmp 3\/4 mtu 1400 /, "there the way itself says what fits, and the tunnel takes 50 bytes of it");
  t.is((await bench.fromUplink(tunnelled(ip(four.vip, four.client, tcp(80, 5000, "A"))))).packet, `${out} 203.0.114.10:80 > 198.51.100.7:5000 tcp A ttl 63`);
  t.is((await bench.fromUplink(tunnelled(ip("10.44.9.2", "10.44.0.2", tcp(4000, 53, "S")), { key: "00004d00" }))).verdict, "drop UNKNOWN_PROTOCOL");
  t.is((await bench.fromUplink(tunnelled(ip(four.vip, four.client, tcp(80, 5000, "A")), { from: "192.0.2.77" }))).verdict, "pass untouched");
});
