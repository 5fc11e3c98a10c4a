// Keeps the addresses of services that this node answers for in step with its uplinks: their MACs, their cables, and the groups in which neighbours are asked for.
import type { LbHeld, LbHeldKey } from "../abi/generated.ts";
import type { Netlink } from "../kernel/types.ts";
import type { Clock } from "../std/clock.ts";
import { familyOf } from "../std/ip.ts";
import type { Ip } from "../std/ip.ts";
import type { Log } from "../std/log.ts";
import { solicitedNode } from "./announcement.ts";
import type { Held } from "./held.ts";
import type { Table } from "./tables.ts";
import type { HoldingParts } from "./types.ts";
import type { UplinkReading } from "./uplinks.ts";

export interface Holding extends HoldingParts, AsyncDisposable {
  hostChanged(uplinks: readonly UplinkReading[]): void;
}

export interface HoldingOptions {
  readonly held: Held;
  readonly table: Pick<Table<LbHeldKey, LbHeld>, "entries">;
  readonly netlink: Pick<Netlink, "joinGroup" | "deleteAddress">;
  readonly clock: Clock;
  readonly log: Log;
}

export function createHolding({ held, table, netlink, clock, log }: HoldingOptions): Holding {
  /** undefined: not read yet. */
  let uplinks: readonly UplinkReading[] | undefined;
  /** undefined: this agent has not said yet; what an earlier one did stays. */
  let addresses: ReadonlyMap<Ip, number | null> | undefined;
  let linkedSince = 0;
  const groups = new Map([...table.entries()].flatMap(([{ addr, ifindex }]) => (addr === null ? [] : groupsOf([addr], [ifindex]))));
  /** Told once. */
  const deaf = new Set<string>();
  let joining: Promise<void> = Promise.resolve();

  /** A switch, or the device itself, may let only those groups through that somebody has joined. They stay without an agent, as the map does. */
  const join = async (wanted: ReadonlyMap<string, Group>): Promise<void> => {
    for (const [name, group] of wanted) {
      if (groups.has(name)) continue;
      try {
        await netlink.joinGroup(group.index, group.address);
        groups.set(name, group);
      } catch (error) {
        if (!deaf.has(name)) log.warn("neighbours may not find an IPv6 address of a service: the device does not take their questions in", { group: group.address, device: group.index, error });
        deaf.add(name);
      }
    }
    for (const [name, { index, address }] of [...groups]) {
      if (wanted.has(name)) continue;
      groups.delete(name);
      await netlink.deleteAddress(index, `${address}/128`).catch((error: unknown) => log.warn("a device listens for an address of a service that is given up", { group: address, device: index, error }));
    }
  };

  const sync = (linked: readonly UplinkReading[]): void => {
    if (addresses === undefined) return;
    const [now, answered] = [clock.now(), held.answered()];
    // What is not certain goes on, and does not begin: another may have it by now.
    const wanted = new Map([...addresses].filter(([address, until]) => until === null || until > now || answered.has(address)));
    held.sync(wanted, linked);
    const heard = new Map(groupsOf([...wanted.keys()], linked.map(({ index }) => index)));
    joining = joining.then(() => join(heard));
  };

  return {
    answered: () => held.answered(),
    announce: () => held.announce(),
    taken: () => held.taken(),
    rivals: () => held.rivals(),
    hold: (next) => {
      addresses = next;
      sync((uplinks ?? []).filter(({ carrier }) => carrier));
    },
    get linked() {
      return uplinks?.some(({ carrier }) => carrier) === true;
    },
    get linkedSince() {
      return linkedSince;
    },
    hostChanged: (now) => {
      const before = new Set(uplinks?.filter(({ carrier }) => carrier).map(({ index }) => index));
      const linked = now.filter(({ carrier }) => carrier);
      const kept = linked.filter(({ index }) => before.has(index));
      if (uplinks !== undefined && kept.length < linked.length) linkedSince = clock.now();
      const changed = uplinks === undefined || !sameLinks(uplinks, now);
      uplinks = now;
      // Behind a cable that is back, what was decided before holds no more: the next word counts.
      if (changed) sync(kept);
    },
    [Symbol.asyncDispose]: async () => {
      await held[Symbol.asyncDispose]();
      await joining;
    },
  };
}

interface Group {
  readonly index: number;
  readonly address: Ip;
}

function groupsOf(addresses: readonly Ip[], devices: readonly number[]): readonly (readonly [string, Group])[] {
  return addresses.filter((address) => familyOf(address) === 6).flatMap((address) => devices.map((index) => {
    const group = solicitedNode(address);
    return [`${group}%${index}`, { index, address: group }] as const;
  }));
}

function sameLinks(before: readonly UplinkReading[], now: readonly UplinkReading[]): boolean {
  return before.length === now.length && before.every(({ index, mac, carrier }, i) => index === now[i]?.index && mac === now[i].mac && carrier === now[i].carrier);
}
