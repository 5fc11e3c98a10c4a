// Without a store: of the nodes that answer probes, the one with the lowest name answers for every address.
import { certainty, holdsByName, settling } from "../engine/shared.ts";
import type { Clock } from "../std/clock.ts";
import type { Ip } from "../std/ip.ts";
import { createElection } from "./election.ts";
import type { Election, Seat } from "./election.ts";
import type { Probes } from "./probes.ts";

export interface ByNameOptions {
  readonly self: string;
  /** The other nodes. */
  readonly others: readonly string[];
  readonly probes: Pick<Probes, "seen" | "blocked">;
  readonly seat: Seat;
  readonly clock: Clock;
}

export function electByName({ self, others, probes, seat, clock }: ByNameOptions): Election {
  const started = clock.now();
  /** Since when a node answers, or does not, as of the last look. */
  const seen = new Map(others.map((name) => [name, { ready: true, since: started }]));

  const look = (name: string): void => {
    const ready = probes.seen(name).state === "ready";
    if (seen.get(name)?.ready !== ready) seen.set(name, { ready, since: clock.now() });
  };

  /** What was not heard while a cable was out says nothing: those who were silent then are believed for a while, as at the start. */
  const rivals = (now: number) => {
    const { linkedSince } = seat;
    const deaf = now < linkedSince + settling;
    return [...seen].map(([name, { ready, since }]) => ({ name, ready: ready || deaf, since: Math.max(since, linkedSince) }));
  };

  const lowestOf = (around: ReturnType<typeof rivals>): string => [self, ...around.filter(({ ready }) => ready).map(({ name }) => name)].toSorted()[0] ?? self;

  /** What another machine keeps from this node, and whether that was told. */
  const blocked = new Set<Ip>();
  let told = true;

  const election = createElection(self, seat, {
    decide: (address, now, last) => {
      const around = rivals(now);
      const lowest = lowestOf(around);
      if (seat.isOwn(address)) return { until: undefined, holder: self, next: null };
      const { holds, next } = holdsByName({ self, rivals: around, holding: last !== null, started: Math.max(started, seat.linkedSince), now });
      return { until: holds ? now + certainty : undefined, holder: holds ? self : lowest === self || probes.blocked.at(lowest).has(address) ? null : lowest, next };
    },
    blocked: (address, is) => {
      if (is === blocked.has(address)) return;
      if (is) blocked.add(address);
      else blocked.delete(address);
      told = false;
    },
    settle: (wanted) => {
      for (const address of blocked) {
        if (wanted.has(address)) continue;
        blocked.delete(address);
        told = false;
      }
      if (!told) probes.blocked.tell(blocked);
      told = true;
      const lowest = lowestOf(rivals(clock.now()));
      if (lowest !== self && wanted.size > 0) probes.blocked.ask(lowest);
    },
    blockedElsewhere: () => {
      const lowest = lowestOf(rivals(clock.now()));
      return [...probes.blocked.at(lowest)].flatMap((address) => (seat.wanted()?.has(address) === true && !seat.isOwn(address) ? [[address, lowest]] : []));
    },
    trouble: () => [],
  }, clock);

  return {
    ...election,
    answersChanged: (name) => {
      look(name);
      election.changed();
    },
  };
}
