// The walk of docs/walks/published-port.md, packet by packet: from the wire, from another container, and from the container itself.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, c, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { ip, protocols, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => {
  t.context.bench = await openBench();
  for (const proto of [protocols.tcp, protocols.udp]) {
    await t.context.bench.publish("0.0.0.0", 8080, proto, "10.44.0.3", 80);
    await t.context.bench.publish(null, 8080, proto, "fd44::3", 80);
  }
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

test.serial("from the wire, over IPv4: the container sees the client, the client sees the host", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S"), { ttl: 60 })), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 192.0.2.9:4000 > 10.44.0.3:80 tcp S ttl 60` });
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "192.0.2.9", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${b.mac} > ${hostMac} 192.0.2.1:8080 > 192.0.2.9:4000 tcp SA ttl 63` });
  t.deepEqual(await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", udp(4000, 8080, "hello"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 192.0.2.9:4000 > 10.44.0.3:80 udp ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "192.0.2.9", udp(80, 4000, "hello"))), { verdict: "redirect", packet: `${b.mac} > ${hostMac} 192.0.2.1:8080 > 192.0.2.9:4000 udp ttl 63` });
});

test.serial("from the wire, over IPv6", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(ip("2001:db8::9", "2001:db8::1", tcp(4000, 8080, "S"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} [2001:db8::9]:4000 > [fd44::3]:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("fd44::3", "2001:db8::9", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${b.mac} > ${hostMac} [2001:db8::1]:8080 > [2001:db8::9]:4000 tcp SA ttl 63` });
});

test.serial("from a container of another network, which keeps its address", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(c, ip("10.44.1.2", "192.0.2.1", tcp(4000, 8080, "S"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 10.44.1.2:4000 > 10.44.0.3:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.1.2", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${hostMac} > ${c.mac} 192.0.2.1:8080 > 10.44.1.2:4000 tcp SA ttl 64` });
});

test.serial("from a container of the same network, by the gateway's address", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.1", tcp(4000, 8080, "S"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 10.44.0.2:4000 > 10.44.0.3:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${hostMac} > ${a.mac} 10.44.0.1:8080 > 10.44.0.2:4000 tcp SA ttl 64` });
});

test.serial("from the container itself, to which the gateway is the client", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "192.0.2.1", tcp(4000, 8080, "S"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 10.44.0.1:4000 > 10.44.0.3:80 tcp S ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.1", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} 192.0.2.1:8080 > 10.44.0.3:4000 tcp SA ttl 64` });
  t.deepEqual(await bench.fromContainer(b, ip("fd44::3", "2001:db8::1", udp(4000, 8080, "hi"))), { verdict: "redirect", packet: `${hostMac} > ${b.mac} [fd44::1]:4000 > [fd44::3]:80 udp ttl 64` });
});

test.serial("a container on several networks has one way out: it answers by it as its place on another one, but begins nothing as that", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S")));
  await bench.fromUplink(ip("2001:db8::9", "2001:db8::1", tcp(4000, 8080, "S")));
  const answer = ip("10.44.0.3", "192.0.2.9", tcp(80, 4000, "SA"));
  t.is((await bench.fromContainer(c, answer)).verdict, "drop INVALID_SOURCE_IP");
  await bench.areOne([b, c]);
  t.deepEqual(await bench.fromContainer(c, answer), { verdict: "redirect", packet: `${c.mac} > ${hostMac} 192.0.2.1:8080 > 192.0.2.9:4000 tcp SA ttl 63` });
  t.is((await bench.fromContainer(c, ip("10.44.0.3", "192.0.2.9", tcp(5000, 443, "S")))).verdict, "drop INVALID_SOURCE_IP");
  t.is((await bench.fromContainer(a, answer)).verdict, "drop INVALID_SOURCE_IP");
  t.is((await bench.fromContainer(c, ip("10.44.0.2", "192.0.2.9", tcp(80, 4000, "SA")))).verdict, "drop INVALID_SOURCE_IP");
  await bench.areOne([b, a]);
  t.deepEqual(await bench.fromContainer(a, ip("fd44::3", "2001:db8::9", tcp(80, 4000, "SA"))), { verdict: "redirect", packet: `${a.mac} > ${hostMac} [2001:db8::1]:8080 > [2001:db8::9]:4000 tcp SA ttl 63` });
});
