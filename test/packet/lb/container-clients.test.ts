// Containers whose packets ask services: raw sockets, SCTP, guests in a container, connections older than the service.
//
//   a (10.44.0.2) ▸ 203.0.114.10 ▸ port 80: b, on a's network    81: a itself      82: c, on another      83: a server, 172.16.1.1
//                                       84: a container on node 192.0.2.9          85: nobody             86: the server, for 10.44.0.0/24 not
//                                       87, UDP: b:53             9, SCTP: b       2001:db8:5::10: the same of IPv6, ports 80, 81, 83, 85
import anyTest from "ava";
import type { TestFn } from "ava";
import { LbServiceFlags } from "../../../src/abi/generated.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { a, b, c, containers, hostMac, openBench } from "../bench.ts";
import type { Bench, Row } from "../bench.ts";
import { echo, icmpError, ip, ipv4, protocols, sctp, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { said, tablesOf } from "../policy-tables.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
const [web4, web6, server4, server6] = ["203.0.114.10", "2001:db8:5::10", "172.16.1.1", "2001:db8:b::1"];
const [toA, toB] = [`${hostMac} > ${a.mac}`, `${hostMac} > ${b.mac}`];

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") }));
  let number = 0;
  const service = async (address: string, port: number, protocol: number, to: string, toPort: number, mode: "LOCAL" | "IPIP" | "GENEVE", more: Parameters<Bench["service"]>[3] = {}): Promise<number> => {
    const outer = mode === "GENEVE" ? { outer: parseIp("192.0.2.9") } : {};
    await bench.service(++number, { address: parseIp(address), port, protocol }, { address: parseIp(to), port: toPort, mode, ...outer }, more);
    return number;
  };
  for (const [web, self, other, server] of [[web4, "10.44.0.2", "10.44.0.3", server4], [web6, "fd44::2", "fd44::3", server6]] as const) {
    await service(web, 80, protocols.tcp, other, 8080, "LOCAL");
    await service(web, 81, protocols.tcp, self, 8080, "LOCAL");
    await service(web, 83, protocols.tcp, server, 83, "IPIP");
    await service(web, 85, protocols.tcp, server, 85, "IPIP", { empty: true });
    await service(web, 85, protocols.udp, server, 85, "IPIP", { empty: true });
    await service(web, 87, protocols.udp, other, 53, "LOCAL");
  }
  await service(web4, 82, protocols.tcp, "10.44.1.2", 8080, "LOCAL");
  await service(web4, 84, protocols.tcp, "10.44.9.2", 8080, "GENEVE");
  await service(web4, 86, protocols.tcp, server4, 86, "IPIP", { sources: { deny: ["10.44.0.0/24"] } });
  await service(web4, 9, protocols.sctp, "10.44.0.3", 9, "LOCAL");
  await service(web4, 10, protocols.sctp, "10.44.0.3", 11, "LOCAL");
  await service("192.0.2.1", 80, protocols.tcp, "10.44.0.3", 8080, "LOCAL", { shared: true });
  await bench.otherNode({ address: "192.0.2.9", containers: ["10.44.9.2"], identity: b.identity, network: 1 });
});
test.serial.beforeEach(async (t) => {
  await t.context.bench.forget();
  await t.context.bench.policy(tablesOf(containers));
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const ask4 = (payload: Payload): Packet => ip("10.44.0.2", web4, payload);
const ask6 = (payload: Payload): Packet => ip("fd44::2", web6, payload);
const redirected = (packet: string): Row => ({ verdict: "redirect", packet });

test.serial("another container here: it sees the client's address, the client the service's", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 80, "S"))), redirected(`${toB} 10.44.0.2:5000 > 10.44.0.3:8080 tcp S ttl 64`));
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(8080, 5000, "SA"))), redirected(`${toA} 203.0.114.10:80 > 10.44.0.2:5000 tcp SA ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 80, "A", "GET /"))), redirected(`${toB} 10.44.0.2:5000 > 10.44.0.3:8080 tcp A ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask6(tcp(5000, 80, "S"))), redirected(`${toB} [fd44::2]:5000 > [fd44::3]:8080 tcp S ttl 64`));
  t.deepEqual(await bench.fromContainer(b, ip("fd44::3", "fd44::2", tcp(8080, 5000, "SA"))), redirected(`${toA} [2001:db8:5::10]:80 > [fd44::2]:5000 tcp SA ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask4(udp(5000, 87, "who?"))), redirected(`${toB} 10.44.0.2:5000 > 10.44.0.3:53 udp ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask6(udp(5000, 87, "who?"))), redirected(`${toB} [fd44::2]:5000 > [fd44::3]:53 udp ttl 64`));
});

test.serial("a backend that calls its own service is its client in the gateway's name", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 81, "S"))), redirected(`${toA} 10.44.0.1:5000 > 10.44.0.2:8080 tcp S ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "10.44.0.1", tcp(8080, 5000, "SA"))), redirected(`${toA} 203.0.114.10:81 > 10.44.0.2:5000 tcp SA ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 81, "A", "GET /"))), redirected(`${toA} 10.44.0.1:5000 > 10.44.0.2:8080 tcp A ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ask6(tcp(5000, 81, "S"))), redirected(`${toA} [fd44::1]:5000 > [fd44::2]:8080 tcp S ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ip("fd44::2", "fd44::1", tcp(8080, 5000, "SA"))), redirected(`${toA} [2001:db8:5::10]:81 > [fd44::2]:5000 tcp SA ttl 64`));
});

test.serial("a plain server: translated, and masqueraded as all that the container sends into the world", async (t) => {
  const { bench } = t.context;
  for (const [packet, uplink, server, service, self] of [
    [ask4, "192.0.2.1", server4, web4, "10.44.0.2"], [ask6, "[2001:db8::1]", `[${server6}]`, `[${web6}]`, "[fd44::2]"],
  ] as const) {
    const out = await bench.fromContainer(a, packet(tcp(5000, 83, "S")));
    const port = Number(/.*:(\d+) > /.exec(out.packet)?.[1]);
    t.deepEqual(out, redirected(`${a.mac} > ${hostMac} ${uplink}:${port} > ${server}:83 tcp S ttl 63`));
    const bare = (text: string): string => text.replace(/[[\]]/g, "");
    t.deepEqual(await bench.fromUplink(ip(bare(server), bare(uplink), tcp(83, port, "SA"))), redirected(`${toA} ${service}:83 > ${self}:5000 tcp SA ttl 64`));
    t.deepEqual(await bench.fromContainer(a, packet(tcp(5000, 83, "A"))), redirected(`${a.mac} > ${hostMac} ${uplink}:${port} > ${server}:83 tcp A ttl 63`));
  }
});

test.serial("a container on another node: translated, and by the tunnel as to any container there", async (t) => {
  const { bench } = t.context;
  const [ran] = await bench.each(a, [ask4(tcp(5000, 84, "S"))]);
  t.is(ran?.verdict, 7);
  const { data } = ran ?? { data: new Uint8Array() };
  t.is(Buffer.from(data.subarray(26, 34)).toString("hex"), "c0000201c0000209", "from node to node");
  t.is(Buffer.from(data.subarray(14 + 20 + 8 + 8 + 14 + 12, 14 + 20 + 8 + 8 + 14 + 24)).toString("hex"), "0a2c00020a2c090213881f90", "10.44.0.2:5000 > 10.44.9.2:8080");
});

test.serial("a port that no service has, and a service that nobody serves: refused at once, in the service's name", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 99, "S"))), { verdict: "answered SERVICE_PORT", packet: `${toA} 203.0.114.10:99 > 10.44.0.2:5000 tcp RA ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 99, "PA", "hello"))), { verdict: "answered SERVICE_PORT", packet: `${toA} 203.0.114.10:99 > 10.44.0.2:5000 tcp R ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ask6(tcp(5000, 99, "S"))), { verdict: "answered SERVICE_PORT", packet: `${toA} [2001:db8:5::10]:99 > [fd44::2]:5000 tcp RA ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ask4(tcp(5000, 85, "S"))), { verdict: "answered SERVICE_EMPTY", packet: `${toA} 203.0.114.10:85 > 10.44.0.2:5000 tcp RA ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ask6(tcp(5000, 85, "S"))), { verdict: "answered SERVICE_EMPTY", packet: `${toA} [2001:db8:5::10]:85 > [fd44::2]:5000 tcp RA ttl 64` });
  t.deepEqual(await bench.fromContainer(a, ask4(udp(5000, 99, "who?"))), {
    verdict: "answered SERVICE_PORT", packet: `${toA} 203.0.114.10 > 10.44.0.2 icmp 3/3 { 10.44.0.2:5000 > 203.0.114.10:99 udp ttl 64 } ttl 64`,
  });
  t.deepEqual(await bench.fromContainer(a, ask6(udp(5000, 85, "x".repeat(1000)))), {
    verdict: "answered SERVICE_EMPTY", packet: `${toA} 2001:db8:5::10 > fd44::2 icmp 1/4 { [fd44::2]:5000 > [2001:db8:5::10]:85 udp ttl 64 } ttl 64`,
  });
  t.deepEqual(await bench.fromContainer(a, ask4(sctp(5000, 99, 1))), {
    verdict: "answered SERVICE_PORT", packet: `${toA} 203.0.114.10 > 10.44.0.2 icmp 3/3 { 10.44.0.2:5000 > 203.0.114.10:99 sctp ttl 64 } ttl 64`,
  });
  t.is((await bench.fromContainer(a, ask4(tcp(5000, 99, "R")))).verdict, "drop SERVICE_PORT", "a reset is answered by nobody");
  t.is((await bench.fromContainer(a, ipv4("10.44.0.2", web4, slice(udp(5000, 99, "x".repeat(96)), 0, 48), { more: true }))).verdict, "drop SERVICE_PORT", "nor part of a datagram");
});

test.serial("of an address that the host has as well, only the service's ports are a service's", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.1", tcp(5000, 80, "S"))), redirected(`${toB} 10.44.0.2:5000 > 10.44.0.3:8080 tcp S ttl 64`));
  t.deepEqual(await bench.fromContainer(a, ip("10.44.0.2", "192.0.2.1", tcp(5000, 22, "S"))), redirected(`${a.mac} > ${hostMac} 10.44.0.2:5000 > 192.0.2.1:22 tcp S ttl 64`));
});

test.serial("a container among those that may not come is denied", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromContainer(a, ask4(tcp(5000, 86, "S")))).verdict, "drop SERVICE_SOURCE");
  t.is((await bench.fromContainer(c, ip("10.44.1.2", web4, tcp(5000, 86, "S")))).verdict, "redirect");
});

test.serial("policy judges the container, and walls stand, as if it had asked the backend itself", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromContainer(a, ask4(tcp(5000, 82, "S")))).verdict, "drop NETWORK_ISOLATED", "of another network");
  t.is((await bench.fromContainer(c, ip("10.44.1.2", web4, tcp(5000, 82, "S")))).verdict, "redirect", "of its own");
  t.is((await bench.fromContainer(a, ask4(tcp(5000, 80, "S")))).verdict, "redirect");
  await bench.policy(tablesOf(containers, [said(1, "deny", "in", b, a, "6 8080/16")]));
  for (const flags of ["S", "A"]) t.is((await bench.fromContainer(a, ask4(tcp(5000, 80, flags)))).verdict, "drop POLICY_DENIED", flags);
  t.is((await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", tcp(8080, 5000, "SA")))).verdict, "drop POLICY_DENIED", "and its answers");
});

test.serial("with affinity what begins leaves a backend that takes nothing new, and what went on stays", async (t) => {
  const { bench } = t.context;
  const frontend = { address: parseIp(web4), port: 88, protocol: protocols.tcp };
  const set = async (current: number): Promise<void> => bench.service(50, frontend, { address: parseIp("10.44.0.3"), port: 8080, mode: "LOCAL" }, { slot: { current }, flags: LbServiceFlags.AFFINITY });
  await bench.backend(51, { address: parseIp("10.44.9.2"), outer: parseIp("192.0.2.9"), port: 8080, mode: "GENEVE" });
  await set(50);
  const to = async (sport: number, flags: string): Promise<string> => {
    const { verdict, packet } = await bench.fromContainer(a, ask4(tcp(sport, 88, flags)));
    return verdict !== "redirect" ? verdict : packet.includes("10.44.0.3:8080") ? "b" : "elsewhere";
  };
  t.is(await to(5000, "S"), "b");
  await set(51);
  t.is(await to(5001, "S"), "b");
  await bench.close(50, 50);
  t.is(await to(5002, "S"), "elsewhere");
  await bench.forget();
  for (const [sport, where] of [[5000, "b"], [5001, "b"], [5002, "elsewhere"]] as const) t.is(await to(sport, "A"), where, `${sport}, which conntrack has lost`);
});

test.serial("SCTP keeps its ports, and so goes to backends on the service's own port alone", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromContainer(a, ask4(sctp(5000, 9, 1))), redirected(`${toB} 10.44.0.2:5000 > 10.44.0.3:9 sctp ttl 64`));
  t.deepEqual(await bench.fromContainer(b, ip("10.44.0.3", "10.44.0.2", sctp(9, 5000))), redirected(`${toA} 203.0.114.10:9 > 10.44.0.2:5000 sctp ttl 64`));
  t.is((await bench.fromContainer(a, ask4(sctp(5000, 10, 1)))).verdict, "drop REWRITE_FAILED");
});

test.serial("errors and later fragments follow their flow", async (t) => {
  const { bench } = t.context;
  await bench.fromContainer(a, ask4(udp(5000, 87, "who?")));
  const error = ip("10.44.0.3", "10.44.0.2", icmpError(3, 3, ip("10.44.0.2", "10.44.0.3", udp(5000, 53, "who?"))));
  t.deepEqual(await bench.fromContainer(b, error), redirected(`${toA} 203.0.114.10 > 10.44.0.2 icmp 3/3 { 10.44.0.2:5000 > 203.0.114.10:87 udp ttl 64 } ttl 64`));
  const whole = udp(5001, 87, "x".repeat(96));
  const part = (offset: number, more: boolean): Packet => ipv4("10.44.0.2", web4, slice(whole, offset, 48), { id: 9, offset, more });
  t.is((await bench.fromContainer(a, part(0, true))).packet, `${toB} 10.44.0.2:5001 > 10.44.0.3:53 udp ttl 64 fragment 0+`);
  t.is((await bench.fromContainer(a, part(48, false))).packet, `${toB} 10.44.0.2 > 10.44.0.3 protocol 17 ttl 64 fragment 48`);
});

test.serial("what has no port of a service's goes as to any address", async (t) => {
  t.regex((await t.context.bench.fromContainer(a, ask4(echo("request", 7)))).packet, /^02:42:0a:2c:01:02 > 02:48:57:00:00:01 192\.0\.2\.1 > 203\.0\.114\.10 echo request/);
});
