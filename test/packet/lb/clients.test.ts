// What a service asks of its clients: which may use it, and that each stays with one backend.
import anyTest from "ava";
import type { TestFn } from "ava";
import { LbServiceFlags } from "../../../src/abi/generated.ts";
import { icmpError, ip, tcp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import { client4, client6, openWeb, query, request, to4, to6, web4, web6 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;
const { AFFINITY } = LbServiceFlags;
const servers = [1, 2, 3, 4];

test.before(async (t) => {
  t.context.world = await openWeb(4);
});
test.beforeEach(async (t) => { await t.context.world.forgetFlows(); });
test.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

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

test.serial("a service that asks something of its clients and has no backend refuses as others do", async (t) => {
  const { world } = t.context;
  await world.service(1, [], { flags: AFFINITY, affinity: 60, sources: { deny: ["198.51.100.0/29"] } });
  t.is((await world.send(from("203.0.113.200", 5000))).verdict, "answered SERVICE_EMPTY");
  t.is((await world.send(to6(request("S")))).verdict, "tx", "the other is as it was");
});
