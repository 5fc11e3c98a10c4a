// Addresses of services that this node answers for on its uplinks; for what it newly holds it asks there whether anybody has it, and then announces it.
import { readFileSync } from "node:fs";
import { LbHeldState } from "../abi/generated.ts";
import type { LbHeldKey, LbHeld } from "../abi/generated.ts";
import type { Kernel, KernelProgram } from "../kernel/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Ip, Mac } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { announcementsOf, probesOf } from "./announcement.ts";
import type { Table } from "./tables.ts";

export interface HeldOptions {
  readonly kernel: Kernel;
  readonly objectDirectory: string;
  readonly table: Table<LbHeldKey, LbHeld>;
  readonly clock: Clock;
  readonly log: Log;
  /** Seconds since boot, those asleep too. */
  readonly uptime?: () => number;
}

export interface Held extends AsyncDisposable {
  /** What this node answers for now, by its own or an earlier agent's word, and until when that is certain, as `sync` has it. */
  answered(): ReadonlyMap<Ip, number | null>;
  /**
   * Answers for these on every uplink and for no others. Until its time, in milliseconds since the epoch (null: for good), an address is certainly
   * this node's; afterwards whoever announces it has it. What is given up is given up when this returns. What is new the link is asked for first, and
   * who has it keeps it, for this and the following calls of ten seconds; then it is announced, so that another node has ceased to answer when this one begins.
   */
  sync(addresses: ReadonlyMap<Ip, number | null>, uplinks: readonly { readonly index: number; readonly mac: Mac }[]): void;
  /** Addresses that somebody else had when the link was asked, and who: `MAC on device INDEX`. */
  taken(): ReadonlyMap<Ip, string>;
  /** Says once more what is certainly this node's, to those who did not hear it and are back. */
  announce(): void;
}

interface One {
  readonly key: LbHeldKey;
  readonly entry: LbHeld;
}

interface Conflict {
  readonly addr: Ip;
  readonly ifindex: number;
  readonly mac: Mac;
  /** When the link was asked last. */
  readonly at: number;
}

const forGood = 0xffff_ffff;
/** Milliseconds before each announcement: a neighbour may have no ear just then. */
const pauses = [0, 1000, 2000];
/** Milliseconds: so often the link is asked who has an address, and so long after each question answers are waited for. RFC 5227 has seconds, which a takeover has not. */
const [questions, patience] = [3, 100];
/** Milliseconds until it is asked again for an address that somebody has (RFC 5227, 2.4: DEFEND_INTERVAL). */
const again = 10_000;
/** struct __sk_buff and its `mark`. */
const [contextSize, markAt] = [192, 8];

export function createHeld({ kernel, objectDirectory, table, clock, log, uptime = bootSeconds }: HeldOptions): Held {
  const life = new AbortController();
  const announcing = new Set<Promise<void>>();
  const known = new Map([...table.entries()].map(([key, entry]) => [nameOf(key), { key, entry }]));
  /** Being asked for. */
  const asked = new Set<string>();
  const conflicts = new Map<string, Conflict>();
  /** Of the uplinks, of which several may be on one link. */
  let own: ReadonlySet<Mac> = new Set();

  const stateOf = (key: LbHeldKey): number | undefined => table.get(key)?.state;

  /** @returns those that somebody has, or that are not wanted any more. */
  const ask = async (names: readonly string[], program: KernelProgram): Promise<readonly string[]> => {
    for (const name of names) {
      const held = known.get(name);
      if (held !== undefined) table.set(held.key, { ...held.entry, state: LbHeldState.ASKED });
    }
    for (let question = 0; question < questions; question++) {
      for (const name of names) {
        const held = known.get(name);
        if (held !== undefined && stateOf(held.key) === LbHeldState.ASKED) send(program, held, probesOf);
      }
      await clock.sleep(patience, life.signal).catch(() => undefined);
      if (life.signal.aborted) return names;
    }
    return names.filter((name) => {
      const held = known.get(name);
      const found = held === undefined ? undefined : table.get(held.key);
      if (held === undefined || found === undefined) return true;
      if (found.state !== LbHeldState.TAKEN || own.has(found.mac)) return false;
      note(name, held.key, found.mac);
      return true;
    });
  };

  const note = (name: string, { addr, ifindex }: LbHeldKey, mac: Mac): void => {
    if (addr === null) return;
    if (conflicts.get(name)?.mac !== mac) {
      log.warn("another machine on the link has an address of a service, which is not answered for here", { address: addr, device: ifindex, mac, mend: "take the address off that machine, or give the service another" });
    }
    conflicts.set(name, { addr, ifindex, mac, at: clock.now() });
  };

  /** Asks for those that are not answered for yet, and announces what nobody has. */
  const begin = async (names: readonly string[]): Promise<void> => {
    using stack = new DisposableStack();
    const program = await load(stack);
    const open = names.filter((name) => asked.has(name));
    const left = new Set(program === undefined || open.length === 0 ? [] : await ask(open, program));
    for (const name of left) asked.delete(name);
    await announce(names.filter((name) => !left.has(name)), program);
  };

  /** Three times, as long as the address is held; a link that cannot be told finds out when its neighbours ask again. */
  const announce = async (names: readonly string[], program: KernelProgram | undefined): Promise<void> => {
    for (const pause of pauses) {
      await clock.sleep(pause, life.signal).catch(() => undefined);
      if (life.signal.aborted) return;
      for (const name of names) {
        const held = known.get(name);
        if (pause === 0) asked.delete(name);
        if (held === undefined || (pause > 0 && stateOf(held.key) !== LbHeldState.ANSWERED)) continue;
        if (program !== undefined) send(program, held, announcementsOf);
        if (pause > 0) continue;
        table.set(held.key, held.entry);
        conflicts.delete(name);
      }
    }
  };

  const load = async (stack: DisposableStack): Promise<KernelProgram | undefined> => {
    try {
      return stack.use(await kernel.loadObject(`${objectDirectory}/announce.bpf.o`)).programs.get("announce");
    } catch (error) {
      log.warn("nobody can be asked for addresses that this node takes over, nor told of them", { why: messageOf(error) });
      return undefined;
    }
  };

  const send = (program: KernelProgram, { key: { addr, ifindex }, entry: { mac } }: One, framesOf: typeof announcementsOf): void => {
    if (addr === null) return;
    const context = new Uint8Array(contextSize);
    new DataView(context.buffer).setUint32(markAt, ifindex, true);
    for (const data of framesOf(addr, mac)) {
      const result = program.testRun({ data, context }).verdict | 0;
      if (result !== 0) log.warn("a link could not be asked for an address of a service, or told of it", { address: addr, device: ifindex, result });
    }
  };

  const start = (names: readonly string[]): void => {
    if (names.length === 0) return;
    for (const name of names) {
      const held = known.get(name);
      if (held !== undefined && stateOf(held.key) !== LbHeldState.ANSWERED) asked.add(name);
    }
    const told = begin(names)
      .catch((error: unknown) => {
        for (const name of names) asked.delete(name);
        log.error("addresses of services are not answered for", { error });
      })
      .finally(() => announcing.delete(told));
    announcing.add(told);
  };

  return {
    answered: () => new Map([...table.entries()].flatMap(([{ addr }, { until, state }]) =>
      addr === null || state !== LbHeldState.ANSWERED ? [] : [[addr, until === forGood ? null : clock.now() + (until - uptime()) * 1000]])),
    sync: (addresses, uplinks) => {
      const wanted = new Map<string, One>();
      for (const [addr, until] of addresses) {
        const end = until === null ? forGood : Math.min(forGood, Math.max(0, Math.floor(uptime() + (until - clock.now()) / 1000)));
        for (const { index, mac } of uplinks) {
          const key = { addr, ifindex: index };
          wanted.set(nameOf(key), { key, entry: { mac, state: LbHeldState.ANSWERED, until: end } });
        }
      }
      own = new Set(uplinks.map(({ mac }) => mac));
      for (const [name, { key }] of known) {
        if (wanted.has(name)) continue;
        table.delete(key);
        known.delete(name);
        conflicts.delete(name);
      }
      const fresh: string[] = [];
      for (const [name, one] of wanted) {
        const before = known.get(name);
        known.set(name, one);
        if (asked.has(name) || (conflicts.get(name)?.at ?? -Infinity) > clock.now() - again) continue;
        // What another has announced meanwhile is not this node's until the link has been asked, and told, again.
        if (before?.entry.mac !== one.entry.mac || stateOf(one.key) !== LbHeldState.ANSWERED) fresh.push(name);
        else if (before.entry.until !== one.entry.until) table.set(one.key, one.entry);
      }
      start(fresh);
    },
    taken: () => new Map([...conflicts.values()].map(({ addr, ifindex, mac }) => [addr, `${mac} on device ${ifindex}`])),
    announce: () => start([...known].filter(([, { key, entry }]) => entry.until > uptime() && stateOf(key) === LbHeldState.ANSWERED).map(([name]) => name)),
    [Symbol.asyncDispose]: async () => {
      life.abort();
      await Promise.all(announcing);
    },
  };
}

function nameOf({ addr, ifindex }: LbHeldKey): string {
  return `${addr}%${ifindex}`;
}

function bootSeconds(): number {
  return Number.parseFloat(readFileSync("/proc/uptime", "utf8"));
}
