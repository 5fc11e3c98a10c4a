// Containers whose veth somebody else made: judged on their way out and in, and never rewritten, redirected or carried for.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, containers, g, h, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { arp, echo, icmp, icmpError, ip, ipv4, ipv6, neighbourDiscovery, other, protocols, slice, tcp, udp } from "./packets.ts";
import { said, sentence, tablesOf } from "./policy-tables.ts";
import type { Closed, Said } from "./policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.before(async (t) => { t.context.bench = await openBench(); });
test.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.beforeEach(async (t) => { await enforce(t.context.bench, []); });

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
  t.is(await verdict(bench.toGuest(g, ip(a.ipv4, g.ipv4, udp(5000, 53)))), "drop MARTIAN", "a container of ours sends to no guest");
});

test.serial("what belongs to no flow of one sender and one receiver passes untouched", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [], [[g, { denyIn: true, denyOut: true }]]);
  for (const packet of [
    arp("request", { mac: g.mac, ip: g.ipv4 }, { ip: h.ipv4 }), ipv6("fd88::2", "ff02::1:ff00:3", neighbourDiscovery(135, "fd88::3", g.mac)),
    ip(g.ipv4, "224.0.0.251", udp(5353, 5353)), ip("fe80::2", "fd88::3", udp(5000, 53)), ip("0.0.0.0", "255.255.255.255", udp(68, 67)),
  ]) t.is(await verdict(bench.fromGuest(g, packet)), "pass untouched");
  t.is(await verdict(bench.toGuest(g, ip("198.51.100.7", h.ipv4, udp(5000, 53)))), "pass untouched", "flooded by its bridge");
});

test.serial("later fragments pass: the first was judged", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", g, h, "17 53/16")]);
  const datagram = udp(5000, 53, "x".repeat(64));
  t.is(await verdict(bench.fromGuest(g, ipv4(g.ipv4, h.ipv4, slice(datagram, 0, 48), { more: true, id: 9 }))), "drop POLICY_DENIED");
  t.is(await verdict(bench.fromGuest(g, ipv4(g.ipv4, h.ipv4, slice(datagram, 48, 24), { offset: 48, id: 9 }))), "pass");
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
