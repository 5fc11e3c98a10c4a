// One log line for each thing that is wrong with a key, however often it is looked at.
import type { Log } from "../std/log.ts";

export interface Complaints {
  (key: string, why: string): void;
  /** The key is right again: the next wrong is told anew. */
  settled(key: string): void;
}

/** Keys that are remembered; a store full of nonsense must fill neither the memory nor, more than once, the log. */
const most = 1000;
const shown = 120;

export function createComplaints(log: Log): Complaints {
  const told = new Map<string, string>();
  const complain = (key: string, why: string): void => {
    const short = key.length > shown ? `${key.slice(0, shown)}…` : key;
    const sentence = why.length > 2 * shown ? `${why.slice(0, 2 * shown)}…` : why;
    if (told.get(short) === sentence) return;
    if (told.size >= most && !told.has(short)) {
      if (told.has("")) return;
      told.set("", "");
      return log.warn("more of what nodes share is refused than is told of", { told: most });
    }
    told.set(short, sentence);
    log.warn("what a node shares is refused", { key: short, why: sentence });
  };
  return Object.assign(complain, { settled: (key: string) => void told.delete(key) });
}
