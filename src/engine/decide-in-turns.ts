// Decisions about thousands of services are thought through while others have their turns, and taken in the queue.
import type { Decision, State } from "../network/types.ts";
import { inTurns } from "../std/sliced.ts";
import type { Sliced } from "../std/sliced.ts";
import type { Written } from "./document-changes.ts";
import { takenBack } from "./service-changes.ts";

/** Takes a decision in the engine's queue. `before`: what is to be done there first, while nobody changes the state. */
export type Make = <Reply>(decide: (state: State, now: number) => Decision<Reply>, signal?: AbortSignal, before?: () => Promise<void>) => Promise<Reply>;

/** What services there are to be. */
export interface Thought<Reply> {
  readonly services: State["services"];
  readonly reply: Reply;
}

export interface Deciding {
  readonly state: () => State;
  readonly make: Make;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly written: () => Written;
  /** What services are judged by beside the state; another value when it is not what it was. */
  readonly around: () => unknown;
}

/**
 * Makes services what `think` says, or nothing and the error that it throws. What cannot be in force, as `inForce` tells by throwing, is taken back, unless
 * it was changed again meanwhile. `changed`: the services are others.
 */
export async function decideWholly<Reply>(
  think: (state: State, now: number, written: Written) => Sliced<Thought<Reply>>, inForce: (reply: Reply, changed: boolean) => Promise<void>, deciding: Deciding, signal?: AbortSignal,
): Promise<Reply> {
  let [before, after] = [deciding.state().services, deciding.state().services];
  const reply = await decideInTurns(function* (state, now, written) {
    const thought = yield* think(state, now, written);
    [before, after] = [state.services, thought.services];
    return thought;
  }, deciding, signal);
  try {
    await inForce(reply, before !== after);
  } catch (error) {
    if (before !== after) {
      await decideInTurns(function* (state, _, written) {
        return { services: (yield* takenBack(state, before, after, written)).services, reply: undefined };
      }, deciding);
    }
    throw error;
  }
  return reply;
}

/** Thinks before its turn in the queue, and again there when what that rests on is another by then: the queue waits for it, and nothing changes. */
async function decideInTurns<Reply>(
  think: (state: State, now: number, written: Written) => Sliced<Thought<Reply>>, { state, make, now, written, around }: Deciding, signal?: AbortSignal,
): Promise<Reply> {
  const thought = async (): Promise<{ readonly ground: readonly unknown[]; readonly end: () => Thought<Reply> }> => {
    const from = state();
    const ground = [from.services, from.networks, from.endpoints, around()];
    try {
      const found = await inTurns(think(from, now(), written()));
      return { ground, end: () => found };
    } catch (error) {
      const end = (): never => {
        throw error;
      };
      return { ground, end };
    }
  };
  let last = await thought();
  return make((standing) => {
    const { services, reply } = last.end();
    return { next: services === standing.services ? standing : { ...standing, services }, steps: [], reply };
  }, signal, async () => {
    const { services, networks, endpoints } = state();
    const ground = [services, networks, endpoints, around()];
    if (ground.some((one, i) => one !== last.ground[i])) last = await thought();
  });
}
