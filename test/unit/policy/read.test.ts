// Whole files: the contract's example, scopes and sets, several documents, Compose files.
import test from "ava";
import { readPolicies } from "../../../src/policy/read.ts";
import { ruleText } from "../../../src/policy/render.ts";
import { placeText } from "../../../src/yaml/render.ts";
import { printPolicy, problemsOf } from "./language.ts";

const example = `policy: shop                   # unique name
for: { network: shop }         # or { project: NAME }, { label: "tier=db" }, or \`all\`
default: { in: deny, out: allow }      # for the containers above; left out: what Docker does (same network may talk)
sets: { office: [203.0.113.0/24, "2001:db8::/48 except 2001:db8:bad::/64"] }
allow:
  - world -> web:443
  - "@office, 10.0.0.0/8 except 10.9.0.0/16 and 10.10.0.0/16 -> web:80,8000-8100"
  - web -> api:8080
  - api -> db:5432/tcp
  - any -> web icmp(echo)
  - { from: [{ label: "backup=yes" }], to: [{ cidr: 10.20.0.0/16, except: [10.20.9.0/24] }], ports: [873/tcp] }   # the long form
deny:
  - any -> 169.254.169.254
audit:                         # reported as if enforced, never dropped
  - web -> internet:443
tests:
  - { from: api, to: "db:5432", expect: allow }
  - { from: web, to: "db:5432", expect: deny }
`;

test("the contract's example is read as it is meant", (t) => {
  const [policy, ...more] = readPolicies([{ file: "shop.yaml", text: example }]);
  t.deepEqual(more, []);
  t.is(policy === undefined ? "" : printPolicy(policy), [
    'shop for {"kind":"network","name":"shop"} in:deny out:allow',
    "allow entity world -> name */web tcp:443",
    "allow set office: 203.0.113.0/24 + 2001:db8::/48 minus 2001:db8:bad::/64 | 10.0.0.0/8 minus 10.9.0.0/16 minus 10.10.0.0/16 -> name */web tcp:80,tcp:8000-8100",
    "allow name */web -> name */api tcp:8080",
    "allow name */api -> name */db tcp:5432",
    "allow entity any -> name */web icmp:2048-2303,icmpv6:32768-33023",
    "allow labels backup=yes -> 10.20.0.0/16 minus 10.20.9.0/24 tcp:873",
    "deny entity any -> 169.254.169.254/32",
    "audit name */web -> entity internet tcp:443",
  ].join("\n"));
  t.deepEqual(policy?.tests, [
    { place: { file: "shop.yaml", line: 17, column: 5 }, from: "api", to: "db:5432", expect: "allow" },
    { place: { file: "shop.yaml", line: 18, column: 5 }, from: "web", to: "db:5432", expect: "deny" },
  ]);
  t.is(policy?.closedNames, null);
  const rule = policy?.rules[2];
  t.is(rule && ruleText(rule), "allow web -> api:8080 (policy shop, shop.yaml:8:5)");
  t.is(policy && placeText(policy.place), "shop.yaml:1:9");
});

const scopes: readonly (readonly [yaml: string, scope: unknown])[] = [
  ["all", { kind: "all" }],
  ["{ network: shop }", { kind: "network", name: "shop" }],
  ["{ project: shop }", { kind: "project", name: "shop" }],
  ['{ label: "tier=db" }', { kind: "label", key: "tier", value: "db" }],
  ["{ label: tier }", { kind: "label", key: "tier", value: null }],
];

for (const [yaml, scope] of scopes) {
  test(`a policy is for: ${yaml}`, (t) => {
    t.deepEqual(readPolicies([{ file: "a.yaml", text: `policy: a\nfor: ${yaml}\ndefault: { in: deny }\n` }])[0]?.scope, scope);
  });
}

test("a default that is left out is Docker's way", (t) => {
  const read = (yaml: string) => readPolicies([{ file: "a.yaml", text: `policy: a\nfor: all\nallow: []\n${yaml}` }])[0]?.defaults;
  t.deepEqual(read(""), { in: null, out: null });
  t.deepEqual(read("default: { out: deny }"), { in: null, out: "deny" });
  t.deepEqual(read("default: {}"), { in: null, out: null });
});

test("a set is a text, a list of texts, or of maps", (t) => {
  const text = [
    "policy: a", "for: all", "sets:", '  one: "10.0.0.0/8 except 10.9.0.0/16, 192.0.2.1"', "  list:", "    - 10.0.0.0/8", "    - ::1, 2001:db8::/32",
    "  maps: [{ cidr: 10.0.0.0/8, except: [10.9.0.0/16, 10.8.0.0/16] }, { cidr: 192.0.2.0/24, except: 192.0.2.1 }]", 'allow: ["@one, @list, @maps -> web"]', "",
  ].join("\n");
  const [policy] = readPolicies([{ file: "a.yaml", text }]);
  t.is(policy && printPolicy(policy).split("\n")[1], [
    "allow set one: 10.0.0.0/8 minus 10.9.0.0/16 + 192.0.2.1/32", "set list: 10.0.0.0/8 + ::1/128 + 2001:db8::/32",
    "set maps: 10.0.0.0/8 minus 10.9.0.0/16 minus 10.8.0.0/16 + 192.0.2.0/24 minus 192.0.2.1/32 -> name */web",
  ].join(" | "));
});

test("the order of keys means nothing: rules may stand before their sets and their name", (t) => {
  const text = 'allow: ["@x -> web"]\nsets: { x: [192.0.2.1] }\nfor: all\npolicy: a\n';
  t.is(readPolicies([{ file: "a.yaml", text }]).map(printPolicy).join(), "a for all in:- out:-\nallow set x: 192.0.2.1/32 -> name */web");
});

test("YAML's numbers, booleans and nulls are text here", (t) => {
  const text = "policy: 10\nfor: { network: no }\nallow: [{ from: { label: { a: yes, b: 1.20, c: null } }, to: world, ports: [80] }]\n";
  t.is(readPolicies([{ file: "a.yaml", text }]).map(printPolicy).join(), '10 for {"kind":"network","name":"no"} in:- out:-\nallow labels a=yes&b=1.20&c=null -> entity world tcp:80');
});

test("a file may hold several policies, and empty documents beside them", (t) => {
  const text = "---\npolicy: a\nfor: all\nallow: [a -> b]\n---\npolicy: b\nfor: all\ndeny: [a -> b]\n---\n# nothing\n";
  t.deepEqual(readPolicies([{ file: "a.yaml", text }]).map(({ name, place }) => [name, place.line]), [["a", 2], ["b", 6]]);
});

test("anchors, aliases and merged maps mean what they stand for", (t) => {
  const text = "policy: a\nfor: all\nallow: &rules [a -> b, &one { from: c, to: d }]\ndeny: *rules\naudit:\n  - { <<: *one, to: e }\n";
  t.deepEqual(readPolicies([{ file: "a.yaml", text }]).map(printPolicy).join().split("\n").slice(1), [
    "allow name */a -> name */b", "allow name */c -> name */d", "deny name */a -> name */b", "deny name */c -> name */d", "audit name */c -> name */e",
  ]);
});

const shop = `name: shop
services:
  web: &base
    image: web
  api: { <<: *base, container_name: shop-api }
  db: !reset null
x-hawser:
  default: { in: deny }
  allow:
    - world -> web:80
    - web -> shop-api:8080
`;

test("a Compose file's policy is for its project and knows its services and their containers", (t) => {
  const [policy] = readPolicies([{ file: "compose.yaml", text: shop }]);
  t.is(policy && printPolicy(policy), 'shop for {"kind":"project","name":"shop"} in:deny out:-\nallow entity world -> name */web tcp:80\nallow name */web -> name */shop-api tcp:8080');
  t.deepEqual(policy?.closedNames, ["web", "api", "shop-api", "db"]);
  t.like(policy?.rules[0]?.place, { file: "compose.yaml", line: 10, column: 7 });
});

test("without a name the project is the folder, as Compose makes it", (t) => {
  const read = (file: string) => readPolicies([{ file, text: shop.replace("name: shop\n", "") }])[0]?.name;
  t.is(read("/srv/My.Shop/compose.yaml"), "myshop");
  t.is(read("shop/./compose.yaml"), "shop");
  t.is(read("_-x_1/docker-compose.yml"), "x_1");
  t.deepEqual(problemsOf(shop.replace("name: shop\n", ""), "compose.yaml"), ["1:1: the project's name is not known: write name: NAME in the Compose file, or give its path with the folder"]);
  t.deepEqual(problemsOf(shop.replace("name: shop\n", ""), "../compose.yaml"), ["1:1: the project's name is not known: write name: NAME in the Compose file, or give its path with the folder"]);
});

test("a project's name that only Compose knows must be written out", (t) => {
  t.deepEqual(problemsOf(shop.replace("name: shop", "name: ${NAME:-shop}"), "s/compose.yaml"), [
    '1:7: the project\'s name "${NAME:-shop}" is known to Compose alone; write policy: NAME and for: { project: NAME } below x-hawser',
  ]);
  const named = shop.replace("name: shop", "name: ${NAME:-shop}").replace("x-hawser:\n", "x-hawser:\n  policy: p\n  for: all\n");
  t.is(readPolicies([{ file: "s/compose.yaml", text: named }])[0]?.name, "p");
});

test("x-hawser may be a list of policies", (t) => {
  const text = "name: shop\nservices: { web: {} }\nx-hawser:\n  - { policy: a, allow: [a -> web] }\n  - { policy: b, for: all, deny: [any -> 192.0.2.1] }\n";
  t.deepEqual(readPolicies([{ file: "compose.yaml", text }]).map((policy) => printPolicy(policy).split("\n")[0]), [
    'a for {"kind":"project","name":"shop"} in:- out:-', "b for all in:- out:-",
  ]);
});

test("a Compose file that includes others does not list all names", (t) => {
  t.is(readPolicies([{ file: "compose.yaml", text: `include: [more.yaml]\n${shop}` }])[0]?.closedNames, null);
});

test("a Compose file without x-hawser is an error, as is an empty one", (t) => {
  t.deepEqual(problemsOf("name: shop\nservices: { web: {} }\n"), ['1:1: this Compose file holds no policy: it has no "x-hawser:" beside its services']);
  t.deepEqual(problemsOf("name: shop\nservices: { web: {} }\nx-hawser:\n"), ['1:1: this Compose file holds no policy: it has no "x-hawser:" beside its services']);
  t.deepEqual(problemsOf("name: shop\nservices: { web: {} }\nx-hawser: []\n"), ['3:11: "x-hawser" is an empty list']);
  t.deepEqual(problemsOf("name: shop\nservices: { web: {} }\nx-hawser: { alow: [] }\n"), ['3:13: "alow" is no key of a policy; did you mean "allow"? The keys are policy, for, default, sets, allow, deny, audit, tests', ]);
});
