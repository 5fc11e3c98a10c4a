// Between the host's own stack and containers: out of hwhost, and into a container's veth.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, c, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, echo, icmpError, ip, ipv4, ipv6, neighbourDiscovery, slice, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const drop = (reason: string, row: Row): [string, string] => [`drop ${reason}`, row.verdict];

test.serial("what leaves by hwhost goes to the container's veth, as it is", async (t) => {
  const { bench } = t.context;
  for (const packet of [ip("10.44.0.1", "10.44.0.2", tcp(4000, 80, "S")), ip("fd44::1", "fd44::3", udp(4000, 53))]) t.is((await bench.fromHost(packet)).verdict, "redirect");
});

test.serial("what leaves by hwhost for no container is dropped and counted", async (t) => {
  const { bench } = t.context;
  t.is(...drop("NO_SUCH_ADDRESS", await bench.fromHost(ip("10.44.0.1", "10.44.0.77", tcp(4000, 80, "S")))));
  t.is(...drop("MULTICAST", await bench.fromHost(ip("10.44.0.1", "224.0.0.251", udp(5353, 5353)))));
  t.is(...drop("MULTICAST", await bench.fromHost(ipv6("fe80::1", "ff02::2", neighbourDiscovery(133, "::")))));
  t.is(...drop("UNKNOWN_PROTOCOL", await bench.fromHost(arp("request", { mac: hostMac, ip: "10.44.0.1" }, { ip: "10.44.0.2" }))));
});

test.serial("the host reaches a container, and the answer goes back to the host", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.toContainer(a, ip("10.44.0.1", "10.44.0.2", tcp(4000, 80, "S"))), { verdict: "pass", packet: `${hostMac} > ${a.mac} 10.44.0.1:4000 > 10.44.0.2:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.1", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${a.mac} > ${hostMac} 10.44.0.2:80 > 10.44.0.1:4000 tcp SA ttl 64` });
  t.is((await bench.toContainer(a, ip("fd44::1", "fd44::2", echo("request", 9, "", 6)))).verdict, "pass");
  t.is((await bench.fromContainer(a, ip("fd44::2", "fd44::1", echo("reply", 9, "", 6)))).verdict, "redirect");
});

test.serial("the host forwards nothing to a container by its address (R44)", async (t) => {
  const { bench } = t.context;
  t.is(...drop("DIRECT_ACCESS", await bench.toContainer(a, ip("192.0.2.9", "10.44.0.2", tcp(4000, 80, "S")))));
  t.is(...drop("DIRECT_ACCESS", await bench.toContainer(a, ip("10.44.0.3", "10.44.0.2", tcp(4000, 80, "S")))));
});

test.serial("a container gets only what is addressed to it, and no router's word (R39, R40)", async (t) => {
  const { bench } = t.context;
  t.is(...drop("NO_SUCH_ADDRESS", await bench.toContainer(a, ip("10.44.0.1", "10.44.0.3", tcp(4000, 80, "S")))));
  t.is(...drop("MULTICAST", await bench.toContainer(a, ipv6("fd44::1", "ff02::1", neighbourDiscovery(134, "::"), { ttl: 255 }))));
  t.is(...drop("UNKNOWN_PROTOCOL", await bench.toContainer(a, ipv6("fd44::1", "fd44::2", neighbourDiscovery(134, "::"), { ttl: 255 }))));
  t.is(...drop("UNKNOWN_PROTOCOL", await bench.toContainer(a, arp("reply", { mac: hostMac, ip: "10.44.0.1" }, { mac: a.mac, ip: "10.44.0.2" }))));
  t.is(...drop("IPV6_OFF", await bench.toContainer(c, ip("fd44::1", "fd44::2", udp(4000, 53)))));
});

test.serial("the host's complaint of a container's packet passes, whether or not that opened a flow", async (t) => {
  const about = ip("10.44.0.2", "10.44.0.1", udp(5000, 9));
  t.deepEqual(await t.context.bench.toContainer(a, ip("10.44.0.1", "10.44.0.2", icmpError(3, 3, about))), {
    verdict: "pass", packet: `${hostMac} > ${a.mac} 10.44.0.1 > 10.44.0.2 icmp 3/3 { 10.44.0.2:5000 > 10.44.0.1:9 udp ttl 64 } ttl 64`,
  });
});

test.serial("the host's fragmented datagrams arrive in any order", async (t) => {
  const { bench } = t.context;
  const datagram = udp(4000, 53, "x".repeat(64));
  t.is((await bench.toContainer(a, ipv4("10.44.0.1", "10.44.0.2", slice(datagram, 48, 24), { offset: 48, id: 4 }))).verdict, "pass");
  t.is((await bench.toContainer(a, ipv4("10.44.0.1", "10.44.0.2", slice(datagram, 0, 48), { more: true, id: 4 }))).verdict, "pass");
});

test.serial("what is longer than the container's MTU is dropped", async (t) => {
  const { bench } = t.context;
  await bench.setMtu(b, 1000);
  t.is(...drop("MTU_EXCEEDED", await bench.toContainer(b, ip("10.44.0.1", "10.44.0.3", udp(4000, 53, "x".repeat(1000))))));
  await bench.setMtu(b, 1500);
});
