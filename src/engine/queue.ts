// A queue of one: work runs in the order in which it was asked for, one piece at a time.
import { HawserError, messageOf } from "../std/errors.ts";

export interface Queue {
  /** Resolves or rejects as the work does. Aborting before its turn rejects at once and the work never starts. */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Resolves when everything asked for so far is done. */
  idle(): Promise<void>;
  /** How many are waiting or running. */
  readonly length: number;
}

export function createQueue(): Queue {
  let last: Promise<unknown> = Promise.resolve();
  let length = 0;

  const run = <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> => {
    if (signal?.aborted) return Promise.reject(abortReason(signal));
    length++;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let waiting = true;
    const onAbort = (): void => {
      if (waiting && signal) reject(abortReason(signal));
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    last = last.then(async () => {
      waiting = false;
      signal?.removeEventListener("abort", onAbort);
      if (!signal?.aborted) await work().then(resolve, reject);
      length--;
    });
    return promise;
  };

  return {
    run,
    idle: async () => void (await last),
    get length() {
      return length;
    },
  };
}

/** What an aborted signal means to whoever asked. */
export function abortReason(signal: AbortSignal): HawserError {
  const reason: unknown = signal.reason;
  if (reason instanceof HawserError) return reason;
  return new HawserError("DEADLINE", `the request was given up before it was done: ${messageOf(reason)}`, { cause: reason });
}
