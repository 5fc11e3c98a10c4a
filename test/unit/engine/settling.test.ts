// When a changed slot is quiet: by what the programs noted, by how long it has been seen where it is, and by the clock.
import test from "ava";
import { LbTimes } from "../../../src/abi/generated.ts";
import { createSettling } from "../../../src/engine/settling.ts";
import { advance, noBalancing } from "../../../src/lb/plan.ts";
import type { Balancing } from "../../../src/lb/plan.ts";
import { changedAt, quietSeconds } from "../../../src/lb/slots.ts";
import { container, read, serviceWith } from "../lb/given.ts";

const start = 1_750_000_000_000;
const services = [read(serviceWith("health: { kind: none }"))];
const [one, both] = [[container("n1/web-1", 1)], [container("n1/web-1", 1), container("n1/web-2", 2)]];
const before = advance(noBalancing, { services, containers: one, mode: "auto", now: start }).next;
const { next: changed, plans } = advance(before, { services, containers: both, mode: "auto", now: start });
const size = plans[0]?.slots.size ?? 0;
const unsettled = ({ services: all }: Balancing): number => {
  const slots = all.get("web")?.parts[0]?.table.slots ?? { size: 0, words: new Uint32Array(), between: new Map() };
  return Array.from({ length: slots.size }, (_, slot) => slot).filter((slot) => changedAt(slots, slot) !== 0).length;
};
const all = unsettled(changed);
/** `noted`: the epoch of every slot; now is 5, modulo 256. `seconds`: after the first look. */
const elsewhere = (noted: number, seconds: number, first = 0) =>
  ({ epochs: new Uint8Array(2 ** 14).fill(noted), epoch: 5, quiet: 31, uptime: 70_000 + seconds, places: new Map([[1, { first, slots: size }]]) });

/** Two looks; how many slots are unsettled after the second. */
const rows: readonly (readonly [what: string, noted: number, seconds: number, wall: number, unsettled: number])[] = [
  ["nothing went elsewhere for 31 epochs and all the while", 230, 7800, 7800, 0],
  ["something did 30 epochs ago", 231, 7800, 7800, all],
  ["something did in this epoch", 5, 7800, 7800, all],
  ["a packet's note of long ago looks like one of now: it waits for the next round of epochs", 5, 100_000, 100_000, all],
  ["it has not been looked at for so long", 230, 7799, 90_000, all],
  ["the clock was set back meanwhile", 230, 7800, 7799, all],
];
for (const [what, noted, seconds, wall, left] of rows) {
  test(`${what}: ${left === 0 ? "settles" : "stays"}`, (t) => {
    const settling = createSettling();
    t.is(settling.look(changed, elsewhere(noted, 0), start), changed);
    const after = settling.look(changed, elsewhere(noted, seconds), start + 1000 * wall);
    t.is(unsettled(after), left);
    t.is(after === changed, left === all);
    t.is(settling.wanted(after), left > 0);
  });
}

test("a table that was moved, or that is not there, is as one that nobody has looked at", (t) => {
  const settling = createSettling();
  settling.look(changed, elsewhere(230, 0), start);
  t.is(settling.look(changed, elsewhere(230, 7800, 65_536), start + 7_800_000), changed);
  t.is(settling.look(changed, { ...elsewhere(230, 7900), places: new Map() }, start + 7_900_000), changed);
  t.is(settling.look(changed, { ...elsewhere(230, 7900), places: new Map([[1, { first: 0, slots: size + 1 }]]) }, start + 7_900_000), changed);
});

test("of services with one table those that have no place keep their slots, and the others do not wait for them", (t) => {
  const two = [read(serviceWith("service: api", 'frontends: ["203.0.113.10:81"]', "health: { kind: none }")), ...services];
  const shared = advance(advance(noBalancing, { services: two, containers: one, mode: "auto", now: start }).next, { services: two, containers: both, mode: "auto", now: start }).next;
  const slotsOf = ({ services: those }: Balancing) => ["api", "web"].map((name) => those.get(name)?.parts[0]?.table.slots);
  t.is(new Set(slotsOf(shared)).size, 1);
  const places = new Map([[shared.services.get("web")?.parts[0]?.plan.number ?? 0, { first: 0, slots: size }]]);
  const settling = createSettling();
  settling.look(shared, { ...elsewhere(230, 0), places }, start);
  const after = settling.look(shared, { ...elsewhere(230, 7800), places }, start + 7_800_000);
  t.is(unsettled(after), 0);
  t.is(slotsOf(after)[0], slotsOf(shared)[0]);
});

test("slots that change again wait anew, and places beyond the last note go round", (t) => {
  const settling = createSettling();
  settling.look(changed, elsewhere(230, 0), start);
  const more = advance(changed, { services, containers: [...both, container("n1/web-3", 3)], mode: "auto", now: start + 5_000_000 }).next;
  const [old, young] = [unsettled(settling.look(more, elsewhere(230, 7800, 2 ** 14 - 100), start + 7_800_000)), unsettled(more)];
  t.is(old, young, "the table was moved");
  const after = settling.look(more, elsewhere(230, 15_600, 2 ** 14 - 100), start + 15_600_000);
  t.is(unsettled(after), 0);
});

test("only what has changed slots wants to be looked at", (t) => {
  t.false(createSettling().wanted(before));
  t.true(createSettling().wanted(changed));
  const stays = advance(noBalancing, { services: [read(serviceWith("health: { kind: none }", "affinity: { by: client }"))], containers: one, mode: "auto", now: start }).next;
  const stayed = advance(stays, { services: [...stays.services.values()].map(({ service }) => service), containers: both, mode: "auto", now: start }).next;
  t.true(unsettled(stayed) > 0);
  t.false(createSettling().wanted(stayed));
});

test("model and programs mean the same time", (t) => { t.is(quietSeconds, LbTimes.QUIET_SECONDS); });
