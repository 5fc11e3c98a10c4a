// Offsets in a text to its lines and columns, which both count from 1.

/** Where a word stands. Lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** yaml's own counter misses the line ends within what it does not understand. `first`: the file's line in which the text begins. */
export function placesIn(file: string, text: string, first = 1): (offset: number) => Place {
  const starts = [0];
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) starts.push(end + 1);
  return (offset) => {
    const at = Math.min(Math.max(offset, 0), text.length);
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    return { file, line: low + first, column: at - (starts[low] ?? 0) + 1 };
  };
}
