// What is answered in a service's name, and what is said of errors: at once, by the balancer itself.
import anyTest from "ava";
import type { TestFn } from "ava";
import { echo, icmpError, ip, ipv4, ipv6, protocols, slice, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { client4, client6, gateway, openWeb, out, to4, to6, uplink, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;
const back = `${uplink} > ${gateway}`;
const router = "192.0.2.77";
const router6 = "2001:db8:77::1";

test.serial.before(async (t) => {
  const world = (t.context.world = await openWeb(1));
  await world.service(3, []);
  for (const [address, protocol] of [[web4, protocols.tcp], [web4, protocols.udp], [web6, protocols.tcp], [web6, protocols.udp]] as const) await world.frontend(address, 99, protocol, 3);
  // The host's own address, which is a service's as well.
  await world.frontend("192.0.2.1", 80, protocols.tcp, 1);
  await world.address("192.0.2.1", { shared: true });
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

const rows: readonly (readonly [what: string, packet: Packet, verdict: string, out: string])[] = [
  ["an echo request, IPv4", to4(echo("request", 7, "hello")), "tx", `${back} 203.0.113.10 > 198.51.100.7 echo reply 7 ttl 64`],
  ["an echo request, IPv6", to6(echo("request", 7, "hello", 6)), "tx", `${back} 2001:db8:5::10 > 2001:db8:c::7 echo reply 7 ttl 64`],
  ["TCP to a port that no service has", to4(tcp(5000, 81, "S")), "answered SERVICE_PORT", `${back} 203.0.113.10:81 > 198.51.100.7:5000 tcp RA ttl 64`],
  ["the same in the middle of a flow", to4(tcp(5000, 81, "PA", "hello")), "answered SERVICE_PORT", `${back} 203.0.113.10:81 > 198.51.100.7:5000 tcp R ttl 64`],
  ["the same of IPv6", to6(tcp(5000, 81, "S")), "answered SERVICE_PORT", `${back} [2001:db8:5::10]:81 > [2001:db8:c::7]:5000 tcp RA ttl 64`],
  ["the same of IPv6 with data", to6(tcp(5000, 81, "A", "hello")), "answered SERVICE_PORT", `${back} [2001:db8:5::10]:81 > [2001:db8:c::7]:5000 tcp R ttl 64`],
  ["TCP to a service without a backend (R78)", to4(tcp(5000, 99, "S")), "answered SERVICE_EMPTY", `${back} 203.0.113.10:99 > 198.51.100.7:5000 tcp RA ttl 64`],
  ["the same of IPv6 without a backend (R78)", to6(tcp(5000, 99, "S")), "answered SERVICE_EMPTY", `${back} [2001:db8:5::10]:99 > [2001:db8:c::7]:5000 tcp RA ttl 64`],
  ["UDP to a port that no service has", to4(udp(5000, 54, "who?")), "answered SERVICE_PORT",
    `${back} 203.0.113.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.113.10:54 udp ttl 64 } ttl 64`],
  ["long UDP to such a port", to4(udp(5000, 54, "x".repeat(1000))), "answered SERVICE_PORT",
    `${back} 203.0.113.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.113.10:54 udp ttl 64 } ttl 64`],
  ["UDP to such a port, IPv6", to6(udp(5000, 54, "who?")), "answered SERVICE_PORT",
    `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 1/4 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:54 udp ttl 64 } ttl 64`],
  ["UDP to a service without a backend", to4(udp(5000, 99, "who?")), "answered SERVICE_EMPTY",
    `${back} 203.0.113.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.113.10:99 udp ttl 64 } ttl 64`],
  ["UDP to a service without a backend, IPv6", to6(udp(5000, 99, "x".repeat(1000))), "answered SERVICE_EMPTY",
    `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 1/4 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:99 udp ttl 64 } ttl 64`],
];
for (const [what, packet, verdict, answer] of rows) {
  test.serial(`${what}: answered`, async (t) => { t.deepEqual(await t.context.world.send(packet), { verdict, packet: answer }); });
}

test.serial("a reset acknowledges all that it answers: sequence 1000, SYN and five bytes", async (t) => {
  const { data } = await t.context.world.sendBytes(frameOf(to4(tcp(5000, 81, "SF", "hello"))));
  t.is(Buffer.from(data.subarray(38, 50)).toString("hex"), `00000000${(1007).toString(16).padStart(8, "0")}5014` + "0000");
  t.is(data.length, 54);
});

test.serial("a reset is answered by nobody, and neither is an echo reply or part of an echo request", async (t) => {
  t.is((await t.context.world.send(to4(tcp(5000, 81, "R")))).verdict, "drop SERVICE_PORT");
  t.is((await t.context.world.send(to6(tcp(5000, 99, "RA")))).verdict, "drop SERVICE_EMPTY");
  t.is((await t.context.world.send(to4(echo("reply", 7)))).verdict, "drop SERVICE_PROTOCOL");
  t.is((await t.context.world.send(ipv4(client4, web4, slice(echo("request", 7, "x".repeat(64)), 0, 32), { more: true }))).verdict, "drop SERVICE_PROTOCOL");
});

test.serial("neighbour discovery of a service's address is not the balancer's", async (t) => {
  const solicitation = { protocol: protocols.icmp6, bytes: () => Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0, ...new Uint8Array(16)) };
  t.is((await t.context.world.send(to6(solicitation))).verdict, "pass");
});

test.serial("of an address that the host has as well, only the service's ports are the balancer's", async (t) => {
  const { world } = t.context;
  t.is((await world.send(ip(client4, "192.0.2.1", tcp(5000, 80, "S")))).verdict, "tx");
  for (const payload of [tcp(5000, 22, "S"), udp(5000, 80, "x"), echo("request", 7)]) t.is((await world.send(ip(client4, "192.0.2.1", payload))).verdict, "pass");
  t.is((await world.send(ip(router, "192.0.2.1", icmpError(3, 3, ip("192.0.2.1", client4, tcp(22, 5000, "A")))))).verdict, "pass");
});

test.serial("ICMP errors go where the flow goes that they speak of, whoever sends them", async (t) => {
  const about4 = ip(web4, client4, tcp(80, 5000, "A", "x".repeat(100)));
  const about6 = ip(web6, client6, tcp(80, 5000, "A", "x".repeat(100)));
  for (const [type, code, mtu] of [[3, 4, 1400], [3, 1, 0], [11, 0, 0], [12, 0, 0]] as const) {
    const error = ip(router, web4, icmpError(type, code, about4, { mtu, length: 28 }));
    const left = await t.context.world.send(error);
    t.is(left.verdict, "tx", `${type}/${code}`);
    t.true(left.packet.startsWith(`${out} 192.0.2.1 > 172.16.1.1 ipip { 192.0.2.77 > 203.0.113.10 icmp ${type}/${code}`), left.packet);
  }
  for (const [type, code, mtu] of [[2, 0, 1400], [1, 0, 0], [3, 0, 0], [4, 1, 0]] as const) {
    const left = await t.context.world.send(ip(router6, web6, icmpError(type, code, about6, { mtu })));
    t.is(left.verdict, "tx", `${type}/${code}`);
    t.true(left.packet.startsWith(`${out} 2001:db8::1 > 2001:db8:b::1 ipip { 2001:db8:77::1 > 2001:db8:5::10 icmp ${type}/${code}`), left.packet);
  }
});

test.serial("ICMP errors about what no service sent are dropped", async (t) => {
  const { world } = t.context;
  const drops: Readonly<Record<string, Packet>> = {
    "another port": ip(router, web4, icmpError(3, 3, ip(web4, client4, tcp(81, 5000, "A")))),
    "another sender": ip(router, web4, icmpError(3, 3, ip("203.0.113.11", client4, tcp(80, 5000, "A")))),
    "too little of it": ip(router, web4, icmpError(3, 3, ip(web4, client4, tcp(80, 5000, "A")), { length: 20 })),
    "a later fragment": ip(router, web4, icmpError(3, 3, ipv4(web4, client4, tcp(80, 5000, "A"), { offset: 8 }))),
    "IPv6, another port": ip(router6, web6, icmpError(1, 4, ip(web6, client6, udp(54, 5000)))),
    "IPv6, too little of it": ip(router6, web6, icmpError(1, 4, ip(web6, client6, tcp(80, 5000, "A")), { length: 40 })),
  };
  for (const [what, packet] of Object.entries(drops)) t.is((await world.send(packet)).verdict, "drop ICMP_WITHOUT_FLOW", what);
});

test.serial("an error about a service without a backend is dropped, not answered", async (t) => {
  t.is((await t.context.world.send(ip(router, web4, icmpError(3, 3, ip(web4, client4, tcp(99, 5000, "A")))))).verdict, "drop SERVICE_EMPTY");
});

test.serial("fragments follow their first, and go nowhere without it", async (t) => {
  const { world } = t.context;
  const whole = udp(5000, 53, "x".repeat(96));
  const four = (id: number, offset: number, more: boolean): Packet => ipv4(client4, web4, slice(whole, offset, 48), { id, offset, more });
  const six = (id: number, offset: number, more: boolean): Packet => ipv6(client6, web6, slice(whole, offset, 48), { fragment: { id, offset, more } });
  t.is((await world.send(four(1, 48, true))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
  t.deepEqual(await world.send(four(1, 0, true)), { verdict: "tx", packet: `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:53 udp ttl 64 fragment 0+ } ttl 64` });
  t.deepEqual(await world.send(four(1, 48, false)), { verdict: "tx", packet: `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7 > 203.0.113.10 protocol 17 ttl 64 fragment 48 } ttl 64` });
  t.is((await world.send(four(2, 48, false))).verdict, "drop FRAGMENT_WITHOUT_FIRST", "of another datagram");
  t.is((await world.send(six(1, 48, true))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
  t.is((await world.send(six(1, 0, true))).verdict, "tx");
  t.deepEqual(await world.send(six(1, 48, false)), { verdict: "tx", packet: `${out} 2001:db8::1 > 2001:db8:b::1 ipip { 2001:db8:c::7 > 2001:db8:5::10 protocol 17 ttl 64 fragment 48 } ttl 64` });
  t.is((await world.send(ipv4(client4, web4, slice(udp(5000, 54, "x".repeat(96)), 0, 48), { id: 3, more: true }))).verdict, "drop SERVICE_PORT");
});

test.serial("what does not fit the way to its backend is refused with the size that does (R78)", async (t) => {
  const { world } = t.context;
  await world.ip("link", "set", "wan0", "mtu", "1500");
  const [fits4, fits6] = [1480 - 40, 1460 - 60];
  t.is((await world.send(to4(tcp(5000, 80, "A", "x".repeat(fits4))))).verdict, "tx");
  t.is((await world.send(to6(tcp(5000, 80, "A", "x".repeat(fits6))))).verdict, "tx");
  t.deepEqual(await world.send(ipv4(client4, web4, tcp(5000, 80, "A", "x".repeat(fits4 + 1)), { df: true })), {
    verdict: "answered MTU_EXCEEDED", packet: `${back} 203.0.113.10 > 198.51.100.7 icmp 3/4 mtu 1480 { 198.51.100.7:5000 > 203.0.113.10:80 tcp A ttl 64 } ttl 64`,
  });
  t.deepEqual(await world.send(to6(tcp(5000, 80, "A", "x".repeat(fits6 + 1)))), {
    verdict: "answered MTU_EXCEEDED", packet: `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 2/0 mtu 1460 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:80 tcp A ttl 64 } ttl 64`,
  });
});

test.serial("nobody makes the balancer send more than so many ICMP errors a second", async (t) => {
  const verdicts = await t.context.world.flood(to4(udp(5000, 54, "who?")), 20_000);
  const [drop, tx] = [1, 3];
  t.deepEqual([...new Set(verdicts)].sort(), [drop, tx]);
});

function frameOf(packet: Packet): Uint8Array {
  return Buffer.concat([Buffer.from("0200000000010200000000fe0800", "hex"), packet.bytes]);
}
