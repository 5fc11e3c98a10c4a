// Flows: two entries each, ports that nobody else holds, ends of connections, age.
import anyTest from "ava";
import type { TestFn } from "ava";
import { a, b, openBench } from "./bench.ts";
import type { Bench, Row } from "./bench.ts";
import { CtFlags } from "../../src/abi/generated.ts";
import type { Ct4, Ct4Key } from "../../src/abi/generated.ts";
import { ip4FromNumber } from "../../src/std/ip.ts";
import { echo, ip, protocols, tcp, udp } from "./packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

const show = (key: Ct4Key): string => `${ip4FromNumber(key.saddr)}:${key.sport} > ${ip4FromNumber(key.daddr)}:${key.dport}`;
const flags = ({ flags }: Ct4): readonly string[] => Object.entries(CtFlags).filter(([, bit]) => flags & bit).map(([name]) => name);
const rows = async (bench: Bench): Promise<readonly string[]> =>
  (await bench.flows()).map(([key, entry]) => `${show(key)} to ${show(entry.to)} ${flags(entry).join(" ")}`).toSorted();
/** Source port of a masqueraded packet. */
const portOf = (row: Row): number => Number(/192\.0\.2\.1:(\d+) >/.exec(row.packet)?.[1]);

test.serial("a flow between containers has an entry for each direction", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  t.deepEqual(await rows(bench), [
    "10.44.0.2:5000 > 10.44.0.3:80 to 10.44.0.2:5000 > 10.44.0.3:80 SEEN",
    "10.44.0.3:80 > 10.44.0.2:5000 to 10.44.0.3:80 > 10.44.0.2:5000 REPLY",
  ]);
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "SA")));
  t.true((await rows(bench))[1]?.endsWith("REPLY SEEN"));
});

test.serial("the same flow gets the same masqueraded port, whatever was forgotten in between", async (t) => {
  const { bench } = t.context;
  const packet = ip("10.44.0.2", "198.51.100.7", udp(5000, 53));
  const first = portOf(await bench.fromContainer(a, packet));
  await bench.forget();
  t.is(portOf(await bench.fromContainer(a, packet)), first);
});

test.serial("masqueraded ports stay out of the host's ephemeral range", async (t) => {
  const { bench } = t.context;
  for (let port = 5000; port < 5100; port++) {
    const taken = portOf(await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(port, 53))));
    t.true(taken >= 1024 && (taken < 32768 || taken > 60999), `${taken}`);
  }
});

test.serial("a port that a live flow holds is not given to another one", async (t) => {
  const bench = await openBench({ ephemeralLow: 1026, ephemeralHigh: 65535 }); // leaves 1024 and 1025
  try {
    const open = (port: number): Promise<Row> => bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(port, 53)));
    t.deepEqual([portOf(await open(5000)), portOf(await open(5001))].toSorted(), [1024, 1025]);
    t.is((await open(5002)).verdict, "drop NAT_PORTS_EXHAUSTED");
    t.is((await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.8", udp(5002, 53)))).verdict, "redirect", "another destination has its own");
    await bench.age();
    t.is((await open(5002)).verdict, "redirect", "an expired flow holds nothing");
  } finally {
    await bench[Symbol.asyncDispose]();
  }
});

test.serial("when its answer's place is taken a flow changes its source port, never its address", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 8080, protocols.tcp, "10.44.0.3", 80);
  t.regex((await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.1", tcp(5000, 8080, "S")))).packet, /10\.44\.0\.2:5000 > 10\.44\.0\.3:80/);
  const { packet } = await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  const port = /10\.44\.0\.2:(\d+) > 10\.44\.0\.3:80 tcp S ttl 64$/.exec(packet)?.[1];
  t.truthy(port, packet);
  t.not(port, "5000");
  t.regex((await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, Number(port), "SA")))).packet, /10\.44\.0\.3:80 > 10\.44\.0\.2:5000 tcp SA ttl 64$/);
});

test.serial("FIN both ways closes both entries, and a new SYN opens them again", async (t) => {
  const { bench } = t.context;
  const closed = async (): Promise<readonly boolean[]> => (await bench.flows()).map(([, { flags }]) => (flags & CtFlags.CLOSED) !== 0);
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "SA")));
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "FA")));
  t.deepEqual(await closed(), [false, false]);
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "FA")));
  t.deepEqual(await closed(), [true, true]);
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  t.deepEqual(await closed(), [false, false]);
});

test.serial("what was closed may be opened again by its other end", async (t) => {
  const { bench } = t.context;
  const openers = async (): Promise<readonly string[]> =>
    (await bench.flows()).filter(([, { flags }]) => !(flags & (CtFlags.REPLY | CtFlags.CLOSED))).map(([{ sport, dport }]) => `${sport} > ${dport}`);
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "RA")));
  t.deepEqual(await openers(), []);
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "S")));
  t.deepEqual(await openers(), ["80 > 5000"]);
  t.is((await bench.flows()).length, 2);
});

test.serial("what was closed is opened again to where it leads now", async (t) => {
  const { bench } = t.context;
  const open = async (): Promise<Row> => bench.fromUplink(ip("192.0.2.9", "192.0.2.1", tcp(4000, 8088, "S")));
  await bench.publish("0.0.0.0", 8088, protocols.tcp, "10.44.0.2", 80);
  t.regex((await open()).packet, /> 10\.44\.0\.2:80/);
  await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.9", tcp(80, 4000, "RA")));
  await bench.publish("0.0.0.0", 8088, protocols.tcp, "10.44.0.3", 80);
  t.regex((await open()).packet, /> 10\.44\.0\.3:80/);
});

test.serial("a RST closes both entries", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "RA")));
  t.true((await bench.flows()).every(([, { flags }]) => flags & CtFlags.CLOSED));
});

test.serial("connections live 2 h 10 min once answered, 60 s before, 10 s when closed", async (t) => {
  const { bench } = t.context;
  const hz = 250;
  const seconds = async (): Promise<readonly number[]> => (await bench.flows()).map(([, { expires, touched }]) => {
    // What is left since the entry was touched, whose low bits are not kept.
    const since = (expires - touched * 256) & 0xffffff;
    return Math.floor(since / hz / 2) * 2;
  });
  const near = (value: number, wanted: number): boolean => Math.abs(value - wanted) <= 2;
  await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.3", tcp(5000, 80, "S")));
  t.true((await seconds()).every((value) => near(value, 60)), `${await seconds()}`);
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "SA")));
  t.true((await seconds()).every((value) => near(value, 7800)), `${await seconds()}`);
  await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(80, 5000, "R")));
  t.true((await seconds()).every((value) => near(value, 10)), `${await seconds()}`);
});

test.serial("after its time a flow is gone: no answer passes any more (R57)", async (t) => {
  const { bench } = t.context;
  const port = portOf(await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(5000, 53))));
  t.is((await bench.fromUplink(ip("198.51.100.7", "192.0.2.1", udp(53, port)))).verdict, "redirect");
  await bench.age();
  t.is((await bench.fromUplink(ip("198.51.100.7", "192.0.2.1", udp(53, port)))).verdict, "pass untouched");
});

test.serial("an answer from anywhere but where the flow went is not its answer", async (t) => {
  const { bench } = t.context;
  const port = portOf(await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", udp(5000, 53))));
  for (const [source, sport] of [["198.51.100.8", 53], ["198.51.100.7", 54]] as const) {
    t.is((await bench.fromUplink(ip(source, "192.0.2.1", udp(sport, port)))).verdict, "pass untouched");
  }
});

test.serial("a flow whose own entry was evicted goes on with the port that it had", async (t) => {
  const { bench } = t.context;
  const packet = ip("10.44.0.2", "198.51.100.7", tcp(5000, 80, "A"));
  const port = portOf(await bench.fromContainer(a, packet));
  const own = (await bench.flows()).find(([key]) => key.sport === 5000);
  if (own) await bench.deleteFlow(own[0]);
  t.is((await bench.flows()).length, 1);
  t.is(portOf(await bench.fromContainer(a, packet)), port);
  t.is((await bench.flows()).length, 2);
});

test.serial("echo is masqueraded by its identifier", async (t) => {
  const { bench } = t.context;
  const out = await bench.fromContainer(a, ip("10.44.0.2", "198.51.100.7", echo("request", 7, "ping")));
  const id = Number(/192\.0\.2\.1 > 198\.51\.100\.7 echo request (\d+) ttl 63$/.exec(out.packet)?.[1]);
  t.regex((await bench.fromUplink(ip("198.51.100.7", "192.0.2.1", echo("reply", id, "ping")))).packet, /198\.51\.100\.7 > 10\.44\.0\.2 echo reply 7 ttl 64$/);
  const out6 = await bench.fromContainer(a, ip("fd44::2", "2001:db8:7::7", echo("request", 7, "ping", 6)));
  const id6 = Number(/2001:db8::1 > 2001:db8:7::7 echo request (\d+) ttl 63$/.exec(out6.packet)?.[1]);
  t.regex((await bench.fromUplink(ip("2001:db8:7::7", "2001:db8::1", echo("reply", id6, "ping", 6)))).packet, /2001:db8:7::7 > fd44::2 echo reply 7 ttl 64$/);
});
