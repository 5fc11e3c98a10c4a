// Containers whose veth somebody else made: judged on their way out and in, and never rewritten, redirected or carried for.
import anyTest from "ava";
import type { TestFn } from "ava";
import { DropReason } from "../../src/abi/generated.ts";
import { a, containers, g, h, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, echo, frame, icmp, icmpError, ip, ipv4, ipv6, neighbourDiscovery, other, protocols, slice, tcp, udp } from "./packets.ts";
import type { Packet, Payload } from "./packets.ts";
import { said, sentence, tablesOf } from "./policy-tables.ts";
import type { Closed, Said } from "./policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await enforce(t.context.bench, []); });

async function enforce(bench: Bench, rows: readonly Said[], closed: readonly (readonly [typeof g, Closed])[] = []): Promise<void> {
  await bench.policy(tablesOf(containers, rows, new Map(closed)));
  await bench.forget();
}

const verdict = async (row: Promise<Row>): Promise<string> => (await row).verdict;

test.serial("between two guests both programs see one flow, and let it pass as it is", async (t) => {
  const { bench } = t.context;
  const there = ip(g.ipv4, h.ipv4, tcp(5000, 80, "S"));
  const back = ip(h.ipv4, g.ipv4, tcp(80, 5000, "SA"));
  t.regex((await bench.fromGuest(g, there)).packet, / 10\.88\.0\.2:5000 > 10\.88\.0\.3:80 tcp S ttl 64$/);
  t.is((await bench.flows()).length, 2);
  t.is(await verdict(bench.toGuest(h, there)), "pass");
  t.is(await verdict(bench.fromGuest(h, back)), "pass");
  t.is(await verdict(bench.toGuest(g, back)), "pass");
  t.is((await bench.flows()).length, 2);
});

test.serial("rules and defaults hold at both ends, neither networks nor ICC stand between guests", async (t) => {
  const { bench } = t.context;
  const open = (port: number): Promise<string> => verdict(bench.fromGuest(g, ip(g.ipv4, h.ipv4, tcp(5000, port, "S"))));
  await enforce(bench, sentence(1, "allow", g, h, "6 80/16"), [[h, { denyIn: true }]]);
  t.deepEqual([await open(80), await open(81)], ["pass", "drop POLICY_DEFAULT_IN"]);
  await enforce(bench, [said(1, "deny", "out", g, h)]);
  t.is(await open(80), "drop POLICY_DENIED");
  t.is(await verdict(bench.toGuest(h, ip(g.ipv4, h.ipv4, tcp(5000, 80, "S")))), "drop POLICY_DENIED", "nor by the other program alone");
  t.is(await verdict(bench.fromGuest(g, ip("fd88::2", "fd88::3", tcp(5000, 80, "S")))), "drop POLICY_DENIED");
});

test.serial("a change cuts a guest's flow both ways (R56)", async (t) => {
  const { bench } = t.context;
  await bench.fromGuest(g, ip(g.ipv4, h.ipv4, tcp(5000, 80, "S")));
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, g.ipv4, tcp(80, 5000, "SA")))), "pass");
  await bench.policy(tablesOf(containers, [said(1, "deny", "out", g, h)]));
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, g.ipv4, tcp(80, 5000, "A")))), "drop POLICY_DENIED");
  t.is(await verdict(bench.toGuest(h, ip(g.ipv4, h.ipv4, tcp(5000, 80, "A")))), "drop POLICY_DENIED");
});

test.serial("with the world and the host: the guest's own rules, by address", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", g, "198.51.100.0/24", "17 53/16"), said(2, "allow", "in", g, "host", "6 80/16")], [[g, { denyIn: true, denyOut: true }]]);
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, "198.51.100.7", udp(5000, 53)))), "pass");
  t.is(await verdict(bench.toGuest(g, ip("198.51.100.7", g.ipv4, udp(53, 5000)))), "pass", "its answer");
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, "198.51.100.7", udp(5000, 54)))), "drop POLICY_DEFAULT_OUT");
  t.is(await verdict(bench.toGuest(g, ip("198.51.100.7", g.ipv4, tcp(5000, 80, "S")))), "drop POLICY_DEFAULT_IN");
  t.is(await verdict(bench.toGuest(g, ip("192.0.2.1", g.ipv4, tcp(5000, 80, "S")))), "pass");
});

test.serial("a guest speaks with its own address only (R37)", async (t) => {
  const { bench } = t.context;
  t.is(await verdict(bench.fromGuest(g, ip(h.ipv4, "198.51.100.7", udp(5000, 53)))), "drop INVALID_SOURCE_IP");
  t.is(await verdict(bench.fromGuest(g, ip("fd88::9", "fd88::3", udp(5000, 53)))), "drop INVALID_SOURCE_IP");
  t.is(await verdict(bench.fromGuest(g, ip("::", "fd88::3", udp(5000, 53)))), "drop INVALID_SOURCE_IP");
  t.is(await verdict(bench.send("from_guest", g.device, frame(h.mac, h.mac, ip(g.ipv4, h.ipv4, udp(5000, 53))))), "drop INVALID_SOURCE_MAC");
  t.is(await verdict(bench.toGuest(g, ip(a.ipv4, g.ipv4, udp(5000, 53)))), "drop MARTIAN", "a container of ours sends to no guest");
});

test.serial("a link-local source is nobody's whom policy knows: no data passes from it (R37)", async (t) => {
  const { bench } = t.context;
  for (const closed of [[], [[g, { denyOut: true }]]] as const) {
    await enforce(bench, [], closed);
    for (const to of ["fe80::3", "fd88::3", "fe80::1"]) {
      for (const payload of [tcp(5000, 22, "S"), udp(5000, 53), echo("request", 7, "", 6), icmp(139, 0, new Uint8Array(16), 6), other(protocols.gre)]) {
        t.is(await verdict(bench.fromGuest(g, ip("fe80::2", to, payload))), "drop INVALID_SOURCE_IP");
      }
    }
  }
  t.is(await verdict(bench.toGuest(g, ip("fe80::3", "fe80::2", udp(5000, 53)))), "drop NO_SUCH_ADDRESS", "nor to it");
});

test.serial("ARP passes in the guest's own name, whatever policy says (R38)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [], [[g, { denyIn: true, denyOut: true }]]);
  const [own, its] = [{ mac: g.mac, ip: g.ipv4 }, { mac: h.mac, ip: h.ipv4 }];
  const said = (packet: Packet): Promise<string> => verdict(bench.fromGuest(g, packet));
  for (const packet of [arp("request", own, { ip: h.ipv4 }), arp("reply", own, its), arp("request", own, own), arp("request", { mac: g.mac, ip: "0.0.0.0" }, { ip: g.ipv4 })]) {
    t.is(await said(packet), "pass untouched");
  }
  for (const packet of [
    arp("reply", { mac: g.mac, ip: h.ipv4 }, { mac: "02:00:00:00:00:fe", ip: "10.88.0.1" }), arp("request", { mac: g.mac, ip: "10.88.0.1" }, { ip: "10.88.0.1" }),
    arp("request", its, { ip: "10.88.0.1" }), arp("request", { mac: h.mac, ip: g.ipv4 }, { ip: h.ipv4 }), arp("reply", { mac: g.mac, ip: "0.0.0.0" }, its),
  ]) t.is(await said(packet), "drop INVALID_ARP");
  t.is(await verdict(bench.toGuest(g, arp("request", its, { ip: g.ipv4 }))), "pass untouched");
});

test.serial("neighbour discovery passes in its own name, and it is no router (R39)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [], [[g, { denyIn: true, denyOut: true }]]);
  const said = (from: string, to: string, type: number, target: string, ttl = 255): Promise<string> =>
    verdict(bench.fromGuest(g, ipv6(from, to, neighbourDiscovery(type, target, type === 133 ? undefined : g.mac), { ttl })));
  for (const [from, to, type, target] of [
    ["fd88::2", "ff02::1:ff00:3", 135, "fd88::3"], ["fe80::2", "fd88::3", 135, "fd88::3"], ["::", "ff02::1:ff00:2", 135, "fd88::2"], ["::", "ff02::2", 133, "::"],
    ["fe80::2", "ff02::2", 133, "::"], ["fd88::2", "fd88::3", 136, "fd88::2"], ["fe80::2", "ff02::1", 136, "fe80::2"],
  ] as const) t.is(await said(from, to, type, target), "pass untouched", `${from} > ${to} ${type} ${target}`);
  t.is(await said("fe80::2", "ff02::1", 134, "::"), "drop ROUTER_ADVERTISEMENT");
  t.is(await said("fe80::2", "fd88::3", 137, "fd88::9"), "drop INVALID_ND");
  t.is(await said("fd88::2", "ff02::1", 136, "fd88::3"), "drop INVALID_ND", "another's address");
  t.is(await said("fd88::3", "ff02::1:ff00:1", 135, "fd88::1"), "drop INVALID_SOURCE_IP");
  t.is(await said("fd88::3", "fd88::1", 136, "fd88::2"), "drop INVALID_SOURCE_IP");
  t.is(await said("fd88::2", "fd88::3", 135, "fd88::3", 64), "drop INVALID_ND", "from beyond the wire");
  const routed = ipv6("fe80::2", "fd88::3", neighbourDiscovery(135, "fd88::3", g.mac), { ttl: 255, routing: 1 });
  t.is(await verdict(bench.fromGuest(g, routed)), "drop INVALID_ND", "by way of another");
  for (const type of [134, 135, 136]) t.is(await verdict(bench.toGuest(g, ipv6("fe80::1", "ff02::1", neighbourDiscovery(type, "fd88::1"), { ttl: 255 }))), "pass untouched");
});

test.serial("to groups it tells of its membership, and no more (R49)", async (t) => {
  const { bench } = t.context;
  const everyone = "ff:ff:ff:ff:ff:ff";
  const mld = (from: string, type: number, ttl = 1): Packet => ipv6(from, "ff02::16", icmp(type, 0, new Uint8Array(20), 6), { ttl });
  const igmp = (from: string, ttl = 1): Packet => ipv4(from, "224.0.0.22", other(2), { ttl, options: [0x94, 4, 0, 0] });
  await enforce(bench, [said(1, "allow", "out", g, "world")], [[g, { denyIn: true }]]);
  for (const packet of [igmp(g.ipv4), igmp("0.0.0.0"), mld("fe80::2", 143), mld("::", 131), mld("fe80::2", 132)]) {
    t.is(await verdict(bench.fromGuest(g, packet)), "pass untouched");
    t.is(await verdict(bench.toGuest(h, packet)), "pass untouched");
  }
  for (const [packet, reason] of [
    [ip(g.ipv4, "224.0.0.251", udp(5353, 5353)), "MULTICAST"], [ip("fd88::2", "ff02::fb", udp(5353, 5353)), "MULTICAST"], [igmp(g.ipv4, 64), "MULTICAST"],
    [ipv4(g.ipv4, "224.0.0.22", other(2), { ttl: 1, options: [131, 3, 4, 0] }), "MULTICAST"], [ipv4(g.ipv4, "224.0.0.22", other(2), { ttl: 1, more: true }), "MULTICAST"],
    [ip(g.ipv4, "255.255.255.255", udp(68, 67)), "MULTICAST"], [ip("fd88::2", "ff02::1", echo("request", 7, "", 6)), "MULTICAST"],
    [ip("0.0.0.0", "255.255.255.255", udp(68, 67)), "INVALID_SOURCE_IP"], [ip(h.ipv4, "224.0.0.251", udp(5353, 5353)), "INVALID_SOURCE_IP"],
    [igmp(h.ipv4), "INVALID_SOURCE_IP"], [mld("fd88::3", 143), "INVALID_SOURCE_IP"], [mld("fe80::2", 143, 64), "INVALID_SOURCE_IP"],
    [ip("fe80::2", "ff02::fb", udp(5353, 5353)), "INVALID_SOURCE_IP"],
  ] as const) t.is(await verdict(bench.fromGuest(g, packet)), `drop ${reason}`);
  t.is(await verdict(bench.send("from_guest", g.device, frame(g.mac, everyone, ip(g.ipv4, "10.88.0.255", udp(5000, 53))))), "drop MULTICAST", "its subnet's broadcast address");
  t.is(await verdict(bench.toGuest(g, ip("10.88.0.1", "224.0.0.251", udp(5353, 5353)))), "drop MULTICAST");
  t.is(await verdict(bench.toGuest(g, ip("10.88.0.1", "255.255.255.255", udp(67, 68)))), "drop MULTICAST");
});

test.serial("what is neither IP nor ARP passes neither way", async (t) => {
  const { bench } = t.context;
  for (const ethertype of [0x8847, 0x8863, 0x88cc, 0x8100, 0x22f0, 0x0026]) {
    const packet = { ethertype, bytes: new Uint8Array(64) };
    t.is(await verdict(bench.fromGuest(g, packet)), "drop UNKNOWN_PROTOCOL", ethertype.toString(16));
    t.is(await verdict(bench.toGuest(g, packet)), "drop UNKNOWN_PROTOCOL", ethertype.toString(16));
  }
});

test.serial("what its bridge sends to every port ends there, counted and not told", async (t) => {
  await using bench = await openBench();
  await bench.policy(tablesOf(containers, [said(1, "deny", "in", g, "198.51.100.0/24")]));
  t.is(await verdict(bench.toGuest(g, ip("198.51.100.7", h.ipv4, udp(5000, 53)))), "drop NO_SUCH_ADDRESS");
  t.is(await verdict(bench.toGuest(g, ip("10.88.0.1", "10.88.0.255", udp(5000, 53)))), "drop NO_SUCH_ADDRESS");
  t.is(await verdict(bench.toGuest(g, ip("10.88.0.1", "224.0.0.251", udp(5353, 5353)))), "drop MULTICAST");
  t.is(await verdict(bench.toGuest(g, { ethertype: 0x88cc, bytes: new Uint8Array(64) })), "drop UNKNOWN_PROTOCOL");
  t.is(await verdict(bench.toGuest(g, ip("198.51.100.7", g.ipv4, udp(5000, 53)))), "drop POLICY_DENIED");
  t.deepEqual((await bench.events(1)).map(({ reason }) => reason), [DropReason.POLICY_DENIED], "of what was for it alone");
});

test.serial("later fragments go as their first did, and none goes without it (R47)", async (t) => {
  const { bench } = t.context;
  const datagram = udp(5000, 53, "x".repeat(64));
  const first = ipv4(g.ipv4, h.ipv4, slice(datagram, 0, 48), { more: true, id: 9 });
  const later = ipv4(g.ipv4, h.ipv4, slice(datagram, 48, 24), { offset: 48, id: 9 });
  await enforce(bench, [said(1, "deny", "out", g, h, "17 53/16")]);
  t.is(await verdict(bench.fromGuest(g, first)), "drop POLICY_DENIED");
  t.is(await verdict(bench.fromGuest(g, later)), "drop FRAGMENT_WITHOUT_FIRST");
  t.is(await verdict(bench.toGuest(h, later)), "drop FRAGMENT_WITHOUT_FIRST", "nor into the other");
  await enforce(bench, []);
  t.is(await verdict(bench.fromGuest(g, later)), "drop FRAGMENT_WITHOUT_FIRST", "never seen");
  for (const packet of [first, later]) {
    t.is(await verdict(bench.fromGuest(g, packet)), "pass");
    t.is(await verdict(bench.toGuest(h, packet)), "pass");
  }
  t.is((await bench.flows()).length, 2);
  await bench.policy(tablesOf(containers, [said(1, "deny", "out", g, h, "17 53/16")]));
  t.is(await verdict(bench.fromGuest(g, later)), "drop POLICY_DENIED", "its flow is cut");
});

test.serial("fragments of ICMP and of protocols without ports, and of IPv6 (R47)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", g, h, "1 3840/16")]);
  const pieces = (payload: Payload, id: number): readonly Packet[] =>
    [ipv4(g.ipv4, h.ipv4, slice(payload, 0, 8), { more: true, id }), ipv4(g.ipv4, h.ipv4, slice(payload, 8, 8), { offset: 8, id })];
  for (const [payload, id, verdicts] of [
    [echo("request", 7, "x".repeat(8)), 1, ["pass", "pass"]], [icmp(13, 0, new Uint8Array(16)), 2, ["pass", "pass"]],
    [icmp(15, 0, new Uint8Array(16)), 3, ["drop POLICY_DENIED", "drop FRAGMENT_WITHOUT_FIRST"]], [other(protocols.gre), 4, ["pass", "pass"]],
  ] as const) {
    for (const [i, packet] of pieces(payload, id).entries()) t.is(await verdict(bench.fromGuest(g, packet)), verdicts[i] ?? "", `${id}.${i}`);
  }
  const six = (offset: number, more: boolean): Packet =>
    ipv6("fd88::2", "fd88::3", slice(udp(5000, 53, "x".repeat(16)), offset, 8), { fragment: { id: 5, offset, more } });
  t.is(await verdict(bench.fromGuest(g, six(8, true))), "drop FRAGMENT_WITHOUT_FIRST");
  for (const packet of [six(0, true), six(8, true), six(16, false)]) t.is(await verdict(bench.fromGuest(g, packet)), "pass");
});

test.serial("protocols without ports are flows too, and ICMP that is no echo is judged message by message", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", g, h, `${protocols.gre} 0/0`), said(2, "deny", "out", g, h, "1 3328/16")], [[h, { denyOut: true }]]);
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, h.ipv4, other(protocols.gre)))), "pass");
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, g.ipv4, other(protocols.gre)))), "pass", "an answer");
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, "198.51.100.7", other(protocols.gre)))), "drop POLICY_DEFAULT_OUT");
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, h.ipv4, icmp(13, 0, new Uint8Array(16))))), "drop POLICY_DENIED");
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, h.ipv4, icmp(15, 0, new Uint8Array(4))))), "pass");
  t.is((await bench.flows()).length, 2);
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, g.ipv4, echo("reply", 7)))), "drop ICMP_WITHOUT_FLOW");
});

test.serial("ICMP errors pass with the flow that they speak of, and from whom it went to (R48)", async (t) => {
  const { bench } = t.context;
  const about = ip(g.ipv4, h.ipv4, udp(5000, 9));
  const complaint = ip(h.ipv4, g.ipv4, icmpError(3, 3, about));
  t.is(await verdict(bench.fromGuest(h, complaint)), "drop ICMP_WITHOUT_FLOW");
  await bench.fromGuest(g, about);
  t.is(await verdict(bench.fromGuest(h, complaint)), "pass");
  t.is(await verdict(bench.toGuest(g, complaint)), "pass");
  await bench.fromGuest(g, ip(g.ipv4, "198.51.100.7", udp(5000, 9)));
  t.is(await verdict(bench.fromGuest(h, ip(h.ipv4, g.ipv4, icmpError(3, 3, ip(g.ipv4, "198.51.100.7", udp(5000, 9)))))), "drop ICMP_WITHOUT_FLOW");
  await bench.policy(tablesOf(containers, [said(1, "deny", "in", g, h, "1 771/16")]));
  t.is(await verdict(bench.toGuest(g, complaint)), "drop POLICY_DENIED");
});

test.serial("the other programs neither deliver to a guest nor keep anybody from it", async (t) => {
  const { bench } = t.context;
  t.is(await verdict(bench.fromContainer(a, ip(a.ipv4, g.ipv4, tcp(5000, 80, "S")))), "drop NOT_AN_UPLINK");
  t.is(await verdict(bench.fromGuest(g, ip(g.ipv4, a.ipv4, tcp(5000, 80, "S")))), "drop DIRECT_ACCESS");
  t.is(await verdict(bench.fromUplink(ip("192.0.2.9", g.ipv4, tcp(5000, 80, "S")))), "pass untouched");
  t.is(await verdict(bench.fromHost(ip("10.44.0.1", g.ipv4, tcp(5000, 80, "S")))), "drop NO_SUCH_ADDRESS");
});
