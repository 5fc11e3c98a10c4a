// The same as in snat.test.ts where XDP is off or knows no neighbour: netdev translates, and the kernel finds the neighbour.
import anyTest from "ava";
import type { TestFn } from "ava";
import { parseIp } from "../../../src/std/ip.ts";
import { openBench } from "../bench.ts";
import type { Bench } from "../bench.ts";
import { frame, icmpError, ip, ipv4, ipv6, protocols, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";

const test = anyTest as TestFn<{ bench: Bench }>;
/** As they came: the kernel writes others once it knows the neighbour. */
const macs = "02:00:00:00:00:fe > 02:00:00:00:00:01";
const config = { services: 1, lbIpv4: 0xc0000201, lbIpv6: parseIp("2001:db8::1") };

test.serial.before(async (t) => {
  const bench = (t.context.bench = await openBench(config));
  const service = async (number: number, address: string, port: number, protocol: number, backend: string): Promise<void> =>
    bench.service(number, { address: parseIp(address), port, protocol }, { address: parseIp(backend), port: 8080, mode: "SNAT" });
  await service(1, "203.0.114.10", 80, protocols.tcp, "172.16.1.1");
  await service(2, "2001:db8:5::10", 80, protocols.tcp, "2001:db8:b::1");
  await service(3, "203.0.114.10", 53, protocols.udp, "172.16.1.2");
  await service(4, "2001:db8:5::10", 53, protocols.udp, "2001:db8:b::2");
  await service(5, "203.0.114.10", 81, protocols.tcp, "198.18.0.1");
  await service(6, "203.0.114.10", 82, protocols.tcp, "203.0.113.9");
});
test.serial.after.always(async (t) => { await t.context.bench?.[Symbol.asyncDispose](); });

const at = (address: string, port: number): string => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
const portOf = (packet: string): number => Number(/ (?:192\.0\.2\.1|\[2001:db8::1\]):(\d+) > /.exec(packet)?.[1] ?? NaN);
const sides = [
  { family: 4, client: "198.51.100.7", vip: "203.0.114.10", node: "192.0.2.1", server: (number: number) => `172.16.1.${number}`, router: "198.51.100.1", unreachable: [3, 3], long: [3, 4] },
  { family: 6, client: "2001:db8:c::7", vip: "2001:db8:5::10", node: "2001:db8::1", server: (number: number) => `2001:db8:b::${number}`, router: "2001:db8:c::1", unreachable: [1, 4], long: [2, 0] },
] as const;

for (const { family, client, vip, node, server, router, unreachable, long } of sides) {
  test.serial(`IPv${family}: there in this node's name and back in the service's, with one hop less each way`, async (t) => {
    const { bench } = t.context;
    const asked = await bench.fromUplink(ip(client, vip, tcp(5000, 80, "S")));
    const port = portOf(asked.packet);
    t.true(port >= 16384 && port < 32768, asked.packet);
    t.deepEqual(asked, { verdict: "redirect", packet: `${macs} ${at(node, port)} > ${at(server(1), 8080)} tcp S ttl 63` });
    t.deepEqual(await bench.fromUplink(ip(server(1), node, tcp(8080, port, "SA"))), { verdict: "redirect", packet: `${macs} ${at(vip, 80)} > ${at(client, 5000)} tcp SA ttl 63` });
    t.deepEqual(await bench.fromUplink(ip(client, vip, tcp(5000, 80, "A", "GET /"))), { verdict: "redirect", packet: `${macs} ${at(node, port)} > ${at(server(1), 8080)} tcp A ttl 63` });
    const query = await bench.fromUplink(ip(client, vip, udp(5000, 53, "who?")));
    t.deepEqual(query, { verdict: "redirect", packet: `${macs} ${at(node, portOf(query.packet))} > ${at(server(2), 8080)} udp ttl 63` });
    t.deepEqual(await bench.fromUplink(ip(server(2), node, udp(8080, portOf(query.packet), "me"))), { verdict: "redirect", packet: `${macs} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63` });
  });

  test.serial(`IPv${family}: a packet that a device will cut into segments, whose checksums it will finish`, async (t) => {
    const { bench } = t.context;
    const { packet } = await bench.fromUplink(ip(client, vip, tcp(5000, 80, "S")));
    const big = frame("02:00:00:00:00:fe", "02:00:00:00:00:01", ip(client, vip, tcp(5000, 80, "A", "x".repeat(2000))));
    t.deepEqual(await bench.send("netdev", "wan0", big, 1000), { verdict: "redirect", packet: `${macs} ${at(node, portOf(packet))} > ${at(server(1), 8080)} tcp A ttl 63` });
  });

  test.serial(`IPv${family}: errors about either direction reach who sent the packet, which they carry as he sent it`, async (t) => {
    const { bench } = t.context;
    const port = portOf((await bench.fromUplink(ip(client, vip, tcp(5000, 80, "S")))).packet);
    const sent = ip(node, server(1), tcp(port, 8080, "A", "x".repeat(40)));
    const answer = ip(vip, client, tcp(80, 5000, "A", "x".repeat(40)));
    for (const [[type, code], options, mtu] of [[unreachable, {}, ""], [long, { mtu: 1400 }, " mtu 1400"]] as const) {
      t.deepEqual(await bench.fromUplink(ip(router, node, icmpError(type, code, sent, options))),
        { verdict: "redirect", packet: `${macs} ${vip} > ${client} icmp ${type}/${code}${mtu} { ${at(client, 5000)} > ${at(vip, 80)} tcp A ttl 64 } ttl 63` });
      t.deepEqual(await bench.fromUplink(ip(router, vip, icmpError(type, code, answer, options))),
        { verdict: "redirect", packet: `${macs} ${node} > ${server(1)} icmp ${type}/${code}${mtu} { ${at(server(1), 8080)} > ${at(node, port)} tcp A ttl 64 } ttl 63` });
    }
    t.is((await bench.fromUplink(ip(router, vip, icmpError(unreachable[0], unreachable[1], ip(vip, client, tcp(80, 5999, "A")))))).verdict, "drop ICMP_WITHOUT_FLOW");
  });

  test.serial(`IPv${family}: fragments follow their first, there and back`, async (t) => {
    const { bench } = t.context;
    const part = (from: string, dest: string, payload: Payload, offset: number, more: boolean): Packet =>
      (family === 4 ? ipv4(from, dest, slice(payload, offset, 48), { id: 9, offset, more }) : ipv6(from, dest, slice(payload, offset, 48), { fragment: { id: 9, offset, more } }));
    const question = udp(5000, 53, "x".repeat(96));
    const first = await bench.fromUplink(part(client, vip, question, 0, true));
    const port = portOf(first.packet);
    t.deepEqual(first, { verdict: "redirect", packet: `${macs} ${at(node, port)} > ${at(server(2), 8080)} udp ttl 63 fragment 0+` });
    t.is((await bench.fromUplink(part(client, vip, question, 48, false))).packet, `${macs} ${node} > ${server(2)} protocol 17 ttl 63 fragment 48`);
    const answer = udp(8080, port, "y".repeat(96));
    t.is((await bench.fromUplink(part(server(2), node, answer, 0, true))).packet, `${macs} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63 fragment 0+`);
    t.is((await bench.fromUplink(part(server(2), node, answer, 48, false))).packet, `${macs} ${vip} > ${client} protocol 17 ttl 63 fragment 48`);
  });

  test.serial(`IPv${family}: who sends what has no hop left or does not fit is told so, and what no flow has is the host's`, async (t) => {
    const { bench } = t.context;
    const port = portOf((await bench.fromUplink(ip(client, vip, tcp(5000, 80, "S")))).packet);
    const [expired, tooLong] = family === 4 ? ["11/0", "3/4 mtu 1500"] : ["3/0", "2/0 mtu 1500"];
    const back = macs.split(" > ").toReversed().join(" > ");
    t.deepEqual(await bench.fromUplink(ip(client, vip, tcp(5000, 80, "A"), { ttl: 1 })), {
      verdict: "answered TTL_EXCEEDED", packet: `${back} ${vip} > ${client} icmp ${expired} { ${at(client, 5000)} > ${at(vip, 80)} tcp A ttl 1 } ttl 64`,
    });
    t.deepEqual(await bench.fromUplink(ip(server(1), node, tcp(8080, port, "A"), { ttl: 1 })), {
      verdict: "answered TTL_EXCEEDED", packet: `${back} ${node} > ${server(1)} icmp ${expired} { ${at(server(1), 8080)} > ${at(node, port)} tcp A ttl 1 } ttl 64`,
    });
    t.deepEqual(await bench.fromUplink(ip(client, vip, tcp(5000, 80, "A", "x".repeat(1500)))), {
      verdict: "answered MTU_EXCEEDED", packet: `${back} ${vip} > ${client} icmp ${tooLong} { ${at(client, 5000)} > ${at(vip, 80)} tcp A ttl 64 } ttl 64`,
    });
    for (const packet of [ip(server(1), node, tcp(8080, 32_767, "A")), ip(server(2), node, tcp(8080, port, "A")), ip(server(1), node, udp(8080, port)), ip(server(1), node, tcp(8080, 40_000, "A"))]) {
      t.is((await bench.fromUplink(packet)).verdict, "pass untouched");
    }
  });
}

test.serial("what has no way by an uplink, or no address or port to be asked from, is dropped with its reason", async (t) => {
  const { bench } = t.context;
  t.is((await bench.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(5000, 81, "S")))).verdict, "drop NO_ROUTE");
  t.is((await bench.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(5000, 82, "S")))).verdict, "drop NOT_AN_UPLINK");
  await using bare = await openBench({ ...config, lbIpv4: 0 });
  await bare.service(1, { address: parseIp("203.0.114.10"), port: 80, protocol: protocols.tcp }, { address: parseIp("172.16.1.1"), port: 8080, mode: "SNAT" });
  t.is((await bare.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(5000, 80, "S")))).verdict, "drop NO_SNAT_ADDRESS");
  await using small = await openBench({ ...config, snatPorts: 8 });
  await small.service(1, { address: parseIp("203.0.114.10"), port: 80, protocol: protocols.tcp }, { address: parseIp("172.16.1.1"), port: 8080, mode: "SNAT" });
  for (let port = 5000; port < 5008; port++) {
    await small.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(port, 80, "S")));
    await small.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(port, 80, "A")));
  }
  t.is((await small.fromUplink(ip("198.51.100.7", "203.0.114.10", tcp(5008, 80, "S")))).verdict, "drop NAT_PORTS_EXHAUSTED");
});
