// Policies that containers' own labels hold, and the one that shuts a container away.
import { identityKey } from "../policy/identity.ts";
import { policyOfLabels } from "../policy/own-labels.ts";
import type { IdentityLabels, Peer, Policy, Rule } from "../policy/types.ts";
import type { State } from "../network/types.ts";
import { messageOf } from "../std/errors.ts";

/** What a container carries beside its own labels while it is shut away; one that gives it to itself shuts itself away. */
export const quarantineLabel = "hawser.quarantined";

/** null: its labels hold none. What is wrong with them is put into `problems` by key, and the container is closed. */
export function policyFrom(labels: IdentityLabels, problems: Map<string, string>): Policy | null {
  const key = identityKey(labels);
  if (Object.hasOwn(labels.own, quarantineLabel)) return shutAway(key, "quarantine", "policy.unenforced", "quarantined");
  try {
    return policyOfLabels(labels, key);
  } catch (error) {
    problems.set(key, messageOf(error));
    return shutAway(key, "label", "label", "a label of it is wrong");
  }
}

/** A container's labels as they surely are, then as they may be. */
export function readingsOf(labels: IdentityLabels): readonly IdentityLabels[] {
  return labels.doubtful === undefined ? [labels] : [labels, labels.doubtful];
}

/** Each reading of the labels that holds a policy, by key. */
export function ownPolicies(all: Iterable<IdentityLabels>): ReadonlyMap<string, IdentityLabels> {
  const own = new Map<string, IdentityLabels>();
  for (const labels of all) {
    for (const one of readingsOf(labels)) {
      if (Object.keys(one.own).some((key) => key.startsWith("hawser."))) own.set(identityKey(one), one);
    }
  }
  return own;
}

/** The `hawser.…` labels of each container that has some, or may have. */
export function ownPolicyLabels(state: State): readonly Readonly<Record<string, string>>[] {
  const carriers = [...[...state.endpoints.values()].flatMap(({ container }) => container ?? []), ...state.guests.values()];
  return carriers.flatMap(({ own, doubtful }) => {
    const ours = Object.entries({ ...doubtful, ...own }).filter(([key]) => key.startsWith("hawser."));
    return ours.length === 0 ? [] : [Object.fromEntries(ours)];
  });
}

/** Denies both ways, so that no rule opens it. */
function shutAway(key: string, policy: string, file: string, why: string): Policy {
  const place = { file, line: 1, column: 1 };
  const any = { kind: "entity", entity: "any", place } as const;
  const self = { kind: "entity", entity: "self", place } as const;
  const rule = (from: Peer, to: Peer, text: string): Rule => ({ policy, action: "deny", place, text, from: [from], to: [to], ports: [], ends: "both" });
  return {
    name: `${policy} ${key}`, place, scope: { kind: "identity", key }, defaults: { in: "deny", out: "deny" },
    rules: [rule(any, self, `any -> self (${why})`), rule(self, any, `self -> any (${why})`)], tests: [], closedNames: null,
  };
}
