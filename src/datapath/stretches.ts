// Which stretches of a long row are taken, where each belongs to somebody until it is given back.

export interface Stretch {
  readonly first: number;
  readonly length: number;
}

export interface Stretches {
  /** The lowest free one of that length, taken from now on; undefined: the row has none. */
  take(length: number): Stretch | undefined;
  /** False: it is not taken. */
  give(first: number): boolean;
}

/** `length`: of the row. `taken`: do not overlap. */
export function createStretches(length: number, taken: readonly Stretch[]): Stretches {
  const used = [...taken].sort((a, b) => a.first - b.first);
  /** So many of the first ones leave no room between them. */
  let dense = 0;
  return {
    take: (wanted) => {
      for (let one = used[dense]; one?.first === endOf(used[dense - 1]); one = used[dense]) dense++;
      let at = dense;
      let first = endOf(used[at - 1]);
      for (let one = used[at]; one !== undefined && one.first - first < wanted; one = used[at]) {
        first = endOf(one);
        at++;
      }
      if (first + wanted > length) return undefined;
      const stretch = { first, length: wanted };
      used.splice(at, 0, stretch);
      return stretch;
    },
    give: (first) => {
      const at = used.findIndex((one) => one.first === first);
      if (at < 0) return false;
      used.splice(at, 1);
      dense = Math.min(dense, at);
      return true;
    },
  };
}

function endOf(stretch: Stretch | undefined): number {
  return stretch === undefined ? 0 : stretch.first + stretch.length;
}
