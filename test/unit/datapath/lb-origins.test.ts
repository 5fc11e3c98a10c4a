// As whom answers go to clients: what a frontend was named before stays as long as flows may say so, and makes room for what stands.
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { LbLayout, lbOriginCodec, LbTimes, maps } from "../../../src/abi/generated.ts";
import { createServices } from "../../../src/datapath/services.ts";
import type { Services } from "../../../src/datapath/services.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { read, serviceWith } from "../lb/given.ts";
import { openMaps } from "./lb-maps.ts";

const backends = "backends: [{ address: 192.0.2.7:80 }]";
const lived = 1000 * LbTimes.QUIET_SECONDS;

/** `room`: for so many frontends. */
function node(room = 1024) {
  const { kernel, maps: held } = openMaps(() => {}, 1024, room);
  let [now, before] = [0, noBalancing];
  const agent = (): Services => createServices({
    kernel, mapOf: (name) => held[name], jiffies: () => 1_000_000, hz: 250, clock: { now: () => now }, node: "a", translates: () => true, nodeAddress: () => undefined, isOwn: () => false,
  });
  return {
    agent,
    after: (milliseconds: number): void => void (now += milliseconds),
    /** Frontends of services by name. */
    plans: (wanted: Readonly<Record<string, readonly string[]>>): readonly ServicePlan[] => {
      const services = Object.entries(wanted).map(([name, frontends]) => read(serviceWith(`service: ${name}`, `frontends: ${JSON.stringify(frontends)}`, backends)));
      const { next, plans } = advance(before, { services, containers: [], mode: "auto", largestTable: 61, now });
      before = next;
      return plans;
    },
    /** Each as its service and the port that it stands for. */
    origins: (): readonly string[] => Array.from(held.hw_lb_origins.entries(), ([key, value]) => `${u32.decode(key) & 0xffff} ${lbOriginCodec.decode(value).port}`).toSorted(),
  };
}

test("a frontend that moves to another service is known by its former name as well while flows of then may live", async (t) => {
  const { agent, after, plans, origins } = node();
  const services = agent();
  await services.install(plans({ a: ["203.0.113.10:80", "203.0.113.10:81"], b: ["203.0.113.11:82"] }));
  t.deepEqual(origins(), ["1 80", "1 81", "2 82"]);
  await services.install(plans({ a: ["203.0.113.10:80"], b: ["203.0.113.11:82", "203.0.113.10:81"] }));
  t.deepEqual(origins(), ["1 80", "1 81", "2 81", "2 82"]);
  after(lived - 1);
  await services.install(plans({ a: ["203.0.113.10:80"], b: ["203.0.113.11:82", "203.0.113.10:81"], c: ["203.0.113.12:83"] }));
  t.deepEqual(origins(), ["1 80", "1 81", "2 81", "2 82", "3 83"]);
  after(1);
  await services.install(plans({ a: ["203.0.113.10:80"], b: ["203.0.113.11:82", "203.0.113.10:81"] }));
  t.deepEqual(origins(), ["1 80", "2 81", "2 82"]);
});

test("a frontend that comes back to its service has its former name, and one that goes has none", async (t) => {
  const { agent, after, plans, origins } = node();
  const services = agent();
  const [here, there] = [{ a: ["203.0.113.10:80", "203.0.113.10:81"], b: ["203.0.113.11:82"] }, { a: ["203.0.113.10:80"], b: ["203.0.113.11:82", "203.0.113.10:81"] }];
  for (const wanted of [here, there, here]) await services.install(plans(wanted));
  t.deepEqual(origins(), ["1 80", "1 81", "2 81", "2 82"]);
  after(lived);
  await services.install(plans({ ...here, c: ["203.0.113.12:83"] }));
  t.deepEqual(origins(), ["1 80", "1 81", "2 82", "3 83"]);
  for (const wanted of [there, { a: ["203.0.113.10:80"], b: ["203.0.113.11:82"] }]) await services.install(plans(wanted));
  t.deepEqual(origins(), ["1 80", "2 82"]);
  await services.install([]);
  t.deepEqual(origins(), []);
});

test("the next agent keeps former names for as long, and takes out those of frontends that nobody has", async (t) => {
  const { agent, after, plans, origins } = node();
  const moved = { b: ["203.0.113.11:82", "203.0.113.10:80"] };
  await agent().install(plans({ a: ["203.0.113.10:80"], b: ["203.0.113.11:82"] }));
  const last = plans(moved);
  await agent().install(last);
  t.deepEqual(origins(), ["1 80", "2 80", "2 82"]);
  after(lived - 1);
  const services = agent();
  await services.install(last);
  after(lived - 1);
  await services.install(last);
  t.deepEqual(origins(), ["1 80", "2 80", "2 82"]);
  after(1);
  await services.install(last);
  t.deepEqual(origins(), ["2 80", "2 82"]);
  await agent().install([]);
  t.deepEqual(origins(), []);
});

test("former names make room before their time, the oldest first", async (t) => {
  const { agent, plans, origins } = node(4);
  const services = agent();
  await services.install(plans({ a: ["203.0.113.10:80", "203.0.113.10:81"] }));
  await services.install(plans({ a: ["203.0.113.10:81"], b: ["203.0.113.10:80"] }));
  await services.install(plans({ b: ["203.0.113.10:80", "203.0.113.10:81"] }));
  t.deepEqual(origins(), ["1 80", "1 81", "2 80", "2 81"]);
  const { refused } = await services.install(plans({ b: ["203.0.113.10:80", "203.0.113.10:81"], c: ["203.0.113.12:83"] }));
  t.deepEqual([refused.size, origins()], [0, ["1 81", "2 80", "2 81", "3 83"]]);
});

test("all frontends that can stand have room", (t) => {
  t.true(maps.hw_lb_origins.maxEntries >= maps.hw_lb_frontends.maxEntries * LbLayout.BUCKET);
});
