// Tables of Maglev hashing (Eisenbud et al., NSDI '16, 3.4): which backend each slot wants, from nothing but who the backends are.
import { hashPair } from "./hash.ts";

export interface TableMember {
  /** Unique among the members. */
  readonly identity: string;
  /** 1…65535. */
  readonly number: number;
  /** Above 0. */
  readonly weight: number;
}

export const defaultTableSize = 65_537;
/** A prime. Ten thousand services with 65537 slots each would take 5 GiB of the kernel's memory, so that one of few backends has few. */
const smallest = 1021;
/** For each backend, so that shares are even to 1 %. */
const slotsEach = 100;

/**
 * Slots of a table of so many backends, whatever their weights and states; never more than `largest`. Nothing of what was before is asked: nodes that have come to
 * these backends by other ways must send a flow to the same one. Each size is a multiple of those below, of which there are few: from one to the next most slots change.
 */
export function tableSize(backends: number, largest: number = defaultTableSize): number {
  let size = Math.min(smallest, largest);
  for (let times: number | undefined = 8; size < slotsEach * backends && times !== undefined;) {
    times = [8, 4, 2].find((one) => one * size <= largest);
    size *= times ?? 1;
  }
  return size;
}

/**
 * How many slots a table of `size` has from now on, and of how many those of so many backends are made, each repeated. It never gets smaller, and
 * what it grows to is a multiple of its size: a flow's slot is its hash × size / 2^32, so that all flows of a slot of the larger table were in one of the smaller, and
 * its history is theirs (`grownSlots`). One of an earlier build, or of another `largest`, that is no multiple is made as a whole, and doubled.
 */
export function grownSize(size: number, backends: number, largest: number = defaultTableSize): { readonly size: number; readonly made: number } {
  const made = tableSize(backends, largest);
  if (size % made === 0) return { size, made };
  if (made % size === 0) return { size: made, made };
  if (size >= slotsEach * backends) return { size, made: size };
  let grown = size;
  while (grown < 4 * slotsEach * backends && 2 * grown <= largest) grown *= 2;
  return { size: grown, made: grown };
}

/** The same flows to the same members by `size` slots, a multiple of the table's. */
export function widened(table: Uint16Array, size: number): Uint16Array {
  const times = size / table.length;
  if (times === 1) return table;
  const wide = new Uint16Array(size);
  table.forEach((number, slot) => wide.fill(number, slot * times, (slot + 1) * times));
  return wide;
}

/** The members by columns. `next` and `skip`: where each one's walk through all slots begins, and its stride, which has no divisor in common with the size. */
export interface Columns {
  /** Not 0. */
  readonly numbers: Uint16Array;
  readonly weights: Float64Array;
  /** Below the size. */
  readonly next: Int32Array;
  readonly skip: Int32Array;
}

/** Gives every slot of an empty table to a member, round by round; `columns` are used up. `heaviest`: of the weights; 0: all are equal. */
export type Fill = (table: Uint16Array, columns: Columns, heaviest: number) => void;

/**
 * Numbers of the members by slot; all 0 when there are none. The order of `members` does not matter: the same members make the same
 * table. With equal weights two members' shares differ by one slot at most; otherwise each is within one slot of its weight's part, in every round of turns.
 */
export function buildTable(members: readonly TableMember[], size: number, fill: Fill = fillTable): Uint16Array {
  const table = new Uint16Array(size);
  if (members.length === 0) return table;
  const sorted = members.toSorted((a, b) => (a.identity < b.identity ? -1 : 1));
  const heaviest = sorted.reduce((most, { weight }) => Math.max(most, weight), 0);
  fill(table, inColumns(sorted, size), sorted.every(({ weight }) => weight === heaviest) ? 0 : heaviest);
  return table;
}

export const fillTable: Fill = (table, { numbers, weights, next, skip }, heaviest) => {
  const size = table.length;
  /** A member's turn comes when its weight, round by round, has caught up with the heaviest's. */
  const due = new Float64Array(numbers.length);
  let free = size;
  for (let round = 1; ; round++) {
    for (let i = 0; i < numbers.length; i++) {
      if (heaviest !== 0) {
        if (round * (weights[i] as number) < (due[i] as number)) continue;
        due[i] = (due[i] as number) + heaviest;
      }
      const step = skip[i] as number;
      let slot = next[i] as number;
      // The mask is all ones when the sum is past the end: a branch there would be mispredicted every other time.
      while (table[slot] !== 0) {
        slot += step;
        slot -= size & ((size - 1 - slot) >> 31);
      }
      table[slot] = numbers[i] as number;
      slot += step;
      next[i] = slot - (size & ((size - 1 - slot) >> 31));
      if (--free === 0) return;
    }
  }
};

function inColumns(members: readonly TableMember[], size: number): Columns {
  const [numbers, weights] = [new Uint16Array(members.length), new Float64Array(members.length)];
  const [next, skip] = [new Int32Array(members.length), new Int32Array(members.length)];
  const prime = isPrime(size);
  let i = 0;
  for (const { identity, number, weight } of members) {
    const [first, second] = hashPair(identity);
    let stride = size === 1 ? 1 : 1 + (second % (size - 1));
    if (!prime) while (divisor(stride, size) !== 1) stride = stride + 1 < size ? stride + 1 : 1;
    [numbers[i], weights[i], next[i], skip[i]] = [number, weight, first % size, stride];
    i++;
  }
  return { numbers, weights, next, skip };
}

function isPrime(value: number): boolean {
  for (let divisor = 2; divisor * divisor <= value; divisor++) if (value % divisor === 0) return false;
  return value > 1;
}

/** The greatest that divides both. */
function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b);
}
