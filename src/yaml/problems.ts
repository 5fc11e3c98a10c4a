// What is wrong with a document, each problem with its place; all of them are told at once.
import { HawserError } from "../std/errors.ts";
import type { ErrorCode } from "../std/errors.ts";
import { placeText } from "./render.ts";
import type { Place } from "./lines.ts";

export interface Problem {
  readonly place: Place;
  readonly message: string;
}

/** More lines than this are nobody's mistakes any more. */
const most = 50;
/** Characters. A message that repeats what was written says enough by then. */
const longest = 1500;

/** The message has one line per problem: `file:line:column: message`. Whose document it is, and so the code, only its reader knows. */
export class Problems extends HawserError {
  readonly problems: readonly Problem[];

  constructor(found: readonly Problem[], code: ErrorCode = "BAD_REQUEST") {
    const problems = found.map((one) => (one.message.length > longest ? { ...one, message: `${one.message.slice(0, longest)}…` } : one));
    const lines = problems.slice(0, most).map(({ place, message }) => `${placeText(place)}: ${message}`);
    if (problems.length > most) lines.push(`and ${problems.length - most} more problems`);
    super(code, lines.join("\n"));
    this.name = "Problems";
    this.problems = problems;
  }
}

export function problem(place: Place, message: string): Problems {
  return new Problems([{ place, message }]);
}

/** What `work` returns; undefined when it found problems, which then are among `problems`. */
export function attempt<T>(problems: Problem[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Problems)) throw error;
    for (const one of error.problems) problems.push(one);
    return undefined;
  }
}
