// The numbers that stand for things in the datapath: given once, kept while anybody uses them, and left to rest before they stand for another.

export interface Numbers {
  /** By key. `users`: 1 or more. */
  readonly given: ReadonlyMap<string, { readonly number: number; readonly users: number }>;
  /** By number: when it was given back, in milliseconds since the epoch; the longest rested first. */
  readonly resting: ReadonlyMap<number, number>;
}

export const noNumbers: Numbers = { given: new Map(), resting: new Map() };

/** Records of flows name numbers, and are believed for 2 h 10 min after a flow's last packet (bpf/lib/lbflows.h), which may come a while after its backend has gone. */
export const rest = 3 * 3_600_000;

/**
 * After users have come and others gone, each with its keys; a key may be among both, and several times. A new key gets the lowest number from 1
 * to `highest` that is free, so that the kernel's arrays stay short; where none is left, one that has not rested. null: there are more keys than numbers.
 * The same object when nobody came or went.
 */
export function recount(numbers: Numbers, came: readonly (readonly string[])[], went: readonly (readonly string[])[], now: number, highest: number): Numbers | null {
  const changes = new Map<string, number>();
  count(came, 1, changes);
  count(went, -1, changes);
  const changed = [...changes].filter(([, by]) => by !== 0);
  if (changed.length === 0) return numbers;
  const given = new Map(numbers.given);
  const resting = new Map([...numbers.resting].filter(([, since]) => now - since < rest));
  const fresh: [key: string, users: number][] = [];
  for (const [key, by] of changed) {
    const had = given.get(key);
    const users = (had?.users ?? 0) + by;
    if (had === undefined) fresh.push([key, users]);
    else if (users > 0) given.set(key, { number: had.number, users });
    else {
      given.delete(key);
      resting.set(had.number, now);
    }
  }
  if (given.size + fresh.length > highest) return null;
  if (fresh.length === 0) return { given, resting };
  const taken = new Uint8Array(highest + 1);
  given.forEach(({ number }) => (taken[number] = 1));
  let lowest = 1;
  for (const [key, users] of fresh) {
    while (lowest <= highest && (taken[lowest] === 1 || resting.has(lowest))) lowest++;
    const number = lowest <= highest ? lowest++ : longestRested(resting);
    resting.delete(number);
    given.set(key, { number, users });
  }
  return { given, resting };
}

/** Users that have the same keys have the same list of them. */
function count(users: readonly (readonly string[])[], by: 1 | -1, changes: Map<string, number>): void {
  const times = new Map<readonly string[], number>();
  for (const keys of users) times.set(keys, (times.get(keys) ?? 0) + by);
  for (const [keys, many] of times) for (const key of keys) changes.set(key, (changes.get(key) ?? 0) + many);
}

/** How many numbers would be given while users come and go, of which each key counts its own. */
export interface Tally {
  readonly size: number;
  count(keys: readonly string[], by: 1 | -1): void;
}

export function createTally({ given }: Numbers): Tally {
  const users = new Map(Array.from(given, ([key, one]) => [key, one.users] as const));
  return {
    get size() {
      return users.size;
    },
    count: (keys, by) => {
      for (const key of keys) {
        const now = (users.get(key) ?? 0) + by;
        if (now === 0) users.delete(key);
        else users.set(key, now);
      }
    },
  };
}

/** The map holds them in the order in which they were given back. */
function longestRested(resting: ReadonlyMap<number, number>): number {
  const [first] = resting.keys();
  if (first === undefined) throw new RangeError("more keys than numbers");
  return first;
}
