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
  /**
   * Answers for these on every uplink, each until its time in milliseconds since the epoch (null: for good), and for no others. What is
   * given up is given up when this returns.
   */
  sync(addresses: ReadonlyMap<Ip, number | null>, uplinks: readonly { readonly index: number; readonly mac: Mac }[]): void;
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
    using object = await kernel.loadObject(`${objectDirectory}/announce.bpf.o`);
    const program = object.programs.get("announce");
    for (const pause of pauses) {
      await clock.sleep(pause, life.signal).catch(() => undefined);
      if (life.signal.aborted || program === undefined) return;
      for (const name of names) {
        const held = known.get(name);
        if (held !== undefined) send(program, held.key, held.entry.mac);
      }
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

  return {
    sync: (addresses, uplinks) => {
      const wanted = new Map<string, { readonly key: LbHeldKey; readonly entry: LbHeld }>();
      for (const [addr, until] of addresses) {
        const end = until === null ? forGood : Math.min(forGood, Math.max(0, Math.floor(uptime() + (until - clock.now()) / 1000)));
        for (const { index, mac } of uplinks) {
          const key = { addr, ifindex: index };
          wanted.set(nameOf(key), { key, entry: { mac, until: end } });
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
        if (before?.entry.mac !== one.entry.mac) fresh.push(name);
        if (before?.entry.mac !== one.entry.mac || before.entry.until !== one.entry.until) table.set(one.key, one.entry);
        known.set(name, one);
      }
      if (fresh.length === 0) return;
      const told = announce(fresh)
        .catch((error: unknown) => log.warn("addresses that this node has taken over could not be announced", { why: messageOf(error) }))
        .finally(() => announcing.delete(told));
      announcing.add(told);
    },
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
