// The policy that a container carries in its own labels.
import test from "ava";
import { identityKey } from "../../../src/policy/identity.ts";
import { policyOfLabels } from "../../../src/policy/own-labels.ts";
import type { IdentityLabels, Policy } from "../../../src/policy/types.ts";
import { printRule, problemsIn } from "./language.ts";

const labelled = (own: Readonly<Record<string, string>>): IdentityLabels => ({ network: "shop", project: null, service: "web", name: null, own });

function policyOf(own: Readonly<Record<string, string>>): Policy | null {
  const labels = labelled(own);
  return policyOfLabels(labels, identityKey(labels));
}

const rulesOf = (own: Readonly<Record<string, string>>) => policyOf(own)?.rules.map((rule) => `${rule.action} ${rule.ends} ${printRule(rule)}`);

test("without labels of Hawser's there is no policy", (t) => t.is(policyOf({ tier: "db", hawser: "x" }), null));

test("the defaults of one container", (t) => {
  t.deepEqual(policyOf({ "hawser.default.out": "deny" })?.defaults, { in: null, out: "deny" });
  t.deepEqual(policyOf({ "hawser.default.in": " deny ", "hawser.default.out": "allow" })?.defaults, { in: "deny", out: "allow" });
});

test("the policy is for exactly the containers with these labels", (t) => {
  const labels = labelled({ "hawser.default.in": "deny" });
  t.like(policyOfLabels(labels, identityKey(labels)), { name: "labels of shop/web", scope: { kind: "identity", key: identityKey(labels) }, tests: [], closedNames: null });
});

test("hawser.allow.out opens the container's way out, to each peer with ports of its own", (t) => {
  t.deepEqual(rulesOf({ "hawser.allow.out": "10.0.0.0/8:443, db:5432, cache" }), [
    "allow out entity self -> 10.0.0.0/8 tcp:443", "allow out entity self -> name shop/db tcp:5432", "allow out entity self -> name shop/cache",
  ]);
});

test("hawser.allow.in opens the container's own ports, for that container alone", (t) => {
  t.deepEqual(rulesOf({ "hawser.allow.in": "web, label(tier=front):80,443, other/api:8000-8100/udp, any icmp(3/4)" }), [
    "allow in name shop/web -> entity self", "allow in labels tier=front -> entity self tcp:80,tcp:443", "allow in name other/api -> entity self udp:8000-8100",
    "allow in entity any -> entity self icmp:772",
  ]);
});

test("deny and audit are there alike", (t) => {
  t.deepEqual(rulesOf({ "hawser.deny.out": "169.254.169.254", "hawser.audit.in": "[2001:db8::/32 except 2001:db8:1::/48]:22" }), [
    "deny out entity self -> 169.254.169.254/32", "audit in 2001:db8::/32 minus 2001:db8:1::/48 -> entity self tcp:22",
  ]);
});

test("a rule's text and place name the label", (t) => {
  t.deepEqual(policyOf({ "hawser.allow.out": "db:5432,5433, 10.0.0.0/8" })?.rules.map(({ text, place }) => [text, place]), [
    ["hawser.allow.out=db:5432,5433", { file: "label hawser.allow.out", line: 1, column: 1 }],
    ["hawser.allow.out=10.0.0.0/8", { file: "label hawser.allow.out", line: 1, column: 15 }],
  ]);
});

const mistakes: readonly (readonly [label: string, value: string, problem: string])[] = [
  ["hawser.default.in", "drop", 'label hawser.default.in:1:1: "drop" where allow or deny was expected'],
  ["hawser.default.in", "", 'label hawser.default.in:1:1: "" where allow or deny was expected'],
  ["hawser.allow.out", "", "label hawser.allow.out:1:1: a peer is missing here"],
  ["hawser.allow.out", "db:5432, 10.0.0.1/8", 'label hawser.allow.out:1:10: "10.0.0.1/8" has bits set behind its prefix length; the network is 10.0.0.0/8'],
  ["hawser.allow.in", "web -> db", 'label hawser.allow.in:1:8: a label names only the other end, without "->"'],
  ["hawser.allow.in", "@office", 'label hawser.allow.in:1:1: there is no set "office"; this policy has no "sets"'],
  ["hawser.alow.out", "db", 'label hawser.alow.out:1:1: "hawser.alow.out" is no label of Hawser\'s; did you mean hawser.allow.out? There are hawser.default.in, hawser.default.out, '
    + "hawser.allow.in, hawser.allow.out, hawser.deny.in, hawser.deny.out, hawser.audit.in, hawser.audit.out"],
];

for (const [label, value, problem] of mistakes) {
  test(`a wrong label is a problem with its place, and no policy: ${label}=${value}`, (t) => t.deepEqual(problemsIn(() => policyOf({ [label]: value })), [problem]));
}
