// What a container may send, and where it goes: frame in, verdict, frame out.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, c, d, e, f, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, echo, icmp, ip, ipv4, ipv6, neighbourDiscovery, other, protocols, sctp, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const toB = `${hostMac} > ${b.mac}`;
const untouched = `${a.mac} > ${hostMac}`;
const drop = (reason: string, row: Row): [string, string] => [`drop ${reason}`, row.verdict];

test.serial("its frames come from its own MAC, or are dropped (R38)", async (t) => {
  const row = await t.context.bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", udp(5000, 53)), { source: b.mac });
  t.is(...drop("INVALID_SOURCE_MAC", row));
});

test.serial("its packets come from its own addresses, or are dropped (R37)", async (t) => {
  const { bench } = t.context;
  for (const source of ["10.44.0.3", "10.44.0.1", "192.0.2.9"]) t.is(...drop("INVALID_SOURCE_IP", await bench.fromContainer(a, ip(source, "10.44.0.3", udp(5000, 53)))));
  for (const source of ["fd44::3", "fe80::1", "2001:db8::1"]) t.is(...drop("INVALID_SOURCE_IP", await bench.fromContainer(a, ip(source, "fd44::3", udp(5000, 53)))));
});

test.serial("an ARP request for its gateway or a neighbour is answered with the host's MAC", async (t) => {
  for (const asked of ["10.44.0.1", "10.44.0.3"]) {
    t.deepEqual(await t.context.bench.fromContainer(a, arp("request", { mac: a.mac, ip: "10.44.0.2" }, { ip: asked }), { destination: "ff:ff:ff:ff:ff:ff" }), {
      verdict: "redirect",
      packet: `${hostMac} > ${a.mac} arp ${asked} is at ${hostMac} told 10.44.0.2 at ${a.mac}`,
    });
  }
});

test.serial("an ARP request for itself or another network's container is not answered", async (t) => {
  const { bench } = t.context;
  const probe = (sender: string, asked: string): Promise<Row> => bench.fromContainer(a, arp("request", { mac: a.mac, ip: sender }, { ip: asked }));
  t.is(...drop("NO_SUCH_ADDRESS", await probe("0.0.0.0", "10.44.0.2")));
  t.is(...drop("NO_SUCH_ADDRESS", await probe("10.44.0.2", "10.44.1.2")));
  t.is(...drop("NO_SUCH_ADDRESS", await probe("10.44.0.2", "10.44.1.1")));
});

test.serial("gratuitous, foreign and unasked ARP is dropped (R38)", async (t) => {
  const { bench } = t.context;
  t.is(...drop("INVALID_ARP", await bench.fromContainer(a, arp("request", { mac: a.mac, ip: "10.44.0.2" }, { ip: "10.44.0.2" }))));
  t.is(...drop("INVALID_ARP", await bench.fromContainer(a, arp("request", { mac: b.mac, ip: "10.44.0.2" }, { ip: "10.44.0.1" }))));
  t.is(...drop("INVALID_ARP", await bench.fromContainer(a, arp("request", { mac: a.mac, ip: "10.44.0.1" }, { ip: "10.44.0.3" }))));
  t.is(...drop("INVALID_ARP", await bench.fromContainer(a, arp("reply", { mac: a.mac, ip: "10.44.0.1" }, { mac: b.mac, ip: "10.44.0.3" }))));
});

test.serial("a neighbour solicitation for its gateway or a neighbour is answered with the host's MAC", async (t) => {
  const { bench } = t.context;
  for (const asked of ["fd44::1", "fd44::3"]) {
    t.deepEqual(await bench.fromContainer(a, ipv6("fd44::2", "ff02::1:ff00:1", neighbourDiscovery(135, asked, a.mac), { ttl: 255 }), { destination: "33:33:ff:00:00:01" }), {
      verdict: "redirect",
      packet: `${hostMac} > ${a.mac} ${asked} > fd44::2 nd 136 ${asked} at ${hostMac} flags 60 ttl 255`,
    });
  }
  // Reachability probes carry no option; a link-local asker gets its answer too.
  t.is((await bench.fromContainer(a, ipv6("fe80::2", "fd44::1", neighbourDiscovery(135, "fd44::1"), { ttl: 255 }))).packet,
    `${hostMac} > ${a.mac} fd44::1 > fe80::2 nd 136 fd44::1 at ${hostMac} flags 60 ttl 255`);
});

test.serial("duplicate address detection is met with silence", async (t) => {
  t.is(...drop("MULTICAST", await t.context.bench.fromContainer(a, ipv6("::", "ff02::1:ff00:2", neighbourDiscovery(135, "fd44::2"), { ttl: 255 }))));
});

test.serial("router advertisements, redirects and advertisements for others are dropped (R39)", async (t) => {
  const { bench } = t.context;
  const nd = (type: number, ttl = 255, source = "fd44::2"): Promise<Row> => bench.fromContainer(a, ipv6(source, "fd44::3", neighbourDiscovery(type, "fd44::1", a.mac), { ttl }));
  t.is(...drop("ROUTER_ADVERTISEMENT", await nd(134)));
  t.is(...drop("ROUTER_ADVERTISEMENT", await nd(134, 255, "fe80::1")));
  t.is(...drop("INVALID_ND", await nd(136)));
  t.is(...drop("INVALID_ND", await nd(137)));
  t.is(...drop("INVALID_ND", await nd(135, 64)));
  t.is(...drop("INVALID_SOURCE_IP", await nd(135, 255, "fd44::3")));
  t.is(...drop("MULTICAST", await nd(133)));
});

test.serial("on a network without IPv6 nothing of it leaves (R40)", async (t) => {
  const { bench } = t.context;
  for (const packet of [ipv6("fe80::2", "ff02::2", neighbourDiscovery(133, "::")), ip("fe80::2", "fe80::1", udp(1, 2)), ip("fe80::2", "ff02::fb", udp(5353, 5353))]) {
    t.is(...drop("IPV6_OFF", await bench.fromContainer(c, packet)));
  }
});

test.serial("multicast and broadcast are dropped (R49)", async (t) => {
  const { bench } = t.context;
  t.is(...drop("MULTICAST", await bench.fromContainer(a, ip("10.44.0.2", "224.0.0.251", udp(5353, 5353)))));
  t.is(...drop("MULTICAST", await bench.fromContainer(a, ip("10.44.0.2", "255.255.255.255", udp(68, 67)))));
  t.is(...drop("MULTICAST", await bench.fromContainer(a, ip("fd44::2", "ff02::fb", udp(5353, 5353)))));
});

test.serial("frames that are neither IP nor ARP are dropped, and so are tagged ones", async (t) => {
  const { bench } = t.context;
  for (const ethertype of [0x8100, 0x88cc, 0x888e]) t.is(...drop("UNKNOWN_PROTOCOL", await bench.fromContainer(a, { ethertype, bytes: new Uint8Array(60) })));
});

test.serial("tunnels out of a container are dropped (R41)", async (t) => {
  const { bench } = t.context;
  for (const protocol of [protocols.ipip, 41, protocols.gre]) t.is(...drop("ENCAP_PROHIBITED", await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.9", other(protocol)))));
  for (const port of [8472, 4789, 6081]) t.is(...drop("ENCAP_PROHIBITED", await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.1", udp(5000, port)))));
  t.is(...drop("UNKNOWN_PROTOCOL", await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.9", other(112)))));
});

test.serial("IPv4 options are read over, but source routes are dropped (R47)", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", udp(5000, 53), { options: [1, 1, 148, 4, 0, 0, 0, 0] })), {
    verdict: "redirect", packet: `${toB} 10.44.0.2:5000 > 10.44.0.3:53 udp ttl 64`,
  });
  for (const kind of [131, 137]) {
    t.is(...drop("INVALID_OPTIONS", await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", udp(5000, 53), { options: [1, kind, 7, 4, 10, 44, 0, 3] }))));
  }
  t.is(...drop("INVALID_OPTIONS", await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", udp(5000, 53), { routing: 1 }))));
});

test.serial("a malformed packet is dropped", async (t) => {
  const { bench } = t.context;
  const packet = ipv4("10.44.0.2", "10.44.0.3", udp(5000, 53));
  t.is(...drop("MALFORMED", await bench.fromContainer(a, { ...packet, bytes: packet.bytes.slice(0, 24) })));
  t.is(...drop("MALFORMED", await bench.fromContainer(a, { ...packet, bytes: packet.bytes.with(0, 0x44) })));
});

test.serial("containers of one network reach each other, over TCP, UDP, SCTP and echo", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S"))), { verdict: "redirect", packet: `${toB} 10.44.0.2:5000 > 10.44.0.3:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ip("fd44::2", "fd44::3", udp(5000, 53))), { verdict: "redirect", packet: `${toB} [fd44::2]:5000 > [fd44::3]:53 udp ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", sctp(5000, 9))), { verdict: "redirect", packet: `${toB} 10.44.0.2:5000 > 10.44.0.3:9 sctp ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", echo("request", 7))), { verdict: "redirect", packet: `${toB} 10.44.0.2 > 10.44.0.3 echo request 7 ttl 64` });
});

test.serial("containers of different networks do not, and neither do those of one without ICC", async (t) => {
  const { bench } = t.context;
  t.is(...drop("NETWORK_ISOLATED", await bench.fromContainer(a, ip("10.44.0.2", "10.44.1.2", tcp(5000, 80, "S")))));
  t.is(...drop("INTERNAL_NETWORK", await bench.fromContainer(a, ip("10.44.0.2", "10.44.2.2", tcp(5000, 80, "S")))));
  t.is(...drop("ICC_DISABLED", await bench.fromContainer(e, ip("10.44.3.2", "10.44.3.3", tcp(5000, 80, "S")))));
  t.is(f.network, e.network);
});

test.serial("an internal network has no way out, and of the host only its gateway", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 8080, protocols.tcp, "10.44.0.3", 80);
  for (const target of ["198.51.100.7", "192.0.2.1", "10.44.0.1", "10.44.1.2"]) t.is(...drop("INTERNAL_NETWORK", await bench.fromContainer(d, ip("10.44.2.2", target, tcp(5000, 8080, "S")))));
  t.is((await bench.fromContainer(d, ip("10.44.2.2", "10.44.2.1", tcp(5000, 8080, "S")))).verdict, "redirect");
});

test.serial("the host is reached as it is, by the gateway's address and its own", async (t) => {
  const { bench } = t.context;
  for (const target of ["10.44.0.1", "192.0.2.1"]) {
    t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", target, tcp(5000, 22, "S"))), { verdict: "redirect", packet: `${untouched} 10.44.0.2:5000 > ${target}:22 tcp S ttl 64` });
  }
  t.is((await bench.fromContainer(a, ip("fd44::2", "2001:db8::1", tcp(5000, 22, "S")))).verdict, "redirect");
});

test.serial("a packet to the world leaves by an uplink or not at all", async (t) => {
  const { bench } = t.context;
  t.is(...drop("NOT_AN_UPLINK", await bench.fromContainer(a, ip("10.44.0.2", "203.0.113.9", tcp(5000, 80, "S")))));
  t.is(...drop("NO_ROUTE", await bench.fromContainer(a, ip("10.44.0.2", "198.18.0.1", tcp(5000, 80, "S")))));
  for (const target of ["127.0.0.1", "0.0.0.0"]) t.is(...drop("MARTIAN", await bench.fromContainer(a, ip("10.44.0.2", target, tcp(5000, 80, "S")))));
  for (const target of ["::1", "::"]) t.is(...drop("MARTIAN", await bench.fromContainer(a, ip("fd44::2", target, tcp(5000, 80, "S")))));
  t.is(...drop("NO_SUCH_ADDRESS", await bench.fromContainer(a, ip("fd44::2", "fe80::99", tcp(5000, 80, "S")))));
});

test.serial("without masquerade a flow to the world keeps its address, one hop less", async (t) => {
  t.deepEqual(await t.context.bench.fromContainer(e, ip("10.44.3.2", "198.51.100.7", tcp(5000, 80, "S"))), {
    verdict: "redirect", packet: `${e.mac} > ${hostMac} 10.44.3.2:5000 > 198.51.100.7:80 tcp S ttl 63`,
  });
});

test.serial("a packet whose hop limit ends here is answered with time exceeded", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(5000, 33434), { ttl: 1 })), {
    verdict: "redirect",
    packet: `${hostMac} > ${a.mac} 10.44.0.1 > 10.44.0.2 icmp 11/0 { 10.44.0.2:5000 > 198.51.100.7:33434 udp ttl 1 } ttl 64`,
  });
  t.deepEqual(await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", udp(5000, 33434, "x".repeat(200)), { ttl: 1 })), {
    verdict: "redirect",
    packet: `${hostMac} > ${a.mac} fd44::1 > fd44::2 icmp 3/0 { [fd44::2]:5000 > [2001:db8:7::7]:33434 udp ttl 1 } ttl 64`,
  });
});

test.serial("a packet longer than its way allows is answered with the size that fits", async (t) => {
  const { bench } = t.context;
  const long = "x".repeat(1400);
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "198.51.100.200", udp(5000, 53, long), { df: true }))).packet,
    `${hostMac} > ${a.mac} 10.44.0.1 > 10.44.0.2 icmp 3/4 mtu 1300 { 10.44.0.2:5000 > 198.51.100.200:53 udp ttl 64 } ttl 64`);
  t.is((await bench.fromContainer(a, ip("fd44::2", "2001:db8:5ca1::1", udp(5000, 53, long)))).packet,
    `${hostMac} > ${a.mac} fd44::1 > fd44::2 icmp 2/0 mtu 1300 { [fd44::2]:5000 > [2001:db8:5ca1::1]:53 udp ttl 64 } ttl 64`);
  // What will be cut into segments that fit is not too long.
  t.is((await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.200", tcp(5000, 80, "A", long)), { gsoSize: 700 })).packet.includes("tcp A ttl 63"), true);
});

test.serial("an echo reply that nobody asked for is dropped", async (t) => {
  const { bench } = t.context;
  t.is(...drop("ICMP_WITHOUT_FLOW", await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", echo("reply", 9)))));
  t.is(...drop("UNKNOWN_PROTOCOL", await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", icmp(5, 1, new Uint8Array(32))))));
});

test.serial("a device that no endpoint claims is silent", async (t) => {
  t.is(...drop("UNKNOWN_ENDPOINT", await t.context.bench.send("from_container", "vpn0", new Uint8Array(60))));
});
