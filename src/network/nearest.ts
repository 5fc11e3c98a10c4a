// The known word that a mistyped one most likely meant.

/** By Levenshtein distance; undefined when nothing is known. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: { word: string; distance: number } | undefined;
  for (const candidate of known) {
    // Longer words are nobody's typing slip, and would only cost time.
    const distance = distanceOf(word.slice(0, 100), candidate);
    if (!best || distance < best.distance) best = { word: candidate, distance };
  }
  return best?.word;
}

function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
