// Headers that lie: addresses of the other family, lengths, fragments, and senders that the wire cannot have.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, d, e, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { echo, icmpError, ip, ipv4, ipv6, neighbourDiscovery, protocols, slice, tcp, udp } from "./packets.ts";
import type { Packet, Payload } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => {
  const { bench } = (t.context = { bench: await openBench() });
  for (const proto of [protocols.tcp, protocols.udp]) {
    await bench.publish("0.0.0.0", 8080, proto, "10.44.0.3", 80);
    await bench.publish(null, 8080, proto, "fd44::3", 80);
  }
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const drop = (reason: string, row: Row): [string, string] => [`drop ${reason}`, row.verdict];
/** An IPv6 packet whose addresses are the sixteen bytes of IPv4-mapped ones where an IPv4 address is given. */
function mapped(source: string, destination: string, payload: Payload): Packet {
  const packet = ipv6(source.includes(":") ? source : "fd44::2", destination.includes(":") ? destination : "fd44::3", payload);
  const bytes = packet.bytes.slice();
  for (const [at, address] of [[8, source], [24, destination]] as const) {
    if (!address.includes(":")) bytes.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...address.split(".").map(Number)], at);
  }
  return { ...packet, bytes };
}
function patched(packet: Packet, at: number, bytes: readonly number[]): Packet {
  const copy = packet.bytes.slice();
  copy.set(bytes, at);
  return { ...packet, bytes: copy };
}

test.serial("an IPv4-mapped address in an IPv6 header is nobody's, at every hook", async (t) => {
  const { bench } = t.context;
  const data = udp(5000, 8080, "x");
  for (const target of ["10.44.0.3", "10.44.0.1", "192.0.2.1", "198.51.100.7", "127.0.0.1"]) {
    t.is(...drop("MARTIAN", await bench.fromContainer(a, mapped("fd44::2", target, data))));
  }
  t.is(...drop("MARTIAN", await bench.fromContainer(a, mapped("10.44.0.2", "fd44::3", data))));
  for (const [source, target] of [["192.0.2.9", "2001:db8::1"], ["10.44.0.2", "2001:db8::1"], ["192.0.2.9", "192.0.2.1"], ["2001:db8::9", "10.44.0.3"], ["192.0.2.9", "10.44.0.3"]] as const) {
    t.is(...drop("MARTIAN", await bench.fromUplink(mapped(source, target, data))));
  }
  t.is(...drop("MARTIAN", await bench.toContainer(a, mapped("10.44.0.1", "fd44::2", data))));
  t.is(...drop("MARTIAN", await bench.toContainer(a, mapped("fd44::1", "10.44.0.2", data))));
  t.deepEqual(await bench.flows(), []);
});

test.serial("an IPv6 length that wraps around is a lie like any other", async (t) => {
  const { bench } = t.context;
  const packet = patched(ip("fd44::2", "fd44::3", udp(5000, 53, "x")), 4, [0xff, 0xff]);
  t.is(...drop("MALFORMED", await bench.fromContainer(a, packet)));
});

test.serial("ports are read within the packet, never in what the frame carries behind it", async (t) => {
  const { bench } = t.context;
  const cut = (packet: Packet, length: number): Packet => {
    const short = ipv4("10.44.0.2", "10.44.0.3", { protocol: packet.bytes[9] ?? 0, bytes: () => packet.bytes.subarray(20, length) });
    return { ...short, bytes: Uint8Array.from([...short.bytes, ...packet.bytes.subarray(length)]) };
  };
  for (const [payload, length] of [[udp(5000, 53, "x".repeat(30)), 24], [tcp(5000, 80, "S", "x"), 28], [echo("request", 3, "x".repeat(20)), 24]] as const) {
    t.is(...drop("MALFORMED", await bench.fromContainer(a, cut(ip("10.44.0.2", "10.44.0.3", payload), length))));
  }
});

test.serial("a fragment header within a fragment is refused (R47)", async (t) => {
  const { bench } = t.context;
  const inner = ipv6("fd44::2", "fd44::3", udp(5000, 53, "x".repeat(16)), { fragment: { id: 7, offset: 0, more: false } });
  const outer = ipv6("fd44::2", "fd44::3", { protocol: 44, bytes: () => inner.bytes.subarray(40) }, { fragment: { id: 8, offset: 0, more: true } });
  t.is(...drop("INVALID_OPTIONS", await bench.fromContainer(a, outer)));
});

test.serial("an IPv6 fragment that would rewrite a TCP header already judged is dropped (R47)", async (t) => {
  const { bench } = t.context;
  const segment = tcp(5000, 80, "S", "x".repeat(28));
  t.is((await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", slice(segment, 0, 24), { fragment: { id: 9, offset: 0, more: true } }))).verdict, "redirect");
  t.is(...drop("MALFORMED", await bench.fromContainer(a, ipv6("fd44::2", "fd44::3", slice(segment, 8, 16), { fragment: { id: 9, offset: 8, more: false } }))));
});

test.serial("later fragments follow a first that was carried, not one that was refused (R47)", async (t) => {
  const { bench } = t.context;
  const reply = echo("reply", 9, "x".repeat(40));
  t.is(...drop("ICMP_WITHOUT_FLOW", await bench.fromContainer(a, ipv4("10.44.0.2", "198.51.100.7", slice(reply, 0, 24), { more: true, id: 20 }))));
  t.is(...drop("FRAGMENT_WITHOUT_FIRST", await bench.fromContainer(a, ipv4("10.44.0.2", "198.51.100.7", slice(reply, 24, 24), { offset: 24, id: 20 }))));
  t.deepEqual(await bench.flows(), [], "and open nothing");
});

test.serial("nobody outside can change the ports of fragments between containers (R47)", async (t) => {
  const { bench } = t.context;
  const datagram = udp(5000, 53, "x".repeat(64));
  await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(datagram, 0, 48), { more: true, id: 21 }));
  t.is(...drop("DIRECT_ACCESS", await bench.fromUplink(ipv4("10.44.0.2", "10.44.0.3", slice(udp(6000, 22, "x".repeat(64)), 0, 48), { more: true, id: 21 }))));
  await bench.fromContainer(a, ipv4("10.44.0.2", "10.44.0.3", slice(datagram, 48, 24), { offset: 48, id: 21 }));
  t.deepEqual((await bench.flows()).map(([key]) => key.dport).toSorted((x, y) => x - y), [53, 5000]);
});

test.serial("no client of a published port has an address of the host, of a network or of a group (R45)", async (t) => {
  const { bench } = t.context;
  for (const source of ["192.0.2.1", "10.44.0.1", "10.44.1.2", "224.0.0.5", "255.255.255.255", "0.0.0.0", "203.0.113.9"]) {
    t.is(...drop("MARTIAN", await bench.fromUplink(ip(source, "192.0.2.1", udp(4000, 8080, "x")))));
  }
  for (const source of ["2001:db8::1", "fd44::1", "fd44::2", "ff02::1", "::"]) {
    t.is(...drop("MARTIAN", await bench.fromUplink(ip(source, "2001:db8::1", udp(4000, 8080, "x")))));
  }
});

test.serial("a frame to another machine is not ours, though its addresses are", async (t) => {
  const { bench } = t.context;
  for (const destination of ["02:00:00:00:00:77", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"]) {
    t.is((await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", udp(4000, 8080, "x")), { destination })).verdict, "pass untouched");
  }
  t.deepEqual(await bench.flows(), []);
});

test.serial("a tunnel's port is no way out, because others trust the host's address (R41)", async (t) => {
  const { bench } = t.context;
  for (const port of [8472, 4789, 6081]) {
    t.is(...drop("ENCAP_PROHIBITED", await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.12", udp(5000, port, "x")))));
    t.is((await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", udp(5000, port, "x")))).verdict, "redirect", "among containers it is a port like others");
  }
});

test.serial("a flow that nobody swept does not come back to life when jiffies have wrapped half round (R57)", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", udp(5000, 53)));
  await bench.age(2 ** 31 + 2 ** 20);
  t.is(...drop("ICMP_WITHOUT_FLOW", await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "10.44.0.3", udp(5000, 53)))))));
});

test.serial("on a closed network neither segments in mid-stream, nor errors, nor fragments reach a neighbour (R47, R48)", async (t) => {
  const { bench } = t.context;
  const to = (payload: Payload, options = {}): Promise<Row> => bench.fromContainer(e, ipv4("10.44.3.2", "10.44.3.3", payload, options));
  for (const flags of ["A", "SA", "R", "FA", ""]) t.is(...drop("ICC_DISABLED", await to(tcp(5000, 80, flags))));
  t.is(...drop("ICC_DISABLED", await to(slice(udp(5000, 53, "x".repeat(64)), 0, 48), { more: true, id: 3 })));
  t.is(...drop("FRAGMENT_WITHOUT_FIRST", await to(slice(udp(5000, 53, "x".repeat(64)), 48, 24), { offset: 48, id: 3 })));
  t.is(...drop("ICMP_WITHOUT_FLOW", await to(icmpError(3, 3, ip("10.44.3.3", "10.44.3.2", udp(53, 5000))))));
  t.is(...drop("ICMP_WITHOUT_FLOW", await to(echo("reply", 3))));
  t.is(...drop("INTERNAL_NETWORK", await bench.fromContainer(d, ip("10.44.2.2", "198.51.100.7", tcp(80, 5000, "SA")))));
});

test.serial("frames shorter than their headers, and tagged ones, are dropped and counted", async (t) => {
  const { bench } = t.context;
  const bytes = ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S", "x".repeat(40))).bytes;
  for (let length = 20; length < 40; length++) {
    t.regex((await bench.fromContainer(a, { ethertype: 0x0800, bytes: bytes.subarray(0, length) })).verdict, /^drop (MALFORMED|UNKNOWN_PROTOCOL)$/, `${length}`);
  }
  for (const tag of [0x8100, 0x88a8]) t.is(...drop("UNKNOWN_PROTOCOL", await bench.fromContainer(a, { ethertype: tag, bytes: Uint8Array.from([0, 7, 8, 0, ...bytes]) })));
});

test.serial("solicitations from afar, of another code, and to itself get no answer (R39)", async (t) => {
  const { bench } = t.context;
  const ask = neighbourDiscovery(135, "fd44::3", a.mac);
  t.is((await bench.fromContainer(a, ipv6("fd44::2", "ff02::1:ff00:3", ask, { ttl: 255 }))).packet.startsWith(`${hostMac} > ${a.mac}`), true);
  t.is(...drop("INVALID_ND", await bench.fromContainer(a, ipv6("fd44::2", "ff02::1:ff00:3", ask, { ttl: 254 }))));
  t.is(...drop("MULTICAST", await bench.fromContainer(a, ipv6("::", "ff02::1:ff00:2", neighbourDiscovery(135, "fd44::2"), { ttl: 255 }))));
  t.is(...drop("INVALID_SOURCE_IP", await bench.fromContainer(a, ipv6("fd44::3", "ff02::1:ff00:3", ask, { ttl: 255 }))));
  t.is(...drop("MULTICAST", await bench.fromContainer(a, ipv6("fd44::2", "ff02::1:ff00:3", slice(ask, 0, 24), { fragment: { id: 1, offset: 0, more: true } }))));
});
