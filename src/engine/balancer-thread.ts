// The balancer on a thread of its own, because a table of many slots takes milliseconds and thousands of them seconds, in which Docker would wait.
import { Worker } from "node:worker_threads";
import { HawserError, messageOf } from "../std/errors.ts";
import type { ErrorCode } from "../std/errors.ts";
import type { BalancerSettings, Outcome, Turn } from "./balancer.ts";

export type Answer = { readonly outcome: Outcome } | { readonly code: ErrorCode; readonly message: string };

export interface BalancerThread {
  /** One at a time. @throws HawserError TABLE_FULL, and then all is as it was; INTERNAL when the thread has died, and with it what it remembered. */
  turn(turn: Turn): Promise<Outcome>;
  /** False once it has died. */
  readonly alive: boolean;
  end(): Promise<void>;
}

export function startBalancer(settings: BalancerSettings): BalancerThread {
  const worker = new Worker(new URL("./balancer-worker.ts", import.meta.url), { workerData: settings });
  // Whoever waits for an answer keeps the process alive, an idle thread does not.
  worker.unref();
  let alive = true;
  let waiting: PromiseWithResolvers<Outcome> | undefined;
  const settle = (): PromiseWithResolvers<Outcome> | undefined => {
    const asked = waiting;
    waiting = undefined;
    worker.unref();
    return asked;
  };
  const died = (why: string): void => {
    alive = false;
    settle()?.reject(new HawserError("INTERNAL", `the thread that plans services has ended: ${why}`));
  };
  worker.on("message", (answer: Answer) => {
    const asked = settle();
    if ("outcome" in answer) asked?.resolve(answer.outcome);
    else asked?.reject(new HawserError(answer.code, answer.message));
  });
  worker.on("error", (error) => died(messageOf(error)));
  worker.on("exit", (code) => died(`exit code ${code}`));
  return {
    get alive() {
      return alive;
    },
    turn: (turn) => {
      if (!alive) return Promise.reject(new HawserError("INTERNAL", "the thread that plans services has ended"));
      waiting = Promise.withResolvers();
      worker.ref();
      // A thread has no origin.
      // oxlint-disable-next-line unicorn/require-post-message-target-origin
      worker.postMessage(turn);
      return waiting.promise;
    },
    end: async () => void (await worker.terminate()),
  };
}
