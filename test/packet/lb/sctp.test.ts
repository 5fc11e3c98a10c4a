// SCTP services: dispatched as they are, because no checksum of theirs covers an address, and what does cover the ports nobody here can compute.
//
//   client ▸ 203.0.113.10:36412 ▸ [ balancer ▸ server │ client ▸ 203.0.113.10:36412 ]
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { a, hostMac, openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { frame, icmpError, ip, ipv4, protocols, sctp, slice } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { client4, client6, gateway, openWeb, out, to4, to6, uplink, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World; bench: Bench }>;
const [data, init, abort, complete] = [0, 1, 6, 14];
const back = `${uplink} > ${gateway}`;
const packet = (chunk: number, sport = 5000): Packet => to4(sctp(sport, 36412, chunk));

test.serial.before(async (t) => {
  const world = (t.context.world = await openWeb(2));
  await world.frontend(web4, 36412, protocols.sctp, 1);
  await world.frontend(web6, 36412, protocols.sctp, 2);
  const bench = (t.context.bench = await openBench({ services: 1, tunnelIfindex: 1, tunnelPort: 6081, tunnelHeader: 0x6558, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1"), nodeIpv4: 0xc0000201, nodeIpv6: parseIp("2001:db8::1") }));
  await bench.service(1, { address: parseIp("203.0.114.10"), port: 36412, protocol: protocols.sctp }, { address: a.ipv4, port: 36412, mode: "LOCAL" });
  await bench.service(2, { address: parseIp("203.0.114.10"), port: 36413, protocol: protocols.sctp }, { address: a.ipv4, port: 36412, mode: "LOCAL" });
  await bench.service(3, { address: parseIp("203.0.114.10"), port: 36414, protocol: protocols.sctp }, { address: parseIp("172.16.1.1"), port: 36414, mode: "IPIP" });
});
test.serial.beforeEach(async (t) => {
  await t.context.world.forgetFlows();
  await t.context.world.service(1, [1]);
  await t.context.world.service(2, [101]);
  await t.context.bench.forget();
});
test.serial.after.always(async (t) => { for (const one of [t.context.world, t.context.bench]) await one?.[Symbol.asyncDispose](); });

test.serial("to a plain server: wrapped, and byte for byte as it was", async (t) => {
  const { world } = t.context;
  t.deepEqual(await world.send(packet(init)), { verdict: "tx", packet: `${out} 192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.113.10:36412 sctp ttl 64 } ttl 64` });
  t.deepEqual(await world.send(to6(sctp(5000, 36412, data))), { verdict: "tx", packet: `${out} 2001:db8::1 > 2001:db8:b::1 ipip { [2001:db8:c::7]:5000 > [2001:db8:5::10]:36412 sctp ttl 64 } ttl 64` });
  const sent = frame(gateway, uplink, packet(data));
  const left = await world.sendBytes(sent);
  t.deepEqual(Buffer.from(left.data.subarray(34)).toString("hex"), Buffer.from(sent.subarray(14)).toString("hex"));
});

test.serial("to a container on another node: in Geneve, to a node of IPv4 and to one of IPv6", async (t) => {
  const { world } = t.context;
  await world.backend(3, "10.44.9.2", { mode: "GENEVE", port: 36412, outer: "172.16.9.9" });
  await world.backend(4, "10.44.9.2", { mode: "GENEVE", port: 36412, outer: "2001:db8:9::9" });
  await world.service(1, [3]);
  const sent = frame(gateway, uplink, packet(init));
  const left = await world.sendBytes(sent);
  t.is(left.verdict, 3);
  t.is(Buffer.from(left.data.subarray(left.data.length - sent.length)).toString("hex"), Buffer.from(sent).toString("hex"));
  await world.service(1, [4]);
  t.regex((await world.send(packet(init))).packet, /\[2001:db8::1\]:\d+ > \[2001:db8:9::9\]:6081 udp unsummed ttl 64$/);
});

test.serial("INIT begins an association, everything else goes on, and it ends by ABORT or SHUTDOWN COMPLETE", async (t) => {
  const { world } = t.context;
  const server = async (chunk: number, sport: number): Promise<string> => / > (172\.16\.1\.\d) ipip/.exec((await world.send(packet(chunk, sport))).packet)?.[1] ?? "nobody";
  await world.service(1, [{ current: 2, previous: 1, changed: 10 }]);
  const before = await world.flowsOf(2);
  t.is(await server(data, 6000), "172.16.1.1", "began before");
  for (const [sport, end] of [[6001, abort], [6002, complete]] as const) {
    for (const chunk of [init, init, data, end]) t.is(await server(chunk, sport), "172.16.1.2", `${chunk}`);
    t.is(await server(data, sport), "172.16.1.2");
  }
  const after = await world.flowsOf(2);
  t.deepEqual([after.begun - before.begun, after.ended - before.ended], [4, 2]);
});

test.serial("a port that no service has, and a service without a backend: port unreachable", async (t) => {
  const { world } = t.context;
  t.deepEqual(await world.send(to4(sctp(5000, 36413, init))), {
    verdict: "answered SERVICE_PORT", packet: `${back} 203.0.113.10 > 198.51.100.7 icmp 3/3 { 198.51.100.7:5000 > 203.0.113.10:36413 sctp ttl 64 } ttl 64`,
  });
  t.deepEqual(await world.send(to6(sctp(5000, 36413, init))), {
    verdict: "answered SERVICE_PORT", packet: `${back} 2001:db8:5::10 > 2001:db8:c::7 icmp 1/4 { [2001:db8:c::7]:5000 > [2001:db8:5::10]:36413 sctp ttl 64 } ttl 64`,
  });
  await world.service(1, []);
  t.is((await world.send(packet(init))).verdict, "answered SERVICE_EMPTY");
});

test.serial("errors follow their association, and what ends in its header is dropped", async (t) => {
  const { world } = t.context;
  const error = (port: number): Packet => ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, sctp(port, 5000)), { mtu: 1400 }));
  t.is((await world.send(error(36412))).verdict, "tx");
  t.is((await world.send(error(36413))).verdict, "drop ICMP_WITHOUT_FLOW");
  for (const length of [8, 12]) t.is((await world.send(ipv4(client4, web4, slice(sctp(5000, 36412, init), 0, length)))).verdict, "drop MALFORMED", `${length}`);
  t.is((await world.send(ip(client6, web6, slice(sctp(5000, 36412, init), 0, 12)))).verdict, "drop MALFORMED");
});

test.serial("to a container here: by the service's own port, and by no other", async (t) => {
  const { bench } = t.context;
  t.deepEqual(await bench.fromUplink(ip(client4, "203.0.114.10", sctp(5000, 36412, init))), { verdict: "redirect", packet: `${hostMac} > ${a.mac} 198.51.100.7:5000 > 10.44.0.2:36412 sctp ttl 64` });
  t.regex((await bench.fromContainer(a, ip("10.44.0.2", client4, sctp(36412, 5000)))).packet, /203\.0\.114\.10:36412 > 198\.51\.100\.7:5000 sctp ttl 63$/);
  t.is((await bench.fromUplink(ip(client4, "203.0.114.10", sctp(5000, 36413, init)))).verdict, "drop REWRITE_FAILED");
});

test.serial("behind XDP it is wrapped as well", async (t) => {
  t.deepEqual((await t.context.bench.fromUplink(ip(client4, "203.0.114.10", sctp(5000, 36414, init)))).packet.replace(/^.*? > \S+ /, ""),
    "192.0.2.1 > 172.16.1.1 ipip { 198.51.100.7:5000 > 203.0.114.10:36414 sctp ttl 64 } ttl 64");
});
