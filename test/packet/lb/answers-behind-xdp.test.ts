// What netdev answers in a service's name, where XDP is off or has passed it on: the same as XDP does (answers.test.ts).
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { echo, frame, icmpError, ip, ipv4, ipv6, protocols, sctp, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { wrapped } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [client4, client6, web4, web6] = ["198.51.100.7", "2001:db8:c::7", "203.0.114.10", "2001:db8:5::10"];
const [gateway, uplink] = ["02:00:00:00:00:fe", "02:00:00:00:00:01"];
const back = `${uplink} > ${gateway}`;
const to4 = (payload: Payload): Packet => ip(client4, web4, payload);
const to6 = (payload: Payload): Packet => ip(client6, web6, payload);

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") }));
  const server = { address: parseIp("172.16.1.1"), port: 80, mode: "IPIP" } as const;
  for (const [address, port, protocol] of [
    [web4, 99, protocols.tcp], [web4, 99, protocols.udp], [web4, 99, protocols.sctp], [web6, 99, protocols.tcp], [web6, 99, protocols.udp],
  ] as const) await bench.service(1, { address: parseIp(address), port, protocol }, server, { empty: true });
  // By the way to 198.51.100.200 and 2001:db8:5ca1::1 a packet of 1300 bytes fits.
  await bench.service(2, { address: parseIp(web4), port: 80, protocol: protocols.tcp }, { ...server, address: parseIp("198.51.100.200") });
  await bench.service(3, { address: parseIp(web4), port: 81, protocol: protocols.tcp }, { address: parseIp("10.44.9.2"), outer: parseIp("198.51.100.200"), port: 8080, mode: "GENEVE" });
  await bench.service(4, { address: parseIp(web6), port: 80, protocol: protocols.tcp }, { ...server, address: parseIp("2001:db8:5ca1::1") });
  await bench.service(5, { address: parseIp(web6), port: 81, protocol: protocols.tcp }, { address: parseIp("fd44:9::2"), outer: parseIp("198.51.100.200"), port: 8080, mode: "GENEVE" });
  await bench.service(6, { address: parseIp(web4), port: 80, protocol: protocols.udp }, { ...server, address: parseIp("198.51.100.200") });
  await bench.service(7, { address: parseIp(web4), port: 100, protocol: protocols.tcp }, server, { empty: true, sources: { deny: ["198.51.100.0/24"] } });
  // The host's own address, which is a service's as well.
  await bench.service(8, { address: parseIp("192.0.2.1"), port: 80, protocol: protocols.tcp }, server, { shared: true });
});
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const rows: readonly (readonly [what: string, packet: Packet, verdict: string, out: string])[] = [
  ["an echo request, IPv4", to4(echo("request", 7, "hello")), "redirect", `${back} 203.0.114.10 > 198.51.100.7 echo reply 7 ttl 64`],
  ["an echo request, IPv6", to6(echo("request", 7, "hello", 6)), "redirect", `${back} 2001:db8:5::10 > 2001:db8:c::7 echo reply 7 ttl 64`],
  ["TCP to a port that no service has", to4(tcp(5000, 82, "S")), "answered SERVICE_PORT", `${back} 203.0.114.10:82 > 198.51.100.7:5000 tcp RA ttl 64`],
  ["the same in the middle of a flow", to4(tcp(5000, 82, "PA", "hello")), "answered SERVICE_PORT", `${back} 203.0.114.10:82 > 198.51.100.7:5000 tcp R ttl 64`],
  ["the same of IPv6", to6(tcp(5000, 82, "S")), "answered SERVICE_PORT", `${back} [2001:db8:5::10]:82 > [2001:db8:c::7]:5000 tcp RA ttl 64`],
  ["the same of IPv6 with data", to6(tcp(5000, 82, "A", "hello")), "answered SERVICE_PORT", `${back} [2001:db8:5::10]:82 > [2001:db8:c::7]:5000 tcp R ttl 64`],
  ["TCP to a service without a backend (R78)", to4(tcp(5000, 99, "S")), "answered SERVICE_EMPTY", `${back} 203.0.114.10:99 > 198.51.100.7:5000 tcp RA ttl 64`],
  ["the same of IPv6 without a backend (R78)", to6(tcp(5000, 99, "S")), "answered SERVICE_EMPTY", `${back} [2001:db8:5::10]:99 > [2001:db8:c::7]:5000 tcp RA ttl 64`],
  ["UDP to a port that no service has", to4(udp(5000, 54, "who?")), "answered SERVICE_PORT",
    `${back} 203.0.114.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.114.10:54 udp ttl 64 } ttl 64`],
  ["long UDP to such a port", to4(udp(5000, 54, "x".repeat(1000))), "answered SERVICE_PORT",
    `${back} 203.0.114.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.114.10:54 udp ttl 64 } ttl 64`],
  ["UDP without a checksum to such a port", to4(udp(5000, 54, "x".repeat(1000), { checksum: "none" })), "answered SERVICE_PORT",
    `${back} 203.0.114.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.114.10:54 udp unsummed ttl 64 } ttl 64`],
  ["UDP to such a port, IPv6", to6(udp(5000, 54, "who?")), "answered SERVICE_PORT",
    `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 1/4 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:54 udp ttl 64 } ttl 64`],
  ["UDP to a service without a backend", to4(udp(5000, 99, "who?")), "answered SERVICE_EMPTY",
    `${back} 203.0.114.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.114.10:99 udp ttl 64 } ttl 64`],
  ["UDP to a service without a backend, IPv6", to6(udp(5000, 99, "x".repeat(1000))), "answered SERVICE_EMPTY",
    `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 1/4 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:99 udp ttl 64 } ttl 64`],
  ["SCTP to a service without a backend", to4(sctp(5000, 99, 1)), "answered SERVICE_EMPTY", `${back} 203.0.114.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.114.10:99 sctp ttl 64 } ttl 64`],
];
for (const [what, packet, verdict, answer] of rows) {
  test.serial(`${what}: answered`, async (t) => { t.deepEqual(await t.context.bench.fromUplink(packet), { verdict, packet: answer }); });
}

test.serial("a reset acknowledges all that it answers: sequence 1000, SYN, FIN and five bytes", async (t) => {
  const { data } = await t.context.bench.raw(to4(tcp(5000, 82, "SF", "hello")));
  t.is(Buffer.from(data.subarray(38, 50)).toString("hex"), `00000000${(1007).toString(16).padStart(8, "0")}5014` + "0000");
  t.is(data.length, 54);
});

/** Of `size` bytes. */
const long4 = (port: number, size: number): Packet => ipv4(client4, web4, tcp(5000, port, "A", "x".repeat(size - 40)), { df: true });
const long6 = (port: number, size: number): Packet => to6(tcp(5000, port, "A", "x".repeat(size - 60)));

test.serial("what does not fit the way to its backend is refused with the size that does (R78)", async (t) => {
  const { bench } = t.context;
  for (const [port, fits] of [[80, 1300 - 20], [81, 1300 - 20 - 8 - 8 - 12 - 14]] as const) {
    t.is((await bench.fromUplink(long4(port, fits))).verdict, "redirect");
    t.deepEqual(await bench.fromUplink(long4(port, fits + 1)), {
      verdict: "answered MTU_EXCEEDED", packet: `${back} 203.0.114.10 > 198.51.100.7 icmp 3/4 mtu ${fits} { 198.51.100.7:5000 > 203.0.114.10:${port} tcp A ttl 64 } ttl 64`,
    });
  }
  for (const [port, fits] of [[80, 1300 - 40], [81, 1300 - 20 - 8 - 8 - 24 - 14]] as const) {
    t.is((await bench.fromUplink(long6(port, fits))).verdict, "redirect");
    t.deepEqual(await bench.fromUplink(long6(port, fits + 1)), {
      verdict: "answered MTU_EXCEEDED", packet: `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 2/0 mtu ${fits} { [2001:db8:c::7]:5000 > [2001:db8:5::10]:${port} tcp A ttl 64 } ttl 64`,
    });
  }
});

test.serial("of segments put together, the largest is what counts", async (t) => {
  const { bench } = t.context;
  const run = (packet: Packet, segment: number): Promise<{ readonly verdict: string; readonly packet: string }> => bench.send("netdev", "wan0", frame(gateway, uplink, packet), segment);
  // Taken for what fits; but a test run's segments have no type, and the kernel puts no headers in front of such.
  const taken = "drop REWRITE_FAILED";
  t.is((await run(long4(80, 3000), 1280 - 40)).verdict, taken);
  t.deepEqual(await run(long4(80, 3000), 1281 - 40), {
    verdict: "answered MTU_EXCEEDED", packet: `${back} 203.0.114.10 > 198.51.100.7 icmp 3/4 mtu 1280 { 198.51.100.7:5000 > 203.0.114.10:80 tcp A ttl 64 } ttl 64`,
  });
  t.is((await run(long6(80, 3000), 1260 - 60)).verdict, taken);
  t.is((await run(long6(80, 3000), 1261 - 60)).packet, `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 2/0 mtu 1260 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:80 tcp A ttl 64 } ttl 64`);
});

test.serial("errors, fragments, resets, options and clients that may not are refused without an answer", async (t) => {
  const { bench } = t.context;
  const error = ip("192.0.2.77", web4, icmpError(3, 3, ip(web4, client4, tcp(99, 5000, "A"))));
  const tooLong = ip("192.0.2.77", web4, icmpError(3, 4, ipv4(web4, client4, tcp(80, 5000, "A", "x".repeat(1300)))));
  const part = (port: number, offset: number, more: boolean, length = 48): Packet => ipv4(client4, web4, slice(udp(5000, port, "x".repeat(3000)), offset, length), { id: port, offset, more });
  t.is((await bench.fromUplink(error)).verdict, "drop SERVICE_EMPTY");
  t.is((await bench.fromUplink(tooLong)).verdict, "drop MTU_EXCEEDED");
  t.is((await bench.fromUplink(to4(tcp(5000, 82, "R")))).verdict, "drop SERVICE_PORT");
  t.is((await bench.fromUplink(to6(tcp(5000, 99, "RA")))).verdict, "drop SERVICE_EMPTY");
  t.is((await bench.fromUplink(part(54, 0, true))).verdict, "drop SERVICE_PORT");
  t.is((await bench.fromUplink(part(80, 0, true))).verdict, "redirect");
  t.is((await bench.fromUplink(part(80, 48, false, 1300))).verdict, "drop MTU_EXCEEDED");
  t.is((await bench.fromUplink(ipv4(client4, web4, tcp(5000, 82, "S"), { options: [1, 1, 1, 1] }))).verdict, "drop INVALID_OPTIONS");
  t.is((await bench.fromUplink(ipv6(client6, web6, udp(5000, 54, "who?"), { fragment: { id: 9, offset: 0, more: false } }))).verdict, "drop INVALID_OPTIONS");
  t.is((await bench.fromUplink(to4(tcp(5000, 100, "S")))).verdict, "drop SERVICE_SOURCE");
});

test.serial("of an address that the host has as well, only the service's ports are the balancer's", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(ip(client4, "192.0.2.1", tcp(5000, 80, "S")))).verdict, "redirect");
  for (const payload of [tcp(5000, 22, "S"), udp(5000, 80, "x"), echo("request", 7)]) t.is((await bench.fromUplink(ip(client4, "192.0.2.1", payload))).verdict, "pass untouched");
});

test.serial("a client whose packet another node has sent here is told nothing of ways from here on", async (t) => {
  const { bench } = t.context;
  await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2"], identity: 70, network: 1 });
  t.is((await bench.fromUplink(wrapped("10.44.0.2", 8080, long4(81, 1300)))).verdict, "drop MTU_EXCEEDED");
});

test.serial("nobody makes a node send more than so many ICMP errors a second", async (t) => {
  const ran = await t.context.bench.rawTimes(to4(udp(5000, 54, "who?")), 5000);
  const [drop, redirect] = [2, 7];
  t.deepEqual([...new Set(ran.map(({ verdict }) => verdict))].sort(), [drop, redirect]);
});
