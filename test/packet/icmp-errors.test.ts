// ICMP errors belong to the flow of the packet that they carry, and are rewritten with it, inside and out (R48).
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { echo, icmpError, ip, protocols, tcp, udp } from "./packets.ts";
import type { Packet, Payload } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => {
  t.context.bench = await openBench();
  for (const proto of [protocols.tcp, protocols.udp]) {
    await t.context.bench.publish("0.0.0.0", 8080, proto, "10.44.0.3", 80);
    await t.context.bench.publish(null, 8080, proto, "fd44::3", 80);
  }
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const toA = `${hostMac} > ${a.mac}`;
const masqueraded = (row: Row): number => Number(/.*:(\d+) > /.exec(row.packet)?.[1]);

test.serial("from a router on the way of a masqueraded flow, whole or cut short", async (t) => {
  const { bench } = t.context;
  for (const [make, words] of [[(port: number) => udp(port, 53, "hello"), "udp"], [(port: number) => tcp(port, 80, "A", "hello"), "tcp A"]] as const) {
    await bench.forget();
    const port = masqueraded(await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", make(5000))));
    const about = ip("192.0.2.1", "198.51.100.7", make(port), { ttl: 1 });
    const expected = `${toA} 192.0.2.254 > 10.44.0.2 icmp 11/0 { 10.44.0.2:5000 > 198.51.100.7:${words === "udp" ? 53 : 80}`;
    t.is((await bench.fromUplink(ip("192.0.2.254", "192.0.2.1", icmpError(11, 0, about)))).packet, `${expected} ${words} ttl 1 } ttl 64`);
    t.is((await bench.fromUplink(ip("192.0.2.254", "192.0.2.1", icmpError(11, 0, about, { length: 28 })))).packet, `${expected} ${words.replace("tcp A", "tcp …")} ttl 1 } ttl 64`);
  }
});

test.serial("from the far end itself, over IPv6, with the size that fits", async (t) => {
  const { bench } = t.context;
  const port = masqueraded(await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", udp(5000, 53, "hello"))));
  t.true(port > 0);
  const about = ip("2001:db8::1", "2001:db8:7::7", udp(Number(port), 53, "hello"));
  t.is((await bench.fromUplink(ip("2001:db8:7::7", "2001:db8::1", icmpError(2, 0, about, { mtu: 1280 })))).packet,
    `${toA} 2001:db8:7::7 > fd44::2 icmp 2/0 mtu 1280 { [fd44::2]:5000 > [2001:db8:7::7]:53 udp ttl 64 } ttl 64`);
});

test.serial("about an echo request", async (t) => {
  const { bench } = t.context;
  const out = await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", echo("request", 7, "ping")));
  const id = Number(/request (\d+)/.exec(out.packet)?.[1]);
  const about = ip("192.0.2.1", "198.51.100.7", echo("request", id, "ping"));
  t.is((await bench.fromUplink(ip("198.51.100.7", "192.0.2.1", icmpError(3, 1, about)))).packet,
    `${toA} 198.51.100.7 > 10.44.0.2 icmp 3/1 { 10.44.0.2 > 198.51.100.7 echo request 7 ttl 64 } ttl 64`);
});

test.serial("from a published port's container, in the host's name", async (t) => {
  const { bench } = t.context;
  const cases: readonly [string, string, string, Packet, Payload][] = [
    ["192.0.2.9", "192.0.2.1", "10.44.0.3", ip("192.0.2.9", "10.44.0.3", udp(4000, 80, "hello")), icmpError(3, 3, ip("192.0.2.9", "10.44.0.3", udp(4000, 80, "hello")))],
    ["2001:db8::9", "2001:db8::1", "fd44::3", ip("2001:db8::9", "fd44::3", udp(4000, 80, "hello")), icmpError(1, 4, ip("2001:db8::9", "fd44::3", udp(4000, 80, "hello")))],
  ];
  for (const [client, host, container, , error] of cases) {
    t.is((await bench.fromUplink(ip(client, host, udp(4000, 8080, "hello")))).verdict, "redirect");
    const { packet } = await bench.fromContainer(b, ip(container, client, error));
    t.regex(packet, client.includes(":")
      ? /2001:db8::1 > 2001:db8::9 icmp 1\/4 \{ \[2001:db8::9\]:4000 > \[2001:db8::1\]:8080 udp ttl 64 \} ttl 63$/
      : /192\.0\.2\.1 > 192\.0\.2\.9 icmp 3\/3 \{ 192\.0\.2\.9:4000 > 192\.0\.2\.1:8080 udp ttl 64 \} ttl 63$/);
  }
});

test.serial("from outside about a published port's answer", async (t) => {
  const { bench } = t.context;
  await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S")));
  const about = ip("192.0.2.1", "192.0.2.9", tcp(8080, 4000, "SA"));
  t.is((await bench.fromUplink(ip("192.0.2.254", "192.0.2.1", icmpError(3, 4, about, { mtu: 1400 })))).packet,
    `${hostMac} > ${b.mac} 192.0.2.254 > 10.44.0.3 icmp 3/4 mtu 1400 { 10.44.0.3:80 > 192.0.2.9:4000 tcp SA ttl 64 } ttl 64`);
});

test.serial("between containers", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", udp(5000, 9)));
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "10.44.0.3", udp(5000, 9)))))).packet,
    `${toA} 10.44.0.3 > 10.44.0.2 icmp 3/3 { 10.44.0.2:5000 > 10.44.0.3:9 udp ttl 64 } ttl 64`);
});

test.serial("a forged error about a flow that is not there goes nowhere (R48)", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "10.44.0.3", udp(5000, 9)))))).verdict, "drop ICMP_WITHOUT_FLOW");
  t.is((await bench.fromUplink(ip("192.0.2.254", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "198.51.100.7", udp(5000, 53)))))).verdict, "drop DIRECT_ACCESS");
  t.is((await bench.fromUplink(ip("192.0.2.254", "192.0.2.1", icmpError(3, 3, ip("192.0.2.1", "198.51.100.7", udp(5000, 53)))))).verdict, "pass untouched");
});

test.serial("a container cannot complain of packets that it was not sent, nor to others than their sender (R48)", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(5000, 53)));
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "198.51.100.7", udp(5000, 53)))))).verdict, "drop ICMP_WITHOUT_FLOW");
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", udp(5000, 9)));
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "198.51.100.7", icmpError(3, 3, ip("10.44.0.2", "10.44.0.3", udp(5000, 9)))))).verdict, "drop ICMP_WITHOUT_FLOW");
});
