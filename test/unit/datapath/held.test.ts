// What is asked of a link, told to it and answered there for addresses of services, and when: a kernel that is a map and a list of frames, and a clock that is turned by hand.
import test from "ava";
import { LbHeldState } from "../../../src/abi/generated.ts";
import { createHeld } from "../../../src/datapath/held.ts";
import type { Kernel, KernelProgram, ProgramTestRun } from "../../../src/kernel/types.ts";
import type { Clock } from "../../../src/std/clock.ts";
import { ipFromBytes, parseIp, parseMac } from "../../../src/std/ip.ts";
import type { Ip, Mac } from "../../../src/std/ip.ts";
import { createLog } from "../../../src/std/log.ts";
import { heldTable, rivalTable } from "./held-table.ts";

const [one, two] = [parseIp("192.0.2.10"), parseIp("192.0.2.11")];
const uplinks = [1, 2].map((index) => ({ index, mac: parseMac(`02:00:00:00:00:0${index}`) }));
const stranger = parseMac("02:00:00:00:00:99");
const began = 1_000_000;

/** `room`: entries that the map takes. Milliseconds count from the beginning. */
function host({ room = Infinity } = {}) {
  const [frames, lines]: [string[], string[]] = [[], []];
  const waiting = new Set<{ readonly at: number; wake(): void }>();
  /** Milliseconds by which the wall clock was set on, and what happens when the questions are over and nothing is announced yet. */
  const world = { ahead: 0, between: (): void => undefined };
  let now = began;
  const clock: Clock = {
    now: () => now + world.ahead,
    sleep: (ms, signal) => new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      if (ms === 0) world.between();
      waiting.add({ at: now + ms, wake: resolve });
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
    deadline: () => new AbortController().signal,
  };
  const table = heldTable([], room);
  const rivals = rivalTable();
  const testRun = ({ data, context }: ProgramTestRun) => {
    const index = new DataView(context?.buffer ?? new ArrayBuffer(12)).getUint32(8, true);
    const [sender, target] = [ipFromBytes(data.subarray(28, 32)), ipFromBytes(data.subarray(38, 42))];
    if (sender === "0.0.0.0") frames.push(`${now - began} asked for ${target} on ${index}`);
    else if (data[21] === 1) frames.push(`${now - began} told of ${target} on ${index}`);
    return { verdict: 0, data, durationNs: 0 };
  };
  const program = { testRun } as unknown as KernelProgram;
  const kernel = { loadObject: async () => ({ programs: new Map([["announce", program]]), maps: new Map(), close: () => undefined, [Symbol.dispose]: () => undefined }) } as unknown as Kernel;
  const held = createHeld({ kernel, objectDirectory: "", table, rivals, clock, log: createLog((line) => void lines.push(line), () => 0, "warn"), uptime: () => now / 1000 });
  const settle = (): Promise<void> => new Promise(setImmediate);
  /** Somebody answers, or announces. */
  const say = (addr: Ip, ifindex: number, state: number): void => {
    const [key, before] = [{ addr, ifindex }, table.get({ addr, ifindex })];
    if (before !== undefined) table.set(key, { ...before, state, mac: state === LbHeldState.TAKEN ? stranger : before.mac });
  };
  /** A machine says that it has an address that is answered for. */
  const contest = (addr: Ip, mac: Mac = stranger): void => {
    const key = { addr, ifindex: 1 };
    rivals.set(key, { mac, frames: (rivals.get(key)?.frames ?? 0) + 1 });
  };
  return {
    held, lines, say, contest, world,
    contested: () => [...rivals.entries()].length,
    pass: async (ms: number) => {
      const end = now + ms;
      for (;;) {
        await settle();
        const next = [...waiting].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        waiting.delete(next);
        now = next.at;
        next.wake();
      }
      now = end;
    },
    sync: (until: number | null, addresses: readonly Ip[] = [one], devices = 1) =>
      held.sync(new Map(addresses.map((address) => [address, until === null ? null : began + until])), uplinks.slice(0, devices)),
    frames: () => frames.splice(0),
    state: (addr: Ip, ifindex = 1) => table.get({ addr, ifindex })?.state,
  };
}

/** The first question of each time that the link is asked. */
const asked = (frames: readonly string[]): readonly number[] =>
  frames.filter((frame) => frame.includes("asked")).map(Number.parseFloat).filter((at, i, all) => at - (all[i - 1] ?? -1000) > 100);

test("three questions, three announcements, and an answer from the first of these on", async (t) => {
  const { pass, sync, frames, state } = host();
  sync(null);
  await pass(299);
  t.is(state(one), LbHeldState.ASKED);
  await pass(5000);
  t.is(state(one), LbHeldState.ANSWERED);
  t.deepEqual(frames(), [
    "0 asked for 192.0.2.10 on 1", "100 asked for 192.0.2.10 on 1", "200 asked for 192.0.2.10 on 1",
    "300 told of 192.0.2.10 on 1", "1300 told of 192.0.2.10 on 1", "3300 told of 192.0.2.10 on 1",
  ]);
});

test("where there are others, the link is asked each second for what somebody has, ten times, and then each ten; from the third on it is said", async (t) => {
  const { held, pass, sync, frames, say, lines } = host();
  const said: number[] = [];
  for (let second = 0; second < 40; second++) {
    sync(1_000_000);
    await pass(250);
    say(one, 1, LbHeldState.TAKEN);
    await pass(750);
    if (lines.length > 0 && said.length === 0) said.push(second);
    t.is(held.taken().has(one), said.length > 0);
  }
  t.deepEqual(asked(frames()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 19, 29, 39].map((second) => second * 1000));
  t.deepEqual(said, [2]);
  t.is(lines.length, 1);
  t.regex(lines[0] ?? "", /another machine on the link has an address.*02:00:00:00:00:99.*arp_ignore=1/);
  t.is(held.taken().get(one), `${stranger} on device 1`);
});

test("a node without others says at once that somebody has an address, asks again each ten seconds, and has it when it is free", async (t) => {
  const { held, pass, sync, frames, say, lines, state } = host();
  for (let tens = 0; tens < 3; tens++) {
    sync(null);
    await pass(250);
    if (tens < 2) say(one, 1, LbHeldState.TAKEN);
    await pass(9750);
    t.is(lines.length, 1);
    t.is(held.taken().size, tens < 2 ? 1 : 0);
  }
  t.deepEqual(asked(frames()), [0, 10_000, 20_000]);
  t.is(state(one), LbHeldState.ANSWERED);
});

test("a clock that is set back makes nobody wait", async (t) => {
  const { held, pass, sync, say, state, world } = host();
  sync(null);
  await pass(250);
  say(one, 1, LbHeldState.TAKEN);
  await pass(9750);
  t.is(held.taken().size, 1);
  world.ahead = -3_600_000;
  sync(null);
  await pass(400);
  t.is(state(one), LbHeldState.ANSWERED);
});

test("what is given up while the link is asked, and wanted again, is asked for from the beginning, and answered for without another word", async (t) => {
  const { pass, sync, frames, state } = host();
  sync(null, [one, two]);
  await pass(150);
  sync(null, [two]);
  t.is(state(one), undefined);
  sync(null, [one, two]);
  await pass(150);
  t.is(state(one), LbHeldState.ASKED);
  t.is(state(two), LbHeldState.ANSWERED);
  await pass(400);
  t.is(state(one), LbHeldState.ANSWERED);
  t.deepEqual(frames().filter((frame) => frame.includes(one)), [
    "0 asked for 192.0.2.10 on 1", "100 asked for 192.0.2.10 on 1", "300 asked for 192.0.2.10 on 1", "400 asked for 192.0.2.10 on 1", "500 asked for 192.0.2.10 on 1",
    "600 told of 192.0.2.10 on 1",
  ]);
});

test("an agent that ends while the link is asked begins nothing anew", async (t) => {
  const { held, pass, sync, frames, state } = host();
  sync(null);
  await pass(150);
  sync(null, []);
  sync(null);
  await held[Symbol.asyncDispose]();
  frames();
  await pass(1000);
  t.deepEqual(frames(), []);
  t.is(state(one), undefined);
});

test("who answers after the last question, and before the announcement, has the address", async (t) => {
  const { held, pass, sync, frames, say, state, world } = host();
  world.between = () => say(one, 1, LbHeldState.TAKEN);
  sync(null);
  await pass(5000);
  t.is(state(one), LbHeldState.TAKEN);
  t.deepEqual([...held.taken().keys()], [one]);
  t.deepEqual(frames().filter((frame) => frame.includes("told")), []);
});

test("addresses for which the map has no room are left out, and said once; the others are answered for", async (t) => {
  const { held, pass, sync, lines, state } = host({ room: 2 });
  const three = parseIp("192.0.2.12");
  const four = parseIp("192.0.2.13");
  for (let second = 0; second < 3; second++) {
    sync(1_000_000, [one, two, three, four]);
    await pass(1000);
  }
  t.deepEqual([...held.answered().keys()], [one, two]);
  t.is(lines.length, 1);
  t.regex(lines[0] ?? "", /find no room.*192\.0\.2\.12.*E2BIG/);
  sync(1_000_000, [two, three]);
  await pass(1000);
  t.is(state(three), LbHeldState.ANSWERED);
});

test("of two uplinks on one link, one answers when nothing is certain, and they do not take it from one another", async (t) => {
  const { pass, sync, frames, say, state } = host();
  sync(5000, [one], 2);
  await pass(6000);
  t.deepEqual([state(one, 1), state(one, 2)], [LbHeldState.ANSWERED, LbHeldState.ANSWERED]);
  frames();
  say(one, 1, LbHeldState.YIELDED);
  sync(5000, [one], 2);
  await pass(5000);
  t.deepEqual(frames(), []);
  t.deepEqual([state(one, 1), state(one, 2)], [LbHeldState.YIELDED, LbHeldState.ANSWERED]);
  sync(60_000, [one], 2);
  await pass(5000);
  t.is(state(one, 1), LbHeldState.ANSWERED, "certain again");
});

test("who says that he has an address which is certainly this node's is told, and the address defended each ten seconds at most, until he is silent", async (t) => {
  const { held, lines, contest, contested, pass, sync, frames } = host();
  sync(null);
  await pass(4000);
  frames();
  const look = async (): Promise<readonly string[]> => {
    sync(null);
    await pass(1000);
    return frames();
  };
  t.deepEqual([await look(), held.rivals().size], [[], 0]);
  contest(one);
  t.deepEqual(await look(), ["5000 told of 192.0.2.10 on 1", "5000 asked for 192.0.2.10 on 1"]);
  t.deepEqual([...held.rivals()], [[one, `${stranger} on device 1, 1 time`]]);
  t.is(lines.length, 1);
  for (let second = 0; second < 9; second++) {
    contest(one);
    t.deepEqual(await look(), [], "no more often");
  }
  t.deepEqual(await look(), ["15000 told of 192.0.2.10 on 1", "15000 asked for 192.0.2.10 on 1"]);
  t.deepEqual([...held.rivals()], [[one, `${stranger} on device 1, 10 times`]]);
  t.deepEqual([...held.answered()], [[one, null]], "it is answered for as before");
  t.is(lines.length, 1, "said once");
  await pass(40_000);
  await look();
  t.deepEqual([held.rivals().size, contested()], [0, 0]);
});

test("where there are others, one that goes on for more than three seconds is no node that hears of a takeover; this node's other uplinks are none either", async (t) => {
  const { held, contest, pass, sync } = host();
  sync(60_000);
  await pass(4000);
  const look = async (mac: Mac): Promise<number> => {
    contest(one, mac);
    sync(60_000, [one], 2);
    await pass(1000);
    return held.rivals().size;
  };
  const other = uplinks[1]?.mac ?? stranger;
  for (let second = 0; second < 6; second++) t.is(await look(other), 0);
  for (let second = 0; second < 3; second++) t.is(await look(stranger), 0);
  t.is(await look(stranger), 1);
  sync(null, []);
  sync(60_000);
  t.is(held.rivals().size, 0, "nothing is known of one that was given up");
});
