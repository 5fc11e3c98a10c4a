// An established flow never moves while its backend lives: what a slot remembers, and what is remembered of flows on one that is not settled.
// Runs alone: its records age in fractions of a second.
//
//   slot { current │ previous │ changed }      server N is 172.16.1.N
import { setTimeout } from "node:timers/promises";
import anyTest from "ava";
import type { TestFn } from "ava";
import { LbFlowSeen, LbTimes } from "../../../src/abi/generated.ts";
import { jiffiesClock, ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { createLog } from "../../../src/std/log.ts";
import { icmpError, ip, tcp, udp } from "../packets.ts";
import type { Packet } from "../packets.ts";
import type { SlotEntry } from "./tables.ts";
import { client4, openWeb, query, request, to4, web4 } from "./world.ts";
import type { World } from "./world.ts";

const test = anyTest as TestFn<{ world: World }>;

test.serial.before(async (t) => { t.context.world = await openWeb(4); });
test.serial.beforeEach(async (t) => {
  await t.context.world.forgetFlows();
  for (const number of [1, 2, 3, 4]) await t.context.world.backend(number, `172.16.1.${number}`);
});
test.serial.after.always(async (t) => { await t.context.world?.[Symbol.asyncDispose](); });

/** The number of the server that got it. */
async function server(world: World, packet: Packet): Promise<number> {
  const { verdict, packet: left } = await world.send(packet);
  const [, number] = / > 172\.16\.1\.(\d+) ipip/.exec(left) ?? [];
  if (verdict !== "tx" || number === undefined) throw new Error(`${verdict}: ${left}`);
  return Number(number);
}

const slot = async (world: World, entry: SlotEntry | number): Promise<void> => world.service(1, [entry]);
const error = (sport: number): Packet => ip("192.0.2.77", web4, icmpError(3, 4, ip(web4, client4, tcp(80, sport, "A")), { mtu: 1400 }));

test.serial("flows of one service spread over its slots, each always over the same", async (t) => {
  const { world } = t.context;
  await world.service(1, [1, 2, 3, 4, 1, 2, 3, 4]);
  const counts = [0, 0, 0, 0];
  for (let sport = 2000; sport < 2400; sport++) {
    const first = await server(world, to4(request("S", sport)));
    counts[first - 1] = (counts[first - 1] ?? 0) + 1;
    if (sport % 20 === 0) for (const flags of ["A", "PA", "FA", "R", "S"]) t.is(await server(world, to4(request(flags, sport))), first, flags);
  }
  for (const count of counts) t.true(count > 60 && count < 140, counts.join(" "));
});

test.serial("on a changed slot what begins goes to the new backend and stays there, what went on stays with the old", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  t.is(await server(world, to4(request("A", 6000))), 1, "began before");
  t.is(await server(world, to4(request("S", 6001))), 2);
  for (const flags of ["A", "PA", "FA"]) t.is(await server(world, to4(request(flags, 6001))), 2, flags);
  t.is(await server(world, to4(request("A", 6000))), 1);
});

test.serial("however often the slot changes before it settles, each flow keeps the backend that it began with", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 30 });
  t.is(await server(world, to4(request("S", 6101))), 2);
  t.is(await server(world, to4(request("A", 6101))), 2);
  await slot(world, { current: 3, previous: 1, changed: 20 });
  t.is(await server(world, to4(request("S", 6102))), 3);
  t.is(await server(world, to4(request("A", 6102))), 3);
  await slot(world, { current: 1, previous: 1, changed: 10 });
  t.is(await server(world, to4(request("S", 6103))), 1);
  for (const [sport, wanted] of [[6100, 1], [6101, 2], [6102, 3], [6103, 1]] as const) t.is(await server(world, to4(request("A", sport))), wanted);
  // Whose first packet was repeated, too.
  t.is(await server(world, to4(request("S", 6102))), 3);
});

test.serial("a backend that is down has nothing any more, and its flows go where new ones do", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 30 });
  t.is(await server(world, to4(request("S", 6201))), 2);
  await slot(world, { current: 3, previous: 1, changed: 20 });
  await world.backend(1, "172.16.1.1", { down: true });
  t.is(await server(world, to4(request("A", 6200))), 3, "of the previous");
  t.is(await server(world, to4(request("A", 6201))), 2, "of one that lives");
  await world.backend(2, "172.16.1.2", { down: true });
  t.is(await server(world, to4(request("A", 6201))), 3, "of one that was recorded");
  await world.backend(3, "172.16.1.3", { down: true });
  t.is((await world.send(to4(request("A", 6201)))).verdict, "answered SERVICE_EMPTY");
});

test.serial("a slot whose old backend is gone for good sends everything unknown to the new one", async (t) => {
  await slot(t.context.world, { current: 2, previous: 0, changed: 10 });
  t.is(await server(t.context.world, to4(request("A", 6300))), 2);
});

test.serial("UDP, which has no beginning, stays with the old backend for a minute and then goes to the new; what was seen stays", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  t.is(await server(world, to4(query(6400))), 1);
  await slot(world, { current: 2, previous: 1, changed: 1000 * 61 });
  t.is(await server(world, to4(query(6401))), 2);
  t.is(await server(world, to4(query(6400))), 1);
  await slot(world, { current: 3, previous: 1, changed: 10 });
  for (const [sport, wanted] of [[6400, 1], [6401, 2], [6402, 1]] as const) t.is(await server(world, to4(query(sport))), wanted);
});

test.serial("a datagram's flow whose recorded backend is down is recorded anew, and stays where it then is", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 1000 * 61 });
  t.is(await server(world, to4(query(6450))), 2);
  await world.backend(2, "172.16.1.2", { down: true });
  await slot(world, { current: 3, previous: 1, changed: 1000 * 61 });
  t.is(await server(world, to4(query(6450))), 3);
  await slot(world, { current: 4, previous: 1, changed: 10 });
  t.is(await server(world, to4(query(6450))), 3);
});

test.serial("while nobody takes what begins, what went on stays where it is", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 0, previous: 1, changed: 10 });
  t.is((await world.send(to4(request("S", 6460)))).verdict, "answered SERVICE_EMPTY");
  t.is(await server(world, to4(request("A", 6461))), 1);
  t.is(await server(world, to4(query(6462))), 1);
});

test.serial("errors follow the flow that they speak of, recorded or not, and teach nothing", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  t.is(await server(world, to4(request("S", 6501))), 2);
  t.is(await server(world, error(6500)), 1);
  t.is(await server(world, error(6501)), 2);
  t.is(await server(world, to4(request("S", 6500))), 2, "an error is no flow");
});

test.serial("settled again, nothing is asked of flows", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  t.is(await server(world, to4(request("A", 6600))), 1);
  await slot(world, 2);
  t.is(await server(world, to4(request("A", 6600))), 2);
});

test.serial("a flood of beginnings takes the place of no flow that went on, and who finds no place goes where it needs none", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  const flows = Array.from({ length: 200 }, (_, i) => 20_000 + i);
  for (const sport of flows) t.is(await server(world, to4(request("S", sport))), 2);
  for (const sport of flows) t.is(await server(world, to4(request("A", sport))), 2);
  // So many that a tenth of the buckets of 8 run over.
  await world.floodFrom(to4(request("S")), 300_000);
  for (const sport of flows) t.is(await server(world, to4(request("A", sport))), 2, `${sport}`);
  t.true([1, 2].includes(await server(world, to4(request("S", 30_000)))));
});

test.serial("a flow that has ended keeps its backend for its closing, and who begins anew on its ports is a new flow", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 30 });
  for (const [sport, end] of [[6801, "FA"], [6802, "R"], [6803, "RA"]] as const) {
    for (const flags of ["S", "A", end, "A", end]) t.is(await server(world, to4(request(flags, sport))), 2, `${end}: ${flags}`);
  }
  await slot(world, { current: 3, previous: 1, changed: 10 });
  t.is(await server(world, to4(request("A", 6801))), 2, "still closing");
  for (const sport of [6801, 6802, 6803]) for (const flags of ["S", "A"]) t.is(await server(world, to4(request(flags, sport))), 3, flags);
});

const { AGES, ENDED, WENT_ON } = LbFlowSeen;
const hz = ticksPerSecond(createLog(() => {}, Date.now));
/** In 1024 jiffies, of which a minute may touch so many after the first. */
const minute = Math.floor((60 * hz) / 1024) + 1;
/** Waits until the next 1024 are not near. */
async function longBeforeNext(): Promise<void> {
  while (jiffiesClock(hz)() % 1024 > 900) await setTimeout(10);
}
const believed = Math.floor((LbTimes.QUIET_SECONDS * hz) / 1024);
/** Of one bucket, that of port 6900: as if each record were so much older. */
async function makeOlder(world: World, by: number): Promise<void> {
  const [bucket, flows] = await world.flowBucket();
  await world.setFlowBucket(bucket, flows.map((flow) => (flow.backend === 0 ? flow : { ...flow, seen: ((flow.seen & ~AGES) | ((flow.seen - by) & AGES)) >>> 0 })));
}

/** What becomes of a beginning whose bucket is full of flows that live, and one that was last seen so long ago. */
async function roomBeside(world: World, flags: number, age: number): Promise<{ readonly server: number; readonly gone: readonly number[] }> {
  await world.forgetFlows();
  await longBeforeNext();
  await slot(world, { current: 2, previous: 1, changed: 10 });
  await server(world, to4(request("S", 6900)));
  const [bucket, flows] = await world.flowBucket();
  const now = (flows.find(({ backend }) => backend !== 0)?.seen ?? 0) & AGES;
  const tags = [11, 12, 13, 14, 15, 16, 17, 18];
  await world.setFlowBucket(bucket, tags.map((tag) => ({ tag, backend: 3, seen: tag === 14 ? ((now - age) & AGES) | flags : now | WENT_ON })));
  const chosen = await server(world, to4(request("S", 6900)));
  const [, after] = await world.flowBucket();
  return { server: chosen, gone: tags.filter((tag) => !after.some((flow) => flow.tag === tag)) };
}

test.serial("room is made by a flow that ended and has been silent for a minute, as by one that never went on, and by none that lives", async (t) => {
  const { world } = t.context;
  const rows: readonly (readonly [what: string, flags: number, age: number, room: boolean])[] = [
    ["goes on", WENT_ON, 0, false], ["went on, and is silent for long", WENT_ON, 1000, false], ["went on, and is silent for too long", WENT_ON, 1030, true],
    ["has ended just now", WENT_ON | ENDED, 0, false], ["ended a minute ago at most", WENT_ON | ENDED, minute, false], ["ended more than a minute ago", WENT_ON | ENDED, minute + 1, true],
    ["only began", 0, 0, true],
  ];
  for (const [what, flags, age, room] of rows) t.deepEqual(await roomBeside(world, flags, age), room ? { server: 2, gone: [14] } : { server: 1, gone: [] }, what);
});

test.serial("a record is believed as long as its flow may live and no longer, however old it is", async (t) => {
  const { world } = t.context;
  for (const [by, wanted] of [[believed - 2, 2], [believed + 1, 1], [0x3fff, 1], [0x4000, 1], [0xffff, 1]] as const) {
    await world.forgetFlows();
    await slot(world, { current: 2, previous: 1, changed: 10 });
    for (const flags of ["S", "A"]) t.is(await server(world, to4(request(flags, 6900))), 2);
    await makeOlder(world, by);
    t.is(await server(world, error(6900)), wanted, `errors, after ${by}`);
    t.is(await server(world, to4(request("A", 6900))), wanted, `after ${by}`);
    t.is(await server(world, to4(request("A", 6900))), wanted, "and it is not kept by that");
  }
});

test.serial("a record that is too old holds back neither a datagram's flow nor what begins on its ports", async (t) => {
  const { world } = t.context;
  for (const by of [believed + 1, 0x4000]) {
    await world.forgetFlows();
    await slot(world, { current: 2, previous: 1, changed: 1000 * 61 });
    t.is(await server(world, to4(query(6900))), 2);
    await makeOlder(world, by);
    await slot(world, { current: 3, previous: 1, changed: 1000 * 61 });
    t.is(await server(world, to4(query(6900))), 3, `a datagram, after ${by}`);
    await slot(world, { current: 4, previous: 1, changed: 10 });
    t.is(await server(world, to4(query(6900))), 3, "which is recorded anew");

    await world.forgetFlows();
    await slot(world, { current: 2, previous: 1, changed: 10 });
    t.is(await server(world, to4(request("S", 6900))), 2);
    await makeOlder(world, by);
    await slot(world, { current: 3, previous: 1, changed: 10 });
    for (const flags of ["S", "A"]) t.is(await server(world, to4(request(flags, 6900))), 3, `${flags}, after ${by}`);
  }
});

test.serial("ports of another protocol, and other services' frontends, have flows of their own", async (t) => {
  const { world } = t.context;
  await slot(world, { current: 2, previous: 1, changed: 10 });
  await world.frontend(web4, 443, 6, 1);
  t.is(await server(world, to4(tcp(6700, 443, "S"))), 2);
  t.is(await server(world, to4(tcp(6700, 80, "A"))), 1);
  t.is(await server(world, to4(udp(6700, 53))), 1);

  // The first frontend of another service, whose client uses one port for both.
  await world.service(3, [{ current: 3, previous: 1, changed: 10 }]);
  await world.address("203.0.113.77");
  await world.frontend("203.0.113.77", 80, 6, 3);
  t.is(await server(world, to4(tcp(6800, 80, "S"))), 2);
  t.is(await server(world, ip(client4, "203.0.113.77", tcp(6800, 80, "A"))), 1);
});
