// What is wrong with a policy, each problem with its place; all of them are told at once.
import { HawserError } from "../std/errors.ts";
import { placeText } from "./render.ts";
import type { Place } from "./types.ts";

export interface Problem {
  readonly place: Place;
  readonly message: string;
}

/** More lines than this are nobody's mistakes any more. */
const most = 50;

/** BAD_POLICY; the message has one line per problem: `file:line:column: message`. */
export class PolicyProblems extends HawserError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const lines = problems.slice(0, most).map(({ place, message }) => `${placeText(place)}: ${message}`);
    if (problems.length > most) lines.push(`and ${problems.length - most} more problems`);
    super("BAD_POLICY", lines.join("\n"));
    this.name = "PolicyProblems";
    this.problems = problems;
  }
}

export function problem(place: Place, message: string): PolicyProblems {
  return new PolicyProblems([{ place, message }]);
}

/** What `work` returns; undefined when it found problems, which then are among `problems`. */
export function attempt<T>(problems: Problem[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof PolicyProblems)) throw error;
    for (const one of error.problems) problems.push(one);
    return undefined;
  }
}
