// Long work on the event loop that leaves others their turns.

/** Others have theirs after so much work. Milliseconds. */
const turn = 5;

const atOnce = Promise.resolve();

/** To be awaited between pieces of work: resolves at once as long as the turn is short. */
export function turns(): () => Promise<void> {
  let since = performance.now();
  const rest = async (): Promise<void> => {
    await new Promise(setImmediate);
    since = performance.now();
  };
  // Asked a dozen times for each of thousands of services: most of the time there is nothing to wait for.
  return () => (performance.now() - since < turn ? atOnce : rest());
}
