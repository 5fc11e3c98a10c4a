// Which node answers for an address of a service: one at a time, and who loses it ends before who gets it begins. Times in milliseconds since the epoch.

/** Another node that has the service, as this one's probes see it. */
export interface Rival {
  readonly name: string;
  /** It answers probes. */
  readonly ready: boolean;
  /** Since when it does, or does not. */
  readonly since: number;
}

export interface ByName {
  readonly self: string;
  readonly rivals: readonly Rival[];
  /** This node answers for the address now, or did when its last agent ended. */
  readonly holding: boolean;
  /** When this agent began to ask the others. */
  readonly started: number;
  readonly now: number;
}

/**
 * `next`: when to ask again though nothing has changed; null: never. What a node holds by its name is certain for `certainty` from each time that this is
 * decided, so that its programs yield to a lower one which returns while its agent is away.
 */
export interface Decision {
  readonly holds: boolean;
  readonly next: number | null;
}

/** Milliseconds; to be put off every few seconds. */
export const certainty = 10_000;

/** Others ask once a second (src/peers/probes.ts): so long after this node has seen another, the other has seen it. */
export const settling = 3000;

/**
 * Without a store: of the nodes that answer, the one with the lowest name. Who is not the lowest ends at once. Who becomes it, because it has come
 * back, begins when each other that may have held the address meanwhile has had time to see that it is back; who holds it goes on.
 */
export function holdsByName({ self, rivals, holding, started, now }: ByName): Decision {
  const ready = rivals.filter((rival) => rival.ready);
  if (ready.some(({ name }) => name < self)) return { holds: false, next: null };
  if (holding || ready.length === 0) return { holds: true, next: null };
  const from = Math.max(started, ...ready.map(({ since }) => since)) + settling;
  return now >= from ? { holds: true, next: null } : { holds: false, next: from };
}

export interface ByLease {
  readonly self: string;
  /**
   * What the store said last of the address; undefined: it has not been heard yet. `own`: written under the lease that this agent has now, and not
   * by the agent before, or under a lease that was lost.
   */
  readonly standing: { readonly node: string; readonly own: boolean } | null | undefined;
  /** Since when the store says so. */
  readonly since: number;
  /** Until when this agent's lease stands for sure: its length after the last time that it asked, with success, for it to be kept; null: it has none. */
  readonly leasedUntil: number | null;
  /** Until when the address is certainly this node's, by what it decided last or the agent before did; null: it does not hold it. */
  readonly last: number | null;
  /** Nodes that try before this one (`turnOf`). */
  readonly turn: number;
  readonly now: number;
}

export interface LeaseDecision {
  /**
   * Until when the address is certainly this node's. Afterwards, when the agent or the store has been away for so long, it goes on, and ceases when
   * another node announces the address, as each does before it begins. null: it does not hold the address.
   */
  readonly holdsUntil: number | null;
  /** To be claimed of the store, leased (`SharedStore.claim`), when the rest of this decision is done. */
  readonly claim: boolean;
  readonly next: number | null;
}

/** So much before its lease ends an address is not certain any more: the kernel counts in seconds, and clocks drift. */
export const leaseMargin = 2000;
/** Between one node's try for a free address and the next one's. */
export const turnLength = 500;

/**
 * With a store: whose leased claim stands. It stays there while that node lives; a free address is claimed first by who has held it, and then in
 * turn, so that several spread over the nodes.
 */
export function holdsByLease({ self, standing, since, leasedUntil, last, turn, now }: ByLease): LeaseDecision {
  if (standing === undefined) return { holdsUntil: last, claim: false, next: null };
  if (standing === null) {
    const from = last === null ? since + (turn + 1) * turnLength : since;
    return { holdsUntil: last, claim: now >= from, next: now >= from ? null : from };
  }
  if (standing.node !== self) return { holdsUntil: null, claim: false, next: null };
  if (!standing.own || leasedUntil === null) return { holdsUntil: last, claim: true, next: null };
  return { holdsUntil: leasedUntil - leaseMargin, claim: false, next: null };
}

/** How many of `nodes` try before `self`. `weigh` is a hash of a node's name and the address, the same on every node. */
export function turnOf(self: string, nodes: readonly string[], weigh: (node: string) => number): number {
  const own = weigh(self);
  return nodes.filter((node) => node !== self && (weigh(node) < own || (weigh(node) === own && node < self))).length;
}
