// Addresses of services that this node answers for on its uplinks; for what it newly holds it asks there whether anybody has it, and then announces it.
import { readFileSync } from "node:fs";
import { LbHeldState } from "../abi/generated.ts";
import type { LbHeldKey, LbHeld, LbRival } from "../abi/generated.ts";
import type { Kernel, KernelProgram } from "../kernel/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Ip, Mac } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { announcementsOf, probesOf } from "./announcement.ts";
import { Rivals } from "./rivals.ts";
import type { Standing } from "./rivals.ts";
import type { Table } from "./tables.ts";

export interface HeldOptions {
  readonly kernel: Kernel;
  readonly objectDirectory: string;
  readonly table: Table<LbHeldKey, LbHeld>;
  readonly rivals: Table<LbHeldKey, LbRival>;
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
   * who has it keeps it; then it is announced, so that another node has ceased to answer when this one begins. Calls ask again for what somebody had: of
   * an address that is this node's for a time only, so that there are others, ten times after a second each; afterwards, and of all others, after ten seconds.
   */
  sync(addresses: ReadonlyMap<Ip, number | null>, uplinks: readonly { readonly index: number; readonly mac: Mac }[]): void;
  /** Addresses that somebody else had when the link was asked, where that was no node about to give one up, and who: `MAC on device INDEX`. */
  taken(): ReadonlyMap<Ip, string>;
  /** Addresses that this node answers for and somebody else says he has: `MAC on device INDEX, N times`. Calls of `sync` look for them, and defend the address each ten seconds at most. */
  rivals(): ReadonlyMap<Ip, string>;
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
  /** When the link was asked last, in seconds since boot. */
  readonly at: number;
  /** How often. */
  readonly tries: number;
  /** Who has it, once that was said. */
  readonly told: Mac | undefined;
}

const forGood = 0xffff_ffff;
/** Milliseconds before each announcement: a neighbour may have no ear just then. */
const pauses = [0, 1000, 2000];
/** Milliseconds: so often the link is asked who has an address, and so long after each question answers are waited for. RFC 5227 has seconds, which a takeover has not. */
const [questions, patience] = [3, 100];
/** Seconds until it is asked again for an address that somebody has, a little less than those between two calls of an election: who has it may be a node about to give it up, or a stranger. */
const [soon, later] = [0.9, 9.5];
/** So often it is asked again soon, and from so many on whoever has it is not taken for such a node. */
const [hurried, believed] = [10, 3];
/** struct __sk_buff and its `mark`. */
const [contextSize, markAt] = [192, 8];

export function createHeld({ kernel, objectDirectory, table, rivals: rivalTable, clock, log, uptime = bootSeconds }: HeldOptions): Held {
  const life = new AbortController();
  const announcing = new Set<Promise<void>>();
  const known = new Map([...table.entries()].map(([key, entry]) => [nameOf(key), { key, entry }]));
  /** Being asked for, and since when, in seconds since boot. */
  const asked = new Map<string, number>();
  const conflicts = new Map<string, Conflict>();
  const rivals = new Rivals({ table: rivalTable, log });
  /** Those for which the map has no room. */
  const unwritten = new Set<string>();
  /** Of the uplinks, of which several may be on one link. */
  let own: ReadonlySet<Mac> = new Set();

  const stateOf = (key: LbHeldKey): number | undefined => table.get(key)?.state;

  const write = (name: string, { key, entry }: One): void => {
    try {
      table.set(key, entry);
      unwritten.delete(name);
    } catch (error) {
      if (unwritten.size === 0) log.warn("addresses of services find no room, and are not answered for", { first: key.addr, device: key.ifindex, error });
      unwritten.add(name);
    }
  };

  /** @returns whether somebody else has it, of which a note is made. */
  const isTaken = (name: string, { key, entry: { until } }: One): boolean => {
    const found = table.get(key);
    if (found?.state !== LbHeldState.TAKEN || own.has(found.mac)) return false;
    note(name, key, found.mac, until === forGood);
    return true;
  };

  /** @returns those that somebody has, or that were given up meanwhile. */
  const ask = async (names: readonly string[], program: KernelProgram): Promise<readonly string[]> => {
    for (const name of names) {
      const held = known.get(name);
      if (held !== undefined) write(name, { key: held.key, entry: { ...held.entry, state: LbHeldState.ASKED } });
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
      return held === undefined || stateOf(held.key) === undefined || isTaken(name, held);
    });
  };

  const note = (name: string, { addr, ifindex }: LbHeldKey, mac: Mac, alone: boolean): void => {
    if (addr === null) return;
    const before = conflicts.get(name);
    const tries = (before?.tries ?? 0) + 1;
    const isStranger = alone || tries >= believed;
    if (isStranger && before?.told !== mac) {
      log.warn("another machine on the link has an address of a service, which is not answered for here", {
        address: addr, device: ifindex, mac, mend: "take the address off that machine or, where it is a server of mode dsr, set arp_ignore=1 there, or give the service another",
      });
    }
    conflicts.set(name, { addr, ifindex, at: asked.get(name) ?? uptime(), tries: alone ? hurried : tries, told: isStranger ? mac : before?.told });
  };

  /** Asks for those that are not answered for yet, and announces what nobody has. */
  const begin = async (names: readonly string[]): Promise<void> => {
    using stack = new DisposableStack();
    const program = await load(stack);
    const open = names.filter((name) => asked.has(name));
    const left = new Set(program === undefined || open.length === 0 ? [] : await ask(open, program));
    for (const name of left) asked.delete(name);
    // Of what was given up and is wanted again an answer may have been missed.
    if (!life.signal.aborted) start([...left].filter((name) => known.has(name) && !conflicts.has(name) && !unwritten.has(name)));
    await announce(names.filter((name) => !left.has(name)), program);
  };

  /** Three times, as long as the address is held; a link that cannot be told finds out when its neighbours ask again. */
  const announce = async (names: readonly string[], program: KernelProgram | undefined): Promise<void> => {
    for (const pause of pauses) {
      await clock.sleep(pause, life.signal).catch(() => undefined);
      if (life.signal.aborted) return;
      for (const name of names) {
        const held = known.get(name);
        const isLeft = held === undefined || (pause > 0 ? stateOf(held.key) !== LbHeldState.ANSWERED : isTaken(name, held));
        if (pause === 0) asked.delete(name);
        if (isLeft) continue;
        if (program !== undefined) send(program, held, announcementsOf);
        if (pause > 0) continue;
        write(name, held);
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
    const now = uptime();
    for (const name of names) {
      const held = known.get(name);
      if (held !== undefined && stateOf(held.key) !== LbHeldState.ANSWERED) asked.set(name, now);
    }
    const told = begin(names)
      .catch((error: unknown) => {
        for (const name of names) if (asked.get(name) === now) asked.delete(name);
        log.error("addresses of services are not answered for", { error });
      })
      .finally(() => announcing.delete(told));
    announcing.add(told);
  };

  /** Says whose it is to those who heard another, and asks him whether he has it still. */
  const defend = (names: readonly string[]): void => {
    if (names.length === 0) return;
    const told = (async () => {
      using stack = new DisposableStack();
      const program = await load(stack);
      for (const name of program === undefined ? [] : names) {
        const held = known.get(name);
        if (held === undefined || stateOf(held.key) !== LbHeldState.ANSWERED || life.signal.aborted) continue;
        for (const framesOf of [announcementsOf, probesOf]) send(program as KernelProgram, held, framesOf);
      }
    })().catch((error: unknown) => log.error("an address of a service is not defended", { error })).finally(() => announcing.delete(told));
    announcing.add(told);
  };

  const standing = (now: number) => (key: LbHeldKey): Standing => {
    const until = known.get(nameOf(key))?.entry.until;
    return { held: until !== undefined && until > now && stateOf(key) === LbHeldState.ANSWERED, alone: until === forGood };
  };

  const rests = (name: string, now: number): boolean => {
    const conflict = conflicts.get(name);
    return conflict !== undefined && now - conflict.at < (conflict.tries < hurried ? soon : later);
  };

  return {
    answered: () => new Map([...table.entries()].flatMap(([{ addr }, { until, state }]) =>
      addr === null || state !== LbHeldState.ANSWERED ? [] : [[addr, until === forGood ? null : clock.now() + (until - uptime()) * 1000]])),
    sync: (addresses, uplinks) => {
      const [wanted, now] = [new Map<string, One>(), uptime()];
      for (const [addr, until] of addresses) {
        const end = until === null ? forGood : Math.min(forGood, Math.max(0, Math.floor(now + (until - clock.now()) / 1000)));
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
        unwritten.delete(name);
      }
      const fresh: string[] = [];
      for (const [name, one] of wanted) {
        const before = known.get(name);
        known.set(name, one);
        if (asked.has(name) || rests(name, now)) continue;
        const isAnswered = stateOf(one.key) === LbHeldState.ANSWERED;
        // What another has announced meanwhile is not this node's until the link has been asked, and told, again: not by one of two uplinks in turn.
        if (isAnswered && before?.entry.mac === one.entry.mac) {
          if (before.entry.until !== one.entry.until) table.set(one.key, one.entry);
        } else if (isAnswered || one.entry.until > now || !uplinks.some(({ index }) => stateOf({ addr: one.key.addr, ifindex: index }) === LbHeldState.ANSWERED)) fresh.push(name);
      }
      start(fresh);
      defend(rivals.look(standing(now), own, now).map(nameOf));
    },
    rivals: () => rivals.told(),
    taken: () => new Map([...conflicts.values()].flatMap(({ addr, ifindex, told }) => (told === undefined ? [] : [[addr, `${told} on device ${ifindex}`]]))),
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
