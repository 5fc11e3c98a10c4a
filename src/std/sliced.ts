// Long work in pieces: what is done at once, or with turns for others between the pieces.

/** Work that stops wherever others may have their turns. */
export type Sliced<T> = Generator<void, T, void>;

/** Others have their turns after so much work. Milliseconds. */
const turn = 3;

export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done === true) return value;
  }
}

/** @throws whatever the work throws */
export async function inTurns<T>(work: Sliced<T>): Promise<T> {
  for (let since = performance.now(); ;) {
    const { done, value } = work.next();
    if (done === true) return value;
    if (performance.now() - since < turn) continue;
    await new Promise(setImmediate);
    since = performance.now();
  }
}
