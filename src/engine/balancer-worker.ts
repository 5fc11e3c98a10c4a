// The balancer's thread: one turn for each message.
import { parentPort, workerData } from "node:worker_threads";
import { asHawserError } from "../std/errors.ts";
import { createBalancer } from "./balancer.ts";
import type { BalancerSettings, Turn } from "./balancer.ts";
import type { Answer } from "./balancer-thread.ts";

if (parentPort === null) throw new TypeError("it is started as a thread");
const port = parentPort;
const balancer = createBalancer(workerData as BalancerSettings);

port.on("message", (turn: Turn) => port.postMessage(answerTo(turn) satisfies Answer));

function answerTo(turn: Turn): Answer {
  try {
    return { outcome: balancer.turn(turn) };
  } catch (error) {
    const { code, message } = asHawserError(error);
    return { code, message };
  }
}
