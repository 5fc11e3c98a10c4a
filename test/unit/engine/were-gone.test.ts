// A node that the others took for dead while it went on: services' slots are on it as on them.
import test from "ava";
import { createBalancer } from "../../../src/engine/balancer.ts";
import type { Outcome, Turn } from "../../../src/engine/balancer.ts";
import { changedAt, currentOf, previousOf } from "../../../src/lb/slots.ts";
import type { ServicePlan, ServingContainer, Slots } from "../../../src/lb/types.ts";
import { container, place, read, serviceWith } from "../lb/given.ts";

const start = 1_750_000_000_000;
const containers = [container("a/web-1", 1), container("b/web-2", 2), container("c/web-3", 3)];
const own = containers.filter(({ node }) => node === "c");
const nothing: Turn = { services: { set: [], gone: [] }, containers: { set: [], gone: [] }, heard: [], told: null, wereGone: false, elsewhere: null, now: start };
const keyOf = ({ node, id }: ServingContainer): string => `${node}/${id}`;

function balancerOf(node: string, text: string, there: readonly ServingContainer[] = containers) {
  const balancer = createBalancer({ mode: "auto", largestTable: 1021, node, rows: new Map() });
  let plan: ServicePlan | undefined;
  const turn = (more: Partial<Turn>): Outcome => {
    const outcome = balancer.turn({ ...nothing, ...more });
    const [changed] = outcome.plans.set;
    if (changed !== undefined) plan = { ...changed, slots: "of" in changed.slots ? (plan?.slots as Slots) : changed.slots };
    return outcome;
  };
  turn({ services: { set: [read(text)], gone: [] }, containers: { set: there, gone: [] } });
  /** Of each slot: who is current, and whose is what is not recorded; with `!` where it is changed. */
  const slots = (): readonly string[] => {
    const { slots: its, backends } = plan as ServicePlan;
    const named = (number: number): string => backends.find((one) => one.number === number)?.identity ?? "nobody";
    return Array.from({ length: its.size }, (_, i) => (changedAt(its, i) === 0 ? named(currentOf(its, i)) : `${named(currentOf(its, i))} ${named(previousOf(its, i))}!`));
  };
  const states = (): readonly string[] => (plan as ServicePlan).backends.map(({ identity, state }) => `${identity} ${state}`);
  return { turn, slots, states };
}

test("what began with others while a node was away is known on it to be theirs, when it is back", (t) => {
  const text = serviceWith("health: { kind: none }");
  const [b, c] = [balancerOf("b", text), balancerOf("c", text)];
  t.deepEqual(c.slots(), b.slots());
  b.turn({ containers: { set: [], gone: own.map(keyOf) }, now: start + 15_000 });
  b.turn({ containers: { set: own, gone: [] }, now: start + 60_000 });
  c.turn({ wereGone: true, now: start + 16_000 });
  t.deepEqual(c.slots(), b.slots());
  const theirs = c.slots().filter((one) => /^c\/shop\/web-3:8080 [ab]\//.test(one)).length;
  t.true(theirs > 250, `${theirs} slots are c's again, with flows of others`);
  const before = c.slots();
  c.turn({ wereGone: true, now: start + 90_000 });
  t.deepEqual(c.slots(), before, "once more changes nothing");
});

test("so it is of containers that are named by their addresses", (t) => {
  const addresses = ["10.44.0.1", "10.44.0.2", "10.44.0.3"];
  const text = serviceWith(`backends: [${addresses.map((address) => `{ address: ${address}:8080 }`).join(", ")}]`, "health: { kind: none }");
  const [b, c] = ["b", "c"].map((node) => balancerOf(node, text, [...containers, ...addresses.map((address) => place(address))])) as [ReturnType<typeof balancerOf>, ReturnType<typeof balancerOf>];
  b.turn({ containers: { set: [], gone: own.map(keyOf) }, now: start + 15_000 });
  b.turn({ containers: { set: own, gone: [] }, now: start + 60_000 });
  c.turn({ wereGone: true, now: start + 16_000 });
  t.deepEqual(c.slots(), b.slots());
  t.true(c.slots().filter((one) => /^10\.44\.0\.3:8080 10\.44\.0\.[12]:/.test(one)).length > 250);
});

test("what the node knows of its containers' health it keeps", (t) => {
  const c = balancerOf("c", serviceWith("health: { kind: tcp }"));
  const told = new Map([["web", new Map([["a a/web-1#1:8080", true], ["b b/web-2#1:8080", true]])]]);
  const heard = own.map(({ id }) => ({ service: "web", backend: id, port: 8080, passed: true, why: "connected" }));
  c.turn({ told, heard });
  const active = ["a/shop/web-1:8080 active", "b/shop/web-2:8080 active", "c/shop/web-3:8080 active"];
  t.deepEqual(c.states(), active);
  c.turn({ wereGone: true, now: start + 16_000 });
  t.deepEqual(c.states().toSorted(), active);
  c.turn({ now: start + 17_000 });
  t.deepEqual(c.states().toSorted(), active);
});
