// The balancer's thread: one turn for each message.
import { parentPort, workerData } from "node:worker_threads";
import { asHawserError } from "../std/errors.ts";
import { createBalancer } from "./balancer.ts";
import type { BalancerSettings, Turn } from "./balancer.ts";
import type { Answer } from "./balancer-thread.ts";

const balancer = createBalancer(workerData as BalancerSettings);

parentPort?.on("message", (turn: Turn) => parentPort?.postMessage(answerTo(turn)));

function answerTo(turn: Turn): Answer {
  try {
    return { outcome: balancer.turn(turn) };
  } catch (error) {
    const { code, message } = asHawserError(error);
    return { code, message };
  }
}
