// Nodes that reach one another over IPv6: what another node wraps reaches the container here, whatever is inside, and its answers leave as ever.
//
//   2001:db8::9 balances ▸ Geneve over IPv6 ▸ netdev ▸ a (10.44.0.2, fd44::2) ▸ from-container ▸ client
//                                                                             ▸ tunnel over IPv6, key 2 ▸ 2001:db8::9
//   2001:db8::9 has the container ▸ tunnel over IPv6, key 2 ▸ this node ▸ client, by the uplink
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { a, hostMac, openBench } from "../bench.ts";
import type { Bench, Row } from "../bench.ts";
import { describe, echo, frame, icmpError, ip, ipv4, ipv6, protocols, sctp, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { balancerMac, outside, wrapped } from "./wrapped.ts";
import type { Wrapping } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [node, another] = ["2001:db8::9", "2001:db8::a"];
const into = `${hostMac} > ${a.mac}`;
const out = "02:00:00:00:00:fe > 02:00:00:00:00:01";
const config = { services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") };
const at = (address: string, port: number): string => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
const sides = [
  { family: 4, client: "198.51.100.7", far: "198.51.100.130", vip: "203.0.114.10", container: "10.44.0.2", other: "10.44.9.2", router: "192.0.2.77", unreachable: [3, 3], long: [3, 4], mss: 1378 },
  { family: 6, client: "2001:db8:c::7", far: "2001:db8:5ca1::7", vip: "2001:db8:5::10", container: "fd44::2", other: "fd44:9::2", router: "2001:db8::77", unreachable: [1, 4], long: [2, 0], mss: 1346 },
] as const;

async function world(more: Parameters<typeof openBench>[0] = {}): Promise<Bench> {
  const bench = await openBench({ ...config, ...more });
  for (const { vip, other, family } of sides) {
    const number = family === 4 ? 1 : 11;
    const backend = { address: parseIp(other), port: 8080, mode: "GENEVE", outer: parseIp(node), returns: true } as const;
    await bench.service(number, { address: parseIp(vip), port: 80, protocol: protocols.tcp }, backend);
    await bench.service(number + 1, { address: parseIp(vip), port: 53, protocol: protocols.udp }, backend);
    await bench.service(number + 2, { address: parseIp(vip), port: 9, protocol: protocols.sctp }, { ...backend, port: 9 });
  }
  return bench;
}

test.serial.before(async (t) => { t.context.bench = await world(); });
test.serial.beforeEach(async (t) => {
  const { bench } = t.context;
  await bench.forget();
  for (const [number, address] of [[1, node], [2, another], [3, "192.0.2.10"]] as const) await bench.otherNode({ number, address, containers: number === 1 ? ["10.44.9.2"] : [], identity: 77, network: 1 });
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

/** What left: by a tunnel over IPv6 in this node's name to the tunnel's port, unsummed and as long as it says, `NODE KEY: PACKET`; otherwise the packet. */
function shown(data: Uint8Array): string {
  const hex = Buffer.from(data).toString("hex");
  const [, length, last, udpLength, key] = /^.{28}60000000(....)1140(?:20010db8.{16}00000001)(?:20010db8.{22}(..))....17c1(....)0000(?:00006558)000(...)00/.exec(hex) ?? [];
  if (length === undefined || Number.parseInt(length, 16) !== data.length - 54 || udpLength !== length) return describe(data);
  return `${last} ${Number.parseInt(key ?? "", 16)}: ${describe(data.subarray(70))}`;
}

async function answered(bench: Bench, packet: Packet): Promise<string> {
  const [ran] = await bench.each(a, [packet]);
  return shown(ran?.data ?? new Uint8Array());
}

const tunnelled = (inner: Packet, key = "00000200", from: string = node): Packet => outside(from, Buffer.concat([Buffer.from(`00006558${key}`, "hex"), frame("02:00:00:00:00:07", "02:00:00:00:00:08", inner)]));

for (const { family, client, far, vip, container, router, unreachable, long, mss } of sides) {
  const from = (payload: Payload): Packet => ip(client, vip, payload);
  const back = (payload: Payload): Packet => ip(container, client, payload);
  const part = (source: string, destination: string, payload: Payload, offset: number, more: boolean): Packet =>
    (family === 4 ? ipv4(source, destination, slice(payload, offset, 48), { id: 9, offset, more }) : ipv6(source, destination, slice(payload, offset, 48), { fragment: { id: 9, offset, more } }));
  const received = async (bench: Bench, port: number, inner: Packet, options: Wrapping = {}): Promise<string> => {
    const { verdict, packet } = await bench.fromUplink(wrapped(container, port, inner, { from: node, ...options }));
    return verdict === "redirect" ? packet : verdict;
  };

  test.serial(`IPv${family}: TCP, UDP and SCTP reach the container, which answers the client from here`, async (t) => {
    const { bench } = t.context;
    t.is(await received(bench, 8080, from(tcp(5000, 80, "S"))), `${into} ${at(client, 5000)} > ${at(container, 8080)} tcp S ttl 64`);
    t.is(await received(bench, 8080, from(tcp(5000, 80, "A", "GET /"))), `${into} ${at(client, 5000)} > ${at(container, 8080)} tcp A ttl 64`);
    t.regex(await answered(bench, back(tcp(8080, 5000, "A", "here"))), new RegExp(` ${at(vip, 80)} > ${at(client, 5000)} tcp A ttl 63$`.replace(/[[\].]/g, "\\$&")));
    t.is(await received(bench, 5353, from(udp(5000, 53, "who?"))), `${into} ${at(client, 5000)} > ${at(container, 5353)} udp ttl 64`);
    t.is(await received(bench, 9, from(sctp(5000, 9, 1))), `${into} ${at(client, 5000)} > ${at(container, 9)} sctp ttl 64`);
  });

  test.serial(`IPv${family}: a SYN-ACK offers what fits with IPv6 outside, and to a client of a node of IPv4 20 bytes more (R77)`, async (t) => {
    const { bench } = t.context;
    const offer = async (sport: number, size: number): Promise<string> => / tcp SA mss (\d+) /.exec((await bench.fromContainer(a, back(tcp(8080, sport, "SA", "", [2, 4, size >> 8, size & 255])))).packet)?.[1] ?? "";
    await received(bench, 8080, from(tcp(5000, 80, "S")));
    t.is(await offer(5000, 1440), String(mss));
    t.is(await offer(5000, 536), "536");
    await received(bench, 8080, from(tcp(5001, 80, "S")), { from: "192.0.2.10" });
    t.is(await offer(5001, 1440), String(mss + 20));
  });

  test.serial(`IPv${family}: a container whose answers go back by a tunnel of the other family offers what fits the one that clients' packets come by`, async (t) => {
    const { bench } = t.context;
    const offered = async (sport: number, sender: string, answersTo: string): Promise<string> => {
      for (const address of [sender, answersTo]) await bench.otherNode({ number: 4, address, containers: [], identity: 77, network: 1 });
      await received(bench, 8080, from(tcp(sport, 80, "S")), { from: sender, returns: true });
      const [ran] = await bench.each(a, [back(tcp(8080, sport, "SA", "", [2, 4, 5, 180]))]);
      return / tcp SA mss (\d+) /.exec(describe(ran?.data.subarray(answersTo.includes(":") ? 70 : 50) ?? new Uint8Array()))?.[1] ?? "";
    };
    const same = family === 4 ? 1398 : 1366;
    t.is(await offered(5010, "2001:db8::40", "192.0.2.40"), String(same - 20));
    t.is(await offered(5011, "192.0.2.41", "2001:db8::41"), String(same + 20));
  });

  test.serial(`IPv${family}: errors and fragments follow their flow`, async (t) => {
    const { bench } = t.context;
    await received(bench, 5353, from(udp(5000, 53, "who?")));
    t.is(await received(bench, 5353, ip(router, vip, icmpError(long[0], long[1], ip(vip, client, udp(53, 5000, "x")), { mtu: 1400 }))),
      `${into} ${router} > ${container} icmp ${long.join("/")} mtu 1400 { ${at(container, 5353)} > ${at(client, 5000)} udp ttl 64 } ttl 64`);
    t.is(await received(bench, 8080, ip(router, vip, icmpError(long[0], long[1], ip(vip, client, tcp(80, 5009, "A")), { mtu: 1400 })), { passed: 2 }), "drop ICMP_WITHOUT_FLOW");
    const whole = udp(5000, 53, "x".repeat(96));
    t.is(await received(bench, 5353, part(client, vip, whole, 48, false)), "drop FRAGMENT_WITHOUT_FIRST");
    t.is(await received(bench, 5353, part(client, vip, whole, 0, true)), `${into} ${at(client, 5000)} > ${at(container, 5353)} udp ttl 64 fragment 0+`);
    t.is(await received(bench, 5353, part(client, vip, whole, 48, false)), `${into} ${client} > ${container} protocol 17 ttl 64 fragment 48`);
  });

  test.serial(`IPv${family}: what is wanted back goes to the node that balanced, errors and fragments too`, async (t) => {
    const { bench } = t.context;
    const mine = `09 2: ${a.mac} > ${hostMac}`;
    await received(bench, 8080, from(tcp(5000, 80, "S")), { returns: true });
    t.is(await answered(bench, back(tcp(8080, 5000, "SA", "", [2, 4, 5, 180]))), `${mine} ${at(vip, 80)} > ${at(client, 5000)} tcp SA mss ${family === 4 ? 1398 : 1366} ttl 64`);
    t.is(await answered(bench, back(tcp(8080, 5000, "A", "here"))), `${mine} ${at(vip, 80)} > ${at(client, 5000)} tcp A ttl 64`);
    await received(bench, 9, from(sctp(5000, 9, 1)), { returns: true });
    t.is(await answered(bench, back(sctp(9, 5000, 2))), `${mine} ${at(vip, 9)} > ${at(client, 5000)} sctp ttl 64`);
    await received(bench, 5353, from(udp(5000, 53, "who?")), { returns: true });
    t.is(await answered(bench, ip(container, client, icmpError(unreachable[0], unreachable[1], ip(client, container, udp(5000, 5353, "who?"))))),
      `${mine} ${vip} > ${client} icmp ${unreachable.join("/")} { ${at(client, 5000)} > ${at(vip, 53)} udp ttl 64 } ttl 64`);
    const reply = udp(5353, 5000, "x".repeat(96));
    t.is(await answered(bench, part(container, client, reply, 0, true)), `${mine} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 64 fragment 0+`);
    t.is(await answered(bench, part(container, client, reply, 48, false)), `${mine} ${vip} > ${client} protocol 17 ttl 64 fragment 48`);
    t.true((await bench.fromContainer(a, back(tcp(8080, 5000, "A", "x".repeat(1450))))).packet.includes(` > ${container} icmp ${long.join("/")} mtu 1450 { `));
    t.is((await bench.fromContainer(a, back(tcp(8080, 5000, "A", "x".repeat(3000))), { gsoSize: 1300 })).verdict, "redirect", "many segments at once");
  });

  test.serial(`IPv${family}: at the balancing node an answer goes to the client, and one that is too long is told to the container`, async (t) => {
    const { bench } = t.context;
    const answers = (payload: Payload, to: string = client): Promise<Row> => bench.fromUplink(tunnelled(ip(vip, to, payload)));
    t.deepEqual(await answers(tcp(80, 5000, "SA")), { verdict: "redirect", packet: `${out} ${at(vip, 80)} > ${at(client, 5000)} tcp SA ttl 63` });
    t.deepEqual(await answers(udp(53, 5000, "me")), { verdict: "redirect", packet: `${out} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63` });
    t.deepEqual(await answers(sctp(9, 5000, 2)), { verdict: "redirect", packet: `${out} ${at(vip, 9)} > ${at(client, 5000)} sctp ttl 63` });
    const { verdict, packet } = await answers(tcp(80, 5000, "A", "x".repeat(1350)), far);
    t.is(verdict, "answered MTU_EXCEEDED");
    t.true(packet.startsWith(`${out} ${far} > ${vip} icmp ${long.join("/")} mtu 1300 { ${at(vip, 80)} > ${at(far, 5000)} tcp `), packet);
    t.is((await answers(tcp(81, 5000, "A"))).verdict, "drop PEER_ADDRESS", "no service's port");
  });

  test.serial(`IPv${family}: what was passed on names the node that balanced by the hash of its address, and that one is answered by`, async (t) => {
    const { bench } = t.context;
    const by = async (): Promise<string> => (await answered(bench, back(tcp(8080, 5000, "A", "x")))).replace(/ .* tcp/, " … tcp");
    await received(bench, 8080, from(tcp(5000, 80, "S")), { from: another, passed: 1, returns: node });
    t.is(await by(), "09 … tcp A ttl 64");
    await received(bench, 8080, from(tcp(5000, 80, "A")), { returns: true });
    t.is(await by(), "09 … tcp A ttl 64");
    await received(bench, 8080, from(tcp(5000, 80, "A")), { from: node, passed: 1, returns: another });
    t.is(await by(), "0a … tcp A ttl 64", "turned by another that took over");
    await received(bench, 8080, from(tcp(5000, 80, "A")), { from: node, passed: 1, returns: "2001:db8::99" });
    t.regex(await by(), /tcp A ttl 63$/, "no node has that address");
    await received(bench, 8080, from(tcp(5000, 80, "A")), { from: node, passed: 1, returns: "192.0.2.10" });
    t.regex(Buffer.from((await bench.each(a, [back(tcp(8080, 5000, "A", "x"))]))[0]?.data ?? []).toString("hex"), /^.{28}45.{22}c0000201c000020a....17c1/, "one of IPv4 among them");
    const service = family === 4 ? 4 : 14;
    await bench.service(service, { address: parseIp(vip), port: 84, protocol: protocols.tcp }, { address: parseIp(container), port: 8080, mode: "LOCAL" }, { slot: { current: family === 4 ? 1 : 11, previous: service, changed: 10 } });
    const on = from(tcp(5001, 84, "A", "x"));
    const nameOf = async (packet: Packet): Promise<string> => {
      const { data } = await bench.raw(packet);
      const [option, inner] = [data.length - on.bytes.length - 14, data.length - on.bytes.length];
      t.regex(describe(data), /\[2001:db8::1\]:\d+ > \[2001:db8::9\]:6081 udp unsummed ttl 64$/);
      return `${data[option - 2]} ${data[option - 1]} ${Buffer.from(data.subarray(option + 6, option + 12)).toString("hex").replace(/..(?!$)/g, "$&:")} ${Buffer.from(data.subarray(inner)).equals(on.bytes)}`;
    };
    t.is(await nameOf(wrapped(container, 8080, on, { from: another, returns: true })), `1 1 ${balancerMac(another)} true`, "by who sent it");
    t.is(await nameOf(wrapped(container, 8080, on, { from: node, passed: 1, returns: another })), `2 1 ${balancerMac(another)} true`, "and once more");
    t.is(await nameOf(wrapped(container, 8080, on, { from: node, passed: 1, returns: "192.0.2.10" })), `2 1 ${balancerMac("192.0.2.10")} true`);
    t.is(await nameOf(on), `1 1 ${balancerMac("2001:db8::1")} true`, "this node itself");
  });
}

const [four] = sides;
const syn = ip(four.client, four.vip, tcp(5000, 80, "S"));

test.serial("what is not exactly so wrapped is left to the host", async (t) => {
  const { bench } = t.context;
  const wrap = (options: Wrapping): Packet => wrapped(four.container, 8080, syn, { from: node, ...options });
  const odd: Readonly<Record<string, Packet>> = {
    "a stranger": wrap({ from: "2001:db8::77" }), "another key": wrap({ key: "00012300" }), "another option": wrap({ about: "01028102" }), "the other family's option": wrap({ about: "ff488105" }),
    "more options": wrap({ kind: "04406558" }), "congestion outside": wrap({ ecn: 3 }), "a checksum outside": wrap({ checksum: "whole" }), "a first fragment outside": wrap({ fragment: { id: 1, offset: 0, more: true } }),
    "a later one": wrap({ fragment: { id: 1, offset: 8, more: false } }), "a fragment that is the whole": wrap({ fragment: { id: 1, offset: 0, more: false } }), "a routing header": wrap({ routing: 0 }),
    "to somebody else": { ...wrap({}), bytes: wrap({}).bytes.map((byte, i) => (i === 39 ? 0x33 : byte)) },
  };
  for (const [what, packet] of Object.entries(odd)) t.is((await bench.fromUplink(packet)).verdict, "pass untouched", what);
  t.deepEqual(await bench.flows(), []);
  t.is((await bench.fromUplink(wrap({ ecn: 2 }))).verdict, "redirect");
});

test.serial("runts, and lies about lengths outside, are left to the host, and nothing is opened", async (t) => {
  const { bench } = t.context;
  const whole = wrapped(four.container, 8080, syn, { from: node });
  for (const length of [40, 47, 48, 55, 56, 63, 67, 68, 82, 83, 101]) t.is((await bench.fromUplink({ ...whole, bytes: whole.bytes.subarray(0, length) })).verdict, "pass untouched", `${length} bytes`);
  for (const [what, place, by] of [["IPv6 says less", 5, -1], ["IPv6 says more", 5, 1], ["UDP says less", 45, -1], ["UDP says more", 45, 1], ["UDP says nothing", 45, -(whole.bytes[45] ?? 0)]] as const) {
    t.is((await bench.fromUplink({ ...whole, bytes: whole.bytes.map((byte, i) => (i === place ? byte + by : byte)) })).verdict, "pass untouched", what);
  }
  t.is((await bench.fromUplink({ ...whole, bytes: Buffer.concat([whole.bytes, new Uint8Array(6)]) })).verdict, "pass untouched", "more than it says");
  t.deepEqual(await bench.flows(), []);
  // With lengths that agree, and too little inside.
  for (const length of [0, 8, 19]) {
    const runt = wrapped(four.container, 8080, { ...syn, bytes: syn.bytes.subarray(0, length) }, { from: node });
    t.is((await bench.fromUplink(runt)).verdict, "pass untouched", `${length}`);
    t.is(Buffer.from((await bench.raw(runt)).data.subarray(14)).toString("hex"), Buffer.from(runt.bytes).toString("hex"), "as it came");
  }
  t.is((await bench.fromUplink(wrapped(four.container, 8080, { ...syn, bytes: syn.bytes.subarray(0, 39) }, { from: node }))).verdict, "drop MALFORMED");
  t.is((await bench.fromUplink(wrapped(four.container, 8080, ip(four.client, four.vip, echo("reply", 7)), { from: node }))).verdict, "drop ICMP_WITHOUT_FLOW");
  t.deepEqual(await bench.flows(), []);
});

test.serial("a node names only containers that are here, and only for clients that may be clients", async (t) => {
  const { bench } = t.context;
  for (const address of ["10.44.0.99", "10.88.0.2", "192.0.2.1"]) t.is((await bench.fromUplink(wrapped(address, 8080, syn, { from: node }))).verdict, "drop NO_SUCH_ADDRESS", address);
  for (const source of ["10.44.0.3", "192.0.2.1", "127.0.0.1"]) t.is((await bench.fromUplink(wrapped(four.container, 8080, ip(source, four.vip, tcp(5000, 80, "S")), { from: node }))).verdict, "drop MARTIAN", source);
  const answer = ip(four.vip, four.client, tcp(80, 5000, "A"));
  t.is((await bench.fromUplink(tunnelled(answer, "00000200", "2001:db8::77"))).verdict, "pass untouched", "a stranger's answer");
  t.is((await bench.fromUplink(tunnelled(answer, "00000100"))).verdict, "drop PEER_ADDRESS", "with another key");
});

test.serial("with native routing, and IPv4 at no uplink of these nodes, services are carried all the same", async (t) => {
  await using bench = await world({ tunnelIfindex: 0, native: 1 });
  await bench.otherNode({ address: node, containers: ["10.44.9.2"], identity: 77, network: 1 });
  t.is((await bench.fromUplink(wrapped(four.container, 8080, syn, { from: node, returns: true }))).packet, `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp S ttl 64`);
  t.is(await answered(bench, ip(four.container, four.client, tcp(8080, 5000, "SA", "", [2, 4, 5, 180]))), `09 2: ${a.mac} > ${hostMac} 203.0.114.10:80 > 198.51.100.7:5000 tcp SA mss ${1450 - 70 - 12 - 40} ttl 64`);
  t.regex((await bench.fromContainer(a, ip(four.container, four.client, tcp(8080, 5000, "A", "x".repeat(1380))))).packet, /icmp 3\/4 mtu 1380 /, "of what the way takes the tunnel has 70 bytes");
  t.is((await bench.fromUplink(tunnelled(ip(four.vip, four.client, tcp(80, 5000, "A"))))).packet, `${out} 203.0.114.10:80 > 198.51.100.7:5000 tcp A ttl 63`);
  t.is((await bench.fromUplink(tunnelled(ip("10.44.9.2", "10.44.0.2", tcp(4000, 53, "S")), "00004d00"))).verdict, "drop UNKNOWN_PROTOCOL");
});
