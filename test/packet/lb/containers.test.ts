// Backends that are containers: what their node does with clients' packets, its own uplink's and those that a balancing node has wrapped.
//
//   client ▸ 203.0.113.10:80 ▸ netdev ▸ a (10.44.0.2:8080) ▸ from-container ▸ 203.0.113.10:80 ▸ client
//                             another node, 192.0.2.9, balances for 203.0.113.20 and [2001:db8:5::20] ▸ Geneve ▸ netdev ▸ a
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { a, d, hostMac, openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { icmpError, ip, ipv4, protocols, slice, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { wrapped } from "./wrapped.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [client4, client6, web4, web6] = ["198.51.100.7", "2001:db8:c::7", "203.0.113.200", "2001:db8:5::20"];
const into = `${hostMac} > ${a.mac}`;

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") }));
  await bench.service(1, { address: parseIp("203.0.114.10"), port: 80, protocol: protocols.tcp }, { address: a.ipv4, port: 8080, mode: "LOCAL" });
  await bench.service(2, { address: parseIp("2001:db8:5::10"), port: 80, protocol: protocols.tcp }, { address: parseIp("fd44::2"), port: 8080, mode: "LOCAL" });
  await bench.service(3, { address: parseIp("203.0.114.10"), port: 53, protocol: protocols.udp }, { address: a.ipv4, port: 53, mode: "LOCAL" });
  await bench.service(4, { address: parseIp("203.0.114.10"), port: 81, protocol: protocols.tcp }, { address: d.ipv4, port: 8080, mode: "LOCAL" });
  await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2"], identity: 77, network: 1 });
});
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

test.serial("a client's packets reach the container with the client's address, and its answers bear the service's (R77)", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(ip(client4, "203.0.114.10", tcp(5000, 80, "S"))), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp S ttl 64` });
  t.regex((await bench.fromContainer(a, ip("10.44.0.2", client4, tcp(8080, 5000, "SA")))).packet, /203\.0\.114\.10:80 > 198\.51\.100\.7:5000 tcp SA ttl 63$/);
  t.deepEqual(await bench.fromUplink(ip(client4, "203.0.114.10", tcp(5000, 80, "A", "GET /"))), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp A ttl 64` });
  t.deepEqual(await bench.fromUplink(ip(client6, "2001:db8:5::10", tcp(5000, 80, "S"))), { verdict: "redirect", packet: `${into} [2001:db8:c::7]:5000 > [fd44::2]:8080 tcp S ttl 64` });
  t.regex((await bench.fromContainer(a, ip("fd44::2", client6, tcp(8080, 5000, "SA")))).packet, /\[2001:db8:5::10\]:80 > \[2001:db8:c::7\]:5000 tcp SA ttl 63$/);
  t.deepEqual(await bench.fromUplink(ip(client4, "203.0.114.10", udp(5000, 53, "who?"))), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:53 udp ttl 64` });
});

test.serial("errors about the container's answers are its own", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(ip(client4, "203.0.114.10", tcp(5000, 80, "S")));
  const error = ip("192.0.2.77", "203.0.114.10", icmpError(3, 4, ip("203.0.114.10", client4, tcp(80, 5000, "A")), { mtu: 1400 }));
  t.deepEqual(await bench.fromUplink(error), { verdict: "redirect", packet: `${into} 192.0.2.77 > 10.44.0.2 icmp 3/4 mtu 1400 { 10.44.0.2:8080 > 198.51.100.7:5000 tcp A ttl 64 } ttl 64` });
});

test.serial("a client with an address that no client has is refused (R45)", async (t) => {
  const { bench } = t.context;
  for (const source of ["10.44.0.3", "192.0.2.1", "203.0.113.7"]) t.is((await bench.fromUplink(ip(source, "203.0.114.10", tcp(5000, 80, "S")))).verdict, "drop MARTIAN", source);
});

test.serial("nothing from outside enters an internal network by a service, whichever node balances", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(ip(client4, "203.0.114.10", tcp(5000, 81, "S")))).verdict, "drop INTERNAL_NETWORK");
  t.is((await bench.fromUplink(wrapped("10.44.2.2", 8080, ip(client4, web4, tcp(5000, 80, "S"))))).verdict, "drop INTERNAL_NETWORK");
});

test.serial("what a balancing node wraps reaches the container that it names, and is answered from here", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(wrapped("10.44.0.2", 8080, ip(client4, web4, tcp(5000, 80, "S")))), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp S ttl 64` });
  t.regex((await bench.fromContainer(a, ip("10.44.0.2", client4, tcp(8080, 5000, "SA")))).packet, /203\.0\.113\.200:80 > 198\.51\.100\.7:5000 tcp SA ttl 63$/);
  t.deepEqual(await bench.fromUplink(wrapped("10.44.0.2", 8080, ip(client4, web4, tcp(5000, 80, "A", "GET /")))), { verdict: "redirect", packet: `${into} 198.51.100.7:5000 > 10.44.0.2:8080 tcp A ttl 64` });
  t.deepEqual(await bench.fromUplink(wrapped("fd44::2", 8080, ip(client6, web6, tcp(5000, 80, "S")))), { verdict: "redirect", packet: `${into} [2001:db8:c::7]:5000 > [fd44::2]:8080 tcp S ttl 64` });
  t.regex((await bench.fromContainer(a, ip("fd44::2", client6, tcp(8080, 5000, "SA")))).packet, /\[2001:db8:5::20\]:80 > \[2001:db8:c::7\]:5000 tcp SA ttl 63$/);
});

test.serial("a container's SYN-ACK offers no more than fits when it is wrapped, wherever the option lies, and else what it will (R77)", async (t) => {
  const { bench } = t.context;
  const offer = (size: number): readonly number[] => [2, 4, size >> 8, size & 255];
  const answers = async (options: readonly number[], port = 5000): Promise<string> =>
    /tcp SA.*(?= ttl 63$)/.exec((await bench.fromContainer(a, ip("10.44.0.2", client4, tcp(8080, port, "SA", "", options)))).packet ?? "")?.[0] ?? "";
  await bench.fromUplink(wrapped("10.44.0.2", 8080, ip(client4, web4, tcp(5000, 80, "S"))));
  t.is(await answers(offer(1460)), "tcp SA mss 1398");
  t.is(await answers([1, ...offer(1460), 3, 3, 7]), "tcp SA mss 1398", "at an odd place");
  t.is(await answers([4, 2, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, ...offer(8960)]), "tcp SA mss 1398");
  t.is(await answers(offer(1398)), "tcp SA mss 1398");
  t.is(await answers(offer(536)), "tcp SA mss 536", "less than fits");
  t.is(await answers([]), "tcp SA");
  t.is(await answers([8, 0, ...offer(1460)]), "tcp SA mss 1460", "an option without a length");
  t.is(await answers([2, 3, 5, 180]), "tcp SA mss 1460", "of another length");
  t.is(await answers([...Array.from({ length: 36 }, () => 1), ...offer(1460)]), "tcp SA mss 1460", "behind more than anybody sends");
  await bench.fromUplink(wrapped("fd44::2", 8080, ip(client6, web6, tcp(5000, 80, "S"))));
  t.regex((await bench.fromContainer(a, ip("fd44::2", client6, tcp(8080, 5000, "SA", "", offer(1440))))).packet ?? "", /tcp SA mss 1366 ttl 63$/);
  await bench.fromUplink(ip(client4, "203.0.114.10", tcp(5001, 80, "S")));
  t.is(await answers(offer(1460), 5001), "tcp SA mss 1460", "a client of this node's");
});

test.serial("errors and fragments that a balancing node wraps follow their flow", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(wrapped("10.44.0.2", 53, ip(client4, web4, udp(5000, 53, "who?"))));
  const error = ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, udp(53, 5000, "x")), { mtu: 1400 }));
  t.deepEqual(await bench.fromUplink(wrapped("10.44.0.2", 53, error)), { verdict: "redirect", packet: `${into} 192.0.2.77 > 10.44.0.2 icmp 3/4 mtu 1400 { 10.44.0.2:53 > 198.51.100.7:5000 udp ttl 64 } ttl 64` });
  const whole = udp(5000, 53, "x".repeat(96));
  const part = (offset: number, more: boolean): Packet => wrapped("10.44.0.2", 53, ipv4(client4, web4, slice(whole, offset, 48), { id: 9, offset, more }));
  t.is((await bench.fromUplink(part(48, false))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
  t.is((await bench.fromUplink(part(0, true))).packet, `${into} 198.51.100.7:5000 > 10.44.0.2:53 udp ttl 64 fragment 0+`);
  t.is((await bench.fromUplink(part(48, false))).packet, `${into} 198.51.100.7 > 10.44.0.2 protocol 17 ttl 64 fragment 48`);
});

test.serial("a node names only containers that are here, and only for clients that may be clients", async (t) => {
  const { bench } = t.context;
  const syn = ip(client4, web4, tcp(5000, 80, "S"));
  t.is((await bench.fromUplink(wrapped("10.44.0.99", 8080, syn))).verdict, "drop NO_SUCH_ADDRESS");
  t.is((await bench.fromUplink(wrapped("10.88.0.2", 8080, syn))).verdict, "drop NO_SUCH_ADDRESS", "a guest's");
  t.is((await bench.fromUplink(wrapped("192.0.2.1", 22, syn))).verdict, "drop NO_SUCH_ADDRESS", "the host's own");
  for (const source of ["10.44.0.3", "192.0.2.1", "127.0.0.1"]) t.true(["drop MARTIAN"].includes((await bench.fromUplink(wrapped("10.44.0.2", 8080, ip(source, web4, tcp(5000, 80, "S"))))).verdict), source);
  t.is((await bench.fromUplink(wrapped("10.44.0.2", 8080, ip(client4, web4, icmpError(3, 3, ip(web4, client4, tcp(80, 5009, "A"))))))).verdict, "drop ICMP_WITHOUT_FLOW");
});

test.serial("what is not exactly so wrapped is left to the host", async (t) => {
  const { bench } = t.context;
  const syn = ip(client4, web4, tcp(5000, 80, "S"));
  const odd: Readonly<Record<string, Packet>> = {
    "a stranger": wrapped("10.44.0.2", 8080, syn, { from: "192.0.2.77" }), "another key": wrapped("10.44.0.2", 8080, syn, { key: "00012300" }), "another option": wrapped("10.44.0.2", 8080, syn, { about: "01028102" }),
    "more options": wrapped("10.44.0.2", 8080, syn, { kind: "04406558" }), "congestion outside": wrapped("10.44.0.2", 8080, syn, { ecn: 3 }), "a fragment outside": wrapped("10.44.0.2", 8080, syn, { more: true }),
    "options outside": wrapped("10.44.0.2", 8080, syn, { options: [1, 1, 1, 0] }),
  };
  for (const [what, packet] of Object.entries(odd)) t.is((await bench.fromUplink(packet)).verdict, "pass untouched", what);
});
