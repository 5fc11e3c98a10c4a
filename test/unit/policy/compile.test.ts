// Small policies and every row that the kernel gets of them.
import test from "ava";
import { compile } from "../../../src/policy/compile.ts";
import { identityKey } from "../../../src/policy/identity.ts";
import type { Policy, PolicyFacts } from "../../../src/policy/types.ts";
import { parseIp } from "../../../src/std/ip.ts";
import { addresses, entity, facts, identity, inNetwork, labelled, named, policy, ports, rule, services, shop, show } from "./compile-given.ts";
import { lookUp } from "./lookup.ts";

/** Rows that stand in every table: the metadata addresses' class, and what no container may send to another. */
const local = "17:1985 deny ffffff03, 17:5353 deny ffffff03, 17:5355 deny ffffff03, 17:546/15 deny ffffff03, 17:67 deny ffffff03, 17:68 deny ffffff03";
const metadata = "* deny ffffff01";

interface Case {
  readonly claim: string;
  readonly policies: readonly Policy[];
  readonly facts: PolicyFacts;
  readonly rows: readonly string[];
}

const cases: readonly Case[] = [
  {
    claim: "without a policy containers are one class that nobody covers, and built-in rules stand",
    policies: [],
    facts: facts(services("web", "db"), { host: ["10.44.0.1"], hostServices: [2375, 2376] }),
    rows: [
      "0.0.0.0/0: class 2", "10.44.0.1/32: class 3", "169.254.169.254/32: class 4", "::/0: class 2", "fd00:ec2::254/128: class 4",
      "identity 1: class 1", "identity 2: class 1",
      `out 1 0: ${local}`, "out 1 2: none", "out 1 3: 6:2375 deny ffffff02, 6:2376 deny ffffff02", `out 1 4: ${metadata}`,
    ],
  },
  {
    claim: "one sentence opens the end of who sends and the end of who receives",
    policies: [policy(shop, [rule("allow", named("web"), named("db"), ports("tcp", 5432))])],
    facts: facts(services("web", "db", "other")),
    rows: [
      "0.0.0.0/0: class 4", "169.254.169.254/32: class 5", "::/0: class 4", "fd00:ec2::254/128: class 5",
      "identity 1: class 1 covered", "identity 2: class 2 covered", "identity 3: class 3 covered",
      "in 2 1: 6:5432 allow 1",
      `out 1 0: ${local}`, `out 1 2: ${local}, 6:5432 allow 1`, "out 1 4: none", `out 1 5: ${metadata}`,
      `out 2 0: ${local}`, "out 2 4: none", `out 2 5: ${metadata}`,
      `out 3 0: ${local}`, "out 3 4: none", `out 3 5: ${metadata}`,
    ],
  },
  {
    claim: "what everyone may is the row for every peer, and names what differs",
    policies: [policy(shop, [rule("allow", entity("any"), named("web"), ports("tcp", 443)), rule("deny", addresses("203.0.113.0/24"), named("web"))])],
    facts: facts(services("web")),
    rows: [
      "0.0.0.0/0: class 2", "169.254.169.254/32: class 3", "203.0.113.0/24: class 4", "::/0: class 2", "fd00:ec2::254/128: class 3", "identity 1: class 1 covered",
      "in 1 0: 6:443 allow 1", "in 1 4: * deny 2",
      `out 1 1: ${local}, 6:443 allow 1`, `out 1 3: ${metadata}`,
    ],
  },
  {
    claim: "a rule of a container's own label opens its own end only",
    policies: [policy({ kind: "identity", key: identityKey(services("web")[0]?.labels as never) }, [
      rule("allow", entity("self"), named("db", "shop"), ports("tcp", 5432), "out"), rule("allow", entity("world"), entity("self"), ports("tcp", 80), "in"),
    ], { in: "deny" })],
    facts: facts(services("web", "db")),
    rows: [
      "0.0.0.0/0: class 3", "169.254.169.254/32: class 4", "::/0: class 3", "fd00:ec2::254/128: class 4",
      "identity 1: class 1 covered deny-in", "identity 2: class 2",
      "in 1 3: 6:80 allow 2", "in 1 4: 6:80 allow 2",
      `out 1 0: ${local}`, `out 1 2: ${local}, 6:5432 allow 1`, "out 1 3: none", `out 1 4: ${metadata}`,
      `out 2 0: ${local}`, "out 2 3: none", `out 2 4: ${metadata}`,
    ],
  },
  {
    claim: "R49 an allow rule opens what a built-in one refuses, port by port",
    policies: [policy({ kind: "all" }, [rule("allow", entity("any"), addresses("169.254.169.254/32"), ports("tcp", 80)), rule("allow", entity("any"), entity("self"), ports("udp", 5353))])],
    facts: facts(services("web")),
    rows: [
      "0.0.0.0/0: class 2", "169.254.169.254/32: class 3", "::/0: class 2", "fd00:ec2::254/128: class 4", "identity 1: class 1 covered",
      "in 1 0: 17:5353 allow 2",
      `out 1 0: ${local.replace("17:5353 deny ffffff03", "17:5353 allow 2")}`, "out 1 2: none", "out 1 3: * deny ffffff01, 6:80 allow 1", `out 1 4: ${metadata}`,
    ],
  },
];

for (const { claim, policies, facts: about, rows } of cases) {
  test(claim, (t) => {
    t.deepEqual(show(compile(policies, about)), rows.toSorted());
  });
}

test("containers that every rule treats alike are one class, whatever else they are called", (t) => {
  const policies = [policy(shop, [rule("allow", labelled({ tier: "db" }), entity("any"))])];
  const identities = [
    identity(1, { service: "a", own: { tier: "db" } }), identity(2, { service: "b", own: { tier: "db", more: "x" } }), identity(3, { service: "c" }), identity(4, { own: { tier: "web" } }),
  ];
  const { classes } = compile(policies, facts(identities));
  t.deepEqual([...classes.values()].map((row) => row.class), [1, 1, 2, 2]);
});

test("a bare name means the policy's own network or project, a name with a network that one, and any where neither is said", (t) => {
  const where = [
    identity(1, { network: "shop", service: "db" }), identity(2, { network: "blog", name: "db" }),
    identity(3, { network: "blog", project: "p", service: "db" }), identity(4, { network: "blog", project: "p", service: "web" }),
  ];
  const meant = (scope: Policy["scope"], peer = named("db")): readonly number[] => {
    const tables = compile([policy(scope, [rule("deny", peer, entity("host"))])], facts(where, { host: ["192.0.2.1"] }));
    return where.filter(({ id }) => lookUp(tables, id, parseIp("192.0.2.1"), "out", 6, 80).verdict === "deny").map(({ id }) => id);
  };
  t.deepEqual(meant(shop), [1]);
  t.deepEqual(meant({ kind: "project", name: "p" }), [3]);
  t.deepEqual(meant({ kind: "all" }), [1, 2, 3]);
  t.deepEqual(meant({ kind: "label", key: "service", value: "web" }), [1, 2, 3]);
  t.deepEqual(meant(shop, named("db", "blog")), [2, 3]);
  t.deepEqual(meant(shop, inNetwork("blog")), [2, 3, 4]);
});

test("any policy's deny by default holds against another's allow", (t) => {
  const policies = [policy(shop, [], { in: "deny", out: "allow" }), policy({ kind: "all" }, [], { in: "allow" }), policy({ kind: "label", key: "tier", value: null }, [], { out: "deny" })];
  t.deepEqual(show(compile(policies, facts([identity(1, {}), identity(2, { own: { tier: "x" } }), identity(3, { network: "blog" })]))).filter((row) => row.startsWith("identity")), [
    "identity 1: class 1 covered deny-in", "identity 2: class 2 covered deny-in deny-out", "identity 3: class 3 covered",
  ]);
});

test("R6 a name that nothing carries matches nothing", (t) => {
  const about = facts(services("web"));
  const nobody = show(compile([policy(shop, [rule("allow", named("nobody"), named("web")), rule("allow", addresses(), named("web"))])], about));
  t.deepEqual(nobody.filter((row) => row.startsWith("in ")), []);
});

test("rules are numbered over all policies in their order", (t) => {
  const policies = [policy(shop, [rule("allow", entity("any"), named("a"))]), policy(shop, [rule("allow", entity("any"), named("b")), rule("deny", entity("any"), named("c"))])];
  const tables = compile(policies, facts(services("c")));
  t.deepEqual([...tables.ports.values()].filter(({ rule: number }) => number < 0xffff).map(({ rule: number, verdict }) => [number, verdict]), [[3, "deny"]]);
  t.is(tables.rules[2], policies[1]?.rules[1]);
});
