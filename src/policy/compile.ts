// Turns policies and the facts they speak of into the tables that the kernel enforces.
import type { Cidr } from "../std/ip.ts";
import { addressTable } from "./address-classes.ts";
import { createClasses, uncovered } from "./classes.ts";
import type { PolicyClass } from "./classes.ts";
import { createPairs } from "./pairs.ts";
import { createProgram } from "./program.ts";
import { createRulesets } from "./rulesets.ts";
import type { ClassRow, Identity, IdentityLabels, Policy, PolicyFacts, PolicyTables } from "./types.ts";

export interface Compiler {
  /**
   * While `policies` is the same array, what a container or an address was numbered stays, a part that did not change is the
   * same object, and what comes is only added. Classes that nobody is in any more are kept for a while: containers come back.
   */
  compile(policies: readonly Policy[], facts: PolicyFacts): PolicyTables;
}

export function createCompiler(): Compiler {
  let work: Work | null = null;
  return {
    compile(policies, facts) {
      const hostServices = facts.hostServices.join();
      if (work?.policies !== policies || work.hostServices !== hostServices || work.isWasteful(facts)) work = createWork(policies, facts.hostServices);
      return work.tables(facts);
    },
  };
}

/** The tables and nothing kept for later. */
export function compile(policies: readonly Policy[], facts: PolicyFacts): PolicyTables {
  return createWork(policies, facts.hostServices).tables(facts);
}

/** What is kept between compilations of the same policies. */
interface Work {
  readonly policies: readonly Policy[];
  readonly hostServices: string;
  tables(facts: PolicyFacts): PolicyTables;
  /** Whether more classes are kept for containers that are gone than for those that are there. */
  isWasteful(facts: PolicyFacts): boolean;
}

/** All that tables of the same policies depend on. */
interface Asked extends Pick<PolicyFacts, "identities" | "untilIdentified"> {
  readonly addresses: string;
}

/** So many classes of nobody are kept in any case. */
const spareClasses = 64;

function createWork(policies: readonly Policy[], hostServices: readonly number[]): Work {
  const program = createProgram(policies, hostServices);
  const rulesets = createRulesets(program.ranked);
  const pairs = createPairs(program, rulesets);
  const classes = createClasses();
  const ofLabels = new WeakMap<IdentityLabels, PolicyClass>();
  let known = 0;
  let asked: Asked | undefined;
  let last: PolicyTables = { classes: new Map(), prefixes: new Map(), pairs: new Map(), ports: new Map(), rules: program.rules };
  let addresses = { facts: "", table: new Map() as ReadonlyMap<Cidr, number> };

  const classOf = (labels: IdentityLabels): PolicyClass => {
    let found = ofLabels.get(labels);
    if (!found) {
      const { selectors, stance } = program.member(labels);
      ofLabels.set(labels, (found = classes.ofContainers(selectors, stance)));
    }
    return found;
  };
  const prefixes = (facts: PolicyFacts): ReadonlyMap<Cidr, number> => {
    const text = addressText(facts);
    if (addresses.facts !== text) addresses = { facts: text, table: addressTable(program, facts, classes.ofAddresses) };
    return addresses.table;
  };
  return {
    policies,
    hostServices: hostServices.join(),
    isWasteful: ({ identities }) => {
      if (asked !== undefined && isSameList(identities, asked.identities)) return false;
      const live = new Set(identities.map(({ labels }) => classOf(labels)));
      const ever = classes.all.filter(({ isContainer }) => isContainer).length;
      return ever - live.size > Math.max(spareClasses, live.size);
    },
    tables(facts) {
      const text = addressText(facts);
      if (asked?.addresses === text && asked.untilIdentified === facts.untilIdentified && isSameList(facts.identities, asked.identities)) return last;
      const rows = new Map<number, ClassRow>();
      // Containers whose labels are not known: what is said of everyone is said of them.
      if (facts.untilIdentified === "allow") rows.set(0, classes.ofContainers([], uncovered).row);
      for (const { id, labels } of facts.identities) rows.set(id, classOf(labels).row);
      const next: PolicyTables = {
        classes: isSame(rows, last.classes) ? last.classes : rows,
        prefixes: prefixes(facts),
        pairs: pairs.add(classes.all.slice(known)),
        ports: rulesets.rows(),
        rules: program.rules,
      };
      known = classes.all.length;
      asked = { addresses: text, untilIdentified: facts.untilIdentified, identities: [...facts.identities] };
      const isOld = next.classes === last.classes && next.prefixes === last.prefixes && next.pairs === last.pairs && next.ports === last.ports;
      return isOld ? last : (last = next);
    },
  };
}

function addressText({ host, nodes, lan, pool, poolByAddress }: PolicyFacts): string {
  return [host, nodes, lan, pool, [poolByAddress]].map((list) => list.join()).join(" ");
}

/** Of tens of thousands most decisions change none. */
function isSameList(a: readonly Identity[], b: readonly Identity[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

function isSame<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}
