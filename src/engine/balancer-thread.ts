// The balancer on a thread of its own, because a table of many slots takes milliseconds and thousands of them seconds, in which Docker would wait.
import { Worker } from "node:worker_threads";
import type { Service } from "../lb/types.ts";
import { HawserError, messageOf } from "../std/errors.ts";
import type { ErrorCode } from "../std/errors.ts";
import type { BalancerSettings, Outcome, Turn } from "./balancer.ts";
import { outcomeOf } from "./outcome-parts.ts";
import type { Head, Part } from "./outcome-parts.ts";

/** `services`: more of the turn that follows. */
export type Asked = Turn | { readonly services: readonly Service[] } | "part";
export type Answer = { readonly head: Head } | { readonly part: Part } | { readonly code: ErrorCode; readonly message: string };

/** Services in one message, which then takes a few milliseconds to write. */
const piece = 100;

/** Milliseconds; tens of thousands of services take seconds. */
const patience = 120_000;

export interface BalancerThread {
  /** One at a time. @throws HawserError INTERNAL: it failed, or the thread has died or did not answer and was ended, and with it what it remembered. */
  turn(turn: Turn): Promise<Outcome>;
  /** False once it has died. */
  readonly alive: boolean;
  end(): Promise<void>;
}

/** `file`: the thread's first, which calls `runBalancer`; left out: one with nothing but the model. `time`: milliseconds that an answer may take. */
export function startBalancer(settings: BalancerSettings, file: URL = new URL("./balancer-model.ts", import.meta.url), time = patience): BalancerThread {
  const worker = new Worker(file, { workerData: settings });
  // Whoever waits for an answer keeps the process alive, an idle thread does not.
  worker.unref();
  let alive = true;
  let waiting: PromiseWithResolvers<Answer> | undefined;
  let late: NodeJS.Timeout | undefined;
  const settle = (): PromiseWithResolvers<Answer> | undefined => {
    const asked = waiting;
    waiting = undefined;
    clearTimeout(late);
    worker.unref();
    return asked;
  };
  const died = (why: string): void => {
    alive = false;
    settle()?.reject(new HawserError("INTERNAL", `the thread that plans services has ended: ${why}`));
  };
  const ask = (what: Asked): Promise<Answer> => {
    if (!alive) return Promise.reject(new HawserError("INTERNAL", "the thread that plans services has ended"));
    waiting = Promise.withResolvers();
    worker.ref();
    late = setTimeout(() => {
      died(`it did not answer within ${time} ms`);
      void worker.terminate();
    }, time);
    // A thread has no origin.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(what);
    return waiting.promise;
  };
  worker.on("message", (answer: Answer) => {
    if ("code" in answer) settle()?.reject(new HawserError(answer.code, answer.message));
    else settle()?.resolve(answer);
  });
  worker.on("error", (error) => died(messageOf(error)));
  worker.on("exit", (code) => died(`exit code ${code}`));
  return {
    get alive() {
      return alive;
    },
    turn: async (turn) => {
      const { set } = turn.services;
      for (let from = 0; from + piece < set.length; from += piece) {
        // A thread has no origin.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin
        worker.postMessage({ services: set.slice(from, from + piece) });
        await new Promise(setImmediate);
      }
      const rest = set.slice(Math.floor(Math.max(0, set.length - 1) / piece) * piece);
      const answer = await ask({ ...turn, services: { ...turn.services, set: rest } });
      const parts: Part[] = [];
      if (!("head" in answer)) throw new HawserError("INTERNAL", "the thread that plans services has answered out of turn");
      while (parts.length < answer.head.parts) {
        const next = await ask("part");
        if ("part" in next) parts.push(next.part);
      }
      return outcomeOf(answer.head, parts);
    },
    end: async () => void (await worker.terminate()),
  };
}
