// With a store: an address is the node's whose leased claim stands under held/ADDRESS. Who has it on a device of its own says so without a lease, for nobody else may have it then.
import type { NodeView } from "../engine/types.ts";
import { hashPair, holdsByLease, turnOf } from "../engine/shared.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import { parseIp } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { SharedEvent, SharedStore } from "../store/shared.ts";
import { createComplaints } from "./complaints.ts";
import { createElection } from "./election.ts";
import type { Election, Seat, Verdict } from "./election.ts";
import { decodeHeld, encodeHeld, heldKey, heldPrefix } from "./held-records.ts";
import type { HeldRecord } from "./held-records.ts";

export interface ByLeaseOptions {
  readonly self: string;
  readonly store: SharedStore;
  readonly nodes: () => readonly Pick<NodeView, "name" | "state">[];
  readonly seat: Seat;
  readonly clock: Clock;
  readonly log: Log;
}

/** Of one address, as the store said last. */
interface Standing extends HeldRecord {
  /** Written under the lease that this agent has now. */
  readonly leased: boolean;
}

/** Milliseconds. */
const afterFailure = 1000;
/** However many nodes there are, somebody tries after so many turns. */
const mostTurns = 10;
const atOnce = 16;

export function electByLease({ self, store, nodes, seat, clock, log }: ByLeaseOptions): Election {
  const complain = createComplaints(log);
  const standing = new Map<Ip, Standing>();
  let heard = false;
  /** Why the store is not heard; undefined: it is. */
  let lost: string | undefined = "it was not heard yet";
  /** Since when the store says what it says of an address, or this node wants one of which it says nothing. */
  const since = new Map<Ip, number>();
  /** Addresses of which something is being written, or was in vain, and until when they wait. */
  const busy = new Map<Ip, number>();
  const failures = new Map<Ip, string>();
  let writing = 0;
  /** Leases that this agent has had. */
  let leases = 0;
  let life: AbortSignal | undefined;
  const due: (() => Promise<void>)[] = [];
  /** Being given up: until it is known how that ended, they are nobody's. */
  const leaving = new Set<Ip>();
  /** Nodes that do not answer. */
  const silent = new Set<string>();
  /** Names of those that answer, once a turn. */
  let around: readonly string[] | undefined;

  const take = (key: string, value: string | undefined): void => {
    try {
      const address = parseIp(key.slice(heldPrefix.length));
      const before = standing.get(address);
      const record = value === undefined ? undefined : decodeHeld(value);
      if (record?.node !== before?.node || (record === undefined) !== (before === undefined)) since.set(address, clock.now());
      if (record === undefined) standing.delete(address);
      else standing.set(address, { ...record, leased: record.node === self && before?.node === self && before.leased });
      complain.settled(key);
    } catch (error) {
      complain(key, messageOf(error));
    }
  };

  const hear = (event: SharedEvent): void => {
    if (event.kind === "lost") lost = event.why;
    else if (event.kind === "changes") for (const { key, value } of event.changes) take(key, value);
    else {
      for (const address of [...standing.keys()]) if (!event.entries.has(heldKey(address))) take(heldKey(address), undefined);
      for (const [key, value] of event.entries) take(key, value);
      for (const address of since.keys()) if (!standing.has(address)) since.set(address, clock.now());
      [heard, lost] = [true, undefined];
    }
    election.changed();
  };

  const listen = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        for await (const event of store.watch(heldPrefix, signal)) hear(event);
      } catch (error) {
        if (signal.aborted) return;
        hear({ kind: "lost", why: messageOf(error) });
      }
      await clock.sleep(afterFailure, signal).catch(() => undefined);
    }
  };

  const write = (address: Ip, what: string, work: (signal: AbortSignal) => Promise<void>): void => {
    if (lost !== undefined || life === undefined || (busy.get(address) ?? 0) > clock.now()) return;
    const signal = life;
    busy.set(address, Infinity);
    due.push(async () => {
      try {
        await work(signal);
        busy.delete(address);
        failures.delete(address);
      } catch (error) {
        busy.set(address, clock.now() + afterFailure);
        failures.set(address, `${address} could not be ${what}: ${messageOf(error)}`);
      }
    });
  };

  /** A few at once; each is followed by another look, for what was found out. */
  const pump = (): void => {
    while (writing < atOnce) {
      const next = due.shift();
      if (next === undefined) return;
      writing++;
      void next().finally(() => {
        writing--;
        pump();
        election.changed();
      });
    }
  };

  const put = (address: Ip, record: HeldRecord, leased: boolean, signal: AbortSignal): Promise<void> =>
    store.write([{ key: heldKey(address), value: encodeHeld(record), leased }], signal);

  const claim = (address: Ip): void => write(address, "claimed", async (signal) => {
    const [lease, mine] = [leases, { node: self, itself: false }];
    const said = await store.claim(heldKey(address), encodeHeld(mine), { leased: true, signal });
    let record = decodeHeld(said);
    // What an earlier lease left, or an earlier agent.
    if (record.node === self && (record.itself || record.blocked === true)) {
      await put(address, mine, true, signal);
      record = mine;
    }
    if (standing.get(address)?.node !== record.node) since.set(address, clock.now());
    standing.set(address, { ...record, leased: record.node === self && lease === leases });
  });

  const sayItself = (address: Ip): void => write(address, "said to be this host's own", async (signal) => {
    const record = { node: self, itself: true };
    await put(address, record, false, signal);
    standing.set(address, { ...record, leased: false });
  });

  const blocked = (address: Ip, is: boolean): void => {
    const there = standing.get(address);
    if (there?.node !== self || !there.leased || (there.blocked ?? false) === is) return;
    write(address, "told to the others", async (signal) => {
      const lease = leases;
      const said = { node: self, itself: false, blocked: is };
      if (lease !== leases || !await store.exchange({ key: heldKey(address), value: encodeHeld(there) }, [{ key: heldKey(address), value: encodeHeld(said), leased: true }], signal)) return;
      standing.set(address, { ...said, leased: lease === leases });
    });
  };

  const giveUp = (address: Ip): void => write(address, "given up", async (signal) => {
    leaving.add(address);
    try {
      await store.write([{ key: heldKey(address), value: undefined }], signal);
      standing.delete(address);
      since.set(address, clock.now());
    } finally {
      leaving.delete(address);
    }
  });

  const turnFor = (address: Ip): number => {
    around ??= nodes().filter(({ state }) => state !== "unreachable").map(({ name }) => name);
    return Math.min(mostTurns, turnOf(self, around, (node) => hashPair(`${node} ${address}`)[0]));
  };

  const decide = (address: Ip, now: number, last: number | null): Verdict => {
    const there = heard ? (standing.get(address) ?? null) : undefined;
    if (!since.has(address)) since.set(address, now);
    if (leaving.has(address)) return { until: undefined, holder: null, next: null };
    if (seat.isOwn(address)) {
      if (there !== undefined && there?.itself !== true) sayItself(address);
      return { until: undefined, holder: self, next: null };
    }
    const { holdsUntil, claim: claims, next } = holdsByLease({
      self, standing: there && { node: there.node, own: there.leased }, since: since.get(address) ?? now, leasedUntil: store.leasedUntil(), last,
      turn: there === null ? turnFor(address) : 0, now,
    });
    if (claims) claim(address);
    return { until: holdsUntil ?? undefined, holder: holdsUntil !== null ? self : there?.blocked === true ? null : there?.node ?? null, next };
  };

  const settle = (wanted: ReadonlySet<Ip>): void => {
    around = undefined;
    for (const [address, { node }] of standing) if (node === self && !wanted.has(address)) giveUp(address);
    for (const address of since.keys()) if (!wanted.has(address) && !standing.has(address)) since.delete(address);
    for (const address of failures.keys()) if (!wanted.has(address) && standing.get(address)?.node !== self) failures.delete(address);
    pump();
  };

  const election = createElection(self, seat, {
    decide, blocked, settle,
    trouble: () => [...failures.values()],
    blockedElsewhere: () => [...standing].flatMap(([address, { node, blocked: is }]) => (is === true && node !== self ? [[address, node]] : [])),
    run: async (signal) => {
      life = signal;
      using _lost = store.onLeaseLost(() => {
        leases++;
        for (const [address, one] of standing) standing.set(address, { ...one, leased: false });
        election.changed();
      });
      await listen(signal);
    },
  }, clock);

  return {
    ...election,
    answersChanged: (name) => {
      if (nodes().some((one) => one.name === name && one.state === "unreachable")) silent.add(name);
      // It may have missed who has taken over from it.
      else if (silent.delete(name)) seat.announce();
    },
  };
}
