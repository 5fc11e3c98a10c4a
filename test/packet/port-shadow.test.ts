// A container may choose where it sends from, but never so that the answers to it shadow somebody else's port of the host (R79).
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, c, hostMac, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { ip, protocols, tcp, udp } from "./packets.ts";
import type { Payload } from "./packets.ts";

/** Only ports 1024 and 1025 are left to masqueraded flows. */
const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.beforeEach(async (t) => { t.context.bench = await openBench({ ephemeralLow: 1026, ephemeralHigh: 65535 }); });
test.serial.afterEach.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const world = "198.51.100.7";
const outcome = ({ verdict, packet }: Row): string => /192\.0\.2\.1:(\d+) >/.exec(packet)?.[1] ?? verdict;
const openTwo = async (bench: Bench, make: (sport: number, dport: number) => Payload): Promise<readonly string[]> => {
  const rows: string[] = [];
  for (const port of [5000, 5001]) rows.push(outcome(await bench.fromContainer(a, ip("10.44.0.2", world, make(port, 4000)))));
  return rows.toSorted();
};

test.serial("a masqueraded flow does not take a published port, whose clients it would catch", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 1024, protocols.udp, "10.44.0.3", 53);
  await bench.publish("192.0.2.1", 1025, protocols.tcp, "10.44.0.3", 80);
  t.deepEqual(await openTwo(bench, (sport, dport) => udp(sport, dport, "x")), ["1025", "drop NAT_PORTS_EXHAUSTED"]);
  t.deepEqual(await openTwo(bench, (sport, dport) => tcp(sport, dport, "S")), ["1024", "drop NAT_PORTS_EXHAUSTED"]);
  await bench.publish(null, 1024, protocols.udp, "fd44::3", 53);
  t.regex((await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", udp(5000, 4000, "x")))).packet, /\[2001:db8::1\]:1025 > /);
  t.is((await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", udp(5001, 4000, "x")))).verdict, "drop NAT_PORTS_EXHAUSTED");
});

test.serial("nor a port that a host program listens on", async (t) => {
  const { bench } = t.context;
  await bench.listen("udp", 1024);
  await bench.listen("tcp", 1025);
  t.deepEqual(await openTwo(bench, (sport, dport) => udp(sport, dport, "x")), ["1025", "drop NAT_PORTS_EXHAUSTED"]);
  t.deepEqual(await openTwo(bench, (sport, dport) => tcp(sport, dport, "S")), ["1024", "drop NAT_PORTS_EXHAUSTED"]);
});

test.serial("a SYN never answers a SYN: it is a connection to the host, and the waiting flow is forgotten", async (t) => {
  const { bench } = t.context;
  const port = Number(outcome(await bench.fromContainer(a, ip("10.44.0.2", world, tcp(5000, 4000, "S")))));
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", tcp(4000, port, "S")))).verdict, "pass untouched");
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", tcp(4000, port, "A", "secret")))).verdict, "pass untouched");
  t.deepEqual(await bench.flows(), []);
});

test.serial("a SYN against an answered flow neither reaches the container nor ends the flow", async (t) => {
  const { bench } = t.context;
  const port = Number(outcome(await bench.fromContainer(a, ip("10.44.0.2", world, tcp(5000, 4000, "S")))));
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", tcp(4000, port, "SA")))).verdict, "redirect");
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", tcp(4000, port, "S")))).verdict, "pass untouched");
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", tcp(4000, port, "A", "more")))).packet, `${hostMac} > ${a.mac} ${world}:4000 > 10.44.0.2:5000 tcp A ttl 64`);
});

test.serial("what a container may not open it may not open as an answer either", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 8080, protocols.tcp, "10.44.1.2", 80);
  t.is((await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.1", tcp(5000, 8080, "S")))).verdict, "redirect");
  t.is((await bench.fromContainer(c, ip("10.44.1.2", "10.44.0.2", tcp(80, 5000, "SA")))).verdict, "redirect");
  t.is((await bench.fromContainer(c, ip("10.44.1.2", "10.44.0.2", tcp(80, 5000, "S")))).verdict, "drop NETWORK_ISOLATED");
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "10.44.1.2", tcp(5000, 80, "A")))).verdict, "drop NETWORK_ISOLATED");
});

test.serial("a flow that waits does not catch the clients of a port that was published, or opened by a host program, since", async (t) => {
  const { bench } = t.context;
  const published = Number(outcome(await bench.fromContainer(a, ip("10.44.0.2", world, udp(5000, 4000, "x")))));
  const opened = Number(outcome(await bench.fromContainer(a, ip("10.44.0.2", world, udp(5001, 4000, "x")))));
  await bench.publish("0.0.0.0", published, protocols.udp, "10.44.0.3", 53);
  await bench.listen("udp", opened);
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", udp(4000, published, "x")))).packet, `${hostMac} > ${b.mac} ${world}:4000 > 10.44.0.3:53 udp ttl 64`);
  t.is((await bench.fromUplink(ip(world, "192.0.2.1", udp(4000, opened, "x")))).verdict, "pass untouched");
});
