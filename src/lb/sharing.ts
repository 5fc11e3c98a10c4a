// What services have in common is made once and is the same object in all of them: ten thousand services of one set of backends have one table.

/** Gives what was made for the same `parts`, of which objects are the same when they are identical. */
export type Sharing = <T>(parts: readonly unknown[], make: () => T) => T;

interface Node {
  /** The first part that came next; most have no other. */
  part: unknown;
  only: Node | undefined;
  others: Map<unknown, Node> | undefined;
  made: { readonly value: unknown } | undefined;
}

/** For as long as it is held; `make` must need nothing but the parts, and what is the same for all who ask. */
export function createSharing(): Sharing {
  const root = newNode();
  return <T>(parts: readonly unknown[], make: () => T): T => {
    let at = root;
    for (const part of parts) at = nextOf(at, part);
    at.made ??= { value: make() };
    return at.made.value as T;
  };
}

function newNode(): Node {
  return { part: undefined, only: undefined, others: undefined, made: undefined };
}

function nextOf(node: Node, part: unknown): Node {
  if (node.only === undefined) {
    [node.part, node.only] = [part, newNode()];
    return node.only;
  }
  if (node.part === part) return node.only;
  node.others ??= new Map<unknown, Node>();
  let next = node.others.get(part);
  if (next === undefined) {
    next = newNode();
    node.others.set(part, next);
  }
  return next;
}
