// What arrives from the wire: what is ours, what is the host's, and what is nobody's.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, echo, ip, ipv4, neighbourDiscovery, ipv6, other, protocols, sctp, slice, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => {
  const bench = await openBench();
  t.context.bench = bench;
  for (const proto of [protocols.tcp, protocols.udp]) {
    await bench.publish("0.0.0.0", 8080, proto, "10.44.0.3", 80);
    await bench.publish(null, 8080, proto, "fd44::3", 80);
  }
  await bench.publish("127.0.0.1", 9000, protocols.tcp, "10.44.0.3", 80);
  await bench.publish("192.0.2.1", 8081, protocols.tcp, "10.44.0.2", 81);
  await bench.publish("0.0.0.0", 8081, protocols.tcp, "10.44.0.3", 80);
  await bench.publish("0.0.0.0", 36412, protocols.sctp, "10.44.0.3", 36412);
  await bench.publish("0.0.0.0", 36413, protocols.sctp, "10.44.0.3", 36412);
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const drop = (reason: string, row: Row): [string, string] => [`drop ${reason}`, row.verdict];
const toB = `${hostMac} > ${b.mac}`;

test.serial("the host's own traffic passes untouched and uncounted", async (t) => {
  const { bench } = t.context;
  const rows = [
    ip("198.51.100.7", "192.0.2.1", tcp(4000, 22, "S")), ip("198.51.100.7", "192.0.2.1", udp(53, 40000)), ip("2001:db8::9", "2001:db8::1", tcp(4000, 22, "S")),
    ip("198.51.100.7", "192.0.2.1", echo("request", 3)), ip("192.0.2.9", "224.0.0.1", other(2)), ip("192.0.2.9", "192.0.2.1", other(47)),
    arp("request", { mac: "02:00:00:00:00:fe", ip: "192.0.2.254" }, { ip: "192.0.2.1" }),
    ipv6("fe80::fe", "ff02::1", neighbourDiscovery(134, "::"), { ttl: 255 }), { ethertype: 0x88cc, bytes: new Uint8Array(60) },
  ];
  for (const packet of rows) t.is((await bench.fromUplink(packet)).verdict, "pass untouched");
});

test.serial("packets from or to loopback addresses are dropped (R45)", async (t) => {
  const { bench } = t.context;
  t.is(...drop("MARTIAN", await bench.fromUplink(ip("192.0.2.9", "127.0.0.1", tcp(4000, 9000, "S")))));
  t.is(...drop("MARTIAN", await bench.fromUplink(ip("127.0.0.1", "192.0.2.1", tcp(4000, 8080, "S")))));
  t.is(...drop("MARTIAN", await bench.fromUplink(ip("::1", "2001:db8::1", tcp(4000, 8080, "S")))));
});

test.serial("a port published on a loopback address is not there from outside (R45)", async (t) => {
  t.is((await t.context.bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 9000, "S")))).verdict, "pass untouched");
});

test.serial("nobody outside reaches a container by its own address (R44)", async (t) => {
  const { bench } = t.context;
  for (const packet of [
    ip("192.0.2.9", "10.44.0.3", tcp(4000, 80, "S")), ip("192.0.2.9", "10.44.0.3", tcp(4000, 80, "A")), ip("192.0.2.9", "10.44.0.3", echo("request", 3)),
    ip("192.0.2.9", "10.44.0.3", echo("reply", 3)), ip("192.0.2.9", "10.44.0.3", other(47)), ip("2001:db8::9", "fd44::3", udp(4000, 53)),
    ipv4("192.0.2.9", "10.44.0.3", slice(udp(4000, 53, "x".repeat(64)), 16, 16), { offset: 16, id: 4 }),
  ]) t.is(...drop("DIRECT_ACCESS", await bench.fromUplink(packet)));
});

test.serial("a forged container address does not ride on a flow between containers (R37)", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")))).verdict, "redirect");
  t.is(...drop("DIRECT_ACCESS", await bench.fromUplink(ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "A")))));
  t.is(...drop("DIRECT_ACCESS", await bench.fromUplink(ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "SA")))));
});

test.serial("a forged container address does not reach a published port (R37)", async (t) => {
  t.is(...drop("MARTIAN", await t.context.bench.fromUplink(ip("10.44.0.2", "192.0.2.1", tcp(5000, 8080, "S")))));
});

test.serial("an exact host address wins over every address", async (t) => {
  t.is((await t.context.bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8081, "S")))).packet, `${hostMac} > ${a.mac} 192.0.2.9:4000 > 10.44.0.2:81 tcp S ttl 64`);
});

test.serial("the gateway's address publishes nothing to the outside", async (t) => {
  t.is((await t.context.bench.fromUplink(ip("192.0.2.9", "10.44.0.1", tcp(4000, 8080, "S")))).verdict, "pass untouched");
});

test.serial("a UDP datagram without checksum keeps having none", async (t) => {
  t.deepEqual(await t.context.bench.fromUplink(ip("192.0.2.9", "192.0.2.1", udp(4000, 8080, "hi", { checksum: "none" }))), {
    verdict: "redirect", packet: `${toB} 192.0.2.9:4000 > 10.44.0.3:80 udp unsummed ttl 64`,
  });
});

test.serial("SCTP is published on its own port only, because its checksum covers ports and cannot be mended", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", sctp(4000, 36412))), { verdict: "redirect", packet: `${toB} 192.0.2.9:4000 > 10.44.0.3:36412 sctp ttl 64` });
  t.is(...drop("REWRITE_FAILED", await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", sctp(4000, 36413)))));
});

test.serial("a connection whose entries were evicted is picked up in its middle", async (t) => {
  t.is((await t.context.bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "A")))).packet, `${toB} 192.0.2.9:4000 > 10.44.0.3:80 tcp A ttl 64`);
});

test.serial("what is longer than the container's MTU is dropped", async (t) => {
  const { bench } = t.context;
  await bench.setMtu(b, 1000);
  t.is(...drop("MTU_EXCEEDED", await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", udp(4000, 8080, "x".repeat(1000))))));
  await bench.setMtu(b, 1500);
});

test.serial("source-routed packets to a published port are dropped (R47)", async (t) => {
  t.is(...drop("INVALID_OPTIONS", await t.context.bench.fromUplink(ipv4("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S"), { options: [131, 7, 4, 10, 44, 0, 3, 0] }))));
});
