// Places that were given up rest before they are another's: until no packet can be on its way there.

export interface Resting {
  /** The change is over. @returns whether places are to be given back */
  done(): boolean;
  /** Gives back those that nobody has any more. */
  release(): void;
}

export interface Rest {
  /** Resolves when what was given up is free. Rejects when the kernel cannot tell. */
  over(): Promise<void>;
  /** Nobody is told of what was given up by now. */
  begin(): void;
}

/**
 * A program that has read where its service's table or list of clients lies goes by what is there, and may stand still in between for as long as its CPU does: were the place another
 * service's by then, the packet would go to that one's backend. `passed`: resolves when all that ran when it was called have ended.
 */
export function createRest(passed: () => Promise<void>, places: readonly Resting[]): Rest {
  let waiting: Promise<void> | undefined;
  return {
    over: async () => {
      if (waiting === undefined) return;
      await waiting;
      waiting = undefined;
      for (const one of places) one.release();
    },
    begin: () => {
      if (places.map((one) => one.done()).every((owes) => !owes)) return;
      waiting = passed();
      // Whoever waits for it is told.
      waiting.catch(() => undefined);
    },
  };
}
