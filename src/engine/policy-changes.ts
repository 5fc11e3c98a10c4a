// Changes of policy: how a candidate is judged before it is in force.
import { readPolicies } from "../policy/read.ts";
import { runTests } from "../policy/tests.ts";
import { warningsOf } from "../policy/warnings.ts";
import type { Policy, PolicyFacts } from "../policy/types.ts";
import { HawserError } from "../std/errors.ts";
import type { Cidr } from "../std/ip.ts";
import { nameOfNetwork } from "../network/state.ts";
import type { State } from "../network/types.ts";
import type { Written } from "./document-changes.ts";

/** What a candidate is judged by: its policies with those of labels, and who is there. */
export interface Judge {
  policies(state: State): readonly Policy[];
  facts(state: State): PolicyFacts;
}

export const policyDocuments = { table: "policies", one: "policy" } as const;

export function writtenPolicies(judge: Judge): Written {
  return {
    ...policyDocuments, code: "BAD_POLICY",
    *read(documents) {
      yield;
      return readPolicies(documents);
    },
    *verify(candidate, names, strict) {
      yield;
      return verify(candidate, names, strict, judge);
    },
  };
}

/** Runs every policy's tests. @throws HawserError BAD_POLICY. Returns the warnings about `names`. */
function verify(candidate: State, names: ReadonlySet<string>, strict: boolean, judge: Judge): readonly string[] {
  const policies = judge.policies(candidate);
  const facts = judge.facts(candidate);
  // Names before tests: one that is mistyped is why its test fails.
  const found = warningsOf(policies.filter(({ name }) => names.has(name)), facts, { strict, ...knownIn(candidate) });
  const errors = found.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new HawserError("BAD_POLICY", errors.map(({ message }) => message).join("\n"));
  const failed = runTests(policies, facts).filter(({ ok }) => !ok);
  if (failed.length > 0) throw new HawserError("BAD_POLICY", failed.map(({ message }) => message).join("\n"));
  return found.map(({ message }) => message);
}

function knownIn(state: State): { readonly subnets: ReadonlyMap<string, readonly Cidr[]>; readonly names: readonly string[] } {
  const subnets = [...state.networks.values()].map((network) =>
    [nameOfNetwork(network), [network.ipv4, network.ipv6].flatMap((subnet) => (subnet === null ? [] : [subnet.prefix]))] as const);
  const here = [...state.endpoints.values()].flatMap(({ container }) => (container === null ? [] : [container.name]));
  return { subnets: new Map(subnets), names: [...new Set([...here, ...[...state.cluster.endpoints.values()].map(({ name }) => name)])] };
}
