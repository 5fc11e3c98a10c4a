// Long work on the event loop that leaves others their turns.

/** Others have theirs after so much work. Milliseconds. */
const turn = 5;

/** To be awaited between pieces of work: resolves at once as long as the turn is short. */
export function turns(): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < turn) return;
    await new Promise(setImmediate);
    since = performance.now();
  };
}
