// What services have in common is made once and is the same object in all of them: ten thousand services of one set of backends have one table.

/** Gives what was made for the same `parts`, of which objects are the same when they are identical. */
export type Sharing = <T>(parts: readonly unknown[], make: () => T) => T;

interface Node {
  readonly next: Map<unknown, Node>;
  made: { readonly value: unknown } | undefined;
}

/** For as long as it is held; `make` must need nothing but the parts, and what is the same for all who ask. */
export function createSharing(): Sharing {
  const root: Node = { next: new Map(), made: undefined };
  return <T>(parts: readonly unknown[], make: () => T): T => {
    let at = root;
    for (const part of parts) {
      let next = at.next.get(part);
      if (next === undefined) {
        next = { next: new Map(), made: undefined };
        at.next.set(part, next);
      }
      at = next;
    }
    at.made ??= { value: make() };
    return at.made.value as T;
  };
}
