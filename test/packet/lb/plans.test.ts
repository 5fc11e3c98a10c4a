// From service files to packets: the model's plans, written as the agent writes them, are what the programs do.
//
//   node a (this one)   balances; container web1 10.44.0.2       node b 198.18.0.2   container web2 10.44.1.2
//   plain servers       172.16.1.1, 172.16.1.2, with the service's address on their loopback
import test from "ava";
import { LbForm } from "../../../src/abi/generated.ts";
import { ticksPerSecond } from "../../../src/datapath/kernel-facts.ts";
import { rest } from "../../../src/lb/numbers.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { readServices } from "../../../src/lb/read.ts";
import type { ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { Cidr, Ip } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { frame, ip } from "../packets.ts";
import { client4, gateway, openWorld, request, to4, uplink } from "./world.ts";
import type { World } from "./world.ts";

const servers = (...addresses: readonly string[]): string => `service: web
frontends: ["203.0.113.10:80"]
backends: [${addresses.map((address) => `{ address: "${address}:80" }`).join(", ")}]
mode: dsr
health: { kind: none }
`;
const selected = 'service: shop\nfrontends: ["203.0.113.10:80"]\nbackends: [{ select: { network: shop }, port: 80 }]\nhealth: { kind: none }\n';
const container = (node: string, name: string, ipv4: string): ServingContainer =>
  ({ node, id: `${name}#1`, name, network: "shop", project: null, service: null, ipv4: ipv4 as Ip, ipv6: null, labels: {}, stopping: false });

/** Plans, one after another, as an engine makes them. */
function planner() {
  let before: Balancing = noBalancing;
  return (text: string, containers: readonly ServingContainer[] = [], now = Date.now()): readonly ServicePlan[] => {
    const { next, plans } = advance(before, { services: text === "" ? [] : readServices([{ file: "web.yaml", text }]), containers, mode: "auto", largestTable: 1021, now });
    before = next;
    return plans;
  };
}

async function host(t: { teardown(work: () => PromiseLike<void>): void }): Promise<World> {
  const world = await openWorld();
  t.teardown(() => world[Symbol.asyncDispose]());
  return world;
}

/** How many of a hundred clients' first packets go to each outer address. */
async function spread(world: World): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {};
  for (let port = 2000; port < 2100; port++) {
    const { verdict, packet } = await world.send(to4(request("S", port)));
    const to = /> (172\.16\.1\.\d|198\.18\.0\.2)/.exec(packet)?.[1] ?? verdict;
    counts[to] = (counts[to] ?? 0) + 1;
  }
  return counts;
}

test.serial("a service's packets go to its servers; one that is struck out gets nothing new; a service that is deleted has no address any more", async (t) => {
  const world = await host(t);
  const plans = planner();
  await world.plans(plans(servers("172.16.1.1", "172.16.1.2")));
  const both = await spread(world);
  t.deepEqual(Object.keys(both).toSorted(), ["172.16.1.1", "172.16.1.2"]);
  t.true(Object.values(both).every((count) => count > 25), JSON.stringify(both));
  await world.plans(plans(servers("172.16.1.1")));
  t.deepEqual(await spread(world), { "172.16.1.1": 100 });
  const { packet: other } = await world.send(to4(request("S", 2000)));
  await world.plans(plans(""));
  const gone = await world.send(to4(request("S", 2000)));
  t.not(gone.packet, other);
});

test.serial("containers on other nodes are reached through their node, and wait for it to be known", async (t) => {
  const world = await host(t);
  const plans = planner();
  await world.plans(plans(selected, [container("b", "web2", "10.44.1.2"), container("c", "web3", "10.44.2.2")]));
  t.true(((await spread(world))["198.18.0.2"] ?? 0) > 25);
});

test.serial("a container on another node that is named by its address is wrapped to its node, also where nobody tells of it", async (t) => {
  const world = await host(t);
  const named = 'service: shop\nfrontends: ["203.0.113.10:80"]\nbackends: [{ address: "10.44.1.2:8080" }]\nhealth: { kind: none }\n';
  const there = container("b", "web2", "10.44.1.2");
  for (const one of [there, { ...there, name: null, network: null }]) {
    await world.plans(planner()(named, [one]));
    const { data } = await world.sendBytes(frame(gateway, uplink, to4(request("S", 2000))));
    t.regex(Buffer.from(data).toString("hex"), /c6120002....17c1.{8}03406558000001..ff4881020a2c01021f90/, "to 198.18.0.2, of 10.44.1.2:8080");
  }
});

test.serial("another agent that finds the maps as they were changes nothing in them", async (t) => {
  const world = await host(t);
  const plans = planner();
  const guarded = servers("172.16.1.2").replace("web", "guarded").replace("10:80", "11:80");
  const both = (list: string, web: string): string => `${web}---\n${guarded}sources: { deny: [${list}] }\n`;
  await world.plans(plans(both("203.0.113.0/24", servers("172.16.1.1", "172.16.1.2"))));
  const last = plans(both("192.0.2.0/24, 203.0.113.0/24", servers("172.16.1.1")));
  await world.plans(last);
  const dumps = (): Promise<readonly (readonly string[])[]> => Promise.all(["hw_lb_frontends", "hw_lb_services", "hw_lb_backends", "hw_lb_places", "hw_lb_sources"].map((map) => world.dump(map)));
  const before = await dumps();
  await world.newAgent();
  await world.plans(last);
  t.deepEqual(await dumps(), before);
  t.deepEqual(await spread(world), { "172.16.1.1": 100 });
});

test.serial("a table that remembers nothing is taken over as it is, and what changes then keeps its flows", async (t) => {
  const world = await host(t);
  const plans = planner();
  const both = plans(servers("172.16.1.1", "172.16.1.2"));
  await world.plans(both);
  const dumps = (): Promise<readonly (readonly string[])[]> => Promise.all(["hw_lb_frontends", "hw_lb_services"].map((map) => world.dump(map)));
  const [before, sent] = [await dumps(), await spread(world)];
  await world.newAgent();
  await world.plans(both);
  t.deepEqual(await dumps(), before);
  t.deepEqual(await spread(world), sent);
  const owners = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await world.send(to4(request("A", 2000 + i)))).packet));
  await world.plans(plans(servers("172.16.1.1", "172.16.1.2", "172.16.1.3")));
  t.notDeepEqual(await dumps(), before);
  t.deepEqual(await Promise.all(Array.from({ length: 20 }, async (_, i) => (await world.send(to4(request("A", 2000 + i)))).packet)), owners);
  t.true(Object.keys(await spread(world)).includes("172.16.1.3"));
});

test.serial("an agent after one that was ended between a service and its frontends writes nothing where these are sent still", async (t) => {
  const world = await host(t);
  const plans = planner();
  const before = plans(servers("172.16.1.1"));
  await world.plans(before);
  const { number, slots: { size } } = before[0] as ServicePlan;
  await world.move(number, { first: 2 * size, slots: size, form: LbForm.FULL });
  await world.newAgent();
  await world.plans(plans(`${servers("172.16.1.1")}---\n${servers("172.16.1.2").replace("web", "another").replace("10:80", "11:80")}`));
  const { places } = await world.elsewhere();
  t.deepEqual([...places.values()].map(({ first }) => first).toSorted((a, b) => a - b), [Math.floor(size / 32) + 2, 2 * size]);
  t.deepEqual(await spread(world), { "172.16.1.1": 100 });
});

test.serial("sources: who is denied is, though a narrower prefix is allowed", async (t) => {
  const world = await host(t);
  const plans = planner();
  const with_ = (sources: string): readonly ServicePlan[] => plans(`${servers("172.16.1.1")}sources: ${sources}\n`);
  const sent = async (): Promise<boolean> => /172\.16\.1\.1/.test((await world.send(to4(request("S", 2000)))).packet);
  await world.plans(with_("{ allow: [198.51.100.0/24] }"));
  t.true(await sent());
  await world.plans(with_("{ allow: [198.51.100.0/24], deny: [198.0.0.0/8] }"));
  t.false(await sent());
  await world.plans(with_("{ deny: [203.0.113.0/24] }"));
  t.true(await sent());
});

test.serial("what cannot be carried out is refused by name: what stood of it stands, and everything else changes", async (t) => {
  const world = await host(t);
  const plans = planner();
  const sctp = (name: string, last: number): string => `service: ${name}\nfrontends: ["203.0.113.${last}:80", "203.0.113.${last}:80/sctp"]\nbackends: [{ address: "172.16.1.2:80" }]\nhealth: { kind: none }\n`;
  const reason = (name: string): string => `UNSUPPORTED service ${name}: SCTP's ports cannot be translated, so that a server can answer by way of no node; use mode dsr, with the service's address on the server's loopback`;
  t.deepEqual(await world.plans(plans(sctp("new", 9))), { new: reason("new") });
  t.true((await world.dump("hw_lb_services")).every((entry) => /^[0-9a-f]{8} 0+$/.test(entry)));
  t.deepEqual(await world.plans(plans(`${servers("172.16.1.1")}---\n${sctp("new", 9)}`)), { new: reason("new") });
  t.deepEqual(await spread(world), { "172.16.1.1": 100 });
  t.deepEqual(await world.plans(plans(`${sctp("web", 10)}---\n${servers("172.16.1.2").replace("web", "another").replace("10:80", "11:80")}`)), { web: reason("web") });
  t.deepEqual(await spread(world), { "172.16.1.1": 100 });
  t.is((await world.send(ip(client4, "203.0.113.11", request("S")))).verdict, "tx");
  t.deepEqual(await world.plans(plans(servers("172.16.1.2"))), {});
  t.deepEqual(await spread(world), { "172.16.1.2": 100 });
});

test.serial("who finds no room in the map of sources waits until there is some, and is alone with that", async (t) => {
  const world = await host(t);
  const plans = planner();
  const named = (name: string, last: number): string => servers("172.16.1.1").replace("web", name).replace("10:80", `${last}:80`);
  const [crowd, late, other] = plans([named("crowd", 20), named("late", 21), named("other", 22)].join("---\n")) as readonly [ServicePlan, ServicePlan, ServicePlan];
  const asking = (plan: ServicePlan, count: number): ServicePlan => ({ ...plan, sources: { allow: null, deny: Array.from({ length: count }, (_, i) => `10.${i >> 15}.${(i >> 7) & 255}.${(2 * i) & 255}/32` as Cidr) } });
  // All lines but three.
  const most = asking(crowd, 245_728);
  const verdict = async (last: number): Promise<string> => (await world.send(ip(client4, `203.0.113.${last}`, request("S")))).verdict;
  const waiting = asking(late, 10);
  t.deepEqual(await world.plans([most, waiting, other]), { late: "TABLE_FULL service late: no room is left for the ranges of its sources; name fewer prefixes, or join neighbouring ones" });
  t.deepEqual(await Promise.all([20, 21, 22].map(verdict)), ["tx", "pass", "tx"]);
  await world.plans([asking(crowd, 3), waiting, other]);
  t.deepEqual(await world.plans([asking(crowd, 3), waiting, other]), {});
  t.is(await verdict(21), "tx");
});

test.serial("what goes elsewhere than to its slot's current backend is noted where the agent looks, and nothing else is", async (t) => {
  const world = await host(t);
  const plans = planner();
  await world.plans(plans(servers("172.16.1.1")));
  const [plan] = plans(servers("172.16.1.1", "172.16.1.2"));
  await world.plans(plan === undefined ? [] : [plan]);
  await world.ageElsewhere(100);
  const { quiet, epoch: then } = await world.elsewhere();
  t.true(quiet * 65_536 >= 7800 * ticksPerSecond(createLog(() => {}, Date.now)) && quiet < 128);
  const noted = async (): Promise<readonly number[]> => {
    const { epochs, epoch, places } = await world.elsewhere();
    const { first, slots } = places.get(plan?.number ?? 0) ?? { first: 0, slots: 0 };
    // An epoch may have ended meanwhile.
    return Array.from({ length: slots }, (_, slot) => slot).filter((slot) => ((epoch - (epochs[first + slot] ?? 0)) & 0xff) <= ((epoch - then) & 0xff));
  };
  for (let port = 2000; port < 2100; port++) await world.send(to4(request("S", port)));
  t.deepEqual(await noted(), [], "whoever begins is the current one's");
  for (let port = 2000; port < 2100; port++) await world.send(to4(request("A", port)));
  t.deepEqual(await noted(), [], "and what is recorded so");
  for (let port = 3000; port < 3100; port++) await world.send(to4(request("A", port)));
  const after = await noted();
  t.true(after.length > 20 && after.length < 80, `${after.length}`);
  const words = plan?.slots.words ?? new Uint32Array();
  for (const slot of after) t.true(words[2 * slot + 1] !== 0 && ((words[2 * slot] ?? 0) & 0xffff) === plan?.backends[1]?.number, `slot ${slot}`);
});

test.serial("with affinity a client leaves a server that is struck out with what is new, and is led to nobody else's when the number is given again", async (t) => {
  const world = await host(t);
  const plans = planner();
  const now = Date.now();
  const own = (...addresses: readonly string[]): string => `${servers(...addresses)}affinity: { by: client }\n`;
  const to = async (sport: number, flags: string): Promise<string> => / > (172\.16\.1\.\d) ipip/.exec((await world.send(to4(request(flags, sport)))).packet)?.[1] ?? "";
  await world.plans(plans(own("172.16.1.1", "172.16.1.2"), [], now));
  const had = await to(2000, "S");
  const other = had === "172.16.1.1" ? "172.16.1.2" : "172.16.1.1";
  await world.plans(plans(own(other), [], now + 1000));
  t.deepEqual([await to(2001, "S"), await to(2001, "A"), await to(2000, "A")], [other, other, had]);
  await world.plans(plans(own("172.16.1.1", "172.16.1.2"), [], now + 2000));
  await world.forgetFlows();
  t.is(await to(2000, "S"), had);
  await world.plans(plans(own(other), [], now + 3000));
  await world.plans(plans(own(other), [], now + 40_000));
  await world.newAgent();
  const later = plans(`${own(other)}---\n${servers("172.16.1.9").replace("web", "names").replace("113.10", "113.11")}`, [], now + 40_000 + rest);
  t.deepEqual(later.map(({ backends }) => backends.map(({ number, address }) => `${number} ${address}`)), [[`${had === "172.16.1.1" ? 1 : 2} 172.16.1.9`], [`${had === "172.16.1.1" ? 2 : 1} ${other}`]]);
  await world.plans(later);
  t.is(await to(2002, "S"), other);
});
