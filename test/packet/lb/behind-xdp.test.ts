// Backends elsewhere, where XDP is off or knows no neighbour: netdev wraps for them, and the kernel finds the neighbour.
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { frame, icmpError, ip, ipv4, ipv6, protocols, sctp, slice, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [client4, client6, web4, web6] = ["198.51.100.7", "2001:db8:c::7", "203.0.114.10", "2001:db8:5::10"];
/** As they came: the kernel writes others once it knows the neighbour. */
const macs = "02:00:00:00:00:fe > 02:00:00:00:00:01";
const config = { services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1"), snatFirst: 16384, snatPorts: 16384 };
const geneve4 = "03406558" + "00000100" + "ff488102" + "0a2c0902" + "1f900000";
const geneve6 = "06406558" + "00000100" + "ff488105" + "fd440009000000000000000000000002" + "1f900000";

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench(config));
  const service = async (number: number, address: string, port: number, protocol: number, backend: string, outer: string, mode: "IPIP" | "GENEVE"): Promise<void> =>
    bench.service(number, { address: parseIp(address), port, protocol }, { address: parseIp(backend), outer: parseIp(outer), port: 8080, mode });
  await service(1, web4, 80, protocols.tcp, "172.16.1.1", "172.16.1.1", "IPIP");
  await service(2, web6, 80, protocols.tcp, "2001:db8:b::1", "2001:db8:b::1", "IPIP");
  await service(3, web4, 53, protocols.udp, "2001:db8:b::1", "2001:db8:b::1", "IPIP");
  await service(4, web6, 53, protocols.udp, "172.16.1.1", "172.16.1.1", "IPIP");
  await service(5, web4, 81, protocols.tcp, "10.44.9.2", "172.16.9.9", "GENEVE");
  await service(6, web6, 81, protocols.tcp, "fd44:9::2", "172.16.9.9", "GENEVE");
  await service(7, web4, 82, protocols.tcp, "10.44.9.2", "2001:db8:9::9", "GENEVE");
  await service(10, web6, 82, protocols.tcp, "fd44:9::2", "2001:db8:9::9", "GENEVE");
  await service(11, web4, 82, protocols.udp, "10.44.9.2", "2001:db8:9::9", "GENEVE");
  await service(12, web6, 82, protocols.sctp, "fd44:9::2", "2001:db8:9::9", "GENEVE");
  await service(13, web4, 85, protocols.tcp, "10.44.9.2", "2001:db8:5ca1::9", "GENEVE");
  await service(14, web6, 85, protocols.tcp, "fd44:9::2", "2001:db8:5ca1::9", "GENEVE");
  await service(8, web4, 83, protocols.tcp, "198.18.0.1", "198.18.0.1", "IPIP");
  await service(9, web4, 84, protocols.tcp, "203.0.113.9", "203.0.113.9", "IPIP");
});
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const rows: readonly (readonly [what: string, packet: Packet, out: string])[] = [
  ["IPv4 in IPv4", ip(client4, web4, tcp(5000, 80, "S")), "192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.114.10:80 tcp S ttl 64 } ttl 64"],
  ["the same in the middle of a flow", ip(client4, web4, tcp(5000, 80, "A", "GET /")), "192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.114.10:80 tcp A ttl 64 } ttl 64"],
  ["IPv6 in IPv6", ip(client6, web6, tcp(5000, 80, "S")), "2001:db8::1 > 2001:db8:b::1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:80 tcp S ttl 64 } ttl 64"],
  ["IPv4 in IPv6", ip(client4, web4, udp(5000, 53, "who?")), "2001:db8::1 > 2001:db8:b::1 ipip { 198.51.100.7:5000 > 203.0.114.10:53 udp ttl 64 } ttl 64"],
  ["IPv6 in IPv4", ip(client6, web6, udp(5000, 53, "who?")), "192.0.2.1 > 172.16.1.1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:53 udp ttl 64 } ttl 64"],
  ["an ICMP error", ip("192.0.2.77", web4, icmpError(3, 3, ip(web4, client4, tcp(80, 5000, "A")))),
    "192.0.2.1 > 172.16.1.1 ipip { 192.0.2.77 > 203.0.114.10 icmp 3/3 { 203.0.114.10:80 > 198.51.100.7:5000 tcp A ttl 64 } ttl 64 } ttl 64"],
];
for (const [what, packet, out] of rows) {
  test.serial(`${what}: wrapped, and handed to the kernel's neighbours`, async (t) => { t.deepEqual(await t.context.bench.fromUplink(packet), { verdict: "redirect", packet: `${macs} ${out}` }); });
}

for (const [what, packet, option] of [["IPv4", ip(client4, web4, tcp(5000, 81, "S")), geneve4], ["IPv6", ip(client6, web6, tcp(5000, 81, "S")), geneve6]] as const) {
  test.serial(`${what} in Geneve: every header, and what is inside unchanged`, async (t) => {
    const sent = frame("02:00:00:00:00:fe", "02:00:00:00:00:01", packet);
    const { verdict, data } = await t.context.bench.raw(packet);
    const hex = Buffer.from(data).toString("hex");
    const [headers, size] = [28 + option.length / 2, (length: number): string => length.toString(16).padStart(4, "0")];
    t.is(verdict, 7);
    t.is(hex.slice(0, 36), `${Buffer.from(sent).toString("hex").slice(0, 24)}08004500${size(sent.length + headers)}`);
    t.is(hex.slice(52, 68), "c0000201ac100909");
    t.is(hex.slice(72, 84), `17c1${size(sent.length + headers - 20)}0000`);
    t.is(hex.slice(84, 84 + option.length), option);
    t.is(hex.slice(84 + option.length), Buffer.from(sent).toString("hex"));
  });
}

test.serial("while a node goes over to the other family a packet is wholly of one of them", async (t) => {
  const { bench } = t.context;
  const outer = async (): Promise<string> => Buffer.from((await bench.raw(ip(client4, web4, tcp(5000, 81, "A")))).data.subarray(12, 54)).toString("hex");
  await bench.place(5, "10.44.9.2", "2001:db8:9::9");
  t.regex(await outer(), /^86dd60000000....1140.{32}20010db8000900000000000000000009$/);
  await bench.backend(5, { address: parseIp("10.44.9.2"), outer: parseIp("2001:db8:9::9"), port: 8080, mode: "GENEVE" });
  await bench.place(5, "10.44.9.2", "172.16.9.9");
  t.regex(await outer(), /^08004500.{28}ac100909/);
  await bench.backend(5, { address: parseIp("10.44.9.2"), outer: parseIp("172.16.9.9"), port: 8080, mode: "GENEVE" });
  t.regex(await outer(), /^08004500.{28}ac100909/);
});

for (const [what, packet, option] of [
  ["TCP over IPv4", ip(client4, web4, tcp(5000, 82, "S")), geneve4], ["UDP over IPv4 without a checksum", ip(client4, web4, udp(5000, 82, "who?", { checksum: "none" })), geneve4],
  ["a fragment", ipv4(client4, web4, slice(udp(5000, 82, "x".repeat(64)), 0, 32), { more: true, id: 1 }), geneve4],
  ["an ICMP error", ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, tcp(82, 5000, "A")), { mtu: 1400 })), geneve4],
  ["TCP over IPv6", ip(client6, web6, tcp(5000, 82, "A", "GET /")), geneve6], ["SCTP over IPv6", ip(client6, web6, sctp(5000, 82, 1)), geneve6],
] as const) {
  test.serial(`${what} in Geneve to a node of IPv6: every header, without a checksum, and what is inside unchanged`, async (t) => {
    const sent = frame("02:00:00:00:00:fe", "02:00:00:00:00:01", packet);
    const { verdict, data } = await t.context.bench.raw(packet);
    const hex = Buffer.from(data).toString("hex");
    const payload = (sent.length + 8 + option.length / 2).toString(16).padStart(4, "0");
    t.is(verdict, 7);
    t.is(hex.slice(0, 44), `${Buffer.from(sent).toString("hex").slice(0, 24)}86dd60000000${payload}1140`);
    t.is(hex.slice(44, 108), "20010db8000000000000000000000001" + "20010db8000900000000000000000009");
    t.is(hex.slice(112, 124), `17c1${payload}0000`);
    t.is(hex.slice(124, 124 + option.length), option);
    t.is(hex.slice(124 + option.length), Buffer.from(sent).toString("hex"));
  });
}

test.serial("what does not fit the way to a node of IPv6 is told to the client with the size that does, in both families (R78)", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(ip(client4, web4, tcp(5000, 85, "A", "x".repeat(1300 - 82 - 40))))).verdict, "redirect");
  const { verdict, packet } = await bench.fromUplink(ip(client4, web4, tcp(5000, 85, "A", "x".repeat(1300 - 82 - 39))));
  t.is(verdict, "answered MTU_EXCEEDED");
  t.regex(packet, / 203\.0\.114\.10 > 198\.51\.100\.7 icmp 3\/4 mtu 1218 /);
  t.is((await bench.fromUplink(ip(client6, web6, tcp(5000, 85, "A", "x".repeat(1300 - 94 - 60))))).verdict, "redirect");
  t.regex((await bench.fromUplink(ip(client6, web6, tcp(5000, 85, "A", "x".repeat(1300 - 94 - 59))))).packet, / 2001:db8:5::10 > 2001:db8:c::7 icmp 2\/0 mtu 1206 /);
});

test.serial("service class and congestion marks are carried outside as they are inside, but no marks in Geneve, where nobody would carry them back", async (t) => {
  const { bench } = t.context;
  for (const ecn of [0, 1, 2, 3]) {
    t.is((await bench.raw(ipv4(client4, web4, tcp(5000, 80, "A"), { ecn }))).data[15], ecn);
    t.is((await bench.raw(ipv4(client4, web4, tcp(5000, 81, "A"), { ecn }))).data[15], 0, "in Geneve");
    t.is((await bench.raw(ipv4(client4, web4, tcp(5000, 82, "A"), { ecn }))).data[15], 0, "over IPv6");
    t.is((await bench.raw(ipv6(client6, web6, tcp(5000, 80, "A"), { ecn }))).data[15], ecn << 4);
  }
});

test.serial("a tagged frame, a runt and a lie about its length are none of a service's", async (t) => {
  const { bench } = t.context;
  const syn = ip(client4, web4, tcp(5000, 80, "S"));
  for (const ethertype of [0x8100, 0x88a8]) t.is((await bench.fromUplink({ ethertype, bytes: syn.bytes })).verdict, "pass untouched");
  t.is((await bench.fromUplink({ ...syn, bytes: syn.bytes.subarray(0, 30) })).verdict, "pass untouched");
  const longer = syn.bytes.slice();
  longer[3] = 200;
  t.is((await bench.fromUplink({ ...syn, bytes: longer })).verdict, "pass untouched");
});

test.serial("fragments follow their first", async (t) => {
  const whole = udp(5000, 53, "x".repeat(96));
  const part = (offset: number, more: boolean): Packet => ipv6(client6, web6, slice(whole, offset, 48), { fragment: { id: 5, offset, more } });
  t.is((await t.context.bench.fromUplink(part(48, false))).verdict, "pass untouched");
  t.is((await t.context.bench.fromUplink(part(0, true))).verdict, "redirect");
  t.is((await t.context.bench.fromUplink(part(48, false))).packet, `${macs} 192.0.2.1 > 172.16.1.1 ipip { 2001:db8:c::7 > 2001:db8:5::10 protocol 17 ttl 64 fragment 48 } ttl 64`);
});

test.serial("other nodes are sent to from the address by which they know this one, plain servers from the uplinks' own, in both families", async (t) => {
  await using bench = await openBench({ ...config, nodeIpv4: 0xc0000907, nodeIpv6: parseIp("2001:db8:7::7") });
  const to = async (number: number, web: string, backend: string, outer: string, mode: "IPIP" | "GENEVE" | "SNAT"): Promise<string> => {
    await bench.service(number, { address: parseIp(web), port: 80 + number, protocol: protocols.tcp }, { address: parseIp(backend), outer: parseIp(outer), port: 8080, mode });
    const { packet } = await bench.fromUplink(ip(web === web4 ? client4 : client6, web, tcp(5000, 80 + number, "S")));
    return / ([^ ]+) > /.exec(packet.slice(macs.length))?.[1]?.replace(/:\d{5}$/, "") ?? packet;
  };
  t.is(await to(1, web4, "172.16.1.1", "172.16.1.1", "IPIP"), "192.0.2.1");
  t.is(await to(2, web6, "2001:db8:b::1", "2001:db8:b::1", "IPIP"), "2001:db8::1");
  t.is(await to(3, web4, "172.16.1.1", "172.16.1.1", "SNAT"), "192.0.2.1");
  t.is(await to(4, web6, "2001:db8:b::1", "2001:db8:b::1", "SNAT"), "[2001:db8::1]");
  t.is(await to(5, web4, "10.44.9.2", "172.16.9.9", "GENEVE"), "192.0.9.7");
  t.is(await to(6, web6, "fd44:9::2", "2001:db8:9::9", "GENEVE"), "[2001:db8:7::7]");
});

test.serial("without an address for outer packets nothing is wrapped", async (t) => {
  await using bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558 });
  await bench.service(1, { address: parseIp(web4), port: 80, protocol: protocols.tcp }, { address: parseIp("172.16.1.1"), port: 80, mode: "IPIP" });
  await bench.service(2, { address: parseIp(web6), port: 80, protocol: protocols.tcp }, { address: parseIp("2001:db8:b::1"), port: 80, mode: "IPIP" });
  for (const packet of [ip(client4, web4, tcp(5000, 80, "S")), ip(client6, web6, tcp(5000, 80, "S"))]) t.is((await bench.fromUplink(packet)).verdict, "drop NO_SNAT_ADDRESS");
});

test.serial("what has no way by an uplink is dropped with its reason", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(ip(client4, web4, tcp(5000, 83, "S")))).verdict, "drop NO_ROUTE");
  t.is((await bench.fromUplink(ip(client4, web4, tcp(5000, 84, "S")))).verdict, "drop NOT_AN_UPLINK");
});
