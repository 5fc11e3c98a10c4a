// The balancer's thread: one turn for each message, whose outcome is fetched part by part.
import { parentPort, workerData } from "node:worker_threads";
import { asHawserError } from "../std/errors.ts";
import { createBalancer } from "./balancer.ts";
import type { BalancerSettings, Turn } from "./balancer.ts";
import type { Answer, Asked } from "./balancer-thread.ts";
import { inParts } from "./outcome-parts.ts";
import type { Part } from "./outcome-parts.ts";

if (parentPort === null) throw new TypeError("it is started as a thread");
const port = parentPort;
const balancer = createBalancer(workerData as BalancerSettings);
let waiting: readonly Part[] = [];

port.on("message", (asked: Asked) => {
  if (asked === "part") {
    const [part, ...others] = waiting;
    waiting = others;
    if (part !== undefined) port.postMessage({ part } satisfies Answer);
    return;
  }
  const answer = answerTo(asked);
  // Tables are handed over: megabytes that the other side need not copy while others wait.
  port.postMessage(answer, "head" in answer ? answer.head.tables.map(({ words }) => words.buffer as ArrayBuffer) : []);
});

function answerTo(turn: Turn): Answer {
  try {
    const { head, parts } = inParts(balancer.turn(turn));
    waiting = parts;
    return { head };
  } catch (error) {
    const { code, message } = asHawserError(error);
    return { code, message };
  }
}
