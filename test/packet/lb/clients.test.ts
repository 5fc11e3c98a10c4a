// What a service asks of its clients: which may use it, and that each stays with one backend.
import anyTest from "ava";
import type { TestFn } from "ava";
import { LbFlowSeen, LbServiceFlags } from "../../../src/abi/generated.ts";
import { ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { createLog } from "../../../src/std/log.ts";
import { icmpError, ip, tcp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { client4, client6, openWeb, query, request, to4, to6, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;
const { AFFINITY } = LbServiceFlags;
const servers = [1, 2, 3, 4];

test.serial.before(async (t) => {
  t.context.world = await openWeb(4);
});
test.serial.beforeEach(async (t) => {
  await t.context.world.forgetFlows();
  await t.context.world.openAll();
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

const from = (client: string, sport: number, flags = "S"): Packet => ip(client, client.includes(":") ? web6 : web4, tcp(sport, 80, flags));
async function server(world: World, packet: Packet): Promise<string> {
  const { verdict, packet: left } = await world.send(packet);
  return / > (172\.16\.1\.\d+|2001:db8:b::\d+) ipip/.exec(left)?.[1] ?? verdict;
}

test.serial("a client may that is allowed and not denied", async (t) => {
  const { world } = t.context;
  await world.service(1, servers, { sources: { deny: ["198.51.100.0/29"] } });
  await world.service(2, servers.map((number) => 100 + number), { sources: { allow: ["2001:db8:c::/64"] } });
  t.is((await world.send(from("203.0.113.200", 5000))).verdict, "tx");
  t.is((await world.send(from(client4, 5000))).verdict, "drop SERVICE_SOURCE");
  t.is((await world.send(from("198.51.100.9", 5000))).verdict, "tx");
  t.is((await world.send(from(client6, 5000))).verdict, "tx");
  t.is((await world.send(from("2001:db8:d::7", 5000))).verdict, "drop SERVICE_SOURCE", "nobody allows it");
  const error = ip("192.0.2.77", web4, icmpError(3, 3, ip(web4, client4, tcp(80, 5000, "A"))));
  t.is((await world.send(error)).verdict, "drop SERVICE_SOURCE", "of an error it is the flow's client who counts");
  t.is((await world.send(ip("192.0.2.77", web4, icmpError(3, 3, ip(web4, "198.51.100.9", tcp(80, 5000, "A")))))).verdict, "tx");
});

test.serial("a client's flows all go to one backend, another client's to others", async (t) => {
  const { world } = t.context;
  await world.service(1, servers, { flags: AFFINITY, affinity: 60 });
  await world.service(2, servers.map((number) => 100 + number), { flags: AFFINITY, affinity: 60 });
  for (const clients of [Array.from({ length: 16 }, (_, i) => `10.1.0.${i + 1}`), Array.from({ length: 16 }, (_, i) => `2001:db8:d::${i + 1}`)]) {
    const chosen = new Set<string>();
    for (const client of clients) {
      const first = await server(world, from(client, 5000));
      chosen.add(first);
      for (const sport of [5001, 5002]) for (const flags of ["S", "A"]) t.is(await server(world, from(client, sport, flags)), first);
    }
    t.true(chosen.size >= 3, [...chosen].join(" "));
  }
});

test.serial("a client stays where it is when the table changes, and moves when its backend is down", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], { flags: AFFINITY, affinity: 60 });
  t.is(await server(world, to4(request("S"))), "172.16.1.1");
  await world.service(1, [2], { flags: AFFINITY, affinity: 60 });
  t.is(await server(world, to4(request("S", 5001))), "172.16.1.1");
  t.is(await server(world, to4(query())), "172.16.1.1");
  t.is(await server(world, from("10.1.0.1", 5000)), "172.16.1.2");
  await world.backend(1, "172.16.1.1", { down: true });
  t.is(await server(world, to4(request("S", 5002))), "172.16.1.2");
  await world.backend(1, "172.16.1.1");
  t.is(await server(world, to4(request("S", 5003))), "172.16.1.2", "and stays there");
});

test.serial("a client that was silent for longer than its time is anybody's", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], { flags: AFFINITY, affinity: 0 });
  t.is(await server(world, to4(request("S"))), "172.16.1.1");
  await world.service(1, [2], { flags: AFFINITY, affinity: 0 });
  t.is(await server(world, to4(request("S", 5001))), "172.16.1.2");
});

const one = (affinity = 60) => ({ flags: AFFINITY, affinity });
const error = (sport: number): Packet => ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, tcp(80, sport, "A")), { mtu: 1400 }));
const [first, second, third] = ["172.16.1.1", "172.16.1.2", "172.16.1.3"];
const hz = ticksPerSecond(createLog(() => {}, Date.now));

test.serial("a client whose time ended ever so long ago is anybody's, and one of a month has its time, though jiffies go round", async (t) => {
  await using world = await openWeb(2, { hz: 1000 });
  const day = 86_400 * 1000;
  await world.service(1, [1], one(30 * 86_400));
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one(30 * 86_400));
  for (const days of [0, 29]) {
    await world.ageClients(days * day);
    t.is(await server(world, to4(request("S", 5001 + days))), first, `after ${days} days`);
  }
  for (const ago of [30 * day, 2 ** 31 + day, 2 ** 32 + day]) {
    await world.forgetFlows();
    await world.service(1, [1], one());
    t.is(await server(world, to4(request("S"))), first);
    await world.service(1, [2], one());
    await world.ageClients(ago);
    t.is(await server(world, to4(request("S", 5001))), second, `${ago / day} days ago`);
  }
});

test.serial("what begins goes to others while a client's backend takes nothing new, and stays there; what went on stays, too", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one());
  await world.close(1, 1);
  for (const flags of ["A", "PA", "FA"]) t.is(await server(world, to4(request(flags))), first, flags);
  t.is(await server(world, error(5000)), first);
  for (const flags of ["S", "S", "A", "PA"]) t.is(await server(world, to4(request(flags, 5001))), second, flags);
  t.is(await server(world, error(5001)), second);
  t.is(await server(world, to4(request("A"))), first);
  await world.service(1, [3], one());
  t.is(await server(world, to4(request("S", 5002))), second, "as a client of an open backend");
  await world.openAll();
  for (const [flags, sport, wanted] of [["A", 5000, first], ["A", 5001, second], ["A", 5002, second], ["S", 5003, second]] as const) t.is(await server(world, to4(request(flags, sport))), wanted, `${flags} ${sport}`);
  await world.close(1, 2);
  t.is(await server(world, to4(request("S", 5004))), third);
  for (const [sport, wanted] of [[5000, first], [5001, second], [5003, second], [5004, third]] as const) t.is(await server(world, to4(request("A", sport))), wanted, `${sport}`);
  await world.backend(1, first, { down: true });
  t.is(await server(world, to4(request("A"))), third, "it is gone");
  t.is(await server(world, to4(request("A", 5003))), second);
  await world.backend(1, first);
});

test.serial("another service's backend of that number takes what is new, and so do other clients' backends", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one());
  await world.close(2, 1);
  await world.close(1, 2);
  t.is(await server(world, to4(request("S", 5001))), first);
});

test.serial("a client whose time is over has its established connections all the same", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one());
  await world.ageClients(3600 * hz);
  t.is(await server(world, to4(request("S", 5001))), second);
  t.is(await server(world, to4(request("A"))), first);
  t.is(await server(world, to4(request("A", 5001))), second);
});

test.serial("datagrams leave a backend that takes nothing new within a minute, but for those of ends that went on", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(query())), first);
  await world.service(1, [2], one());
  await world.close(1, 1);
  t.is(await server(world, to4(query())), first);
  t.is(await server(world, to4(query(5001))), first, "who knows");
  await world.ageClients(61 * hz);
  t.is(await server(world, to4(query(5002))), second);
  t.is(await server(world, to4(query())), first);
  t.is(await server(world, to4(query(5002))), second);
  await world.openAll();
  for (const [sport, wanted] of [[5000, first], [5001, first], [5002, second], [5003, second]] as const) t.is(await server(world, to4(query(sport))), wanted, `${sport}`);
});

test.serial("datagrams of ends that went on stay for a minute though their client's time is over", async (t) => {
  const { world } = t.context;
  // Some begin at even jiffies.
  for (const client of ["10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4", "10.2.0.5"]) {
    const ask = (sport: number): Packet => ip(client, web4, query(sport));
    await world.service(1, [1], one(10));
    t.is(await server(world, ask(5000)), first);
    await world.service(1, [2], one(10));
    await world.ageClients(20 * hz);
    t.is(await server(world, ask(5000)), first);
    await world.ageClients(61 * hz);
    t.is(await server(world, ask(5001)), second);
    t.is(await server(world, ask(5000)), first);
  }
});

test.serial("datagrams of a client that was silent for that minute leave at once", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one(3600));
  t.is(await server(world, to4(query())), first);
  await world.service(1, [2], one(3600));
  await world.close(1, 1, 61 * hz);
  t.is(await server(world, to4(query(5001))), second);
});

test.serial("while nobody takes what begins it is refused, and what went on stays", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [{ current: 0, previous: 1, changed: 10 }], one());
  await world.close(1, 1);
  t.is((await world.send(to4(request("S", 5001)))).verdict, "answered SERVICE_EMPTY");
  t.is((await world.send(from("203.0.113.200", 5001))).verdict, "answered SERVICE_EMPTY", "of a client that is new");
  t.is(await server(world, to4(request("A"))), first);
  t.is(await server(world, to4(query())), first);
});

test.serial("a connection for which there is no record stays with the backend that needs none", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one());
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one());
  await world.close(1, 1);
  t.is(await server(world, to4(request("S", 5001))), second);
  const [bucket, flows] = await world.flowBucket();
  const seen = LbFlowSeen.WENT_ON | Math.max(...flows.map((flow) => flow.seen & LbFlowSeen.AGES));
  await world.setFlowBucket(bucket, flows.map((_, i) => ({ tag: 11 + i, backend: 3, seen })));
  for (const flags of ["S", "A"]) t.is(await server(world, to4(request(flags, 5001))), first, flags);
});

test.serial("a client of whom this node knows nothing has the flows that its slot has: what begins goes to the current backend, what went on to the previous one", async (t) => {
  const { world } = t.context;
  await world.service(1, [{ current: 2, previous: 1, changed: 10 }], one());
  t.is(await server(world, to4(request("S", 5001))), second);
  t.is(await server(world, to4(request("A"))), first, "of before this node had the address");
  t.is(await server(world, to4(request("A", 5001))), second);
  t.is(await server(world, to4(request("S", 5002))), second);
  t.is(await server(world, to4(query())), first);
});

test.serial("when for long nothing went to the old backend, nothing is remembered of it", async (t) => {
  const { world } = t.context;
  await world.service(1, [1], one(12 * 3600));
  t.is(await server(world, to4(request("S"))), first);
  await world.service(1, [2], one(12 * 3600));
  await world.close(1, 1);
  t.is(await server(world, to4(request("S", 5001))), second);
  await world.ageClients(7000 * hz);
  t.is(await server(world, to4(request("A"))), first);
  await world.ageClients(7810 * hz);
  t.is(await server(world, to4(request("A"))), second);
});

test.serial("a service that asks something of its clients and has no backend refuses as others do", async (t) => {
  const { world } = t.context;
  await world.service(1, [], { flags: AFFINITY, affinity: 60, sources: { deny: ["198.51.100.0/29"] } });
  t.is((await world.send(from("203.0.113.200", 5000))).verdict, "answered SERVICE_EMPTY");
  t.is((await world.send(to6(request("S")))).verdict, "tx", "the other is as it was");
});
