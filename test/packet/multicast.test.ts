// What a container sends to a group: dropped unless a rule opens the group's address, and then copied to the containers of its network.
import anyTest from "ava";
import type { TestFn } from "ava";
import { eventVerdictNames } from "../../src/abi/generated.ts";
import { a, b, containers, d, e, f, hostMac, openBench } from "./bench.ts";
import type { Bench, Container } from "./bench.ts";
import { echo, icmp, icmpError, ip, ipv4, ipv6, neighbourDiscovery, other, slice, udp } from "./packets.ts";
import type { Packet, Payload } from "./packets.ts";
import { said, tablesOf } from "./policy-tables.ts";
import type { Closed, Said } from "./policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
test.serial.before(async (t) => { t.context.bench = await openBench(); });
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const mdns = "224.0.0.251";
const query = udp(5353, 5353, "who is there");

async function enforce(bench: Bench, rows: readonly Said[], closed: readonly (readonly [Container, Closed])[] = []): Promise<void> {
  await bench.policy(tablesOf(containers, rows, new Map(closed)));
  await bench.copies();
}

/** The verdict and who got copies. */
async function says(bench: Bench, from: Container, packet: Packet, frame?: { readonly destination: string }): Promise<string> {
  const { verdict } = await bench.fromContainer(from, packet, frame ?? {});
  const copies = await bench.copies();
  return copies === "" ? verdict : `${verdict} to ${copies}`;
}

function to(group: string, payload: Payload = query): Packet {
  return ip(group.includes(":") ? "fd44::2" : "10.44.0.2", group, payload);
}

test.serial("without a rule for it nothing goes to a group (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, []);
  for (const group of [mdns, "255.255.255.255", "10.44.0.255", "ff02::fb"]) t.is(await says(bench, a, to(group)), "drop MULTICAST", group);
  t.is(await says(bench, a, to(mdns, other(2))), "drop MULTICAST", "IGMP");
  t.is(await says(bench, a, to("224.0.0.18", other(112))), "drop MULTICAST", "VRRP");
  await enforce(bench, [said(1, "allow", "out", a, b), said(2, "allow", "in", b, a)]);
  t.is(await says(bench, a, to(mdns)), "drop MULTICAST", "a rule for a neighbour is none for the group");
});

test.serial("a rule for the group has a copy made for every other container of the network, and for nobody else (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", a, "224.0.0.0/4"), said(2, "allow", "out", a, "ff00::/8")]);
  t.is(await says(bench, a, to(mdns)), "handed over to hwb");
  t.is(await says(bench, a, to("ff02::fb")), "handed over to hwb");
  t.is(await says(bench, a, to("255.255.255.255")), "drop MULTICAST", "the broadcast address is not of the prefix");
  t.is(await says(bench, b, ip("10.44.0.3", mdns, query)), "drop MULTICAST", "the rule is a's");
  t.is((await bench.fromContainer(a, to(mdns), { destination: "01:00:5e:00:00:fb" })).packet, `${hostMac} > 01:00:5e:00:00:fb 10.44.0.2:5353 > 224.0.0.251:5353 udp ttl 64`);
  await bench.copies();
});

test.serial("protocol and port are the rule's: IGMP and VRRP need one for every protocol (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", a, "224.0.0.0/4", "17 5353/16"), said(2, "allow", "out", a, "ff00::/8", "58 36608/16")]);
  t.is(await says(bench, a, to(mdns)), "handed over to hwb");
  t.is(await says(bench, a, to(mdns, udp(5353, 5355))), "drop MULTICAST");
  t.is(await says(bench, a, to(mdns, other(2))), "drop MULTICAST");
  t.is(await says(bench, a, to(mdns, echo("request", 7))), "drop MULTICAST");
  t.is(await says(bench, a, to("ff02::16", icmp(143, 0, new Uint8Array(8), 6))), "handed over to hwb", "a listener report");
  t.is(await says(bench, a, to("ff02::16", icmp(131, 0, new Uint8Array(8), 6))), "drop MULTICAST");
  await enforce(bench, [said(1, "allow", "out", a, "224.0.0.0/4")]);
  for (const payload of [other(2), other(112), echo("request", 7), udp(1, 2)]) t.is(await says(bench, a, to("224.0.0.18", payload)), "handed over to hwb", `${payload.protocol}`);
  for (const tunnel of [4, 41, 47]) t.is(await says(bench, a, to(mdns, other(tunnel))), "drop ENCAP_PROHIBITED", `${tunnel}`);
  t.is(await says(bench, a, to(mdns, icmpError(3, 3, ip(mdns, "10.44.0.2", query)))), "drop MULTICAST", "nobody complains to a group");
});

test.serial("the limited and the subnet's own broadcast address open as any other (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", a, "255.255.255.255", "17 67/16"), said(2, "allow", "out", a, "10.44.0.255"), said(3, "allow", "out", a, "10.44.1.255")]);
  t.is(await says(bench, a, to("255.255.255.255", udp(68, 67))), "handed over to hwb");
  t.is(await says(bench, a, ip("0.0.0.0", "255.255.255.255", udp(68, 67))), "handed over to hwb", "who asks for an address has none yet");
  t.is(await says(bench, a, to("255.255.255.255", udp(67, 68))), "drop MULTICAST");
  t.is(await says(bench, a, to("10.44.0.255", udp(5000, 5000))), "handed over to hwb");
  t.not(await says(bench, a, to("10.44.1.255", udp(5000, 5000))), "handed over to hwb", "another network's is no group of a's");
});

test.serial("who may have a copy is each member's own policy's to say (R49)", async (t) => {
  const { bench } = t.context;
  const open = said(1, "allow", "out", a, "224.0.0.0/4");
  const rows: readonly (readonly [said: "allow" | "deny" | "audit" | null, closed: boolean, heard: boolean])[] = [
    [null, false, true], [null, true, false], ["allow", true, true], ["audit", true, true], ["deny", false, false], ["deny", true, false],
  ];
  for (const [verdict, closed, heard] of rows) {
    await enforce(bench, [open, ...(verdict ? [said(2, verdict, "in", b, a)] : [])], closed ? [[b, { denyIn: true }]] : []);
    t.is(await says(bench, a, to(mdns)), heard ? "handed over to hwb" : "handed over", `${verdict}, ${closed ? "closed" : "open"}`);
  }
  await enforce(bench, [open, said(2, "allow", "in", b, a, "17 5355/16")], [[b, { denyIn: true }]]);
  t.is(await says(bench, a, to(mdns)), "handed over", "b's rule is for another port");
  await enforce(bench, [open]);
  await bench.setIdentity(b, 0);
  t.is(await says(bench, a, to(mdns)), "handed over", "b is not known yet");
  await bench.setIdentity(b, b.identity);
});

test.serial("without ICC a member needs a rule of its own, and an internal network's groups are its own (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", e, "224.0.0.0/4"), said(2, "allow", "out", d, "224.0.0.0/4")]);
  t.is(await says(bench, e, ip("10.44.3.2", mdns, query)), "handed over");
  t.is(await says(bench, d, ip("10.44.2.2", mdns, query)), "handed over", "it is alone there");
  await enforce(bench, [said(1, "allow", "out", e, "224.0.0.0/4"), said(2, "allow", "in", f, e)]);
  t.is(await says(bench, e, ip("10.44.3.2", mdns, query)), "handed over to hwf");
});

test.serial("a deny rule, an unknown sender and a false address keep their reasons; the default of the sender opens nothing (R37, R49, R53)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "deny", "out", a, mdns), said(2, "allow", "out", a, "224.0.0.0/4"), said(3, "allow", "out", a, "ff00::/8")]);
  t.is(await says(bench, a, to(mdns)), "drop POLICY_DENIED");
  t.is(await says(bench, a, to("224.0.0.18")), "handed over to hwb");
  t.is(await says(bench, a, ip("10.44.0.3", "224.0.0.18", query)), "drop INVALID_SOURCE_IP");
  t.is(await says(bench, a, ip("0.0.0.0", "224.0.0.18", udp(68, 67))), "drop INVALID_SOURCE_IP");
  t.is(await says(bench, a, ip("fe80::42:aff:fe2c:102", "ff02::fb", query)), "handed over to hwb", "the link-local address that its MAC makes");
  for (const address of ["fe80::42:aff:fe2c:103", "fe80::1", "fd44::3", "::"]) t.is(await says(bench, a, ip(address, "ff02::fb", query)), "drop INVALID_SOURCE_IP", address);
  const report = icmp(143, 0, new Uint8Array(24), 6);
  t.is(await says(bench, a, ip("::", "ff02::16", report)), "drop MULTICAST", "a device whose address is not sure yet reports its groups without one");
  t.is(await says(bench, a, ip("fd44::3", "ff02::16", report)), "drop INVALID_SOURCE_IP");
  await bench.setIdentity(a, 0);
  t.is(await says(bench, a, to("224.0.0.18")), "drop MULTICAST", "no rule is for who is not known");
  await bench.setIdentity(a, a.identity);
});

test.serial("neighbour discovery is no group's: a rule neither opens nor copies it (R39)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", a, "ff00::/8")]);
  t.is(await says(bench, a, ipv6("fd44::2", "ff02::1:ff00:3", neighbourDiscovery(135, "fd44::3", a.mac), { ttl: 255 })), "redirect");
  t.is(await says(bench, a, ipv6("fd44::2", "ff02::1", neighbourDiscovery(134, "::"), { ttl: 255 })), "drop ROUTER_ADVERTISEMENT");
});

test.serial("later fragments go where the rule lets their first go (R47, R49)", async (t) => {
  const { bench } = t.context;
  const datagram = udp(5353, 5353, "x".repeat(64));
  const part = (id: number, payload: Payload, at: number): Packet => ipv4("10.44.0.2", mdns, slice(payload, at, at === 0 ? 48 : 24), at === 0 ? { more: true, id } : { offset: at, id });
  await enforce(bench, [said(1, "allow", "out", a, "224.0.0.0/4", "17 5353/16")]);
  t.is(await says(bench, a, part(40, datagram, 48)), "drop FRAGMENT_WITHOUT_FIRST");
  t.is(await says(bench, a, part(40, datagram, 0)), "handed over to hwb");
  t.is(await says(bench, a, part(40, datagram, 48)), "handed over to hwb");
  t.is(await says(bench, a, part(41, udp(5353, 5355, "x".repeat(64)), 0)), "drop MULTICAST");
  t.is(await says(bench, a, part(41, datagram, 48)), "drop FRAGMENT_WITHOUT_FIRST");
});

test.serial("a packet longer than a member's MTU is not copied to it", async (t) => {
  const { bench } = t.context;
  await enforce(bench, [said(1, "allow", "out", a, "224.0.0.0/4")]);
  await bench.setMtu(b, 600);
  t.is(await says(bench, a, to(mdns, udp(1, 2, "x".repeat(600)))), "handed over");
  t.is(await says(bench, a, to(mdns)), "handed over to hwb");
  await bench.setMtu(b, 1500);
});

test.serial("people are told once, as of a flow: who spoke to which group by which rule, and what an audit rule would have stopped (R49)", async (t) => {
  await using bench = await openBench();
  await enforce(bench, [said(7, "allow", "out", a, mdns), said(8, "audit", "out", b, mdns)]);
  for (let times = 0; times < 3; times++) t.is(await says(bench, a, to(mdns)), "handed over to hwb");
  t.is(await says(bench, b, ip("10.44.0.3", mdns, query)), "handed over to hwa");
  const seen = (await bench.events(2)).map(({ verdict, rule, end, sourceIdentity, daddr, dport, network }) => ({ verdict: eventVerdictNames[verdict], rule, end, sourceIdentity, daddr, dport, network }));
  t.deepEqual(seen, [
    { verdict: "FORWARDED", rule: 7, end: 1, sourceIdentity: a.identity, daddr: mdns, dport: 5353, network: 1 },
    { verdict: "AUDIT", rule: 8, end: 1, sourceIdentity: b.identity, daddr: mdns, dport: 5353, network: 1 },
  ]);
});

test.serial("only what bears the agent's mark passes to a container without being looked at (R49)", async (t) => {
  const { bench } = t.context;
  await enforce(bench, []);
  const packet = ip("10.44.0.3", mdns, query);
  t.is((await bench.toContainer(a, packet)).verdict, "drop MULTICAST");
  t.is((await bench.toContainer(a, packet, { mark: 0x48570002 })).verdict, "drop MULTICAST");
  t.is((await bench.toContainer(a, packet, { mark: 0x48570001 })).verdict, "pass");
  await using plain = await openBench({ mark: 0 });
  t.is((await plain.toContainer(a, packet)).verdict, "drop MULTICAST", "no mark is no mark");
  await plain.policy(tablesOf(containers, [said(1, "allow", "out", a, mdns)]));
  t.is((await plain.fromContainer(a, to(mdns))).verdict, "drop MULTICAST");
});
