// What nodes share, told while an earlier telling still waits.
import test from "ava";
import type { ShareServices } from "../../../src/engine/service-sharing.ts";
import { nothingShared } from "../../../src/lb/stored.ts";
import type { SharedServices } from "../../../src/lb/stored.ts";
import { desk, fakeHost, memoryStore } from "./fake.ts";
import { handClock, text } from "./shop.ts";

test("what was deleted elsewhere does not come back by an older telling that waited", async (t) => {
  const row = { name: "one", file: "one.yaml", text: text("", "one", "203.0.113.1:80"), source: "apply", revision: 1, changedAt: 1, node: "n9", turn: 1 } as const;
  const older: SharedServices = { ...nothingShared, turn: 1, services: new Map([["one", row]]) };
  const newer: SharedServices = { ...nothingShared, turn: 2, services: new Map() };
  let told: Promise<void> | undefined;
  const shareServices: ShareServices = async (decide) => {
    await decide(told === undefined ? older : newer);
    told ??= engine.commands.syncServices(newer);
  };
  const engine = desk(fakeHost(), memoryStore(), { clock: handClock().clock, services: { mode: "dsr", largestTable: 61 }, shareServices });
  await engine.start();
  await engine.commands.syncServices(older);
  for (let i = 0; i < 50; i++) await new Promise(setImmediate);
  t.truthy(told);
  await told;
  await engine.idle();
  t.deepEqual(engine.queries.services(), []);
  await engine.close();
});
