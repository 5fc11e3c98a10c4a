// Fragmented datagrams: the first fragment has the ports, the later ones follow it.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, containers, hostMac, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { ip, ipv4, ipv6, protocols, slice, tcp, udp } from "./packets.ts";
import type { Packet, Payload } from "./packets.ts";
import { said, tablesOf } from "./policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
/** A second of so many jiffies is long enough for what waits, however busy the machine is. */
const patient = { hz: 25_000 };
test.serial.before(async (t) => {
  t.context.bench = await openBench(patient);
  await t.context.bench.publish("0.0.0.0", 8080, protocols.udp, "10.44.0.3", 80);
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => {
  await t.context.bench.forget();
  await t.context.bench.copies();
});

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

/** Eight bytes of header and so many fragments of 48 bytes. */
const parts = 4;
const long = (sport: number, dport: number): Payload => udp(sport, dport, "x".repeat(parts * 48 - 8));

/** Fragment number `index` from the wire. */
function fromWire(index: number, id: number, payload = long(4000, 8080)): Packet {
  return ipv4("192.0.2.9", "192.0.2.1", slice(payload, index * 48, 48), { id, offset: index * 48, more: index < parts - 1 });
}

test.serial("later fragments that overtake their first wait for it, and arrive behind it (R47)", async (t) => {
  const { bench } = t.context;
  for (const index of [3, 1]) t.is((await bench.fromUplink(fromWire(index, 20))).verdict, "pass untouched", "whose it is nobody knows yet");
  t.is(await bench.copies(), "");
  const first = await bench.fromUplink(fromWire(0, 20));
  t.is(first.verdict, "handed over");
  t.is(first.packet, `${toB} 192.0.2.9 > 10.44.0.3 protocol 17 ttl 64 fragment 48+`, "the last that waited, as its container sees it");
  t.is(await bench.copies(), "hwb×3");
  t.is((await bench.fromUplink(fromWire(2, 20))).packet, `${toB} 192.0.2.9 > 10.44.0.3 protocol 17 ttl 64 fragment 96+`);
  t.is((await bench.fromUplink(fromWire(0, 20))).verdict, "redirect", "what waited goes once");
});

test.serial("answers to a masqueraded flow wait for their first too, over IPv4 and IPv6 (R47)", async (t) => {
  const { bench } = t.context;
  const opened = await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(5000, 53)));
  const port = Number(/192\.0\.2\.1:(\d+) >/.exec(opened.packet)?.[1]);
  const answer = long(53, port);
  t.is((await bench.fromUplink(ipv4("198.51.100.7", "192.0.2.1", slice(answer, 48, 144), { id: 21, offset: 48 }))).verdict, "pass untouched");
  const first = await bench.fromUplink(ipv4("198.51.100.7", "192.0.2.1", slice(answer, 0, 48), { id: 21, more: true }));
  t.is(first.packet, `${hostMac} > ${a.mac} 198.51.100.7 > 10.44.0.2 protocol 17 ttl 64 fragment 48`);
  const opened6 = await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", udp(5000, 53)));
  const port6 = Number(/\[2001:db8::1\]:(\d+) >/.exec(opened6.packet)?.[1]);
  const answer6 = long(53, port6);
  t.is((await bench.fromUplink(ipv6("2001:db8:7::7", "2001:db8::1", slice(answer6, 48, 144), { fragment: { id: 22, offset: 48, more: false } }))).verdict, "pass untouched");
  const first6 = await bench.fromUplink(ipv6("2001:db8:7::7", "2001:db8::1", slice(answer6, 0, 48), { fragment: { id: 22, offset: 0, more: true } }));
  t.is(first6.packet, `${hostMac} > ${a.mac} 2001:db8:7::7 > fd44::2 protocol 17 ttl 64 fragment 48`);
  t.is(await bench.copies(), "hwa×4");
});

test.serial("a first fragment that is refused releases nothing, and neither does another datagram's (R47)", async (t) => {
  await using bench = await openBench(patient);
  await bench.publish("0.0.0.0", 8080, protocols.udp, "10.44.0.3", 80);
  const tables = tablesOf(containers, [said(1, "deny", "in", b, "any", "17 80/16")]);
  await bench.fromUplink(fromWire(1, 23));
  t.is((await bench.fromUplink(fromWire(0, 24))).verdict, "redirect", "another number");
  t.is((await bench.fromUplink(ipv4("192.0.2.8", "192.0.2.1", slice(long(4000, 8080), 0, 48), { id: 23, more: true }))).verdict, "redirect", "another sender");
  t.is((await bench.fromUplink(fromWire(0, 23, long(4000, 22)))).verdict, "pass untouched", "the host's own");
  await bench.policy(tables);
  t.is((await bench.fromUplink(fromWire(0, 23, long(4001, 8080)))).verdict, "drop POLICY_DENIED");
  t.is(await bench.copies(), "");
  await bench.policy(tablesOf(containers));
  t.is((await bench.fromUplink(fromWire(0, 23, long(4002, 8080)))).verdict, "handed over", "it waited all the time");
  t.is(await bench.copies(), "hwb×2");
});

test.serial("eight of a datagram wait at most, none longer than 2048 bytes, and for a second (R47)", async (t) => {
  const { bench } = t.context;
  const many = udp(4000, 8080, "x".repeat(2000));
  const part = (index: number, id: number): Packet => ipv4("192.0.2.9", "192.0.2.1", slice(many, index * 48, 48), { id, offset: index * 48, more: true });
  for (let index = 1; index <= 12; index++) await bench.fromUplink(part(index, 30));
  t.is((await bench.fromUplink(part(0, 30))).verdict, "handed over");
  t.is(await bench.copies(), "hwb×9");
  const big = ipv4("192.0.2.9", "192.0.2.1", slice(udp(4000, 8080, "x".repeat(4000)), 48, 2400), { id: 31, offset: 48 });
  t.is((await bench.fromUplink(big)).verdict, "pass untouched");
  t.is((await bench.fromUplink(part(0, 31))).verdict, "redirect");
  await using hasty = await openBench({ hz: 0 });
  await hasty.publish("0.0.0.0", 8080, protocols.udp, "10.44.0.3", 80);
  await hasty.fromUplink(part(1, 32));
  t.is((await hasty.fromUplink(part(0, 32))).verdict, "handed over");
  t.is(await hasty.copies(), "hwb", "only the first: where a second has no jiffies, the other has waited too long");
});

test.serial("later fragments of the host's own that follow their first are not kept (R47)", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(fromWire(0, 33, long(4000, 22)))).verdict, "pass untouched");
  t.is((await bench.fromUplink(fromWire(1, 33))).verdict, "pass untouched");
  t.is((await bench.fromUplink(fromWire(0, 33))).verdict, "redirect", "nothing waited for it");
  t.is((await bench.fromUplink(fromWire(2, 33))).packet, `${toB} 192.0.2.9 > 10.44.0.3 protocol 17 ttl 64 fragment 96+`, "whoever was carried is followed");
  t.is((await bench.fromUplink(fromWire(0, 33, long(4000, 22)))).verdict, "pass untouched");
  t.is((await bench.fromUplink(fromWire(3, 33))).verdict, "redirect", "a stranger's first takes none away from it");
});

test.serial("fragments that come straight to a container's address, or a gateway's, are kept for nobody (R44, R47)", async (t) => {
  const { bench } = t.context;
  const later = slice(long(4000, 80), 48, 48);
  t.is((await bench.fromUplink(ipv4("192.0.2.9", "10.44.0.3", later, { id: 34, offset: 48 }))).verdict, "drop DIRECT_ACCESS");
  t.is((await bench.fromUplink(ipv4("192.0.2.9", "10.44.0.1", later, { id: 34, offset: 48 }))).verdict, "pass untouched");
  t.is(await bench.copies(), "");
});
