// Settles with the other nodes which of them answers for each address of a service.
import type { PartFinding, PartStatus } from "../engine/types.ts";
import type { Clock } from "../std/clock.ts";
import type { Ip } from "../std/ip.ts";

/** What this node is asked to answer for, and how it does. Times in milliseconds since the epoch. */
export interface Seat {
  /** Addresses of services in force here; null: none was put in force yet, and what is answered for stays. */
  wanted(): ReadonlySet<Ip> | null;
  /** Whether the host has the address itself; then its own kernel answers. */
  isOwn(address: Ip): boolean;
  /** As `HoldingParts`. */
  answered(): ReadonlyMap<Ip, number | null>;
  hold(addresses: ReadonlyMap<Ip, number | null>): void;
  announce(): void;
  taken(): ReadonlyMap<Ip, string>;
  rivals(): ReadonlyMap<Ip, string>;
  readonly linked: boolean;
  readonly linkedSince: number;
}

export interface Election {
  /** Goes on until the signal aborts. What is answered for then stays so. */
  run(signal: AbortSignal): Promise<void>;
  /** What is wanted, or the uplinks, may have changed. */
  changed(): void;
  /** A node began or ceased to answer probes. */
  answersChanged?(name: string): void;
  /** The node that answers for an address, as far as this one knows; addresses for which nobody does are left out. */
  holders(): ReadonlyMap<Ip, string>;
  status(): PartStatus;
}

export interface Verdict {
  /** Until when the address is certainly this node's; null: for good; undefined: it does not answer for it. */
  readonly until: number | null | undefined;
  /** null: nobody is known to. */
  readonly holder: string | null;
  /** When to ask again; null: as usual. */
  readonly next: number | null;
}

export interface Judge {
  /** `last`: until when the address is certainly this node's by its last word, an earlier agent's too; null: it does not answer for it. */
  decide(address: Ip, now: number, last: number | null): Verdict;
  /** Whether another machine keeps this node from answering for an address that would be its. */
  blocked?(address: Ip, is: boolean): void;
  /** After every turn, with what is wanted. */
  settle?(wanted: ReadonlySet<Ip>): void;
  /** Goes on until the signal aborts. */
  run?(signal: AbortSignal): Promise<void>;
  /** Nothing changes but what is wanted, and whether another machine has it. */
  readonly settled?: true;
  /** One sentence each. */
  trouble(): readonly string[];
  /** Addresses that another machine keeps from other nodes, whose they would be. */
  blockedElsewhere?(): readonly (readonly [address: Ip, node: string])[];
}

/** Milliseconds between two looks when nothing happens: what is certain for a time is put off, and another may have announced something. */
const period = 1000;
/** How long a takeover may take before nobody's answering is a problem. */
const patience = 20_000;

/** Milliseconds between two looks of a node without others: an address that another machine had may be free. */
const rest = 10_000;

/** A cable that is out no longer than this makes nobody give an address up. */
const blink = 3000;

const nothing: ReadonlySet<Ip> = new Set();

export function createElection(self: string, seat: Seat, judge: Judge, clock: Clock): Election {
  let wake = Promise.withResolvers<void>();
  let held: ReadonlyMap<Ip, number | null> = new Map();
  let holders: ReadonlyMap<Ip, string> = new Map();
  let unlinkedSince: number | null = null;
  let forsaken = new Map<Ip, number>();

  /** Nobody can ask this node for an address: another may have them all. */
  const isCutOff = (now: number): boolean => unlinkedSince !== null && now - unlinkedSince > blink;

  /** @returns milliseconds until the next one; null: none is needed. */
  const turn = (): number | null => {
    const asked = seat.wanted();
    if (asked === null) return null;
    const [now, answered, taken] = [clock.now(), seat.answered(), seat.taken()];
    unlinkedSince = seat.linked ? null : unlinkedSince ?? now;
    const wanted = isCutOff(now) ? nothing : asked;
    const [holding, known, without] = [new Map<Ip, number | null>(), new Map<Ip, string>(), new Map<Ip, number>()];
    let next = now + period;
    for (const address of wanted) {
      const last = answered.has(address) ? (held.get(address) ?? answered.get(address) ?? now) : null;
      const verdict = judge.decide(address, now, last);
      if (verdict.until !== undefined) holding.set(address, verdict.until);
      const isBlocked = verdict.holder === self && taken.has(address) && !answered.has(address);
      judge.blocked?.(address, isBlocked);
      if (isBlocked) continue;
      if (verdict.holder !== null) known.set(address, verdict.holder);
      else without.set(address, forsaken.get(address) ?? now);
      next = Math.min(next, verdict.next ?? next);
    }
    [held, holders, forsaken] = [holding, known, without];
    seat.hold(holding);
    judge.settle?.(wanted);
    if (asked.size === 0) return null;
    return judge.settled ? rest : Math.max(0, next - now);
  };

  const status = (): PartStatus => {
    const wanted = seat.wanted();
    if (wanted === null || wanted.size === 0) return { part: "addresses", state: "ok", detail: "no service has one" };
    const now = clock.now();
    const alone = [...forsaken].filter(([, since]) => now - since > patience).map(([address]) => address);
    const findings = findingsOf(seat, judge.blockedElsewhere?.() ?? []);
    const wrong = [
      ...(!isCutOff(now) ? [] : ["no uplink has its cable in, so that this node can answer for no address"]), ...judge.trouble(),
      ...findings.map(({ detail, mend }) => `${detail}: ${mend}`), ...(alone.length === 0 ? [] : [`nobody is known to answer for ${shorten(alone)}`]),
    ];
    const here = [...holders.values()].filter((node) => node === self).length;
    const counted = `this node answers for ${here} of ${wanted.size} ${wanted.size === 1 ? "address" : "addresses"} of services`;
    return { part: "addresses", state: wrong.length > 0 ? "degraded" : "ok", detail: [...wrong, counted].join("; "), ...(findings.length === 0 ? {} : { findings }) };
  };

  return {
    run: async (signal) => {
      const judging = judge.run?.(signal);
      while (!signal.aborted) {
        wake = Promise.withResolvers();
        const wait = turn();
        const done = new AbortController();
        const pause = wait === null ? wake.promise : clock.sleep(wait, AbortSignal.any([signal, done.signal])).catch(() => undefined);
        signal.addEventListener("abort", () => wake.resolve(), { once: true, signal: done.signal });
        await Promise.race([wake.promise, pause]);
        done.abort();
      }
      await judging;
    },
    changed: () => wake.resolve(),
    holders: () => holders,
    status,
  };
}

/** A node without others answers for everything, for good. */
export function electAlone(self: string, seat: Seat, clock: Clock): Election {
  return createElection(self, seat, {
    settled: true,
    decide: (address) => ({ until: seat.isOwn(address) ? undefined : null, holder: self, next: null }),
    trouble: () => [],
  }, clock);
}

/** What other machines have, or say that they have. */
function findingsOf(seat: Seat, elsewhere: readonly (readonly [Ip, string])[]): readonly PartFinding[] {
  const mend = (there: string): string => `take it off that machine or, where it is a server of mode dsr, set ${there} there, or give the service another`;
  return [
    ...[...Map.groupBy(elsewhere, ([, node]) => node)].map(([node, of]) => ({
      detail: `${shorten(of.map(([address]) => address))} would be ${node}'s, which found it another machine's`, mend: "see `hawser status` there",
    })),
    ...[...seat.taken()].map(([address, where]) => ({ detail: `${address} is another machine's, ${where}`, mend: mend("arp_ignore=1") })),
    ...[...seat.rivals()].map(([address, where]) => ({ detail: `another machine says that it has ${address}, ${where}`, mend: mend("arp_ignore=1 and arp_announce=2") })),
  ];
}

const shown = 5;

export function shorten(addresses: readonly Ip[]): string {
  return `${addresses.slice(0, shown).join(", ")}${addresses.length > shown ? `, and ${addresses.length - shown} more` : ""}`;
}
