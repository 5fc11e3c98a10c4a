// The numbers that stand for backends in the datapath: given once, kept while they are used, and left to rest before they stand for another.

export interface Numbers {
  readonly given: ReadonlyMap<string, number>;
  /** By number: when it was given back, in milliseconds since the epoch; the longest rested first. */
  readonly resting: ReadonlyMap<number, number>;
}

export const noNumbers: Numbers = { given: new Map(), resting: new Map() };

/** Records of flows name numbers, and are kept for up to 70 minutes after a flow's last packet. */
export const rest = 2 * 3_600_000;
export const highestNumber = 65_535;

/**
 * The numbers after which exactly `keys` have one, 1…`highest`, the lowest that are free, so that the kernel's arrays stay short.
 * Where nothing else is left one is taken that has not rested; null: there are more keys than numbers.
 */
export function renumber({ given, resting }: Numbers, keys: ReadonlySet<string>, now: number, highest: number = highestNumber): Numbers | null {
  if (keys.size > highest) return null;
  const kept = new Map([...given].filter(([key]) => keys.has(key)));
  const fresh = [...keys].filter((key) => !kept.has(key));
  const back = [...given].filter(([key]) => !keys.has(key)).map(([, number]) => [number, now] as const);
  const tired = new Map([...[...resting].filter(([, since]) => now - since < rest), ...back]);
  if (fresh.length === 0) return { given: kept, resting: tired };
  const taken = new Set(kept.values());
  let lowest = 1;
  for (const key of fresh) {
    while (lowest <= highest && (taken.has(lowest) || tired.has(lowest))) lowest++;
    const number = lowest <= highest ? lowest++ : longestRested(tired);
    tired.delete(number);
    kept.set(key, number);
  }
  return { given: kept, resting: tired };
}

/** The map holds them in the order in which they were given back. */
function longestRested(tired: ReadonlyMap<number, number>): number {
  const [first] = tired.keys();
  if (first === undefined) throw new RangeError("more keys than numbers");
  return first;
}
