// What happens to many nodes at nearly the same time is told in one line, and what happens to one alone in its own.
import type { Log, LogFields } from "../std/log.ts";

export interface Together {
  add(name: string, fields: LogFields, now: number): void;
  /** It is not so any more. @returns whether nobody was told that it was. */
  withdraw(name: string): boolean;
  /** Tells what was gathered, when it is a second since the last of it, or five since the first. `now`: milliseconds, as in `add`; left out: at once. */
  tell(now?: number): void;
}

/** Milliseconds. */
const [quiet, longest] = [1000, 5000];
const namesShown = 5;

/** `one` and `many`: what is said of one node, with its fields, and of several, with their number and the first names. */
export function createTogether(tell: Log["info"], one: string, many: string): Together {
  const gathered = new Map<string, LogFields>();
  let [first, last] = [0, 0];
  return {
    add: (name, fields, now) => {
      if (gathered.size === 0) first = now;
      last = now;
      gathered.set(name, fields);
    },
    withdraw: (name) => gathered.delete(name),
    tell: (now = Infinity) => {
      if (gathered.size === 0 || (now - last < quiet && now - first < longest)) return;
      if (gathered.size > 1) tell(many, { nodes: gathered.size, first: [...gathered.keys()].slice(0, namesShown) });
      else for (const [name, fields] of gathered) tell(one, { name, ...fields });
      gathered.clear();
    },
  };
}
