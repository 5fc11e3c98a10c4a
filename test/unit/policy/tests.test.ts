// The `tests:` of a policy: judged by names and labels, told with place, expectation and deciding rule.
import test from "ava";
import { runTests } from "../../../src/policy/tests.ts";
import type { Identity, PolicyFacts } from "../../../src/policy/types.ts";
import { container, facts, policies } from "./shop.ts";

const alone: PolicyFacts = { ...facts, identities: [], host: [], nodes: [], lan: [], networks: new Map() };

const text = `policy: shop
for: { network: shop }
default: { in: deny }
sets: { office: ["203.0.113.0/24 except 203.0.113.0/28"] }
allow:
  - web -> api:8080
  - api -> db:5432
  - world -> web:443
  - "@office -> web:22"
  - any -> web icmp(echo)
  - label(backup=yes) -> db:5432
audit:
  - web -> internet:443
deny:
  - any -> 169.254.169.254
tests:
`;

/** Of the tests, `from -> to expect` each, the messages of those that fail. */
function failures(tests: readonly string[], known: PolicyFacts = alone, head = text): readonly string[] {
  const lines = tests.map((line) => {
    const [, from = "", to = "", expect = ""] = /^(.+) -> (.+) (allow|deny|audit)$/.exec(line) ?? [];
    return `  - { from: ${JSON.stringify(from)}, to: ${JSON.stringify(to)}, expect: ${expect} }`;
  });
  return runTests(policies(`${head}${lines.join("\n")}`), known).filter(({ ok }) => !ok).map(({ message }) => message);
}

function running(...labels: readonly Identity["labels"][]): PolicyFacts {
  return { ...alone, identities: labels.map((one, i) => ({ id: 256 + i, labels: one })) };
}

test("R64 tests are judged by names and labels though no such container runs", (t) => {
  t.deepEqual(failures([
    "web -> api:8080 allow", "web -> api:8081 deny", "api -> db:5432 allow", "web -> db:5432 deny", "world -> web:443 allow", "internet -> web:443 allow",
    "world -> web:80 deny", "@office -> web:22 allow", "203.0.113.5 -> web:22 deny", "host -> db deny", "web -> web icmp(echo) allow", "web:icmp -> web deny",
    "web -> 9.9.9.9:443 audit", "web -> internet:443 audit", "web -> 169.254.169.254 deny", "label(backup=yes) -> db:5432 allow", "back/web -> api:8080 deny",
    "net(back) -> db:5432 deny", "self -> api:8080 deny", "any -> web icmp(echo) allow", "any -> db:5432 deny", "lan -> web:443 allow", "nodes -> web:443 deny",
  ].filter((line) => !line.startsWith("web:icmp"))), []);
});

test("R64 a failing test says file, line, what was expected, what came and which rule decided", (t) => {
  const found = failures(["web -> db:5432 allow", "web -> api:8080 deny", "web -> 169.254.169.254 allow"]);
  t.deepEqual(found, [
    `shop.yaml:17:5: test of "shop": "web -> db:5432" is expected to be allowed, but is denied by default:in of "shop" (shop.yaml:1)`,
    `shop.yaml:18:5: test of "shop": "web -> api:8080" is expected to be denied, but is allowed by "web -> api:8080" (allow, shop, shop.yaml:6)`,
    `shop.yaml:19:5: test of "shop": "web -> 169.254.169.254" is expected to be allowed, but is denied by "any -> 169.254.169.254" (deny, shop, shop.yaml:15)`,
  ]);
});

test("running containers of the name are judged by their real labels too, and all must agree", (t) => {
  const plain = container("shop", "db");
  const canary = container("shop", "web", { backup: "yes" });
  t.deepEqual(failures(["web -> db:5432 deny"], running(plain, container("shop", "web"))), []);
  const [message] = failures(["web -> db:5432 deny"], running(plain, canary));
  t.regex(message ?? "", /is allowed for the running \{.*backup=yes.*\} -> .* by "label\(backup=yes\) -> db:5432"/);
  t.deepEqual(failures(["web -> db:5432 deny"], running(plain, container("back", "web", { backup: "yes" }))), []);
});

test("a policy for a label speaks of running containers, and of one with its label when none runs", (t) => {
  const head = "policy: dbs\nfor: { label: tier=db }\ndefault: { in: deny }\nallow: ['label(tier=db) -> self:5432']\ntests:\n";
  t.deepEqual(failures(["db -> db:5432 allow", "db -> db:80 deny"], alone, head), []);
  const real = running(container("shop", "db", { tier: "db" }), container("shop", "web"));
  t.deepEqual(failures(["web -> db:5432 deny", "db -> db:5432 allow"], real, head), []);
});

test("a policy for a project judges names within it", (t) => {
  const head = "policy: store\nfor: { project: store }\ndefault: { in: deny }\nallow: ['web -> db:1']\ntests:\n";
  t.deepEqual(failures(["web -> db:1 allow", "db -> web:1 deny", "web -> 9.9.9.9 allow"], alone, head), []);
});

test("where a policy says nothing of networks, a bare name is on the network that the other end names", (t) => {
  const head = "policy: every\nfor: all\ntests:\n";
  t.deepEqual(failures(["web -> shop/db:1 allow", "back/web -> shop/db:1 deny", "web -> db:1 allow"], alone, head), []);
});

test("a test that cannot be understood fails and says why", (t) => {
  const found = failures(["@offcie -> web:22 allow", "web -> db:99999 allow", "10.0.0.0/8 -> web allow"]);
  t.is(found.length, 3);
  t.regex(found[0] ?? "", /^shop\.yaml:17:5: .*cannot be judged: no rule of the policy uses a set "@offcie"/);
  t.regex(found[1] ?? "", /not one port from 1 to 65535/);
  t.regex(found[2] ?? "", /"10\.0\.0\.0\/8" is not one address/);
});

test("a test of one policy is judged by all policies together", (t) => {
  const both = policies("policy: a\nfor: { network: shop }\nallow: ['web -> db']\ntests: [{ from: web, to: 'db:1', expect: deny }]", "policy: b\nfor: all\ndeny: ['any -> net(shop):1']");
  t.deepEqual(runTests(both, alone).map(({ ok, message }) => ({ ok, message })), [{ ok: true, message: "" }]);
});
