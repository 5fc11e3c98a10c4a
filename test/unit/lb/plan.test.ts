// What the datapath is given: services by number and family, backends by number, and slots that follow.
import test from "ava";
import { noNumbers, recount, rest } from "../../../src/lb/numbers.ts";
import { advance, afterProbes, afterSettling, noBalancing } from "../../../src/lb/plan.ts";
import type { Advance, Balancing, Circumstances } from "../../../src/lb/plan.ts";
import { changedAt, currentOf, wordsOf } from "../../../src/lb/slots.ts";
import type { Service, ServiceMode, ServicePlan, ServingContainer } from "../../../src/lb/types.ts";
import type { Ip } from "../../../src/std/ip.ts";
import { container, example, place, read, serviceWith } from "./given.ts";

const start = 1_750_000_000_000;
const containers = [container("n1/web-1", 1), container("n2/web-2", 2), container("n2/web-3", 3, { ipv6: null })];
const around = (...services: readonly string[]): Circumstances => ({ services: services.map(read), containers, mode: "auto", now: start });
const after = (before: Balancing, circumstances: Circumstances): Advance => advance(before, circumstances);

/** `number identity address:port way weight state`. */
function printed({ backends }: ServicePlan): readonly string[] {
  return backends.map(({ number, identity, address, port, way, weight, state }) => `${number} ${identity} ${address} ${port} ${way} ${weight} ${state}`);
}

test("the contract's example is a service in each family, with the backends that have an address of it", (t) => {
  const { plans, again } = after(noBalancing, around(example));
  t.deepEqual(plans.map(({ name, family, number, frontends, affinity, sources, open, slots }) => ({ name, family, number, frontends, affinity, sources, open, size: slots.size })), [
    {
      name: "web", family: 4, number: 1, frontends: [{ address: "203.0.113.10", port: 80, protocol: "tcp" }], affinity: 3 * 3_600_000,
      sources: { allow: ["0.0.0.0/0"], deny: ["198.51.100.0/24"] }, open: true, size: 1021,
    },
    // Who lists prefixes of IPv4 alone lets nobody in by IPv6.
    { name: "web", family: 6, number: 2, frontends: [{ address: "2001:db8::10", port: 80, protocol: "tcp" }], affinity: 3 * 3_600_000, sources: { allow: [], deny: [] }, open: true, size: 1021 },
  ] as unknown);
  const [four, six] = plans;
  t.deepEqual(four && printed(four), [
    "1 n1/shop/web-1:8080 10.44.0.1 8080 container 1 down", "2 n2/shop/web-2:8080 10.44.0.2 8080 container 1 down",
    "3 n2/shop/web-3:8080 10.44.0.3 8080 container 1 down", "4 192.0.2.7:8080 192.0.2.7 8080 snat 2 down",
  ]);
  t.deepEqual(six && printed(six), ["5 n1/shop/web-1:8080 fd44::1 8080 container 1 down", "6 n2/shop/web-2:8080 fd44::2 8080 container 1 down"]);
  t.is(again, null);
});

const way = (mode: string, backends: string): string | undefined =>
  after(noBalancing, around(serviceWith(`mode: ${mode}`, `backends: [${backends}]`))).plans[0]?.backends[0]?.way;

test("how a backend is reached follows from the mode and from what it is", (t) => {
  const [select, server] = ["{ select: { network: shop }, port: 8080 }", "{ address: 192.0.2.7:80 }"];
  t.deepEqual(["auto", "dsr", "snat"].map((mode) => way(mode, select)), ["container", "container", "snat"]);
  t.deepEqual(["auto", "dsr", "snat"].map((mode) => way(mode, server)), ["snat", "dsr", "snat"]);
  t.is(advance(noBalancing, { ...around(serviceWith(`backends: [${server}]`)), mode: "dsr" }).plans[0]?.backends[0]?.way, "dsr");
});

test("a container that is named by its address is reached as one, on every node; of a service that did not change too when it dies", (t) => {
  const backends = "backends: [{ address: 10.44.0.1:8080 }, { address: 10.44.0.9:8080 }]";
  const places = [place("10.44.0.1"), place("10.44.0.9", "n3")];
  const reached = (mode: ServiceMode): readonly string[] => (after(noBalancing, { ...around(serviceWith(backends)), mode, containers: [...places, ...containers] }).plans[0]?.backends ?? [])
    .map(({ identity, node, way }) => `${identity} ${node} ${way}`);
  t.deepEqual(reached("auto"), ["10.44.0.1:8080 n1 container", "10.44.0.9:8080 n3 container"]);
  t.deepEqual(reached("dsr"), reached("auto"));
  t.deepEqual(reached("snat"), ["10.44.0.1:8080 n1 snat", "10.44.0.9:8080 n3 snat"]);
  const same = { ...around(serviceWith(backends, "health: { kind: none }")), containers: [...places, ...containers] };
  const { next } = after(noBalancing, same);
  const states = (now: readonly ServingContainer[]): readonly string[] => (after(next, { ...same, containers: now }).plans[0]?.backends ?? []).map(({ identity, state }) => `${identity} ${state}`);
  t.deepEqual(states([...places, ...containers.slice(1)]), ["10.44.0.9:8080 active"]);
  t.deepEqual(states([place("10.44.0.1"), place("10.44.0.9"), ...containers]), ["10.44.0.1:8080 active", "10.44.0.9:8080 draining"]);
});

test("with mode snat containers of every node are reached, as others than with mode auto: they answer another", (t) => {
  const backends = "backends: [{ select: { network: shop }, port: 8080 }]";
  const [snat, auto] = after(noBalancing, around(serviceWith("mode: snat", backends), serviceWith("service: api", 'frontends: ["203.0.113.10:81"]', backends))).plans.toSorted((a, b) => (a.name > b.name ? -1 : 1));
  const asked = (plan: ServicePlan | undefined): readonly string[] => (plan?.backends ?? []).map(({ identity, way }) => `${identity} ${way}`);
  t.deepEqual(asked(snat), ["n1/shop/web-1:8080 snat", "n2/shop/web-2:8080 snat", "n2/shop/web-3:8080 snat"]);
  t.deepEqual(asked(auto), ["n1/shop/web-1:8080 container", "n2/shop/web-2:8080 container", "n2/shop/web-3:8080 container"]);
  t.is(new Set([snat, auto].flatMap((plan) => (plan?.backends ?? []).map(({ number }) => number))).size, 6);
});

test("a backend that two services reach the same way has one number, and one that is reached another way another", (t) => {
  const [one, two] = [serviceWith(), serviceWith("service: api", 'frontends: ["203.0.113.10:81"]')];
  const numbers = (...services: readonly string[]) => after(noBalancing, around(...services)).plans.map(({ backends }) => backends.map(({ number }) => number));
  t.deepEqual(numbers(one, two), [[1, 2, 3], [1, 2, 3]]);
  t.deepEqual(numbers(one, `${two}mode: snat\n`), [[1, 2, 3], [4, 5, 6]]);
});

test("numbers stay, and one that was given back rests before it stands for another", (t) => {
  const first = after(noBalancing, around(serviceWith()));
  const fewer = after(first.next, { ...around(serviceWith()), containers: containers.slice(1) });
  t.deepEqual(fewer.plans.map(({ backends }) => backends.map(({ number }) => number)), [[2, 3]]);
  const more = after(fewer.next, { ...around(serviceWith()), containers: [...containers.slice(1), container("n3/web-9", 9)] });
  t.deepEqual(more.plans.map(({ backends }) => backends.map(({ number }) => number)), [[2, 3, 4]]);
  const later = after(more.next, { ...around(serviceWith()), containers: [...containers.slice(1), container("n3/web-9", 9), container("n3/web-8", 8)], now: start + rest });
  t.deepEqual(later.plans.map(({ backends }) => backends.map(({ number }) => number)), [[2, 3, 4, 1]]);
});

test("when numbers are short one that has not rested is taken, the longest rested first, and too many keys have none", (t) => {
  let numbers = recount(noNumbers, [["a", "b", "c", "c"]], [], start, 3) ?? noNumbers;
  numbers = recount(numbers, [], [["a", "b"], ["c"]], start + 1, 3) ?? noNumbers;
  const given = (...came: readonly string[]): readonly string[] | undefined => {
    const after = recount(numbers, [came], [], start + 2, 3);
    return after === null ? undefined : [...after.given].map(([key, { number, users }]) => `${key} ${number} ${users}`);
  };
  t.deepEqual(given(), ["c 3 1"]);
  t.deepEqual(given("d", "c"), ["c 3 2", "d 1 1"]);
  t.deepEqual(given("d", "e"), ["c 3 1", "d 1 1", "e 2 1"]);
  t.is(given("d", "e", "f"), undefined);
  t.is(recount(numbers, [["c", "x"]], [["x", "c"]], start, 3), numbers);
});

test("of more services than there are numbers the last one is refused", (t) => {
  const many = Array.from({ length: 16_384 }, (_, i) => read(serviceWith(`service: s${i}`, `frontends: ["10.${i >> 8}.${i & 255}.1:80"]`)));
  const { plans, refused } = advance(noBalancing, { ...around(), services: many, containers: [] });
  t.is(plans.length, 16_383);
  t.deepEqual([...refused], [["s9999", "service s9999: there is no room for it: this node balances 16383 services, of which one of both families counts twice"]]);
});

test("only what changed is made anew", (t) => {
  const other = container("n1/db", 9, { network: "other" });
  const two = around(serviceWith(), serviceWith("service: db", 'frontends: ["203.0.113.10:81"]', "backends: [{ select: { network: other }, port: 81 }]"));
  const [db, web] = after(noBalancing, two).plans;
  const { next } = after(noBalancing, two);
  const same = after(next, { ...two, now: start + 1000 });
  t.deepEqual(same.plans, [db, web].filter((plan) => plan !== undefined));
  const more = after(same.next, { ...two, containers: [...containers, other] });
  t.is(more.plans[1], same.plans[1]);
  t.is(more.plans[0]?.backends.length, 1);
  const fewer = after(more.next, { ...two, containers: containers.slice(1) });
  t.is(fewer.plans[0]?.backends.length, 0);
  t.is(fewer.plans[1]?.backends.length, 2);
});

test("a container that no rule selects any more, and then dies, is gone at once", (t) => {
  const circumstances = around(serviceWith());
  const first = after(noBalancing, circumstances);
  const relabelled = after(first.next, { ...circumstances, containers: containers.map((one, i) => (i === 0 ? { ...one, network: "other" } : one)) });
  t.deepEqual(relabelled.plans[0]?.backends.map(({ state }) => state), ["draining", "down", "down"]);
  const dead = after(relabelled.next, { ...circumstances, containers: containers.slice(1), now: start + 1 });
  t.is(dead.plans[0]?.backends.length, 2);
});

test("a service that is deleted gives its numbers back", (t) => {
  const { next } = after(noBalancing, around(serviceWith()));
  const empty = after(next, { ...around(), now: start + 1 });
  t.deepEqual(empty.plans, []);
  t.is(empty.next.backendNumbers.given.size + empty.next.serviceNumbers.given.size, 0);
  t.is(empty.next.backendNumbers.resting.size, 3);
});

test("slots that did not change are the same object", (t) => {
  const first = after(noBalancing, around(serviceWith()));
  const same = after(first.next, { ...around(serviceWith("drain: 1m")), now: start + 1000 });
  t.is(same.plans[0]?.slots, first.plans[0]?.slots);
});

test("a backend that its probes take out gets nothing new; when all are out, all are tried", (t) => {
  const services = serviceWith("health: { kind: tcp }");
  let { next } = after(noBalancing, around(services));
  for (const { id } of containers) next = afterProbes(next, [{ service: "web", id, port: 8080, passed: true }], start);
  const whole = after(next, around(services));
  for (let i = 0; i < 3; i++) next = afterProbes(next, [{ service: "web", id: "n1/web-1#1", port: 8080, passed: false }], start);
  const without = after(next, { ...around(services), now: start + 1000 });
  t.deepEqual(without.plans[0]?.backends.map(({ state, takes }) => [state, takes]), [["down", false], ["active", true], ["active", true]]);
  t.deepEqual(currents(without), [2, 3]);
  t.is(without.plans[0]?.slots.between.size, 0);
  for (const { id } of containers) for (let i = 0; i < 3; i++) next = afterProbes(next, [{ service: "web", id, port: 8080, passed: false }], start);
  const none = after(next, { ...around(services), now: start + 2000 });
  t.deepEqual(none.plans[0]?.backends.map(({ state, takes }) => [state, takes]), [["down", true], ["down", true], ["down", true]]);
  t.deepEqual(currents(none), [1, 2, 3]);
  t.true(none.plans[0]?.open);
  t.deepEqual(currentsBySlot(none), currentsBySlot(whole));
  t.is(afterProbes(next, [{ service: "web", id: "nobody", port: 8080, passed: false }], start), next);
  t.is(afterProbes(next, [{ service: "other", id: "n1/web-1#1", port: 8080, passed: false }], start), next);
});

test("many answers at once count in their order, and read all services once", (t) => {
  let readings = 0;
  class Counted<K, V> extends Map<K, V> {
    override [Symbol.iterator]() {
      readings++;
      return super[Symbol.iterator]();
    }
  }
  const services = Array.from({ length: 20 }, (_, i) => serviceWith(`service: s${i}`, `frontends: ["203.0.113.${i}:80"]`, "health: { kind: tcp, fall: 2 }"));
  const { next } = after(noBalancing, around(...services));
  const answers = services.flatMap((_, i) => [true, false, false].map((passed) => ({ service: `s${i}`, id: "n1/web-1#1", port: 8080, passed })));
  const known = afterProbes({ ...next, services: new Counted(next.services) }, answers, start);
  t.deepEqual([...known.services.values()].flatMap(({ backends }) => backends.map(({ health: { state } }) => state)), services.flatMap(() => ["down", "unknown", "unknown"]));
  t.deepEqual([...known.services.keys()], [...next.services.keys()]);
  t.is(readings, 1);
});

test("two ports of one container are two backends, each with probes of its own", (t) => {
  const services = serviceWith("backends: [{ select: { network: shop, label: app=web }, port: 8080 }, { select: { network: shop, label: app=web }, port: 8081 }]", "health: { kind: tcp }");
  let { next } = after(noBalancing, around(services));
  const id = "n1/web-1#1";
  next = afterProbes(next, [{ service: "web", id, port: 8080, passed: true }], start);
  next = afterProbes(next, [{ service: "web", id, port: 8081, passed: false }], start);
  t.deepEqual(next.services.get("web")?.backends.filter((one) => one.id === id).map(({ port, health: { state } }) => [port, state]), [[8080, "up"], [8081, "down"]]);
});

/** Who takes new flows in any slot, and what each slot's current is. */
function currents(of: Advance): readonly number[] {
  return [...new Set(currentsBySlot(of))].toSorted((a, b) => a - b);
}

function wordsIn({ plans: [plan] }: Advance): readonly number[] {
  if (plan === undefined) throw new Error("there is no plan");
  return [...wordsOf(plan.slots)];
}

function currentsBySlot({ plans: [plan] }: Advance): readonly number[] {
  return plan === undefined ? [] : Array.from({ length: plan.slots.size }, (_, slot) => currentOf(plan.slots, slot));
}

test("a service without backends is closed, and its slots are nobody's", (t) => {
  const [plan] = after(noBalancing, { ...around(serviceWith()), containers: [] }).plans;
  t.is(plan?.open, false);
  t.true(plan !== undefined && wordsOf(plan.slots).every((word) => word === 0));
});

test("a service whose backends all drain is closed to new flows, and says when to look again", (t) => {
  const first = after(noBalancing, around(serviceWith()));
  const leaving = { ...around(serviceWith()), containers: containers.map((one) => ({ ...one, stopping: true })) };
  const draining = after(first.next, leaving);
  t.like(draining.plans[0], { open: false });
  t.deepEqual(currents(draining), [0]);
  t.is(draining.again, start + 30_000);
  const gone = after(draining.next, { ...leaving, now: start + 30_000 });
  t.deepEqual(gone.plans[0]?.backends, []);
  t.true(wordsIn(gone).every((word) => word === 0));
});

test("a server that has failed its probes for the time of a drain has its flows taken away", (t) => {
  const services = serviceWith("backends: [{ address: 192.0.2.1:80 }, { address: 192.0.2.2:80 }]", "health: { kind: tcp }");
  let { next } = after(noBalancing, around(services));
  for (const id of ["192.0.2.1:80", "192.0.2.2:80"]) next = afterProbes(next, [{ service: "web", id, port: 80, passed: true }], start);
  next = after(next, around(services)).next;
  for (let i = 0; i < 3; i++) next = afterProbes(next, [{ service: "web", id: "192.0.2.1:80", port: 80, passed: false }], start);
  const down = after(next, around(services));
  t.true(wordsIn(down).some((word, i) => i % 2 === 1 && word !== 0));
  t.is(down.again, start + 30_000);
  const dead = after(down.next, { ...around(services), now: start + 30_000 });
  t.true(wordsIn(dead).every((word, i) => (i % 2 === 1 ? word === 0 : word === 2)));
});

test("slots settle by service, size and time, and not those of a service with affinity", (t) => {
  const more = [...containers, container("n3/web-4", 4)];
  for (const affinity of ["", "affinity: { by: client }"]) {
    const services = serviceWith(affinity);
    const first = after(noBalancing, around(services));
    const changed = after(first.next, { ...around(services), containers: more, now: start + 5000 });
    const size = changed.plans[0]?.slots.size ?? 0;
    const asked = new Set<string>();
    const settled = afterSettling(changed.next, (service, slots) => (slot, since) => { asked.add(`${service} ${slots} ${since}`); return slot % 2 === 0; });
    t.deepEqual([...asked], affinity === "" ? [`1 ${size} ${start / 1000 + 5}`] : []);
    t.is(settled === changed.next, affinity !== "");
    const [plan] = after(settled, { ...around(services), containers: more, now: start + 9000 }).plans;
    const left = plan === undefined ? [] : Array.from({ length: plan.slots.size }, (_, slot) => slot).filter((slot) => changedAt(plan.slots, slot) !== 0);
    t.true(left.length > 0 && left.some((slot) => slot % 2 === 0) === (affinity !== ""), `${left.length}`);
  }
});

test("services whose flows have and had the same backends have the same slots, and one that changes alone has its own", (t) => {
  const [one, two, three] = [serviceWith(), serviceWith("service: api", 'frontends: ["203.0.113.10:81"]'), serviceWith("service: late", 'frontends: ["203.0.113.10:82"]')];
  const slotsOf = ({ plans }: Advance): readonly unknown[] => plans.map(({ slots }) => slots);
  const first = after(noBalancing, around(one, two));
  t.is(slotsOf(first)[0], slotsOf(first)[1]);
  const later = after(first.next, around(one, two, three));
  t.is(new Set([...slotsOf(first), ...slotsOf(later)]).size, 1, "one that comes later finds a table that is settled");
  const fewer = after(later.next, { ...around(one, two, three), containers: containers.slice(1), now: start + 1000 });
  t.is(new Set(slotsOf(fewer)).size, 1);
  t.not(slotsOf(fewer)[0], slotsOf(later)[0]);
  const alone = after(fewer.next, { ...around(one, `${two}mode: snat\n`, three), containers: containers.slice(1), now: start + 2000 });
  t.is(new Set(slotsOf(alone)).size, 2);
});

test("services of the same backends have one list of them, also once other nodes tell of them and probes answer", (t) => {
  const [one, two, other] = [serviceWith(), serviceWith("service: api", 'frontends: ["203.0.113.10:81"]'), serviceWith("service: other", 'frontends: ["203.0.113.10:82"]')];
  const told = (up: boolean): NonNullable<Circumstances["told"]> => new Map(Object.entries({ web: true, api: true, other: up }).map(([name, is]) => [name, new Map([["n2 n2/web-2#1:8080", is]])]));
  /** Whether `web` has what `api` has, and whether `other` has. */
  const common = ({ next: { services }, plans }: Advance): readonly boolean[] => [
    ...["api", "other"].map((name) => services.get(name)?.backends === services.get("web")?.backends), ...["api", "other"].map((name) => plans.find((plan) => plan.name === name)?.slots === plans.find((plan) => plan.name === "web")?.slots),
  ];
  const same = { ...around(one, two, other), told: told(true) };
  const first = after(noBalancing, same);
  t.deepEqual(common(first), [true, true, true, true]);
  t.deepEqual(first.next.services.get("web")?.backends.map(({ health: { state } }) => state), ["unknown", "up", "unknown"]);
  const answers = ["api", "other", "web"].flatMap((service) => [true, true].map((passed, i) => ({ service, id: `n1/web-${2 * i + 1}#1`, port: 8080, passed })));
  const answered = after(afterProbes(first.next, answers, start), same);
  t.deepEqual(common(answered), [true, true, true, true]);
  t.deepEqual(answered.next.services.get("web")?.backends.map(({ health: { state } }) => state), ["up", "up", "unknown"]);
  const differs = after(answered.next, { ...same, told: told(false), now: start + 1000 });
  t.deepEqual(common(differs), [true, false, true, false]);
});

test("services that count answers otherwise are not taken for one another", (t) => {
  const services = [2, 3].map((fall) => serviceWith(`service: s${fall}`, `frontends: ["203.0.113.10:${fall}"]`, `health: { kind: tcp, fall: ${fall} }`));
  const { next } = after(noBalancing, around(...services));
  const answers = [true, false, false].flatMap((passed) => ["s2", "s3"].map((service) => ({ service, id: "n1/web-1#1", port: 8080, passed })));
  t.deepEqual([...afterProbes(next, answers, start).services.values()].map(({ backends }) => backends[0]?.health.state), ["down", "up"]);
});

test("services for which no numbers are left are alone with that: who was there stays, and who needs none comes", (t) => {
  const server = (i: number) => ({ kind: "address" as const, address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` as Ip, port: 80, weight: 1, place: { file: "", line: 1, column: 1 } });
  const with_ = (name: string, last: number, first: number, count: number): Service => ({ ...read(serviceWith(`service: ${name}`, `frontends: ["203.0.113.${last}:80"]`)), name, backends: Array.from({ length: count }, (_, i) => server(first + i)) });
  const [crowd, few, known] = [with_("crowd", 1, 0, 65_530), with_("few", 2, 70_000, 6), with_("known", 3, 5, 5)];
  const circumstances = (services: readonly Service[]): Circumstances => ({ services, containers: [], mode: "dsr", now: start, largestTable: 61 });
  const names = ({ plans }: Advance): readonly string[] => plans.map(({ name, backends }) => `${name} ${backends.length}`);
  const first = advance(noBalancing, circumstances([crowd]));
  const second = advance(first.next, circumstances([crowd, few, known]));
  t.deepEqual([names(second), [...second.refused]], [["crowd 65530", "known 5"], [["few", "service few: there is no room for it: this node balances over 65535 backends"]]]);
  const grown = advance(second.next, circumstances([with_("crowd", 1, 0, 65_536), known]));
  t.deepEqual([names(grown), [...grown.refused.keys()], grown.plans[0]], [["crowd 65530", "known 5"], ["crowd"], first.plans[0]]);
  const gone = advance(second.next, circumstances([few, known]));
  t.deepEqual([names(gone), [...gone.refused]], [["few 6", "known 5"], []]);
});

test("one that has more containers than there are numbers is refused until there are, though nothing else changes", (t) => {
  const server = (i: number) => ({ kind: "address" as const, address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` as Ip, port: 80, weight: 1, place: { file: "", line: 1, column: 1 } });
  const crowd: Service = { ...read(serviceWith("service: crowd", 'frontends: ["203.0.113.1:80"]')), name: "crowd", backends: Array.from({ length: 65_533 }, (_, i) => server(i)) };
  const [web, three] = [read(serviceWith("backends: [{ select: { network: shop }, port: 8080 }]")), containers.map((one) => ({ ...one, ipv6: null }))];
  const circumstances = (services: readonly Service[], of: readonly ServingContainer[]): Circumstances => ({ services, containers: of, mode: "dsr", now: start, largestTable: 61 });
  const said = ({ plans, refused }: Advance): unknown => [plans.find(({ name }) => name === "web")?.backends.length, [...refused.keys()]];
  const first = advance(noBalancing, circumstances([crowd, web], three.slice(0, 2)));
  const grown = advance(first.next, circumstances([crowd, web], three));
  const next = advance(grown.next, circumstances([crowd, web], three));
  const room = advance(next.next, circumstances([web], three));
  t.deepEqual([first, grown, next, room].map(said), [[2, []], [2, ["web"]], [2, ["web"]], [3, []]]);
});
