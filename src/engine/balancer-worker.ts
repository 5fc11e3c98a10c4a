// The balancer's thread: one turn for each message.
import { parentPort, workerData } from "node:worker_threads";
import type { Slots } from "../lb/types.ts";
import { asHawserError } from "../std/errors.ts";
import { createBalancer } from "./balancer.ts";
import type { BalancerSettings, Turn } from "./balancer.ts";
import type { Answer } from "./balancer-thread.ts";

if (parentPort === null) throw new TypeError("it is started as a thread");
const port = parentPort;
const balancer = createBalancer(workerData as BalancerSettings);

port.on("message", (turn: Turn) => {
  const answer = answerTo(turn);
  if (!("outcome" in answer)) return port.postMessage(answer);
  // Tables are copied here and handed over: megabytes that the other side need not copy while others wait.
  const copies = new Map<Slots, Slots & { readonly words: Uint32Array<ArrayBuffer> }>();
  const copyOf = (slots: Slots): Slots => {
    const copy = copies.get(slots) ?? { ...slots, words: new Uint32Array(slots.words) };
    copies.set(slots, copy);
    return copy;
  };
  const set = answer.outcome.plans.set.map((plan) => ({ ...plan, slots: "of" in plan.slots ? plan.slots : copyOf(plan.slots) }));
  port.postMessage({ outcome: { ...answer.outcome, plans: { ...answer.outcome.plans, set } } } satisfies Answer, Array.from(copies.values(), ({ words }) => words.buffer));
});

function answerTo(turn: Turn): Answer {
  try {
    return { outcome: balancer.turn(turn) };
  } catch (error) {
    const { code, message } = asHawserError(error);
    return { code, message };
  }
}
