// Machines that say that they have an address of a service which is certainly this node's (RFC 5227, 2.4): noted by the programs, defended against here, and told.
import type { LbHeldKey, LbRival } from "../abi/generated.ts";
import type { Ip, Mac } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import type { Table } from "./tables.ts";

/** Seconds: an address is defended no more often (RFC 5227, DEFEND_INTERVAL), and a rival of whom nothing was heard for so long, though he was asked, is gone. */
const [interval, gone] = [10, 35];
/** Seconds for which two nodes may both say that they have an address, until one of them hears that it is the other's. */
const handover = 3;

export interface RivalsOptions {
  readonly table: Table<LbHeldKey, LbRival>;
  readonly log: Log;
}

/** Of an address: `held`: it is certainly this node's; `alone`: there are no others whose it might be. */
export interface Standing {
  readonly held: boolean;
  readonly alone: boolean;
}

interface Rival {
  readonly key: LbHeldKey;
  readonly mac: Mac;
  readonly frames: number;
  /** Seconds since boot. */
  readonly since: number;
  readonly heardAt: number;
  readonly defendedAt: number;
  readonly told: Mac | undefined;
}

export class Rivals {
  readonly #table: Table<LbHeldKey, LbRival>;
  readonly #log: Log;
  readonly #known = new Map<string, Rival>();

  constructor({ table, log }: RivalsOptions) {
    [this.#table, this.#log] = [table, log];
  }

  /** `own`: MACs of the uplinks, which an earlier version's programs may have noted. Returns the keys to be defended now. `now`: in seconds since boot. */
  look(standing: (key: LbHeldKey) => Standing, own: ReadonlySet<Mac>, now: number): readonly LbHeldKey[] {
    const due: LbHeldKey[] = [];
    for (const [key, { mac, frames }] of [...this.#table.entries()]) {
      const name = `${key.addr}%${key.ifindex}`;
      const before = this.#known.get(name);
      const { held, alone } = standing(key);
      const heard = !own.has(mac) && frames !== before?.frames;
      if (!held || (before === undefined && !heard) || (!heard && before !== undefined && now - before.heardAt > gone)) {
        this.#forget(name, key, held);
        continue;
      }
      const since = before?.since ?? now;
      const defends = now - (before?.defendedAt ?? -interval) >= interval;
      const tells = heard && (alone || now - since >= handover) && before?.told !== mac;
      this.#known.set(name, {
        key, mac: heard ? mac : before?.mac ?? mac, frames, since, heardAt: heard ? now : before?.heardAt ?? now,
        defendedAt: defends ? now : before?.defendedAt ?? now, told: tells ? mac : before?.told,
      });
      if (defends) due.push(key);
      if (!tells) continue;
      this.#log.warn("another machine on the link says that it has an address of a service, which this node answers for and defends", {
        address: key.addr, device: key.ifindex, mac, mend: "take the address off that machine or, where it is a server of mode dsr, set arp_ignore=1 and arp_announce=2 there, or give the service another",
      });
    }
    return due;
  }

  /** Those that were told: `MAC on device INDEX, N times`. */
  told(): ReadonlyMap<Ip, string> {
    return new Map([...this.#known.values()].flatMap(({ key: { addr, ifindex }, told, frames }) => (addr === null || told === undefined ? [] : [[addr, `${told} on device ${ifindex}, ${frames} ${frames === 1 ? "time" : "times"}`]])));
  }

  #forget(name: string, key: LbHeldKey, held: boolean): void {
    if (held && this.#known.get(name)?.told !== undefined) this.#log.info("nobody else says any more that he has an address of a service", { address: key.addr, device: key.ifindex });
    this.#known.delete(name);
    this.#table.delete(key);
  }
}
