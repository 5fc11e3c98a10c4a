// Others have their turns while thousands of services are read and decided about: one file with all of them, nodes that agree by a store, and what nobody has in force.
import test from "ava";
import { ServiceBook } from "../../../src/engine/service-book.ts";
import type { ShareServices } from "../../../src/engine/service-sharing.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { nothingShared } from "../../../src/lb/stored.ts";
import type { StoredService } from "../../../src/lb/stored.ts";
import type { State } from "../../../src/network/types.ts";
import { inTurns } from "../../../src/std/sliced.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import { handClock, text } from "./shop.ts";

const many = 1500;
const texts = Array.from({ length: many }, (_, i) => text("", `s${i}`, `203.0.${i >> 8}.${i & 255}:80`));

/** How many turns others have while `work` runs. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  const over = new AbortController();
  const others = (async () => {
    for (; !over.signal.aborted; turns++) await new Promise(setImmediate);
  })();
  await work();
  over.abort();
  await others;
  return turns;
}

test.serial("a file with thousands of services is read in turns", async (t) => {
  const reader = new ServiceTexts();
  const document = { file: "/d/all.yaml", text: texts.join("---\n") };
  const turns = await turnsDuring(() => reader.prepare([document]));
  t.true(turns > 10, `${turns} turns`);
  t.is(reader.parts(document)?.length, many);
});

test.serial("what nodes agree on is decided in turns: from a directory, and what the store has lost", async (t) => {
  let known = nothingShared;
  const turns: number[] = [];
  const shareServices: ShareServices = async (decide) => {
    let wanted = known;
    turns.push(await turnsDuring(async () => {
      wanted = await decide(known);
    }));
    if (wanted === known) return;
    known = { ...wanted, turn: known.turn + 1 };
    await engine.commands.syncServices(known);
  };
  const engine = desk(fakeHost(), memoryStore(), { clock: handClock().clock, services: { mode: "dsr", largestTable: 61 }, shareServices });
  await engine.start();
  await engine.commands.syncServices(known);
  await engine.commands.syncServiceDirectory({ directory: "/d", unreadable: {}, documents: texts.map((one, i) => ({ file: `/d/${i}.yaml`, text: one })) });
  t.is(known.services.size, many);
  t.true((turns.at(-1) ?? 0) > 3, `${turns.join()} turns`);
  await engine.close();
});

test("what is in force next is not read again because another candidate was looked at after it", async (t) => {
  let looks = 0;
  class Rows extends Map<string, StoredService> {
    override forEach(...args: Parameters<Map<string, StoredService>["forEach"]>): void {
      looks++;
      super.forEach(...args);
    }
  }
  const rows = (): State["services"] => new Rows(texts.slice(0, 100).map((one, i) => [`s${i}`, { name: `s${i}`, file: `${i}.yaml`, text: one, source: "apply", revision: 1, changedAt: 1 }]));
  const book = new ServiceBook("n1", new ServiceTexts());
  const [next, other] = [{ services: rows() }, { services: rows() }];
  const read = await inTurns(book.candidates(next));
  await inTurns(book.candidates(other));
  looks = 0;
  t.is(book.services(next), read);
  t.is(looks, 0);
});
