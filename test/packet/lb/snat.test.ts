// Servers that know nothing of services: asked in this node's name, from a port of the server's pool, and answered for in the service's.
//
//   client:c ▸ service:s ▸ [ balancer: 192.0.2.1:p ▸ 172.16.1.1:8080 ]          and back: 172.16.1.1:8080 ▸ 192.0.2.1:p ▸ [ service:s ▸ client:c ]
import anyTest from "ava";
import type { TestFn } from "ava";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { frame, icmpError, ip, ipv4, ipv6, slice, tcp, udp } from "../packets.ts";
import type { Packet, Payload } from "../packets.ts";
import { client4, client6, gateway, openWorld, out, to4, to6, uplink, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;

const service = (name: string, frontends: string, backends: string): string => `service: ${name}\nfrontends: [${frontends}]\nbackends: [${backends}]\nhealth: { kind: none }\n`;
const web = service("web", '"203.0.113.10:80", "[2001:db8:5::10]:80"', '{ address: "172.16.1.1:8080" }, { address: "[2001:db8:b::1]:8080" }');
const names = service("names", '"203.0.113.10:53/udp", "[2001:db8:5::10]:53/udp"', '{ address: "172.16.1.2:5353" }, { address: "[2001:db8:b::2]:5353" }');

/** Plans, one after another, as an engine makes them. */
function planner(): (...texts: readonly string[]) => readonly ServicePlan[] {
  let before: Balancing = noBalancing;
  return (...texts) => {
    const services = readServices(texts.map((text, i) => ({ file: `${i}.yaml`, text })));
    const { next, plans } = advance(before, { services, containers: [], mode: "auto", largestTable: 1021, now: Date.now() });
    before = next;
    return plans;
  };
}

test.serial.before(async (t) => {
  t.context.world = await openWorld();
  await t.context.world.plans(planner()(web, names));
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

/** The port from which the balancer asks. */
const portOf = (packet: string): number => Number(/ (?:192\.0\.2\.1|\[2001:db8::1\]):(\d+) > /.exec(packet)?.[1] ?? NaN);

interface Side {
  readonly client: string;
  readonly service: string;
  readonly node: string;
  readonly server: (number: number) => string;
  readonly to: (payload: Payload) => Packet;
}
const sides: Readonly<Record<"IPv4" | "IPv6", Side>> = {
  IPv4: { client: client4, service: web4, node: "192.0.2.1", server: (number) => `172.16.1.${number}`, to: to4 },
  IPv6: { client: client6, service: web6, node: "2001:db8::1", server: (number) => `2001:db8:b::${number}`, to: to6 },
};
const at = (address: string, port: number): string => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);

for (const [family, { client, service: vip, node, server, to }] of Object.entries(sides)) {
  test.serial(`${family}, TCP: there in this node's name and back in the service's, with one hop less each way`, async (t) => {
    const { world } = t.context;
    const asked = await world.send(to(tcp(5000, 80, "S")));
    const port = portOf(asked.packet);
    t.true(port >= 16384 && port < 32768, asked.packet);
    t.deepEqual(asked, { verdict: "tx", packet: `${out} ${at(node, port)} > ${at(server(1), 8080)} tcp S ttl 63` });
    t.deepEqual(await world.send(ip(server(1), node, tcp(8080, port, "SA"))), { verdict: "tx", packet: `${out} ${at(vip, 80)} > ${at(client, 5000)} tcp SA ttl 63` });
    t.deepEqual(await world.send(to(tcp(5000, 80, "A", "GET /"))), { verdict: "tx", packet: `${out} ${at(node, port)} > ${at(server(1), 8080)} tcp A ttl 63` });
    t.deepEqual(await world.send(ip(server(1), node, tcp(8080, port, "A", "answer"))), { verdict: "tx", packet: `${out} ${at(vip, 80)} > ${at(client, 5000)} tcp A ttl 63` });
    t.not(portOf((await world.send(to(tcp(5001, 80, "S")))).packet), port, "another flow has another port");
  });

  test.serial(`${family}, UDP: the same`, async (t) => {
    const { world } = t.context;
    const asked = await world.send(to(udp(5000, 53, "who?")));
    const port = portOf(asked.packet);
    t.deepEqual(asked, { verdict: "tx", packet: `${out} ${at(node, port)} > ${at(server(2), 5353)} udp ttl 63` });
    t.deepEqual(await world.send(ip(server(2), node, udp(5353, port, "me"))), { verdict: "tx", packet: `${out} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63` });
  });

  test.serial(`${family}: errors about either direction reach who sent the packet, which they carry as he sent it`, async (t) => {
    const { world } = t.context;
    const [router, unreachable, long, expired] = family === "IPv4" ? ["198.51.100.1", [3, 3], [3, 4], [11, 0]] as const : ["2001:db8:c::1", [1, 4], [2, 0], [3, 0]] as const;
    const port = portOf((await world.send(to(tcp(5000, 80, "S")))).packet);
    const sent = ip(node, server(1), tcp(port, 8080, "A", "x".repeat(40)));
    const answer = ip(vip, client, tcp(80, 5000, "A", "x".repeat(40)));
    for (const [type, code] of [unreachable, expired]) {
      t.deepEqual(await world.send(ip(router, node, icmpError(type, code, sent))),
        { verdict: "tx", packet: `${out} ${vip} > ${client} icmp ${type}/${code} { ${at(client, 5000)} > ${at(vip, 80)} tcp A ttl 64 } ttl 63` });
      t.deepEqual(await world.send(ip(router, vip, icmpError(type, code, answer))),
        { verdict: "tx", packet: `${out} ${node} > ${server(1)} icmp ${type}/${code} { ${at(server(1), 8080)} > ${at(node, port)} tcp A ttl 64 } ttl 63` });
    }
    t.regex((await world.send(ip(router, node, icmpError(long[0], long[1], sent, { mtu: 1400 })))).packet, new RegExp(`icmp ${long[0]}/${long[1]} mtu 1400 \\{`));
    t.regex((await world.send(ip(router, vip, icmpError(long[0], long[1], answer, { mtu: 1400 })))).packet, new RegExp(`icmp ${long[0]}/${long[1]} mtu 1400 \\{`));
    const nobody = ip(router, vip, icmpError(unreachable[0], unreachable[1], ip(vip, client, tcp(80, 5999, "A"))));
    t.is((await world.send(nobody)).verdict, "drop ICMP_WITHOUT_FLOW", "of a flow that nobody has");
    t.is((await world.send(ip(router, node, icmpError(unreachable[0], unreachable[1], ip(node, server(1), tcp(30_000, 8080, "A")))))).verdict, "pass", "of one that is not the balancer's");
  });

  test.serial(`${family}: who has used up his hops, or does not fit, is told`, async (t) => {
    const { world } = t.context;
    const port = portOf((await world.send(to(tcp(5000, 80, "S")))).packet);
    const expired = family === "IPv4" ? "icmp 11/0" : "icmp 3/0";
    const forth = await world.send(ip(client, vip, tcp(5000, 80, "A"), { ttl: 1 }));
    t.is(forth.verdict, "answered TTL_EXCEEDED");
    t.true(forth.packet.startsWith(`${out} ${vip} > ${client} ${expired} { `), forth.packet);
    const back = await world.send(ip(server(1), node, tcp(8080, port, "A"), { ttl: 1 }));
    t.is(back.verdict, "answered TTL_EXCEEDED");
    t.true(back.packet.startsWith(`${out} ${node} > ${server(1)} ${expired} { `), back.packet);
    const long = "x".repeat(1500);
    t.is((await world.send(to(tcp(5000, 80, "A", long)))).verdict, "answered MTU_EXCEEDED");
    t.is((await world.send(ip(server(1), node, tcp(8080, port, "A", long)))).verdict, "answered MTU_EXCEEDED");
  });

  test.serial(`${family}: fragments follow their first, there and back`, async (t) => {
    const { world } = t.context;
    const [question, part] = [udp(5000, 53, "x".repeat(96)), (from: string, dest: string, payload: Payload, offset: number, more: boolean): Packet =>
      (family === "IPv4" ? ipv4(from, dest, slice(payload, offset, 48), { id: 9, offset, more }) : ipv6(from, dest, slice(payload, offset, 48), { fragment: { id: 9, offset, more } }))];
    t.is((await world.send(part(client, vip, question, 48, false))).verdict, "drop FRAGMENT_WITHOUT_FIRST");
    const first = await world.send(part(client, vip, question, 0, true));
    const port = portOf(first.packet);
    t.deepEqual(first, { verdict: "tx", packet: `${out} ${at(node, port)} > ${at(server(2), 5353)} udp ttl 63 fragment 0+` });
    t.deepEqual(await world.send(part(client, vip, question, 48, false)), { verdict: "tx", packet: `${out} ${node} > ${server(2)} protocol 17 ttl 63 fragment 48` });
    const answer = udp(5353, port, "y".repeat(96));
    t.is((await world.send(part(server(2), node, answer, 48, false))).verdict, "pass", "none is known to be the balancer's before its first");
    t.deepEqual(await world.send(part(server(2), node, answer, 0, true)), { verdict: "tx", packet: `${out} ${at(vip, 53)} > ${at(client, 5000)} udp ttl 63 fragment 0+` });
    t.deepEqual(await world.send(part(server(2), node, answer, 48, false)), { verdict: "tx", packet: `${out} ${vip} > ${client} protocol 17 ttl 63 fragment 48` });
  });
}

test.serial("a datagram without a checksum gets none", async (t) => {
  const { world } = t.context;
  const asked = await world.send(to4(udp(5100, 53, "who?", { checksum: "none" })));
  t.regex(asked.packet, /172\.16\.1\.2:5353 udp unsummed ttl 63$/);
});

test.serial("what comes to a port that no flow has is the host's, untouched and uncounted", async (t) => {
  const { world } = t.context;
  const port = portOf((await world.send(to4(tcp(5000, 80, "S")))).packet);
  const strangers: Readonly<Record<string, Packet>> = {
    "a port of the pool that is free": ip("172.16.1.1", "192.0.2.1", tcp(8080, 32_767, "A")),
    "another server": ip("172.16.1.9", "192.0.2.1", tcp(8080, port, "A")),
    "another port of the server": ip("172.16.1.1", "192.0.2.1", tcp(8081, port, "A")),
    "another protocol": ip("172.16.1.1", "192.0.2.1", udp(8080, port, "x")),
    "a port of the host's": ip("172.16.1.1", "192.0.2.1", tcp(8080, 40_000, "A")),
    "another address of the host's": ip("172.16.1.1", "192.0.3.1", tcp(8080, port, "A")),
    "options": ipv4("172.16.1.1", "192.0.2.1", tcp(8080, port, "A"), { options: [1, 1, 1, 0] }),
  };
  for (const [what, packet] of Object.entries(strangers)) {
    const sent = frame(gateway, uplink, packet);
    const { verdict, counted, data } = await world.sendBytes(sent);
    t.deepEqual({ verdict, counted, data }, { verdict: 2, counted: [], data: sent }, what);
  }
});

test.serial("tagged frames are nobody's here", async (t) => {
  const port = portOf((await t.context.world.send(to4(tcp(5000, 80, "S")))).packet);
  t.is((await t.context.world.send({ ethertype: 0x8100, bytes: ip("172.16.1.1", "192.0.2.1", tcp(8080, port, "A")).bytes })).verdict, "pass");
});

test.serial("what the balancer sends to a server and to clients does not depend on which family asks: their pools are their own", async (t) => {
  const { world } = t.context;
  const ports = async (to: (payload: Payload) => Packet): Promise<readonly number[]> => {
    const found: number[] = [];
    for (let port = 6000; port < 6050; port++) found.push(portOf((await world.send(to(tcp(port, 80, "S")))).packet));
    return found;
  };
  for (const to of [to4, to6]) t.is(new Set(await ports(to)).size, 50);
});

test.serial("a pool that is full refuses what is new, and nothing that it has; ports of flows that ended are given again last of all, and those of floods first", async (t) => {
  await using world = await openWorld({ snatFirst: 20_000, snatPorts: 64 });
  await world.plans(planner()(web));
  const open = async (port: number): Promise<number> => {
    const { packet } = await world.send(to4(tcp(port, 80, "S")));
    await world.send(to4(tcp(port, 80, "A")));
    return portOf(packet);
  };
  const ports = new Map<number, number>();
  for (let port = 2000; port < 2063; port++) ports.set(port, await open(port));
  t.is(new Set(ports.values()).size, 63, "each has one of its own");
  // A flood of beginnings shares the one that is left.
  const flood = await world.floodFrom(to4(tcp(7000, 80, "S")), 200);
  t.is(flood.filter((verdict) => verdict === 3).length, 200);
  for (const [port, own] of ports) t.is(portOf((await world.send(to4(tcp(port, 80, "A")))).packet), own, "and no flow that goes on makes room");
  ports.set(2063, await open(2063));
  t.is((await world.send(to4(tcp(2064, 80, "S")))).verdict, "drop NAT_PORTS_EXHAUSTED");
  for (const [port, own] of ports) t.is(portOf((await world.send(to4(tcp(port, 80, "A")))).packet), own);
});

test.serial("a flood on the ports that are left finds one each time, however many it has displaced, and every flow its own", async (t) => {
  await using world = await openWorld({ snatFirst: 20_000, snatPorts: 128 });
  await world.plans(planner()(web));
  const sent = async (port: number, flags: string): Promise<number> => portOf((await world.send(to4(tcp(port, 80, flags)))).packet);
  const ports = new Map<number, number>();
  for (let port = 2000; port < 2096; port++) {
    ports.set(port, await sent(port, "S"));
    await sent(port, "A");
  }
  t.is(new Set(ports.values()).size, 96, "each has one of its own");
  for (let port = 2096; port < 2126; port++) {
    const flood = await world.floodFrom(to4(tcp(7000, 80, "S")), 200);
    t.is(flood.filter((verdict) => verdict === 3).length, 200);
    const own = await sent(port, "S");
    t.is(await sent(port, "A"), own, "one that begins is found again");
    ports.set(port, own);
  }
  t.is(new Set(ports.values()).size, 126);
  for (const [port, own] of ports) t.is(await sent(port, "A"), own);
});

test.serial("where ports have become free since nothing was to be had, all who come find them, and not one in a jiffy", async (t) => {
  await using world = await openWorld();
  await world.plans(planner()(web));
  await world.send(to4(tcp(2000, 80, "S")));
  await world.barPools();
  const verdicts = await world.floodFrom(to4(tcp(7000, 80, "S")), 500);
  t.is(verdicts.filter((verdict) => verdict === 3).length, 500);
});

test.serial("flows outlive the agent, and go on where they were while others come and go", async (t) => {
  await using world = await openWorld();
  const plans = planner();
  await world.plans(plans(web, names));
  const ports = new Map<number, string>();
  const sent = async (port: number): Promise<string> => (await world.send(to4(tcp(port, 80, "A")))).packet;
  for (let port = 3000; port < 3050; port++) {
    await world.send(to4(tcp(port, 80, "S")));
    ports.set(port, await sent(port));
  }
  await world.newAgent();
  await world.plans(plans(web, names));
  for (const [port, packet] of ports) t.is(await sent(port), packet);
  const two = web.replace('{ address: "172.16.1.1:8080" }', '{ address: "172.16.1.1:8080" }, { address: "172.16.1.7:8080" }');
  await world.plans(plans(two));
  for (const [port, packet] of ports) t.is(await sent(port), packet);
  await world.plans(plans());
  t.deepEqual(await world.dump("hw_lb_pools"), [], "and none is left of who is gone");
  t.deepEqual(await world.dump("hw_lb_origins"), []);
  t.is((await world.send(to4(tcp(3000, 80, "A")))).verdict, "pass", "no service, no address");
  t.is((await world.send(ip("172.16.1.1", "192.0.2.1", tcp(8080, portOf(ports.get(3000) ?? ""), "A")))).verdict, "pass");
});

test.serial("what a server answers to a flow of a frontend that has moved to another service still comes in the frontend's name, also under the next agent", async (t) => {
  await using world = await openWorld();
  const plans = planner();
  await world.plans(plans(names));
  const port = portOf((await world.send(to4(udp(3000, 53, "who?")))).packet);
  const answer = { verdict: "tx", packet: `${out} ${at(web4, 53)} > ${at(client4, 3000)} udp ttl 63` };
  const moved = plans(names.replace("names", "other"));
  await world.plans(moved);
  t.not(portOf((await world.send(to4(udp(3000, 53, "who?")))).packet), port, "the other service's flow");
  t.deepEqual(await world.send(ip("172.16.1.2", "192.0.2.1", udp(5353, port, "me"))), answer);
  await world.newAgent();
  await world.plans(moved);
  t.deepEqual(await world.send(ip("172.16.1.2", "192.0.2.1", udp(5353, port, "me"))), answer);
  await world.plans(plans());
  t.deepEqual(await world.dump("hw_lb_origins"), [], "gone with the frontend");
});
