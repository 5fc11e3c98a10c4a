// Whose turn it is: asks every target once an interval, and no more of them at a time than there are sockets for. Nobody asks a clock here.
import type { Verdict } from "./answer.ts";
import type { Ask, Probe } from "./ask.ts";
import type { Asked, Change } from "./types.ts";

export interface RoundsOptions {
  readonly ask: Ask;
  /** A number in [0, 1), fresh at each call. */
  readonly random: () => number;
  readonly told: (key: number, verdict: Verdict) => void;
  /** Probes at a time. */
  readonly most: number;
}

export interface Rounds extends Disposable {
  /** A new target has its turn at once. */
  change(change: Change): void;
  /** To be called every `turnMs`, when all is read that has arrived. `elapsed`: milliseconds since the last call. */
  turn(elapsed: number): void;
  /** Milliseconds that the first in the queue has waited for a socket. */
  late(): number;
}

export const turnMs = 50;
/** So many connections may begin in one turn; more at once would be a burst for the network and keep answers waiting. */
const beginMost = 256;

interface Entry {
  readonly target: Asked;
  /** When it came into the queue, and when it was asked. */
  queued: number;
  asked: number;
  probe: Probe | undefined;
}

/**
 * Time here is lived time: of a turn that comes late no more than two turns' count. So when the thread or the machine stood still nobody's time to
 * answer ran out meanwhile, and what fell due comes one after the other.
 */
export function createRounds({ ask, random, told, most }: RoundsOptions): Rounds {
  const entries = new Map<number, Entry>();
  const asked = new Set<Entry>();
  const queue = new Set<Entry>();
  /** By the turn in which they fall due. */
  const due = new Map<number, Entry[]>();
  let lived = 0;
  let next = 0;

  const enqueue = (entry: Entry): void => {
    entry.queued = lived;
    queue.add(entry);
  };

  const settle = (entry: Entry, verdict: Verdict): void => {
    asked.delete(entry);
    entry.probe = undefined;
    const turn = Math.max(next, Math.ceil((entry.asked + entry.target.interval * (0.9 + 0.2 * random())) / turnMs));
    const others = due.get(turn);
    if (others === undefined) due.set(turn, [entry]);
    else others.push(entry);
    told(entry.target.key, verdict);
  };

  const begin = (entry: Entry): void => {
    entry.asked = lived;
    asked.add(entry);
    entry.probe = ask(entry.target, (verdict) => settle(entry, verdict));
  };

  const drop = (key: number): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    entries.delete(key);
    queue.delete(entry);
    asked.delete(entry);
    entry.probe?.stop();
  };

  return {
    change: (change) => {
      change.drop.forEach(drop);
      for (const target of change.put) {
        const entry: Entry = { target, queued: lived, asked: 0, probe: undefined };
        entries.set(target.key, entry);
        enqueue(entry);
      }
    },
    turn: (elapsed) => {
      lived += Math.min(elapsed, 2 * turnMs);
      for (const entry of asked) {
        if (entry.probe !== undefined && lived - entry.asked >= entry.target.timeout) settle(entry, entry.probe.stop());
      }
      for (; next <= lived / turnMs; next++) {
        for (const entry of due.get(next) ?? []) if (entries.has(entry.target.key)) enqueue(entry);
        due.delete(next);
      }
      let free = Math.min(most - asked.size, beginMost);
      for (const entry of queue) {
        if (free-- <= 0) break;
        queue.delete(entry);
        begin(entry);
      }
    },
    late: () => {
      const first = queue.values().next();
      return first.done === true ? 0 : lived - first.value.queued;
    },
    [Symbol.dispose]: () => [...entries.keys()].forEach(drop),
  };
}
