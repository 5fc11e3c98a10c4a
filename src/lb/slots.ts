// What slots remember: how a table that changed is carried into them without moving a flow of a backend that lives.
//
//   settled (c)           every flow of the slot that comes by this node is c's, and nothing is known of any flow
//   settled (c, p)        as that; by other nodes there may be flows of p, who was current before: c's node asks him for what it does not know
//   changed (c, p)        what begins is c's and recorded; what is not recorded is p's, who was current when the slot was last settled
//   changed (c, c)        as that, where c is current again, or p is gone: what is not recorded is c's
//   changed (0, p)        nobody takes what begins; p keeps what it has
//
// So however often a slot changes, one backend's flows are known by being unknown, and all others' by having been recorded.
import type { FullSlots, Slots } from "./types.ts";

export const currentOf = ({ plain, words }: Slots, slot: number): number => (words === undefined ? plain[slot] as number : (words[2 * slot] as number) & 0xffff);
export const previousOf = ({ words }: Slots, slot: number): number => (words === undefined ? 0 : (words[2 * slot] as number) >>> 16);
/** Seconds since the epoch; 0: settled. */
export const changedAt = ({ words }: Slots, slot: number): number => (words === undefined ? 0 : words[2 * slot + 1] as number);

/** Who is current, by slot. */
export function currents({ size, words, plain }: Slots): Uint16Array {
  if (words === undefined) return plain;
  const found = new Uint16Array(size);
  for (let slot = 0; slot < size; slot++) found[slot] = words[2 * slot] as number;
  return found;
}

/** Slots of a service that has none: settled, as the table says. */
export function newSlots(table: Uint16Array): Slots {
  return { size: table.length, plain: table, between: nothingBetween };
}

/** As `FullSlots.words`, of its own. */
export function wordsOf({ words, plain }: Slots): Uint32Array {
  if (words !== undefined) return words.slice();
  const made = new Uint32Array(2 * plain.length);
  for (let slot = 0; slot < plain.length; slot++) made[2 * slot] = plain[slot] as number;
  return made;
}

/** The same flows in `times` as many slots. */
export function grownSlots(slots: Slots, times: number): FullSlots {
  const { size, between } = slots;
  const words = wordsOf(slots);
  const grown = new Uint32Array(2 * size * times);
  for (let slot = 0; slot < size * times; slot++) {
    const from = Math.floor(slot / times);
    grown[2 * slot] = words[2 * from] as number;
    grown[2 * slot + 1] = words[2 * from + 1] as number;
  }
  const wider = [...between].flatMap(([slot, others]) => Array.from({ length: times }, (_, i) => [slot * times + i, others] as const));
  return { size: size * times, words: grown, between: new Map(wider) };
}

/**
 * The slots after a change. `table`: whom each slot wants, of the slots' size; 0: nobody, because nobody takes new flows.
 * `alive`: by number, not 0 for backends that may have flows, draining ones too; of the others all is forgotten at once. `now` in seconds since the epoch.
 * The same object when nothing changed.
 */
export function follow(slots: Slots, table: Uint16Array, alive: Uint8Array, now: number): Slots {
  const words = wordsOf(slots);
  const between = new Map<number, readonly number[]>(slots.between);
  let changed = false;
  for (let slot = 0; slot < slots.size; slot++) {
    const word = words[2 * slot] as number;
    const since = words[2 * slot + 1] as number;
    const wanted = table[slot] as number;
    // Nearly every slot: settled on somebody who lives, and wanted to stay so.
    if ((word & 0xffff) === wanted && since === 0 && alive[wanted] !== 0 && (word >>> 16 === 0 || alive[word >>> 16] !== 0)) continue;
    const others = between.get(slot) ?? none;
    const after = followed({ current: word & 0xffff, previous: word >>> 16, changed: since, between: others }, wanted, alive, now);
    words[2 * slot] = after.current | (after.previous << 16);
    words[2 * slot + 1] = after.changed;
    if (after.between.length > 0) between.set(slot, after.between);
    else between.delete(slot);
    changed ||= words[2 * slot] !== word || after.changed !== since || after.between.length !== others.length;
  }
  return changed ? { size: slots.size, words, between } : slots;
}

interface Slot {
  readonly current: number;
  readonly previous: number;
  readonly changed: number;
  readonly between: readonly number[];
}

const none: readonly number[] = [];
const nothingBetween: FullSlots["between"] = new Map();

function followed(slot: Slot, wanted: number, alive: Uint8Array, now: number): Slot {
  const lives = (number: number): boolean => number !== 0 && alive[number] !== 0;
  const current = lives(wanted) ? wanted : 0;
  /** Whose are the flows that are not recorded. Without him they are whoever's is current: they would be refused anywhere. */
  const base = slot.changed === 0 || slot.previous === 0 ? slot.current : slot.previous;
  const others = [slot.current, ...slot.between, base].filter((number, i, all) => lives(number) && number !== current && all.indexOf(number) === i);
  if (others.length === 0) {
    const before = slot.changed === 0 && lives(slot.previous) && slot.previous !== current ? slot.previous : 0;
    return { current, previous: before, changed: 0, between: none };
  }
  const previous = lives(base) ? base : current;
  const moved = current !== slot.current;
  return { current, previous, changed: moved || slot.changed === 0 ? now : slot.changed, between: others.filter((number) => number !== previous) };
}

/** Seconds for which a flow that is silent is remembered: conntrack's (bpf/lib/ct.h), and more than the records' (bpf/lib/lbflows.h). */
export const quietSeconds = 7800;

/**
 * Settles slots on which for `quietSeconds` no packet went to another backend than the current one: `quiet` says so of a slot that changed at
 * `since` (seconds since the epoch). That is of the flows that come by this node; for those that come by others it stays known who was before.
 * `asks`: whether a backend's node can be asked, which containers' can. A server's cannot ask back: a container before it would lose its flows.
 */
export function settle(slots: Slots, quiet: (slot: number, since: number) => boolean, asks: (number: number) => boolean): Slots {
  const words = wordsOf(slots);
  const between = new Map<number, readonly number[]>(slots.between);
  let changed = false;
  for (let slot = 0; slot < slots.size; slot++) {
    const since = words[2 * slot + 1] as number;
    const current = currentOf(slots, slot);
    if (since === 0 || current === 0 || !quiet(slot, since)) continue;
    const before = [previousOf(slots, slot), ...(between.get(slot) ?? none)].find((number) => number !== 0 && number !== current) ?? 0;
    if (asks(before) && !asks(current)) continue;
    words[2 * slot] = current | (before << 16);
    words[2 * slot + 1] = 0;
    between.delete(slot);
    changed = true;
  }
  return changed ? { size: slots.size, words, between } : slots;
}
