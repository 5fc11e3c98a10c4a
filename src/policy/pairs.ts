// Which ruleset stands between two classes: one row for all of a container's peers, and more only where a peer differs.
import type { PolicyClass } from "./classes.ts";
import type { Program, Side } from "./program.ts";
import type { Rulesets } from "./rulesets.ts";
import { wellKnown } from "./selectors.ts";
import type { Direction } from "./types.ts";

export interface Pairs {
  /** Rows of all classes so far and of these new ones. What stood stays as it was; the same object when nothing came. */
  add(classes: readonly PolicyClass[]): ReadonlyMap<string, number>;
}

/** The rulesets between one class and all others. */
interface View {
  /** Of the classes that rules speak of by a selector. */
  readonly named: ReadonlyMap<PolicyClass, number>;
  readonly otherContainers: number;
  readonly otherAddresses: number;
}

interface Subject {
  readonly itself: PolicyClass;
  /** The ruleset of row `peer 0`; it stays, whoever comes later: who comes later brings rows of its own. */
  readonly fallback: Readonly<Record<Direction, number>>;
}

const directions = ["out", "in"] as const;
const subjectSide: Readonly<Record<Direction, Side>> = { out: "from", in: "to" };
const peerSide: Readonly<Record<Direction, Side>> = { out: "to", in: "from" };

export function createPairs(program: Program, rulesets: Rulesets): Pairs {
  const members = new Map<number, PolicyClass[]>();
  const containers: PolicyClass[] = [];
  const addresses: PolicyClass[] = [];
  const subjects: Subject[] = [];
  let table: ReadonlyMap<string, number> = new Map();

  /** `one` stands at `side` of the rules that open or close the end `direction`. */
  const look = (one: PolicyClass, side: Side, direction: Direction): View => {
    const bySelector = rulesAcross(program, one, side, direction);
    const everyone = bySelector.get(wellKnown.any) ?? [];
    const container = [...everyone, ...(bySelector.get(wellKnown.containers) ?? [])];
    const selectors = new Map<PolicyClass, number[]>();
    for (const selector of bySelector.keys()) {
      for (const other of members.get(selector) ?? []) {
        const list = selectors.get(other);
        if (list) list.push(selector);
        else selectors.set(other, [selector]);
      }
    }
    // Few combinations of selectors occur, however many classes there are.
    const found = new Map<string, number>();
    const named = new Map<PolicyClass, number>();
    for (const [other, list] of selectors) {
      const key = `${other.isContainer ? "c" : "a"}${list.join()}`;
      let ruleset = found.get(key);
      if (ruleset === undefined) {
        const ranks = list.flatMap((selector) => bySelector.get(selector) ?? []);
        found.set(key, (ruleset = rulesets.number([...(other.isContainer ? container : everyone), ...ranks])));
      }
      named.set(other, ruleset);
    }
    return { named, otherContainers: rulesets.number(container), otherAddresses: rulesets.number(everyone) };
  };

  return {
    add(fresh) {
      if (fresh.length === 0) return table;
      for (const one of fresh) {
        (one.isContainer ? containers : addresses).push(one);
        for (const selector of one.selectors) {
          const list = members.get(selector);
          if (list) list.push(one);
          else members.set(selector, [one]);
        }
      }
      const rows: (readonly [key: string, ruleset: number])[] = [];
      const row = (direction: Direction, subject: number, peer: number, ruleset: number): void => void rows.push([`${direction} ${subject} ${peer}`, ruleset]);
      for (const direction of directions) {
        if (subjects.length === 0) break;
        for (const peer of fresh) {
          const view = look(peer, peerSide[direction], direction);
          for (const { itself, fallback } of subjects) {
            const ruleset = view.named.get(itself) ?? view.otherContainers;
            if (ruleset !== fallback[direction]) row(direction, itself.number, peer.number, ruleset);
          }
        }
      }
      for (const itself of fresh) {
        if (!itself.isContainer) continue;
        const fallback = { in: 0, out: 0 };
        for (const direction of directions) {
          const view = look(itself, subjectSide[direction], direction);
          const common = mostCommon(view, containers.length, addresses.length);
          fallback[direction] = common;
          if (common !== 0) row(direction, itself.number, 0, common);
          for (const [peer, ruleset] of view.named) if (ruleset !== common) row(direction, itself.number, peer.number, ruleset);
          for (const [others, ruleset] of [[containers, view.otherContainers], [addresses, view.otherAddresses]] as const) {
            if (ruleset === common) continue;
            for (const peer of others) if (!view.named.has(peer)) row(direction, itself.number, peer.number, ruleset);
          }
        }
        subjects.push({ itself, fallback });
      }
      if (rows.length === 0) return table;
      const next = new Map(table);
      for (const [key, ruleset] of rows) next.set(key, ruleset);
      return (table = next);
    },
  };
}

/** Ranks of the rules that hold for `one` at `side`, by what they name at the other side. */
function rulesAcross(program: Program, one: PolicyClass, side: Side, direction: Direction): ReadonlyMap<number, readonly number[]> {
  const found = new Map<number, number[]>();
  const seen = new Set<number>();
  for (const own of [wellKnown.any, ...(one.isContainer ? [wellKnown.containers] : []), ...one.selectors]) {
    for (const rank of program.ranksAt(direction, side, own)) {
      if (seen.has(rank)) continue;
      seen.add(rank);
      for (const selector of program.selectorsAt(side === "from" ? "to" : "from", rank)) {
        const list = found.get(selector);
        if (list) list.push(rank);
        else found.set(selector, [rank]);
      }
    }
  }
  return found;
}

/** The ruleset that saves most rows; of equals that of containers no rule names, then that of such addresses. */
function mostCommon(view: View, containers: number, addresses: number): number {
  const counts = new Map<number, number>();
  const count = (ruleset: number, more: number): void => void counts.set(ruleset, (counts.get(ruleset) ?? 0) + more);
  let [namedContainers, best] = [0, view.otherContainers];
  for (const other of view.named.keys()) if (other.isContainer) namedContainers++;
  count(view.otherContainers, containers - namedContainers);
  count(view.otherAddresses, addresses - (view.named.size - namedContainers));
  for (const ruleset of view.named.values()) count(ruleset, 1);
  for (const [ruleset, times] of counts) if (times > (counts.get(best) ?? 0)) best = ruleset;
  return best;
}
