// Flows that are there when the policy changes, what answers them, ICMP errors about them, and what is told of all that.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, c, containers, openBench } from "./bench.ts";
import type { Bench } from "./bench.ts";
import { DropReason, EventVerdict } from "../../src/abi/generated.ts";
import type { Event } from "../../src/abi/generated.ts";
import { echo, icmpError, ip, protocols, tcp, udp } from "./packets.ts";
import { said, sentence, tablesOf } from "./policy-tables.ts";
import type { Closed, Said } from "./policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => {
  await t.context.bench.policy(tablesOf(containers));
  await t.context.bench.forget();
});

/** In force from here on, flows stay. */
const change = (bench: Bench, rows: readonly Said[], closed: readonly (readonly [typeof a, Closed])[] = []): Promise<void> =>
  bench.policy(tablesOf(containers, rows, new Map(closed)));
const there = async (bench: Bench): Promise<string> => (await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, "A", "x")))).verdict;
const back = async (bench: Bench): Promise<string> => (await bench.fromContainer(b, ip(b.ipv4, a.ipv4, tcp(80, 5000, "A", "x")))).verdict;

async function establish(bench: Bench): Promise<void> {
  await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, "S")));
  await bench.fromContainer(b, ip(b.ipv4, a.ipv4, tcp(80, 5000, "SA")));
}

test.serial("a change that denies a flow cuts it at its next packet, whichever end sends it, and it stays cut (R56)", async (t) => {
  const { bench } = t.context;
  for (const first of [there, back]) {
    for (const [rows, closed, reason] of [
      [[said(1, "deny", "out", a, b, "6 80/16")], [], "POLICY_DENIED"], [[said(1, "deny", "in", b, a, "6 80/16")], [], "POLICY_DENIED"],
      [[], [[a, { denyOut: true }]], "POLICY_DEFAULT_OUT"],
    ] as const) {
      await change(bench, []);
      await bench.forget();
      await establish(bench);
      t.deepEqual([await there(bench), await back(bench)], ["redirect", "redirect"]);
      await change(bench, rows, closed);
      t.is(await first(bench), `drop ${reason}`);
      // b may open to a: what it goes on sending must not pass for that.
      for (let i = 0; i < 3; i++) t.deepEqual([await back(bench), await there(bench)], [`drop ${reason}`, `drop ${reason}`]);
    }
  }
});

test.serial("a flow is judged again as it was opened, whoever sends: the answering direction may be denied (R57)", async (t) => {
  const { bench } = t.context;
  await establish(bench);
  await change(bench, [said(1, "deny", "out", b, a), said(2, "deny", "in", a, b)], [[a, { denyIn: true }]]);
  t.deepEqual([await back(bench), await there(bench)], ["redirect", "redirect"]);
  t.is((await bench.fromContainer(b, ip(b.ipv4, a.ipv4, tcp(7000, 22, "S")))).verdict, "drop POLICY_DENIED");
});

test.serial("once the flow has expired no answer passes any more (R57)", async (t) => {
  const { bench } = t.context;
  await change(bench, [said(1, "deny", "out", b, a)]);
  t.is((await bench.fromContainer(a, ip(a.ipv4, b.ipv4, udp(5000, 53)))).verdict, "redirect");
  t.is((await bench.fromContainer(b, ip(b.ipv4, a.ipv4, udp(53, 5000)))).verdict, "redirect");
  await bench.age();
  t.is((await bench.fromContainer(b, ip(b.ipv4, a.ipv4, udp(53, 5000)))).verdict, "drop POLICY_DENIED");
});

test.serial("what a denied flow's ends go on sending does not keep it: then the other end may open on the same ports (R56)", async (t) => {
  const { bench } = t.context;
  const out = async (): Promise<string> => (await bench.fromContainer(a, ip(a.ipv4, b.ipv4, udp(500, 500)))).verdict;
  const answer = async (): Promise<string> => (await bench.fromContainer(b, ip(b.ipv4, a.ipv4, udp(500, 500)))).verdict;
  const states = async (): Promise<readonly string[]> => (await bench.flows()).map(([{ saddr }, { expires, flags, policy }]) => `${saddr} ${expires} ${flags} ${policy}`).toSorted();
  t.is(await out(), "redirect");
  const opened = await states();
  await change(bench, [said(1, "deny", "out", a, b)]);
  // The first answer of all would make it an answered flow, which lives for three minutes.
  t.deepEqual([await answer(), await out()], ["drop POLICY_DENIED", "drop POLICY_DENIED"]);
  t.deepEqual(await states(), opened);
  await bench.age();
  t.deepEqual([await out(), await answer(), await out()], ["drop POLICY_DENIED", "redirect", "redirect"]);
});

test.serial("what ends a connection ends none that is denied, and what may go on is kept alive by the packet that was judged again (R56)", async (t) => {
  const { bench } = t.context;
  const lives = async (): Promise<readonly number[]> => (await bench.flows()).map(([, { expires }]) => expires);
  const longest = async (): Promise<number> => Math.max(...(await lives()));
  await bench.fromContainer(a, ip(a.ipv4, b.ipv4, udp(5000, 53)));
  const waiting = await longest();
  await bench.touchPolicy();
  t.is((await bench.fromContainer(b, ip(b.ipv4, a.ipv4, udp(53, 5000)))).verdict, "redirect");
  t.true((await lives()).every((expires) => expires - waiting > 100 * 250), "answered");
  await bench.forget();
  await establish(bench);
  const established = await longest();
  await change(bench, [said(1, "deny", "out", a, b)]);
  t.is((await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, "R")))).verdict, "drop POLICY_DENIED");
  t.is(await longest(), established);
  await change(bench, []);
  t.is((await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, "R")))).verdict, "redirect");
  t.true((await lives()).every((expires) => established - expires > 100 * 250), "closed");
});

test.serial("flows to the world, from it and with the host are judged again both ways", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 8080, protocols.tcp, b.ipv4, 80);
  const out = ip(a.ipv4, "198.51.100.7", udp(5000, 53));
  const port = Number(/192\.0\.2\.1:(\d+) >/.exec((await bench.fromContainer(a, out)).packet)?.[1]);
  await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S")));
  await bench.toContainer(a, ip("10.44.0.1", a.ipv4, tcp(4000, 80, "S")));
  const packets = async (): Promise<readonly string[]> => [
    (await bench.fromUplink(ip("198.51.100.7", "192.0.2.1", udp(53, port)))).verdict, (await bench.fromContainer(a, out)).verdict,
    (await bench.fromContainer(b, ip(b.ipv4, "192.0.2.9", tcp(80, 4000, "SA")))).verdict, (await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "A")))).verdict,
    (await bench.fromContainer(a, ip(a.ipv4, "10.44.0.1", tcp(80, 4000, "SA")))).verdict, (await bench.toContainer(a, ip("10.44.0.1", a.ipv4, tcp(4000, 80, "A")))).verdict,
  ];
  t.deepEqual(await packets(), ["redirect", "redirect", "redirect", "redirect", "redirect", "pass"]);
  await change(bench, [said(1, "deny", "out", a, "198.51.100.7"), said(2, "deny", "in", b, "192.0.2.9"), said(3, "deny", "in", a, "host")]);
  t.deepEqual(await packets(), Array.from({ length: 6 }, () => "drop POLICY_DENIED"));
  await change(bench, [said(1, "deny", "out", b, "192.0.2.9"), said(2, "deny", "out", a, "host")]);
  t.deepEqual(await packets(), ["redirect", "redirect", "redirect", "redirect", "redirect", "pass"], "answers are not judged, and what was cut goes on when it may");
});

test.serial("another container that gets the address of one that has gone inherits no flow (R58)", async (t) => {
  const { bench } = t.context;
  await change(bench, [said(1, "allow", "in", b, a), said(2, "allow", "out", a, b)], [[b, { denyIn: true }], [c, { denyIn: true }]]);
  await establish(bench);
  t.is(await there(bench), "redirect");
  await bench.setIdentity(b, c.identity);
  await bench.touchPolicy();
  t.deepEqual([await there(bench), await back(bench)], ["drop POLICY_DEFAULT_IN", "drop POLICY_DEFAULT_IN"]);
  await bench.setIdentity(b, 0);
  await bench.touchPolicy();
  t.is(await there(bench), "drop NOT_IDENTIFIED");
  await bench.setIdentity(b, b.identity);
  await bench.touchPolicy();
  t.deepEqual([await there(bench), await back(bench)], ["redirect", "redirect"]);
});

test.serial("an ICMP error passes with its flow though echo or all is closed, but not past a rule that denies just it (R48)", async (t) => {
  const { bench } = t.context;
  const about = ip(a.ipv4, b.ipv4, udp(5000, 9));
  const complain = async (): Promise<string> => (await bench.fromContainer(b, ip(b.ipv4, a.ipv4, icmpError(3, 3, about)))).verdict;
  await bench.fromContainer(a, about);
  await change(bench, [said(1, "deny", "out", b, a, "1 2048/16")], [[b, { denyOut: true }], [a, { denyIn: true }]]);
  t.is(await complain(), "redirect");
  await change(bench, [said(1, "deny", "in", a, b, "1 771/16")]);
  t.is(await complain(), "drop POLICY_DENIED");
  t.is((await bench.fromContainer(a, about)).verdict, "redirect", "the flow itself goes on");
  await change(bench, [said(1, "deny", "out", a, b, "17 9/16")]);
  t.is(await complain(), "drop POLICY_DENIED", "nor with a flow that is cut");
  t.is((await bench.fromContainer(b, ip(b.ipv4, a.ipv4, icmpError(3, 3, ip(a.ipv4, b.ipv4, udp(5001, 9)))))).verdict, "drop ICMP_WITHOUT_FLOW", "forged");
});

test.serial("a router's and the host's complaints are judged by who sends them", async (t) => {
  const { bench } = t.context;
  const port = Number(/192\.0\.2\.1:(\d+) >/.exec((await bench.fromContainer(a, ip(a.ipv4, "198.51.100.7", udp(5000, 53)))).packet)?.[1]);
  const router = async (): Promise<string> =>
    (await bench.fromUplink(ip("192.0.2.254", "192.0.2.1", icmpError(11, 0, ip("192.0.2.1", "198.51.100.7", udp(port, 53)))))).verdict;
  const host = async (): Promise<string> => (await bench.toContainer(a, ip("10.44.0.1", a.ipv4, icmpError(3, 13, ip(a.ipv4, "192.0.2.1", udp(5000, 99)))))).verdict;
  t.deepEqual([await router(), await host()], ["redirect", "pass"]);
  await change(bench, [said(1, "deny", "in", a, "192.0.2.254", "1 0/0"), said(2, "deny", "in", a, "host", "1 781/16")]);
  t.deepEqual([await router(), await host()], ["drop POLICY_DENIED", "drop POLICY_DENIED"]);
});

/** An event as one line. */
function line(event: Event): string {
  const verdict = Object.entries(EventVerdict).find(([, number]) => number === event.verdict)?.[0];
  const reason = Object.entries(DropReason).find(([, number]) => number === event.reason)?.[0];
  const end = ["", " out", " in"][event.end];
  return `${verdict} ${reason} ${event.sourceIdentity}>${event.destinationIdentity} ${event.saddr}:${event.sport} > ${event.daddr}:${event.dport}`
    + `${event.backend === null ? "" : ` at ${event.backend}:${event.backendPort}`} rule ${event.rule}${end}`;
}

test.serial("each flow is told of once with both identities and the rule, each drop with what decided it", async (t) => {
  await using bench = await openBench();
  await bench.publish("0.0.0.0", 8080, protocols.tcp, b.ipv4, 80);
  await bench.policy(tablesOf(containers, [
    said(7, "allow", "out", a, b, "6 80/16"), ...sentence(8, "audit", a, b, "6 81/16"), said(9, "deny", "in", b, "192.0.2.9"), said(10, "allow", "in", b, "world"),
  ], new Map([[a, { denyOut: true }]])));
  for (const flags of ["S", "A", "A"]) await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, flags)));
  await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 81, "S")));
  await bench.fromContainer(a, ip(a.ipv4, "198.51.100.7", udp(5000, 53)));
  await bench.fromContainer(a, ip(a.ipv4, b.ipv4, echo("request", 7)));
  await bench.fromContainer(b, ip(b.ipv4, "10.44.0.1", udp(5000, 53)));
  await bench.fromContainer(b, ip("10.44.0.9", a.ipv4, udp(5000, 53)));
  await bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8080, "S")));
  await bench.fromUplink(ip("192.0.2.8", "192.0.2.1", tcp(4000, 8080, "S")));
  await bench.touchPolicy();
  await bench.fromContainer(b, ip(b.ipv4, a.ipv4, tcp(80, 5000, "A")));
  await bench.fromContainer(a, ip(a.ipv4, b.ipv4, tcp(5000, 80, "A")));
  await bench.fromContainer(c, ip(c.ipv4, a.ipv4, tcp(6000, 80, "S")));
  const events = await bench.events(10);
  t.deepEqual(events.map(line), [
    "FORWARDED NONE 12>13 10.44.0.2:5000 > 10.44.0.3:80 rule 7 out",
    "AUDIT NONE 12>13 10.44.0.2:5000 > 10.44.0.3:81 rule 8 out",
    "DROPPED POLICY_DEFAULT_OUT 12>0 10.44.0.2:5000 > 198.51.100.7:53 rule 0 out",
    "DROPPED POLICY_DEFAULT_OUT 12>13 10.44.0.2:7 > 10.44.0.3:0 rule 0 out",
    "FORWARDED NONE 13>0 10.44.0.3:5000 > 10.44.0.1:53 rule 0",
    "DROPPED INVALID_SOURCE_IP 13>0 10.44.0.9:5000 > 10.44.0.2:53 rule 0",
    "DROPPED POLICY_DENIED 0>13 192.0.2.9:4000 > 192.0.2.1:8080 at 10.44.0.3:80 rule 9 in",
    "FORWARDED NONE 0>13 192.0.2.8:4000 > 192.0.2.1:8080 at 10.44.0.3:80 rule 10 in",
    "FORWARDED NONE 13>12 10.44.0.3:80 > 10.44.0.2:5000 rule 7 out",
    "DROPPED NETWORK_ISOLATED 22>12 10.44.1.2:6000 > 10.44.0.2:80 rule 0 out",
  ]);
  t.is(events[8]?.revision, (events[0]?.revision ?? 0) + 2, "judged again under the next revision");
  t.deepEqual([events[3]?.icmpType, events[3]?.icmpCode, events[3]?.family, events[0]?.tcpFlags], [8, 0, 4, 2]);
});

test.serial("a container that opens flow after flow is told of no more than 512 times a second, and what is not told is counted (R34)", async (t) => {
  await using bench = await openBench();
  // One flow for each source and destination port.
  await bench.flood(a, ip(a.ipv4, b.ipv4, udp(1, 1)), { at: 14 + 20, first: 0x1000_0000, count: 2000 });
  const lost = await bench.lost();
  t.true(lost > 0 && lost >= 2000 - 512 * 4 && lost <= 2000 - 512, `${lost} of 2000 untold`);
  await bench.fromContainer(a, ip(a.ipv4, "127.0.0.1", udp(5000, 53)));
  t.is(await bench.lost(), lost, "drops have a budget of their own");
});
