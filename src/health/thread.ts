// The thread that asks: takes targets from the agent's own thread, tells it what was found, and shows in shared memory that it lives.
import { parentPort, workerData } from "node:worker_threads";
import { createAsk } from "./ask.ts";
import { createRounds, turnMs } from "./rounds.ts";
import { shared } from "./types.ts";
import type { Change, Report, ThreadData } from "./types.ts";

/** Sockets at a time; an agent has 65536 descriptors (packaging/hawser.service). */
const most = 2048;
/** Milliseconds after the last time that this node itself could not ask. */
const troubleFor = 10_000;

const port = parentPort;
if (port === null) throw new Error("src/health/thread.ts is the start of a thread, not of a program");
const seen = new Int32Array((workerData as ThreadData).shared);
let results: Report["results"][number][] = [];
let trouble: { readonly why: string; readonly until: number } | undefined;
let said: string | null = null;

const rounds = createRounds({
  ask: createAsk(),
  random: Math.random,
  most,
  told: (key, { ok, why }) => {
    if (ok === null) trouble = { why, until: performance.now() + troubleFor };
    else results.push({ key, ok, why, at: Date.now() });
  },
});

let before = performance.now();
const turn = (): void => {
  const now = performance.now();
  rounds.turn(now - before);
  before = now;
  const why = trouble !== undefined && now < trouble.until ? trouble.why : null;
  if (results.length > 0 || why !== said) port.postMessage({ results, trouble: why } satisfies Report);
  said = why;
  results = [];
  Atomics.store(seen, shared.late, Math.ceil(rounds.late()));
  Atomics.add(seen, shared.turns, 1);
};

port.on("message", (change: Change) => rounds.change(change));
// Not in the timer itself: what arrived in time is read first, however late the timer is.
setInterval(() => setImmediate(turn), turnMs);
