// A decision that was thought through before its turn counts if what it rests on is what it was; else it is thought through again in its turn.
import test from "ava";
import { decideWholly } from "../../../src/engine/decide-in-turns.ts";
import type { Make } from "../../../src/engine/decide-in-turns.ts";
import type { Written } from "../../../src/engine/document-changes.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { readDocument } from "../../../src/lb/read.ts";
import type { StoredService } from "../../../src/lb/stored.ts";
import { emptyState } from "../../../src/network/types.ts";
import type { State } from "../../../src/network/types.ts";
import type { Sliced } from "../../../src/std/sliced.ts";
import { text } from "./shop.ts";

const row = (name: string): StoredService => ({ name, file: `${name}.yaml`, text: "", source: "apply", revision: 1, changedAt: 1 });
const having = (...names: readonly string[]): Pick<State, "services"> => ({ services: new Map(names.map((name) => [name, row(name)])) });
const written: Written = {
  table: "services", one: "service", code: "BAD_SERVICE",
  *read() {
    yield;
    return [];
  },
  *verify() {
    yield;
    return [];
  },
};

/** `first`: what happens between the thought and its turn. */
async function decide(first: (state: State) => State, options: { readonly from?: State; readonly inForce?: () => Promise<void>; readonly around?: () => unknown } = {}) {
  let state = options.from ?? { ...emptyState, ...having("old") };
  const seen: string[] = [];
  let happened = false;
  const make: Make = async (decision, _, before) => {
    if (!happened) state = first(state);
    happened = true;
    await before?.();
    const { next, reply } = decision(state, 0);
    state = next;
    return reply;
  };
  const think = function* ({ services }: State): Sliced<{ readonly services: State["services"]; readonly reply: number }> {
    seen.push([...services.keys()].join(" "));
    yield;
    if (services.has("taken")) throw new Error("it is taken");
    return { services: new Map(services).set("new", row("new")), reply: seen.length };
  };
  const end = await decideWholly(think, options.inForce ?? (async () => undefined), { state: () => state, make, now: () => 0, written: () => written, around: options.around ?? (() => null) }).then(String, String);
  return { end, seen, names: [...state.services.keys()], state };
}

test("it is thought once when nothing happens, or nothing that matters, which stays", async (t) => {
  t.like(await decide((state) => state), { end: "1", seen: ["old"], names: ["old", "new"] });
  const cluster = { ...emptyState.cluster };
  const { end, state } = await decide((before) => ({ ...before, cluster }));
  t.is(end, "1");
  t.is(state.cluster, cluster);
});

test("it is thought again when services, networks, endpoints or the host's addresses are others, and rests on those", async (t) => {
  t.like(await decide((state) => ({ ...state, ...having("old", "other") })), { end: "2", seen: ["old", "old other"], names: ["old", "other", "new"] });
  t.like(await decide((state) => ({ ...state, networks: new Map() })), { end: "2" });
  t.like(await decide((state) => ({ ...state, endpoints: new Map() })), { end: "2" });
  let prefixes = {};
  t.like(await decide((state) => {
    prefixes = {};
    return state;
  }, { around: () => prefixes }), { end: "2" });
});

test("who was faster has it, and what was in the way and went is in nobody's way", async (t) => {
  t.like(await decide((state) => ({ ...state, ...having("old", "taken") })), { end: "Error: it is taken", names: ["old", "taken"] });
  t.like(await decide((state) => ({ ...state, ...having("old") }), { from: { ...emptyState, ...having("old", "taken") } }), { end: "2", names: ["old", "new"] });
});

test("what cannot be in force is taken back", async (t) => {
  t.like(await decide((state) => state, { inForce: () => Promise.reject(new Error("no room")) }), { end: "Error: no room", names: ["old"] });
});

test("others read many documents, and what they do not read is read here", async (t) => {
  const documents = Array.from({ length: 1000 }, (_, i) => ({ file: `${i}.yaml`, text: text(`# ${"-".repeat(500)}`, `s${i}`, `203.0.${i >> 8}.${i & 255}:80`) }));
  let asked = 0;
  const texts = new ServiceTexts(async (some, found) => {
    asked += some.length;
    for (const one of some.slice(0, 300)) found(one, { ...readDocument(one), problems: [{ place: { file: "", line: 1, column: 1 }, message: "read elsewhere" }] });
    throw new Error("it has died");
  });
  await texts.prepare(documents.slice(0, 100));
  t.is(asked, 0, "a few are read here");
  await texts.prepare(documents);
  t.is(asked, 900, "what is read already is not asked for");
  t.deepEqual(documents.map((one) => texts.one(one).problems.length), Array.from(documents, (_, i) => (i >= 100 && i < 400 ? 1 : 0)));
  t.deepEqual(documents.map((one) => texts.one(one).services[0]?.name), documents.map((_, i) => `s${i}`));
});
