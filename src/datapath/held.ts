// Addresses of services that this node answers for on its uplinks; what it newly holds it announces there.
import { readFileSync } from "node:fs";
import type { LbHeldKey, LbHeld } from "../abi/generated.ts";
import type { Kernel, KernelProgram } from "../kernel/types.ts";
import type { Clock } from "../std/clock.ts";
import { messageOf } from "../std/errors.ts";
import type { Ip, Mac } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { announcementsOf } from "./announcement.ts";
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
   * this node's; afterwards whoever announces it has it. What is given up is given up when this returns; what is new is announced first, so that
   * another node has ceased to answer when this one begins.
   */
  sync(addresses: ReadonlyMap<Ip, number | null>, uplinks: readonly { readonly index: number; readonly mac: Mac }[]): void;
  /** Says once more what is certainly this node's, to those who did not hear it and are back. */
  announce(): void;
}

const forGood = 0xffff_ffff;
/** Milliseconds before each announcement: a neighbour may have no ear just then. */
const pauses = [0, 1000, 2000];
/** struct __sk_buff and its `mark`. */
const [contextSize, markAt] = [192, 8];

export function createHeld({ kernel, objectDirectory, table, clock, log, uptime = bootSeconds }: HeldOptions): Held {
  const life = new AbortController();
  const announcing = new Set<Promise<void>>();
  const known = new Map([...table.entries()].map(([key, entry]) => [nameOf(key), { key, entry }]));

  /** Three times, as long as the address is held; a link that cannot be told finds out when its neighbours ask again. */
  const announce = async (names: readonly string[]): Promise<void> => {
    using stack = new DisposableStack();
    const program = await load(stack);
    for (const pause of pauses) {
      await clock.sleep(pause, life.signal).catch(() => undefined);
      if (life.signal.aborted) return;
      for (const name of names) {
        const held = known.get(name);
        if (held === undefined || (pause > 0 && table.get(held.key)?.yielded !== 0)) continue;
        if (program !== undefined) send(program, held.key, held.entry.mac);
        if (pause === 0) table.set(held.key, held.entry);
      }
    }
  };

  const load = async (stack: DisposableStack): Promise<KernelProgram | undefined> => {
    try {
      return stack.use(await kernel.loadObject(`${objectDirectory}/announce.bpf.o`)).programs.get("announce");
    } catch (error) {
      log.warn("addresses that this node has taken over cannot be announced", { why: messageOf(error) });
      return undefined;
    }
  };

  const send = (program: KernelProgram, { addr, ifindex }: LbHeldKey, mac: Mac): void => {
    if (addr === null) return;
    const context = new Uint8Array(contextSize);
    new DataView(context.buffer).setUint32(markAt, ifindex, true);
    for (const data of announcementsOf(addr, mac)) {
      const result = program.testRun({ data, context }).verdict | 0;
      if (result !== 0) log.warn("an address that this node has taken over could not be announced", { address: addr, device: ifindex, result });
    }
  };

  const begin = (names: readonly string[]): void => {
    if (names.length === 0) return;
    const told = announce(names)
      .catch((error: unknown) => log.error("addresses of services are not answered for", { error }))
      .finally(() => announcing.delete(told));
    announcing.add(told);
  };

  return {
    answered: () => new Map([...table.entries()].flatMap(([{ addr }, { until, yielded }]) =>
      addr === null || yielded !== 0 ? [] : [[addr, until === forGood ? null : clock.now() + (until - uptime()) * 1000]])),
    sync: (addresses, uplinks) => {
      const wanted = new Map<string, { readonly key: LbHeldKey; readonly entry: LbHeld }>();
      for (const [addr, until] of addresses) {
        const end = until === null ? forGood : Math.min(forGood, Math.max(0, Math.floor(uptime() + (until - clock.now()) / 1000)));
        for (const { index, mac } of uplinks) {
          const key = { addr, ifindex: index };
          wanted.set(nameOf(key), { key, entry: { mac, yielded: 0, until: end } });
        }
      }
      for (const [name, { key }] of known) {
        if (wanted.has(name)) continue;
        table.delete(key);
        known.delete(name);
      }
      const fresh: string[] = [];
      for (const [name, one] of wanted) {
        const before = known.get(name);
        known.set(name, one);
        if (before?.entry.mac === one.entry.mac && before.entry.until === one.entry.until) continue;
        // What another has announced meanwhile is not this node's until it is announced again.
        if (before?.entry.mac !== one.entry.mac || table.get(one.key)?.yielded !== 0) fresh.push(name);
        else table.set(one.key, one.entry);
      }
      begin(fresh);
    },
    announce: () => begin([...known].filter(([, { key, entry }]) => entry.until > uptime() && table.get(key)?.yielded === 0).map(([name]) => name)),
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
