// Numbers for classes: containers, and likewise addresses, that every rule treats alike share one.
import type { ClassRow } from "./types.ts";

/** What the policies that are for a container say of it together. */
export interface Stance {
  readonly denyIn: boolean;
  readonly denyOut: boolean;
  readonly covered: boolean;
}

export const uncovered: Stance = { denyIn: false, denyOut: false, covered: false };

export interface PolicyClass {
  /** 1…; containers and addresses share the numbers, never one number. */
  readonly number: number;
  readonly isContainer: boolean;
  /** Selectors that match, ascending, without those that match every container or everything; then those that match in doubt (`doubted`). */
  readonly selectors: readonly number[];
  readonly row: ClassRow;
}

export interface Classes {
  ofContainers(selectors: readonly number[], stance: Stance): PolicyClass;
  ofAddresses(selectors: readonly number[]): PolicyClass;
  /** Every class there ever was, in the order of its number. */
  readonly all: readonly PolicyClass[];
}

export function createClasses(): Classes {
  const known = new Map<string, PolicyClass>();
  const all: PolicyClass[] = [];
  const find = (key: string, isContainer: boolean, selectors: readonly number[], stance: Stance): PolicyClass => {
    const found = known.get(key);
    if (found) return found;
    const number = all.length + 1;
    const fresh: PolicyClass = { number, isContainer, selectors, row: { class: number, ...stance } };
    known.set(key, fresh);
    all.push(fresh);
    return fresh;
  };
  return {
    ofContainers: (selectors, stance) => {
      const flags = [stance.denyIn, stance.denyOut, stance.covered].map(Number).join("");
      return find(`c${flags} ${selectors.join()}`, true, selectors, stance);
    },
    ofAddresses: (selectors) => find(`a ${selectors.join()}`, false, selectors, uncovered),
    all,
  };
}
