// Services for which there is no room where an earlier agent's stands in their place: what stands in the maps is whole, and room that it had is given back.
import test from "ava";
import { lbBucketCodec, lbServiceCodec } from "../../../src/abi/generated.ts";
import { createServices } from "../../../src/datapath/services.ts";
import type { Services } from "../../../src/datapath/services.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Advance, Balancing } from "../../../src/lb/plan.ts";
import type { ServicePlan } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { read, serviceWith } from "../lb/given.ts";
import { openMaps } from "./lb-maps.ts";

const backends = "backends: [{ address: 192.0.2.7:80 }]";
/** As many as fill so many lines, beside three. */
const denied = (lines: number, first: number): string => `sources: { deny: [${Array.from({ length: 8 * lines }, (_, i) => `10.${first}.${2 * i}.0/24`).join()}] }`;
const follow = (before: Balancing, ...texts: readonly string[]): Advance => advance(before, { services: texts.map(read), containers: [], mode: "dsr", largestTable: 61, now: 0 });
const plansOf = (...texts: readonly string[]): readonly ServicePlan[] => follow(noBalancing, ...texts).plans;
const web = (lines: number, first: number): string => serviceWith(backends, denied(lines, first));
const dns = serviceWith("service: z", 'frontends: ["203.0.113.11:53/udp"]', backends);

function node() {
  const { kernel, maps } = openMaps(() => {}, 11);
  const agent = (): Services => createServices({
    kernel, mapOf: (name) => maps[name], jiffies: () => 1_000_000, hz: 250, clock: { now: () => 0 }, node: "a", translates: () => true, nodeAddress: () => "198.18.0.2" as Ip, isOwn: () => false,
  });
  const standing = (): readonly string[] => [...maps.hw_lb_frontends.held.values()].flatMap((value) => lbBucketCodec.decode(value).frontends).filter(({ service, port }) => service !== 0 && port !== 0)
    .map(({ service, port }) => `${service} ${port}`).toSorted();
  const tables = (): number => [...maps.hw_lb_services.entries()].filter(([, value]) => lbServiceCodec.decode(value).slots > 0).length;
  return { agent, standing, tables };
}

test("what an earlier agent wrote makes room for what is to stand in its place", async (t) => {
  const { agent, standing, tables } = node();
  t.is((await agent().install(plansOf(web(5, 1), dns))).refused.size, 0);
  const { refused, gone } = await agent().install(plansOf(web(6, 2), dns));
  t.deepEqual([refused.size, gone, standing(), tables()], [0, [], ["1 80", "2 53"], 2]);
});

test("of what an earlier agent wrote nothing stays when there is no room for what is to stand in its place", async (t) => {
  const { agent, standing, tables } = node();
  await agent().install(plansOf(web(5, 1), dns));
  const services = agent();
  const plans = plansOf(web(12, 2), dns);
  t.deepEqual([[...(await services.install(plans)).refused.keys()], standing(), tables()], [plans.slice(0, 1), ["2 53"], 1]);
  const others = plansOf(web(8, 3), dns);
  t.is((await services.install(others)).refused.size, 0, "what it had is free");
  t.deepEqual([standing(), tables()], [["1 80", "2 53"], 2]);
});

test("what this agent wrote stands when there is no room for what is to stand in its place", async (t) => {
  const { agent, standing, tables } = node();
  const services = agent();
  await services.install(plansOf(web(5, 1), dns));
  t.deepEqual([(await services.install(plansOf(web(6, 2), dns))).refused.size, standing(), tables()], [1, ["1 80", "2 53"], 2]);
});

test("of what is refused nobody is told a place, though its former plan stands", async (t) => {
  const services = node().agent();
  const places = async (): Promise<readonly number[]> => [...(await services.elsewhere()).places.keys()].toSorted();
  await services.install(plansOf(web(5, 1), dns));
  t.deepEqual(await places(), [1, 2]);
  await services.install(plansOf(web(6, 2), dns));
  t.deepEqual(await places(), [2]);
  await services.install(plansOf(web(5, 1), dns));
  t.deepEqual(await places(), [1, 2]);
});

test("a frontend that is given up by a service without room is the one's who takes it, and that service's again when the taker goes", async (t) => {
  const { agent, standing } = node();
  const services = agent();
  const both = serviceWith(backends, denied(5, 1), 'frontends: ["203.0.113.10:80", "203.0.113.10:81"]');
  const taker = serviceWith("service: a", 'frontends: ["203.0.113.10:81"]', backends);
  const first = follow(noBalancing, both);
  await services.install(first.plans);
  t.deepEqual(standing(), ["1 80", "1 81"]);
  const taken = follow(first.next, web(6, 2), taker);
  t.is((await services.install(taken.plans)).refused.size, 1);
  t.deepEqual(standing(), ["1 80", "2 81"]);
  await services.install(taken.plans, true);
  t.deepEqual(standing(), ["1 80", "2 81"], "also when all is written anew");
  const given = follow(taken.next, web(6, 2));
  t.is((await services.install(given.plans)).refused.size, 1);
  t.deepEqual(standing(), ["1 80", "1 81"]);
});
