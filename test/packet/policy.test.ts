// What policy makes of first packets: rules of both ends, defaults, networks, published ports, the host, ICMP and ports.
import anyTest from "ava";
import type { ExecutionContext, TestFn } from "ava";
import { a, b, c, containers, d, e, f, openBench } from "./bench.ts";
import type { Bench, Container } from "./bench.ts";
import { echo, ip, ipv4, protocols, sctp, slice, tcp, udp } from "./packets.ts";
import type { Payload } from "./packets.ts";
import { said, sentence, tablesOf } from "./policy-tables.ts";
import type { Closed, Said } from "./policy-tables.ts";
import type { Verdict } from "../../src/policy/types.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });
test.serial.beforeEach(async (t) => { await t.context.bench.forget(); });

type Close = readonly (readonly [Container, Closed])[];

/** In force from here on; every flow of before is forgotten. */
async function enforce(bench: Bench, rows: readonly Said[], closed: Close = []): Promise<void> {
  await bench.policy(tablesOf(containers, rows, new Map(closed)));
  await bench.forget();
}

const web = tcp(5000, 80, "S");

/** Verdict of a first packet between two containers. */
async function opens(bench: Bench, from: Container, to: Container | string, payload: Payload = web): Promise<string> {
  const daddr = typeof to === "string" ? to : to.ipv4;
  const saddr = daddr.includes(":") ? (from.ipv6 ?? "") : from.ipv4;
  return (await bench.fromContainer(from, ip(saddr, daddr, payload))).verdict;
}

test.serial("the two ends of one network: deny wins over all, an audit or allow rule opens its own end (R53)", async (t) => {
  const { bench } = t.context;
  const shut = { denyIn: true, denyOut: true };
  const rows: readonly (readonly [out: Verdict | null, into: Verdict | null, open: string, closed: string])[] = [
    [null, null, "redirect", "drop POLICY_DEFAULT_OUT"],
    ["allow", null, "redirect", "drop POLICY_DEFAULT_IN"],
    [null, "allow", "redirect", "drop POLICY_DEFAULT_OUT"],
    ["allow", "allow", "redirect", "redirect"],
    ["audit", null, "redirect", "drop POLICY_DEFAULT_IN"],
    [null, "audit", "redirect", "drop POLICY_DEFAULT_OUT"],
    ["audit", "audit", "redirect", "redirect"],
    ["audit", "allow", "redirect", "redirect"],
    ["deny", "allow", "drop POLICY_DENIED", "drop POLICY_DENIED"],
    ["allow", "deny", "drop POLICY_DENIED", "drop POLICY_DENIED"],
    ["audit", "deny", "drop POLICY_DENIED", "drop POLICY_DENIED"],
    [null, "deny", "drop POLICY_DENIED", "drop POLICY_DENIED"],
    ["deny", null, "drop POLICY_DENIED", "drop POLICY_DENIED"],
  ];
  for (const [out, into, open, closed] of rows) {
    const rules = [...(out ? [said(1, out, "out", a, b)] : []), ...(into ? [said(2, into, "in", b, a)] : [])];
    await enforce(bench, rules);
    t.is(await opens(bench, a, b), open, `out ${out}, in ${into}`);
    await enforce(bench, rules, [[a, shut], [b, shut]]);
    t.is(await opens(bench, a, b), closed, `out ${out}, in ${into}, both closed`);
  }
});

test.serial("a default closes its own direction only", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [], [[a, { denyOut: true }]]);
  t.is(await opens(bench, a, b), "drop POLICY_DEFAULT_OUT");
  t.is(await opens(bench, a, "198.51.100.7"), "drop POLICY_DEFAULT_OUT");
  t.is(await opens(bench, a, "10.44.0.1"), "drop POLICY_DEFAULT_OUT", "the host is no exception");
  t.is(await opens(bench, b, a), "redirect");
  await enforce(bench, [], [[a, { denyIn: true }]]);
  t.is(await opens(bench, b, a), "drop POLICY_DEFAULT_IN");
  t.is(await opens(bench, a, b, udp(5000, 53)), "redirect");
});

test.serial("what is said of one peer stands for what is said of everyone, be it nothing", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, "any"), said(2, "allow", "out", a, b)]);
  t.is(await opens(bench, a, b), "redirect");
  t.is(await opens(bench, a, "198.51.100.7"), "drop POLICY_DENIED");
  const tables = tablesOf(containers, [said(1, "deny", "out", a, "any")]);
  await bench.policy({ ...tables, pairs: new Map([...tables.pairs, [`out ${a.identity} ${b.identity}`, 0]]) });
  await bench.forget();
  t.is(await opens(bench, a, b), "redirect", "ruleset 0 says nothing, though another is said of everyone");
});

test.serial("containers of different networks talk where a rule of both ends lets them, and only so", async (t) => {
  const { bench } = t.context;
  await enforce(bench, []);
  t.is(await opens(bench, a, c), "drop NETWORK_ISOLATED");
  await enforce(bench, [said(1, "allow", "out", a, c)]);
  t.is(await opens(bench, a, c), "drop NETWORK_ISOLATED", "no container opens another");
  await enforce(bench, [said(1, "allow", "in", c, a)]);
  t.is(await opens(bench, a, c), "drop NETWORK_ISOLATED");
  await enforce(bench, sentence(1, "allow", a, c, "6 80/16"));
  t.is(await opens(bench, a, c), "redirect");
  t.is(await opens(bench, a, c, tcp(5000, 81, "S")), "drop NETWORK_ISOLATED");
  t.is(await opens(bench, c, a), "drop NETWORK_ISOLATED", "the sentence speaks of one direction");
  await enforce(bench, sentence(1, "allow", a, d));
  t.is(await opens(bench, a, d), "drop INTERNAL_NETWORK", "no rule opens an internal network");
});

test.serial("with betweenNetworks allow they talk unless a rule denies it", async (t) => {
  await using bench = await openBench({ betweenNetworks: 1 });
  t.is(await opens(bench, a, c), "redirect");
  await enforce(bench, [said(1, "deny", "in", c, a)]);
  t.is(await opens(bench, a, c), "drop POLICY_DENIED");
});

test.serial("without ICC neighbours talk where a rule of both ends lets them", async (t) => {
  const { bench } = t.context;
  await enforce(bench, []);
  t.is(await opens(bench, e, f), "drop ICC_DISABLED");
  await enforce(bench, [said(1, "allow", "in", f, e)]);
  t.is(await opens(bench, e, f), "drop ICC_DISABLED");
  await enforce(bench, sentence(1, "allow", e, f));
  t.is(await opens(bench, e, f), "redirect");
  t.is(await opens(bench, f, e, tcp(6000, 22, "S")), "drop ICC_DISABLED");
});

test.serial("a published port is judged by the client's own address and the container's own port", async (t) => {
  const { bench } = t.context;
  await bench.publish("0.0.0.0", 8080, protocols.tcp, b.ipv4, 80);
  const client = async (address: string): Promise<string> => (await bench.fromUplink(ip(address, "192.0.2.1", tcp(4000, 8080, "S")))).verdict;
  await enforce(bench, [said(1, "allow", "in", b, "192.0.2.0/28", "6 80/16"), said(2, "deny", "in", b, "192.0.2.9", "6 80/16")], [[b, { denyIn: true }]]);
  t.is(await client("192.0.2.8"), "redirect");
  t.is(await client("192.0.2.9"), "drop POLICY_DENIED", "the longest prefix is the client's class");
  t.is(await client("192.0.2.77"), "drop POLICY_DEFAULT_IN");
  await enforce(bench, [said(1, "deny", "in", b, "world", "6 8080/16")]);
  t.is(await client("192.0.2.8"), "redirect", "8080 is the host's port, not the container's");
  await enforce(bench, sentence(1, "deny", a, b, "6 80/16"));
  t.is(await opens(bench, a, "192.0.2.1", tcp(4000, 8080, "S")), "drop POLICY_DENIED", "a container that comes by the published port is still that container");
  t.is(await opens(bench, c, "192.0.2.1", tcp(4000, 8080, "S")), "redirect");
});

test.serial("published: deny closes the published ports of containers that no policy covers, to the outside", async (t) => {
  await using bench = await openBench({ publishedDeny: 1 });
  await bench.publish("0.0.0.0", 8080, protocols.tcp, b.ipv4, 80);
  const client = async (): Promise<string> => (await bench.fromUplink(ip("192.0.2.8", "192.0.2.1", tcp(4000, 8080, "S")))).verdict;
  t.is(await client(), "drop POLICY_PUBLISHED");
  t.is(await opens(bench, c, "192.0.2.1", tcp(4000, 8080, "S")), "redirect");
  await enforce(bench, [said(1, "allow", "in", b, "world", "6 80/16")]);
  t.is(await client(), "redirect");
  await enforce(bench, [], [[b, { covered: true }]]);
  t.is(await client(), "redirect");
});

test.serial("between the host and containers, both ways", async (t) => {
  const { bench } = t.context;
  const host = async (): Promise<string> => (await bench.toContainer(a, ip("10.44.0.1", a.ipv4, tcp(4000, 80, "S")))).verdict;
  await enforce(bench, [], [[a, { denyIn: true }]]);
  t.is(await host(), "drop POLICY_DEFAULT_IN");
  await enforce(bench, [said(1, "allow", "in", a, "host", "6 80/16")], [[a, { denyIn: true }]]);
  t.is(await host(), "pass");
  await enforce(bench, [said(1, "deny", "out", a, "host", "6 2375/16"), said(2, "deny", "in", a, "host")]);
  t.is(await host(), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "192.0.2.1", tcp(5000, 2375, "S")), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "10.44.0.1", tcp(5000, 2375, "S")), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "192.0.2.1", tcp(5000, 22, "S")), "redirect");
});

test.serial("echo is type 8 or 128 of its own family (R48)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, b, "1 2048/16"), said(2, "allow", "out", a, b, "58 32768/16")], [[a, { denyOut: true }]]);
  t.is(await opens(bench, a, b, echo("request", 7)), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "fd44::3", echo("request", 7, "", 6)), "redirect");
  t.is((await bench.fromContainer(b, ip("fd44::3", "fd44::2", echo("reply", 7, "", 6)))).verdict, "redirect");
  t.is(await opens(bench, a, b, udp(5000, 2048)), "drop POLICY_DEFAULT_OUT", "port 2048 is no echo");
});

test.serial("ports are ranges by prefix, of one protocol or of all, and the narrowest decides", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [
    said(1, "allow", "out", a, b, "6 8000/10"), said(2, "deny", "out", a, b, "6 8001/16"), said(3, "allow", "out", a, b, "132 0/0"), said(4, "audit", "out", a, b, "* 0/0"),
    said(5, "deny", "out", a, b, "17 0/0"),
  ]);
  for (const [payload, verdict] of [
    [tcp(5000, 8000, "S"), "redirect"], [tcp(5000, 8001, "S"), "drop POLICY_DENIED"], [tcp(5000, 8063, "S"), "redirect"], [sctp(5000, 9), "redirect"],
    [udp(5000, 53), "drop POLICY_DENIED"], [tcp(5000, 22, "S"), "redirect"],
  ] as const) t.is(await opens(bench, a, b, payload), verdict);
});

test.serial("over IPv6, by address and by container", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, "2001:db8:7::/48"), said(2, "deny", "in", b, a, "6 80/16")]);
  t.is(await opens(bench, a, "2001:db8:7::7"), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "2001:db8:8::7"), "redirect");
  t.is(await opens(bench, a, "fd44::3"), "drop POLICY_DENIED");
  t.is(await opens(bench, a, "fd44::3", tcp(5000, 81, "S")), "redirect");
});

test.serial("a container is never of an address's class, whatever its address", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, "10.44.0.0/16")]);
  t.is(await opens(bench, a, b), "redirect");
  t.is(await opens(bench, a, "10.44.9.9"), "drop POLICY_DENIED");
});

test.serial("a container whose labels are not known opens nothing and is opened to by nobody", async (t) => {
  const { bench } = t.context;
  await enforce(bench, sentence(1, "allow", a, b));
  await bench.publish("0.0.0.0", 8080, protocols.tcp, b.ipv4, 80);
  await bench.setIdentity(b, 0);
  t.is(await opens(bench, a, b), "drop NOT_IDENTIFIED");
  t.is(await opens(bench, b, a), "drop NOT_IDENTIFIED");
  t.is(await opens(bench, b, "198.51.100.7"), "drop NOT_IDENTIFIED");
  t.is((await bench.toContainer(b, ip("10.44.0.1", b.ipv4, web))).verdict, "drop NOT_IDENTIFIED");
  t.is((await bench.fromUplink(ip("192.0.2.8", "192.0.2.1", tcp(4000, 8080, "S")))).verdict, "drop NOT_IDENTIFIED");
  await bench.setIdentity(b, b.identity);
  t.is(await opens(bench, a, b), "redirect");
});

test.serial("with untilIdentified allow it is one that no policy covers, and what is said of everyone is said of it", async (t) => {
  await using bench = await openBench({ unidentifiedAllow: 1 });
  await bench.setIdentity(b, 0);
  t.is(await opens(bench, a, b), "redirect");
  t.is(await opens(bench, b, a, udp(5000, 53)), "redirect");
  await enforce(bench, [said(1, "deny", "out", a, "any", "6 0/0")]);
  t.is(await opens(bench, a, b), "drop POLICY_DENIED");
  await enforce(bench, [], [[a, { denyOut: true }], [b, { denyIn: true }]]);
  t.is(await opens(bench, b, a), "redirect", "not b's default: nobody knows that it is b");
  t.is(await opens(bench, b, c), "drop NETWORK_ISOLATED");
  const tables = tablesOf([...containers, { identity: 0 }], [said(1, "deny", "out", { identity: 0 }, "169.254.169.254")]);
  const unknown = { class: 999, denyIn: false, denyOut: false, covered: false };
  await bench.policy({ ...tables, classes: new Map([...tables.classes, [0, unknown]]), pairs: new Map([...tables.pairs].map(([key, ruleset]) => [key.replace(" 0 ", " 999 "), ruleset])) });
  await bench.forget();
  t.is(await opens(bench, b, "169.254.169.254"), "drop POLICY_DENIED", "tables may have a class for whoever is not known");
});

test.serial("what the tables do not know is refused", async (t) => {
  await using bench = await openBench({}, { policy: "none" });
  t.is(await opens(bench, a, b), "drop POLICY_MISSING");
  t.is(await opens(bench, a, "198.51.100.7"), "drop POLICY_MISSING");
  t.is((await bench.toContainer(a, ip("10.44.0.1", a.ipv4, web))).verdict, "drop POLICY_MISSING");
  await enforce(bench, []);
  t.is(await opens(bench, a, b), "redirect");
  await bench.setIdentity(b, 4711);
  t.is(await opens(bench, a, b, udp(5000, 53)), "drop POLICY_MISSING", "an identity that no class is known of");
});

test.serial("neither options nor fragments get round a rule of ports (R47)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, b, "17 53/16")]);
  const datagram = udp(5000, 53, "x".repeat(64));
  const send = async (payload: Payload, options: Parameters<typeof ipv4>[3]): Promise<string> => (await bench.fromContainer(a, ipv4(a.ipv4, b.ipv4, payload, options))).verdict;
  t.is(await send(datagram, { options: [1, 1, 1, 0] }), "drop POLICY_DENIED");
  t.is(await send(slice(datagram, 0, 48), { more: true, id: 9 }), "drop POLICY_DENIED");
  t.is(await send(slice(datagram, 48, 24), { offset: 48, id: 9 }), "drop FRAGMENT_WITHOUT_FIRST");
  t.is(await send(slice(datagram, 48, 24), { offset: 48, id: 10 }), "drop FRAGMENT_WITHOUT_FIRST", "nor when the later one comes first");
  t.is(await send(slice(udp(5000, 54, "x".repeat(64)), 0, 48), { more: true, id: 11 }), "redirect");
  t.is(await send(slice(udp(5000, 54, "x".repeat(64)), 48, 24), { offset: 48, id: 11 }), "redirect");
});

test.serial("a denied container is told nothing of the way: neither its hop limit nor its size are answered", async (t: ExecutionContext<{ bench: Bench }>) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, "world")]);
  t.is((await bench.fromContainer(a, ip(a.ipv4, "198.51.100.7", web, { ttl: 1 }))).verdict, "drop POLICY_DENIED");
  t.is((await bench.fromContainer(a, ip(a.ipv4, "203.0.113.7", web))).verdict, "drop POLICY_DENIED");
  await enforce(bench, []);
  t.is((await bench.fromContainer(a, ip(a.ipv4, "198.51.100.7", web, { ttl: 1 }))).verdict, "redirect", "otherwise they are");
});
