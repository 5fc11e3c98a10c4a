// A change of several services that could not be in force is taken back, each service by itself.
import test from "ava";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import { takenBack, writtenServices } from "../../../src/engine/service-changes.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import type { State } from "../../../src/network/types.ts";
import { emptyState } from "../../../src/network/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import { atOnce } from "../../../src/std/sliced.ts";
import { text } from "./shop.ts";

/** By name, the last byte of a frontend's address. */
type Addresses = Readonly<Record<string, number>>;

function rows(addresses: Addresses, known: State["services"] = new Map()): State["services"] {
  return new Map(Object.entries(addresses).map(([name, byte]) => {
    const row = { name, file: `${name}.yaml`, text: text("", name, `203.0.113.${byte}:80`), source: "apply", revision: 1, changedAt: 1 } as const;
    const was = known.get(name);
    return [name, was?.text === row.text ? was : row];
  }));
}

/** `now`: what others have made of it by then. */
function back(before: Addresses, after: Addresses, now: Addresses): Addresses {
  const texts = new ServiceTexts();
  const book = new ServiceBook("n1", texts);
  const pool = { ipv4: parseCidr("10.44.0.0/16"), ipv4NodePrefix: 24, ipv6: null, ipv6NodePrefix: 64 };
  const written = writtenServices({ book, texts, shared: false, refusal: () => undefined, pool, hostPrefixes: () => [] });
  const were = rows(before);
  const wanted = rows(after, were);
  const state = atOnce(takenBack({ ...emptyState, services: rows(now, wanted) }, were, wanted, written));
  return Object.fromEntries(book.services(state).map(({ name, frontends: [frontend] }) => [name, Number(frontend?.address.split(".")[3])]));
}

test("what was new is gone, and what was changed or deleted is what it was", (t) => {
  t.deepEqual(back({ a: 1, b: 2, c: 3 }, { a: 11, b: 2, d: 4 }, { a: 11, b: 2, d: 4, e: 5 }), { a: 1, b: 2, c: 3, e: 5 });
  t.deepEqual(back({ a: 1, b: 2 }, { a: 2, b: 1 }, { a: 2, b: 1 }), { a: 1, b: 2 }, "they had changed places");
});

test("one whose address is another's by now stays as it is, and keeps no other from what it was", (t) => {
  t.deepEqual(back({ a: 1, b: 2, c: 3 }, { a: 11, b: 12 }, { a: 11, b: 12, new: 1 }), { a: 11, b: 2, c: 3, new: 1 });
});

test("nobody gets back what one that stays as it is has now", (t) => {
  t.deepEqual(back({ a: 1, b: 2, c: 3 }, { a: 2, b: 12, c: 13 }, { a: 2, b: 12, c: 13, new: 1 }), { a: 2, b: 12, c: 3, new: 1 });
});

test("one that was changed again meanwhile stays", (t) => {
  t.deepEqual(back({ a: 1, b: 2 }, { a: 11, b: 12 }, { a: 21, b: 12 }), { a: 21, b: 2 });
});
