// What the balancer's thread does: one turn for each message, whose outcome is fetched part by part.
import { parentPort, workerData } from "node:worker_threads";
import type { Fill } from "../lb/maglev.ts";
import type { Service } from "../lb/types.ts";
import { asHawserError } from "../std/errors.ts";
import { createBalancer } from "./balancer.ts";
import type { BalancerSettings, Turn } from "./balancer.ts";
import type { Answer, Asked } from "./balancer-thread.ts";
import { buffersOf, inParts } from "./outcome-parts.ts";
import type { Part } from "./outcome-parts.ts";

/** Of the thread's first file, which hands over what this room may not reach. */
export function runBalancer(fill?: Fill): void {
  const port = parentPort;
  if (port === null) throw new TypeError("it is started as a thread");
  const balancer = createBalancer(workerData as BalancerSettings, fill);
  let waiting: readonly Part[] = [];
  let early: readonly Service[] = [];
  const answerTo = (turn: Turn): Answer => {
    try {
      const { head, parts } = inParts(balancer.turn(turn));
      waiting = parts;
      return { head };
    } catch (error) {
      const { code, message } = asHawserError(error);
      return { code, message };
    }
  };
  port.on("message", (asked: Asked) => {
    if (asked === "part") {
      const [part, ...others] = waiting;
      waiting = others;
      if (part !== undefined) port.postMessage({ part } satisfies Answer);
      return;
    }
    if (!("now" in asked)) {
      early = [...early, ...asked.services];
      return;
    }
    const answer = answerTo({ ...asked, services: { ...asked.services, set: [...early, ...asked.services.set] } });
    early = [];
    // Tables are handed over: megabytes that the other side need not copy while others wait.
    port.postMessage(answer, "head" in answer ? buffersOf(answer.head) : []);
  });
}
