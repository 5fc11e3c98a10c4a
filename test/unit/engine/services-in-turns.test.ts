// Others have their turns while thousands of services are read and decided about: one file with all of them, and nodes that agree by a store.
import test from "ava";
import type { ShareServices } from "../../../src/engine/service-sharing.ts";
import { ServiceTexts } from "../../../src/engine/service-texts.ts";
import { nothingShared } from "../../../src/lb/stored.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import { handClock, text } from "./shop.ts";

const many = 1500;
const texts = Array.from({ length: many }, (_, i) => text("", `s${i}`, `203.0.${i >> 8}.${i & 255}:80`));

/** How many turns others have while `work` runs. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let [turns, over] = [0, false];
  const others = (async () => {
    for (; !over; turns++) await new Promise(setImmediate);
  })();
  await work();
  over = true;
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
