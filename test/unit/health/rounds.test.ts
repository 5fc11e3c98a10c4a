// Whose turn it is, turn by turn: no clock, no socket.
import test from "ava";
import type { Verdict } from "../../../src/health/answer.ts";
import { createRounds, turnMs } from "../../../src/health/rounds.ts";
import type { Rounds } from "../../../src/health/rounds.ts";
import type { Asked } from "../../../src/health/types.ts";
import { parseIp } from "../../../src/std/ip.ts";

interface World {
  readonly rounds: Rounds;
  /** "TIME asked KEY", "TIME KEY ok|not ok", "TIME stopped KEY"; times in milliseconds. */
  readonly lines: string[];
  /** Keys that are being asked now. */
  readonly open: Map<number, (verdict: Verdict) => void>;
  pass(ms: number): void;
}

const well: Verdict = { ok: true, why: "connected" };

function world({ most = 100, random = (): number => 0.5, answers = (): boolean => true } = {}): World {
  const lines: string[] = [];
  const open = new Map<number, (verdict: Verdict) => void>();
  let now = 0;
  const rounds = createRounds({
    most, random,
    ask: ({ key }, done) => {
      lines.push(`${now} asked ${key}`);
      open.set(key, done);
      return { stop: () => { open.delete(key); lines.push(`${now} stopped ${key}`); return { ok: false, why: "no answer" }; } };
    },
    told: (key, { ok }) => lines.push(`${now} ${key} ${ok === true ? "ok" : "not ok"}`),
  });
  return {
    rounds, lines, open,
    pass: (ms) => {
      for (const end = now + ms; now < end;) {
        now += turnMs;
        if (answers()) for (const [key, done] of [...open]) { open.delete(key); done(well); }
        rounds.turn(turnMs);
      }
    },
  };
}

function target(key: number, more: Partial<Asked> = {}): Asked {
  return { key, address: parseIp("192.0.2.7"), port: 80, kind: "tcp", path: "/", interval: 1000, timeout: 300, ...more };
}

const askedAt = (lines: readonly string[], key: number): readonly number[] =>
  lines.filter((line) => line.endsWith(` asked ${key}`)).map((line) => Number.parseInt(line, 10));

test("a new target is asked at once, and again each interval after it was asked", (t) => {
  const { rounds, lines, pass } = world();
  rounds.change({ put: [target(1)], drop: [] });
  pass(3200);
  t.deepEqual(askedAt(lines, 1), [50, 1050, 2050, 3050]);
});

test("each interval is a tenth longer or shorter, by chance", (t) => {
  const chances = [0, 0.999, 0.5];
  const { rounds, lines, pass } = world({ random: () => chances.shift() ?? 0.5 });
  rounds.change({ put: [target(1)], drop: [] });
  pass(4200);
  t.deepEqual(askedAt(lines, 1), [50, 950, 2050, 3050, 4050]);
});

test("who does not answer in time is not ok, and is asked again in its turn", (t) => {
  const { rounds, lines, pass } = world({ answers: () => false });
  rounds.change({ put: [target(1)], drop: [] });
  pass(1100);
  t.deepEqual(lines, ["50 asked 1", "350 stopped 1", "350 1 not ok", "1050 asked 1"]);
});

test("who takes longer to answer than its interval is not asked twice at a time", (t) => {
  const { rounds, lines, pass } = world({ answers: () => false });
  rounds.change({ put: [target(1, { interval: 200, timeout: 500 })], drop: [] });
  pass(1200);
  t.deepEqual(askedAt(lines, 1), [50, 550, 1050]);
});

test("a pause of the whole thread makes nobody's time to answer run out", (t) => {
  const { rounds, lines, open } = world({ answers: () => false });
  rounds.change({ put: [target(1)], drop: [] });
  rounds.turn(turnMs);
  rounds.turn(60_000);
  t.deepEqual([...open.keys()], [1]);
  open.get(1)?.(well);
  t.deepEqual(lines, ["0 asked 1", "0 1 ok"]);
});

test("after a pause nobody is asked more often to make up for it", (t) => {
  const { rounds, lines, pass } = world();
  rounds.change({ put: [target(1)], drop: [] });
  pass(100);
  rounds.turn(3_600_000);
  pass(2000);
  // An hour is two turns.
  t.deepEqual(askedAt(lines, 1), [50, 950, 1950]);
});

test("no more are asked at a time than there are sockets for, in the order in which they fell due, and how late they are is known", (t) => {
  const { rounds, lines, open, pass } = world({ most: 2, answers: () => false });
  rounds.change({ put: [1, 2, 3, 4, 5].map((key) => target(key)), drop: [] });
  pass(50);
  t.deepEqual([...open.keys()], [1, 2]);
  t.is(rounds.late(), 50);
  pass(300);
  t.deepEqual([...open.keys()], [3, 4]);
  t.is(rounds.late(), 350);
  pass(300);
  t.deepEqual([...open.keys()], [5]);
  t.is(rounds.late(), 0);
  pass(400);
  t.deepEqual([...open.keys()], [1, 2]);
  t.deepEqual(lines.filter((line) => line.includes("asked")), ["50 asked 1", "50 asked 2", "350 asked 3", "350 asked 4", "650 asked 5", "1050 asked 1", "1050 asked 2"]);
});

test("who is dropped is asked no more, whether it waits, is being asked or has its turn later", (t) => {
  const { rounds, lines, open, pass } = world({ most: 1, answers: () => false });
  rounds.change({ put: [target(1), target(2), target(3)], drop: [] });
  pass(50);
  rounds.change({ put: [], drop: [1, 2] });
  t.deepEqual([...open.keys()], []);
  pass(50);
  open.get(3)?.(well);
  rounds.change({ put: [], drop: [3, 77] });
  pass(3000);
  t.deepEqual(lines, ["50 asked 1", "50 stopped 1", "100 asked 3", "100 3 ok"]);
});

test("ten thousand targets that fall due together begin over many turns, and each has its answer", (t) => {
  const { rounds, lines, pass } = world({ most: 2048 });
  rounds.change({ put: Array.from({ length: 10_000 }, (_, key) => target(key, { interval: 60_000 })), drop: [] });
  pass(3000);
  const begun = Map.groupBy(lines.filter((line) => line.includes("asked")), (line) => Number.parseInt(line, 10));
  t.true([...begun.values()].every((those) => those.length <= 256));
  t.is(lines.filter((line) => line.endsWith("ok")).length, 10_000);
});
