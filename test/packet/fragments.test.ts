// Fragmented datagrams: the first fragment has the ports, the later ones follow it.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { ipv4, ipv6, protocols, slice, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.before(async (t) => {
  t.context.bench = await openBench();
  await t.context.bench.publish("0.0.0.0", 8080, protocols.udp, "10.44.0.3", 80);
});
test.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.beforeEach(async (t) => { await t.context.bench.forget(); });

const toB = `${hostMac} > ${b.mac}`;

test.serial("later fragments follow the first, over IPv4 and IPv6 (R47)", async (t) => {
  const { bench } = t.context;
  const datagram = udp(5000, 53, "x".repeat(64));
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(datagram, 0, 48), { more: true, id: 9 }))).packet, `${toB} 10.44.0.2:5000 > 10.44.0.3:53 udp ttl 64 fragment 0+`);
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(datagram, 48, 24), { offset: 48, id: 9 }))).packet, `${toB} 10.44.0.2 > 10.44.0.3 protocol 17 ttl 64 fragment 48`);
  t.is((await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", slice(datagram, 0, 48), { fragment: { id: 9, offset: 0, more: true } }))).packet, `${toB} [fd44::2]:5000 > [fd44::3]:53 udp ttl 64 fragment 0+`);
  t.is((await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", slice(datagram, 48, 24), { fragment: { id: 9, offset: 48, more: false } }))).packet, `${toB} fd44::2 > fd44::3 protocol 17 ttl 64 fragment 48`);
});

test.serial("a later fragment without its first is dropped (R47)", async (t) => {
  const { bench } = t.context;
  const later = slice(udp(5000, 53, "x".repeat(64)), 48, 24);
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", later, { offset: 48, id: 10 }))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
  t.is((await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", later, { fragment: { id: 10, offset: 48, more: false } }))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
});

test.serial("a later fragment of the host's own passes untouched", async (t) => {
  t.is((await t.context.bench.fromUplink(ipv4("192.0.2.9", "192.0.2.1", slice(udp(5000, 53, "x".repeat(64)), 48, 24), { offset: 48, id: 11 }))).verdict, "pass untouched");
});

test.serial("fragments that would rewrite a TCP header or carry only a part of one are dropped (R47)", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(tcp(5000, 80, "S", "x".repeat(16)), 0, 8), { more: true, id: 12 }))).verdict, "drop MALFORMED");
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(tcp(5000, 80, "S", "x".repeat(16)), 8, 16), { offset: 8, id: 12 }))).verdict, "drop MALFORMED");
});

test.serial("masqueraded and published datagrams keep their fragments together", async (t) => {
  const { bench } = t.context;
  const datagram = udp(5000, 53, "x".repeat(64));
  t.regex((await bench.fromContainer(a, ipv4("10.44.0.2", "198.51.100.7", slice(datagram, 0, 48), { more: true, id: 13 }))).packet, /192\.0\.2\.1:\d+ > 198\.51\.100\.7:53 udp ttl 63 fragment 0\+$/);
  t.regex((await bench.fromContainer(a, ipv4("10.44.0.2", "198.51.100.7", slice(datagram, 48, 24), { offset: 48, id: 13 }))).packet, /192\.0\.2\.1 > 198\.51\.100\.7 protocol 17 ttl 63 fragment 48$/);
  const published = udp(4000, 8080, "x".repeat(64));
  t.is((await bench.fromUplink(ipv4("192.0.2.9", "192.0.2.1", slice(published, 0, 48), { more: true, id: 14 }))).packet, `${toB} 192.0.2.9:4000 > 10.44.0.3:80 udp ttl 64 fragment 0+`);
  t.is((await bench.fromUplink(ipv4("192.0.2.9", "192.0.2.1", slice(published, 48, 24), { offset: 48, id: 14 }))).packet, `${toB} 192.0.2.9 > 10.44.0.3 protocol 17 ttl 64 fragment 48`);
});
