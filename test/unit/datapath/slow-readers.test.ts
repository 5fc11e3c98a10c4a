// A program that stands still in the midst of a packet, because its CPU does: what it read before leads it to its own service for as long as it may run.
import test from "ava";
import { u32 } from "../../../src/abi/codec.ts";
import { lbBucketCodec, LbPoolLayout, lbServiceCodec } from "../../../src/abi/generated.ts";
import { createServices } from "../../../src/datapath/services.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { Service, ServicePlan } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { openMaps } from "./lb-maps.ts";

const service = (name: string, address: string, servers: readonly number[], lines = ""): Service =>
  readServices([{ file: "a.yaml", text: `service: ${name}\nfrontends: ["${address}:80"]\nbackends: [${servers.map((n) => `{ address: "192.0.2.${n}:80" }`).join(", ")}]\nhealth: { kind: none }\n${lines}` }])[0] as Service;

/** Maps in memory; whoever waits for the programs that run waits until `pass`. */
function world() {
  const { kernel, maps, slots } = openMaps();
  const waiting: (() => void)[] = [];
  const put = maps.hw_lb_slots.setInners.bind(maps.hw_lb_slots);
  maps.hw_lb_slots.setInners = async (keys, inner) => {
    const first = maps.hw_lb_slots.get(keys) === undefined;
    await put(keys, inner);
    // A page that is there already is put in its own place for the sake of waiting.
    if (!first) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  const services = createServices({
    kernel, mapOf: (name) => maps[name], jiffies: () => 1_000_000, hz: 250, clock: { now: () => 1_750_000_000_000 }, node: "a", translates: () => true, nodeAddress: () => "198.18.0.2" as Ip, isOwn: () => false,
  });
  let balancing: Balancing = noBalancing;
  const plansOf = (...wanted: readonly Service[]): readonly ServicePlan[] => {
    const { next, plans } = advance(balancing, { services: wanted, containers: [], mode: "snat", largestTable: 1021, now: 1_750_000_000_000 });
    balancing = next;
    return plans;
  };
  const frontends = () => [...maps.hw_lb_frontends.held].flatMap(([bucket, value]) => lbBucketCodec.decode(value).frontends.map((one, place) => ({ ...one, at: `${bucket} ${place}` }))).filter(({ service: number, port, proto }) => number !== 0 && port !== 0 && proto !== LbPoolLayout.PROTOCOL);
  /** What is in force after a change that has to wait for programs, with what was before they had passed. */
  const changed = async <T>(plans: readonly ServicePlan[], before: () => T): Promise<readonly [T, boolean]> => {
    const state = { over: false };
    const installed = services.install(plans).then(() => void (state.over = true));
    for (let turns = 0; turns < 300 && !state.over; turns++) await new Promise(setImmediate);
    const [meanwhile, waited] = [before(), !state.over];
    while (!state.over) {
      for (const resolve of waiting.splice(0)) resolve();
      await new Promise(setImmediate);
    }
    await installed;
    return [meanwhile, waited];
  };
  return { maps, slots, services, plansOf, frontends, changed, waiting };
}

test("where a service's table was is another's only when every program that ran when it was left has ended", async (t) => {
  const { slots, services, plansOf, frontends, changed, waiting } = world();
  await services.install(plansOf(service("a", "203.0.113.1", [7, 8])));
  const [found] = frontends();
  if (found === undefined) return t.fail();
  const read = (): readonly number[] => slots(found.table, found.slots);
  const own = read();
  // A change makes a full table of it, elsewhere.
  await services.install(plansOf(service("a", "203.0.113.1", [7, 8, 9])));
  t.is(waiting.length, 1, "nobody waits for it yet");
  const [meanwhile, waited] = await changed(plansOf(service("a", "203.0.113.1", [7, 8, 9]), service("b", "203.0.113.2", [17, 18])), read);
  t.true(waited);
  t.deepEqual(meanwhile, own);
  t.true(frontends().some(({ service: number, table }) => number !== found.service && table === found.table), "then the place is b's");
});

test("where the list of a service's clients was is another's only then, too", async (t) => {
  const { maps, services, plansOf, changed } = world();
  const denying = (prefix: string): string => `sources: { deny: [${prefix}] }`;
  const a = service("a", "203.0.113.1", [7]);
  await services.install(plansOf(service("a", "203.0.113.1", [7], denying("198.51.100.0/24"))));
  const asked = [...maps.hw_lb_services.held.values()].map((value) => lbServiceCodec.decode(value)).find(({ depth }) => depth > 0);
  const read = (): readonly number[] => [...maps.hw_lb_sources.words.slice(16 * (asked?.sources ?? 0), 16 * (asked?.sources ?? 0) + 32)];
  const own = read();
  await services.install(plansOf(a));
  const [meanwhile, waited] = await changed(plansOf(a, service("b", "203.0.113.2", [17], denying("192.0.2.0/24"))), read);
  t.true(waited);
  t.deepEqual(meanwhile, own);
  t.notDeepEqual(read(), own);
});

test("where a frontend was that is no more another comes only then", async (t) => {
  const { maps, services, plansOf, changed } = world();
  // So many that a place is taken again.
  const many = (network: string): readonly Service[] => Array.from({ length: 250 }, (_, i) => service(`${network}${i}`, `203.0.${network}.${i}`, [7]));
  await services.install(plansOf(...many("113")));
  const place = (bucket: string, i: number) => lbBucketCodec.decode(maps.hw_lb_frontends.held.get(bucket) ?? new Uint8Array(lbBucketCodec.size)).frontends[i];
  const before = [...maps.hw_lb_frontends.held.keys()].flatMap((bucket) => [0, 1].map((i) => [bucket, i, place(bucket, i)] as const)).filter(([, , one]) => one !== undefined && one.service !== 0);
  const others = (): number => before.filter(([bucket, i, was]) => place(bucket, i)?.service !== 0 && !Buffer.from(place(bucket, i)?.addr ?? []).equals(Buffer.from(was?.addr ?? []))).length;
  const [meanwhile, waited] = await changed(plansOf(...many("114")), others);
  t.true(waited);
  t.is(meanwhile, 0);
  t.true(others() > 0);
});

test("who gives up no place waits for nobody", async (t) => {
  const { services, plansOf, waiting, maps } = world();
  const names = ["a", "b", "c"];
  for (let n = 1; n <= names.length; n++) await services.install(plansOf(...names.slice(0, n).map((name, i) => service(name, `203.0.113.${i}`, [7 + i]))));
  t.is(waiting.length, 0);
  t.truthy(maps.hw_lb_slots.get(u32.encode(0)));
});
