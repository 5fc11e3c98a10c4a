// Performs steps as the engine does: in order, or their undoing in reverse.
import type { Doers, Step } from "../../../src/network/types.ts";

export async function doAll(doers: Doers, steps: readonly Step[]): Promise<void> {
  for (const step of steps) await doerOf(doers, step).do(step);
}

export async function undoAll(doers: Doers, steps: readonly Step[]): Promise<void> {
  for (const step of steps.toReversed()) await doerOf(doers, step).undo(step);
}

interface AnyDoer {
  do(step: Step): Promise<void>;
  undo(step: Step): Promise<void>;
}

function doerOf(doers: Doers, step: Step): AnyDoer {
  return doers[step.kind] as AnyDoer;
}
