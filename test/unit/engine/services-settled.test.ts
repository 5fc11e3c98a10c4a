// Slots that a change left behind settle when for long nobody was heard who remembers it.
import test from "ava";
import type { ServicePlan } from "../../../src/lb/types.ts";
import { desk, memoryStore } from "./fake.ts";
import { handClock, printed, service, shop } from "./shop.ts";

test("slots that were quiet for hours settle, and are so after a start", async (t) => {
  const rows: NonNullable<Parameters<typeof memoryStore>[0]> = new Map();
  const { host, engine, join, pass } = await shop(memoryStore(rows));
  await join(1);
  await engine.commands.applyService(service());
  await join(2);
  const changedIn = (plans: readonly ServicePlan[] | null): number => [...(plans?.[0]?.slots.words ?? [])].filter((word, i) => i % 2 === 1 && word !== 0).length;
  const size = host.services?.[0]?.slots.size ?? 0;
  const changed = changedIn(host.services);
  t.true(changed > size / 4);
  let hours = 0;
  const look = async (tenMinutes: number, epochs = new Uint8Array(2 ** 14)): Promise<number> => {
    for (let i = 0; i < tenMinutes; i++) {
      hours += 600;
      host.elsewhere = { epochs, epoch: 200, quiet: 31, uptime: hours, places: new Map([[1, { first: 100, slots: size }]]) };
      pass(600_000);
      await engine.idle();
    }
    return changedIn(host.services);
  };
  t.is(await look(13), changed, "they have been seen for 7200 s only");
  // Of the first half something was heard not long ago.
  const [now] = host.services ?? [];
  const left = [...(now?.slots.words ?? [])].filter((word, i) => i % 2 === 1 && word !== 0 && (i - 1) / 2 < 200).length;
  t.is(await look(1, new Uint8Array(2 ** 14).fill(180, 0, 300)), left);
  t.true(left > 0 && left < changed);
  const calls = host.calls.length;
  t.is(await look(1), 0);
  t.is(host.calls.length, calls + 1);
  const before = printed(host.services);
  t.true((host.services?.[0]?.slots.words ?? new Uint32Array()).some((word, i) => i % 2 === 0 && word >>> 16 === 1), "who was before is known");
  const { clock } = handClock(20_000_000);
  const again = desk(host, memoryStore(rows), { clock });
  host.services = null;
  await again.start();
  t.is(printed(host.services), before);
});
