// Policies read once for many compilations: rules by strength, and by the selectors at either of their ends.
import type { Stance } from "./classes.ts";
import type { FlatRule } from "./flatten.ts";
import { createMatcher } from "./members.ts";
import { createSelectors, doubted, wellKnown } from "./selectors.ts";
import type { Selectors } from "./selectors.ts";
import { builtinRules } from "./types.ts";
import type { AddressRange, Direction, IdentityLabels, Peer, Policy, PortRange, Rule } from "./types.ts";

/** The two ends of a sentence. */
export type Side = "from" | "to";

export interface Program {
  readonly rules: readonly Rule[];
  /** Every rule, built-in ones too; its place is its rank: deny, audit, allow, built-in, and the first written among equals. */
  readonly ranked: readonly FlatRule[];
  /** Ranks of the rules that open or close the end `direction` of a flow and name the selector at `side`. */
  ranksAt(direction: Direction, side: Side, selector: number): readonly number[];
  /** What the rule of that rank names at `side`. */
  selectorsAt(side: Side, rank: number): readonly number[];
  /** The groups of addresses that rules speak of, by selector. */
  readonly addresses: ReadonlyMap<number, readonly AddressRange[]>;
  /** Whether a rule names the selector: others make no class of their own. */
  isNamed(selector: number): boolean;
  member(labels: IdentityLabels): { readonly selectors: readonly number[]; readonly stance: Stance };
}

interface Sentence extends Readonly<Record<Side, readonly number[]>> {
  readonly strength: number;
  readonly ends: Rule["ends"];
  readonly flat: FlatRule;
}

const strengths = { deny: 0, audit: 1, allow: 2, builtin: 3 } as const;

/** DHCP of both families, mDNS, LLMNR, HSRP: who answers these for his neighbours takes their traffic. */
const localServices = [67, 68, 546, 547, 5353, 5355, 1985];

/** @param hostServices TCP ports of the host that only a rule opens */
export function createProgram(policies: readonly Policy[], hostServices: readonly number[]): Program {
  const selectors = createSelectors();
  const rules = policies.flatMap((policy) => policy.rules);
  const written = policies.flatMap((policy) => policy.rules.map((rule) => [rule, policy] as const));
  const meaning = (peers: readonly Peer[], { scope }: Policy, { action }: Rule): readonly number[] => {
    const found = distinct(peers.map((peer) => selectors.ofPeer(peer, scope)));
    return action === "deny" ? [...found, ...found.filter((selector) => selectors.containers.has(selector)).map(doubted)] : found;
  };
  const sentences = [
    ...written.map(([rule, policy], index): Sentence => ({
      strength: strengths[rule.action],
      ends: rule.ends,
      flat: { number: index + 1, verdict: rule.action, ports: rule.ports },
      from: meaning(rule.from, policy, rule),
      to: meaning(rule.to, policy, rule),
    })),
    ...builtins(hostServices),
  ].toSorted((a, b) => a.strength - b.strength);
  const at = { in: bySelector(sentences, "in"), out: bySelector(sentences, "out") };
  const named = new Set(sentences.flatMap(({ from, to }) => [...from, ...to]));
  const stances = stancesOf(policies, selectors);
  const match = createMatcher(selectors.containers);
  return {
    rules,
    ranked: sentences.map(({ flat }) => flat),
    ranksAt: (direction, side, selector) => at[direction][side].get(selector) ?? [],
    selectorsAt: (side, rank) => sentences[rank]?.[side] ?? [],
    addresses: selectors.addresses,
    isNamed: (selector) => named.has(selector),
    member: (labels) => {
      const found = match(labels);
      const doubts = labels.doubtful === undefined ? [] : match(labels.doubtful).filter((selector) => !found.includes(selector));
      const stance = { denyIn: false, denyOut: false, covered: false };
      for (const selector of [wellKnown.containers, ...found]) {
        const more = stances.get(selector);
        stance.denyIn ||= more?.denyIn ?? false;
        stance.denyOut ||= more?.denyOut ?? false;
        stance.covered ||= more !== undefined;
      }
      // To be covered opens published ports, so that a doubt does not do it.
      for (const selector of doubts) {
        stance.denyIn ||= stances.get(selector)?.denyIn ?? false;
        stance.denyOut ||= stances.get(selector)?.denyOut ?? false;
      }
      return { selectors: [...found, ...doubts.map(doubted)].filter((selector) => named.has(selector)), stance };
    },
  };
}

/** Weaker than every rule that is written. */
function builtins(hostServices: readonly number[]): readonly Sentence[] {
  const single = (protocol: "tcp" | "udp") => (port: number): PortRange => ({ protocol, first: port, last: port });
  const refusing = (number: number, to: number, ports: readonly PortRange[]): Sentence => ({
    strength: strengths.builtin, ends: "out", flat: { number, verdict: "deny", ports }, from: [wellKnown.any], to: [to],
  });
  const found = [refusing(builtinRules.metadata, wellKnown.metadata, [])];
  // No port would mean every port.
  if (hostServices.length > 0) found.push(refusing(builtinRules.hostServices, wellKnown.host, hostServices.map(single("tcp"))));
  return [...found, refusing(builtinRules.localServices, wellKnown.containers, localServices.map(single("udp")))];
}

/** What policies say by default, by the selector of whom they are for. Any policy's deny holds against all others' allow. */
function stancesOf(policies: readonly Policy[], selectors: Selectors): ReadonlyMap<number, Stance> {
  const stances = new Map<number, Stance>();
  for (const { scope, defaults } of policies) {
    const selector = selectors.ofScope(scope);
    const before = stances.get(selector);
    stances.set(selector, {
      denyIn: defaults.in === "deny" || (before?.denyIn ?? false),
      denyOut: defaults.out === "deny" || (before?.denyOut ?? false),
      covered: true,
    });
  }
  return stances;
}

function bySelector(sentences: readonly Sentence[], direction: Direction): Readonly<Record<Side, ReadonlyMap<number, readonly number[]>>> {
  const found = { from: new Map<number, number[]>(), to: new Map<number, number[]>() };
  for (const [rank, sentence] of sentences.entries()) {
    if (sentence.ends !== "both" && sentence.ends !== direction) continue;
    for (const side of ["from", "to"] as const) {
      for (const selector of sentence[side]) {
        const list = found[side].get(selector);
        if (list) list.push(rank);
        else found[side].set(selector, [rank]);
      }
    }
  }
  return found;
}

/** What is named beside `any` adds nothing to it. */
function distinct(selectors: readonly number[]): readonly number[] {
  return selectors.includes(wellKnown.any) ? [wellKnown.any] : [...new Set(selectors)];
}
