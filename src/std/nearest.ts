// The known word that a mistyped one most likely meant.

/**
 * By the edits that lead from one to the other (a letter more, less or wrong, or two that changed places), letter case aside. undefined when the best takes more edits than `allowed` makes of the typed word's
 * length; without it, any best will do.
 */
export function nearest(typed: string, known: readonly string[], allowed: (length: number) => number = () => Infinity): string | undefined {
  // Longer words are nobody's typing slip, and would only cost time.
  const word = typed.slice(0, 100).toLowerCase();
  let best: { readonly word: string; readonly edits: number } | undefined;
  for (const candidate of known) {
    if (candidate === "") continue;
    const edits = editsBetween(word, candidate.toLowerCase());
    if (best === undefined || edits < best.edits) best = { word: candidate, edits };
  }
  return best !== undefined && best.edits <= allowed(word.length) ? best.word : undefined;
}

/** For names and keys: a third of the letters may be wrong, and one always. */
export function slip(length: number): number {
  return Math.max(1, Math.floor(length / 3));
}

function editsBetween(a: string, b: string): number {
  let before: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(replaced, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
