// Health probes of backends, on a thread of their own, so that a busy agent drops no backend; and a thread that ends or stands still is replaced.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Log } from "../std/log.ts";
import { shared } from "./types.ts";
import type { Asked, Change, Report, Result, Target, ThreadData } from "./types.ts";

export interface HealthDoorOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What was found of targets that are followed still. Who is not heard of has not been asked: nothing is known, and nothing is down. */
  readonly told: (results: readonly Result[]) => void;
  /** What the thread runs. */
  readonly code?: URL;
}

export interface HealthDoor {
  /** Whom to ask from now on. Who was asked before, in the same way, keeps its turn; of several with one id the last counts. */
  follow(targets: Iterable<Target>): void;
  /** Asks until the signal aborts; without targets there is no thread. */
  run(signal: AbortSignal): Promise<void>;
  /** Why not everybody is asked in time; undefined: all is well. */
  trouble(): string | undefined;
}

/** Milliseconds. */
const lookEvery = 1000;
/** Looks in a row without a turn of the thread's, and before its first. Looks and not seconds, for when the whole machine stood still. */
const looksMost = 5;
const firstLooksMost = 30;
const pauseLeast = 100;
const pauseMost = 30_000;
/** Milliseconds that probes may be late before it is said. */
const lateMost = 5000;
/** Of the thread's heap: 10 000 targets and 2048 sockets take a third of it. */
const resourceLimits = { maxOldGenerationSizeMb: 96, maxYoungGenerationSizeMb: 8 };

export function createHealthDoor({ clock, log, told, code = new URL("thread.ts", import.meta.url) }: HealthDoorOptions): HealthDoor {
  const followed = new Map<string, Target & { readonly key: number }>();
  const ids = new Map<number, string>();
  let keys = 0;
  let worker: Worker | undefined;
  let wanted = Promise.withResolvers<void>();
  let unwanted = Promise.withResolvers<void>();
  let late = 0;
  let ended: string | undefined;
  let unasked: string | null = null;

  const post = (change: Change): void => worker?.postMessage(change, []);

  const heard = ({ results, trouble }: Report): void => {
    if (trouble !== null && trouble !== unasked) log.warn("this node cannot ask backends whether they are well", { why: trouble });
    unasked = trouble;
    const known = results.flatMap(({ key, ...result }) => {
      const id = ids.get(key);
      return id === undefined ? [] : [{ id, ...result }];
    });
    if (known.length > 0) told(known);
  };

  /** Lives as long as the thread, and no longer than there is somebody to ask. @throws when the thread has ended or stands still */
  const live = async (signal: AbortSignal): Promise<void> => {
    const memory = new Int32Array(new SharedArrayBuffer(shared.bytes));
    const thread = new Worker(code, {
      name: "health", resourceLimits, workerData: { shared: memory.buffer } satisfies ThreadData,
    });
    const over = new AbortController();
    const ending = Promise.race([
      once(thread, "exit", { signal: over.signal }).then(([status]) => { throw new Error(`the thread ended with ${status}`); }),
      watch(memory, AbortSignal.any([signal, over.signal])),
    ]);
    try {
      thread.on("message", heard);
      worker = thread;
      post({ put: [...followed.values()].map(askedOf), drop: [] });
      await Promise.race([ending, unwanted.promise]);
    } finally {
      worker = undefined;
      over.abort();
      await ending.catch(() => undefined);
      await thread.terminate();
    }
  };

  const watch = async (memory: Int32Array, signal: AbortSignal): Promise<void> => {
    let [turns, looks] = [0, 0];
    for (;;) {
      await clock.sleep(lookEvery, signal).catch(() => undefined);
      if (signal.aborted) return;
      const now = Atomics.load(memory, shared.turns);
      late = Atomics.load(memory, shared.late);
      if (now !== turns) ended = undefined;
      looks = now === turns ? looks + 1 : 0;
      turns = now;
      if (looks >= (now === 0 ? firstLooksMost : looksMost)) throw new Error(`the thread has stood still for ${(looks * lookEvery) / 1000} seconds`);
    }
  };

  return {
    follow: (targets) => {
      const next = new Map([...targets].map((target) => [target.id, target]));
      const put: Asked[] = [];
      const drop: number[] = [];
      for (const [id, { key, ...target }] of followed) {
        const now = next.get(id);
        if (now !== undefined && sameTarget(now, target)) {
          next.delete(id);
          continue;
        }
        followed.delete(id);
        ids.delete(key);
        drop.push(key);
      }
      for (const [id, target] of next) {
        const one = { ...target, key: keys++ };
        followed.set(id, one);
        ids.set(one.key, id);
        put.push(askedOf(one));
      }
      if (put.length > 0 || drop.length > 0) post({ put, drop });
      if (followed.size > 0) wanted.resolve();
      else unwanted.resolve();
    },
    run: async (signal) => {
      const stop = (): void => wanted.resolve();
      signal.addEventListener("abort", stop);
      let pause = pauseLeast;
      while (!signal.aborted) {
        if (followed.size === 0) {
          wanted = Promise.withResolvers();
          await wanted.promise;
          continue;
        }
        unwanted = Promise.withResolvers();
        const since = clock.now();
        try {
          await live(signal);
          [late, ended, unasked] = [0, undefined, null];
        } catch (error) {
          ended = messageOf(error);
          log.warn("backends are not asked whether they are well for a moment", { why: ended });
          pause = clock.now() - since > pauseMost ? pauseLeast : Math.min(pause * 2, pauseMost);
          await clock.sleep(pause, signal).catch(() => undefined);
        }
      }
      signal.removeEventListener("abort", stop);
    },
    trouble: () => {
      const troubles = [ended, unasked ?? undefined, late > lateMost ? `probes are ${Math.round(late / 1000)} s late: too many targets do not answer` : undefined];
      return troubles.filter((one) => one !== undefined).join("; ") || undefined;
    },
  };
}

function askedOf({ key, address, port, kind, path, interval, timeout }: Asked): Asked {
  return { key, address, port, kind, path, interval, timeout };
}

function sameTarget(a: Target, b: Target): boolean {
  return a.address === b.address && a.port === b.port && a.kind === b.kind && a.path === b.path && a.interval === b.interval && a.timeout === b.timeout;
}
