// Compiling the same policies again: what did not change is the same, what comes is only added.
import test from "ava";
import { compile, createCompiler } from "../../../src/policy/compile.ts";
import type { PolicyTables } from "../../../src/policy/types.ts";
import { entity, facts, identity, labelled, named, policy, ports, rule, services, shop } from "./compile-given.ts";
import { lookUp } from "./lookup.ts";

const policies = [policy(shop, [
  rule("allow", named("web"), named("db"), ports("tcp", 5432)), rule("allow", entity("world"), named("web"), ports("tcp", 443)),
  rule("deny", labelled({ tier: "bad" }), entity("any")), rule("allow", entity("any"), labelled({ tier: "open" }), ports("tcp", [8000, 8100])),
])];

/** Every row of `before` is in `after` with the same value. */
function isAdded(before: PolicyTables, after: PolicyTables): boolean {
  const holds = (a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean => [...a].every(([key, value]) => b.get(key) === value);
  return holds(before.pairs, after.pairs) && holds(before.ports, after.ports) && holds(before.prefixes, after.prefixes);
}

test("equal facts give the same tables", (t) => {
  const compiler = createCompiler();
  t.is(compiler.compile(policies, facts(services("web", "db"))), compiler.compile(policies, facts(services("web", "db"))));
});

test("a container of a known kind changes nothing but its own row", (t) => {
  const compiler = createCompiler();
  const before = compiler.compile(policies, facts(services("web", "db")));
  const after = compiler.compile(policies, facts([...services("web", "db"), identity(9, { service: "db", own: { build: "7" } })]));
  t.deepEqual(after.classes.get(9), before.classes.get(2));
  t.is(after.classes.size, 3);
  t.deepEqual([after.pairs === before.pairs, after.ports === before.ports, after.prefixes === before.prefixes], [true, true, true]);
});

test("a container of a new kind only adds rows, and judges as if all had been compiled at once", (t) => {
  const compiler = createCompiler();
  const newcomers = [
    identity(10, { service: "web", own: { tier: "bad" } }), identity(11, { own: { tier: "open" } }), identity(12, { network: "blog" }), identity(13, { service: "db", own: { tier: "open" } }),
  ];
  const identities = [...services("web", "db")];
  let before = compiler.compile(policies, facts(identities));
  for (const newcomer of newcomers) {
    identities.push(newcomer);
    const after = compiler.compile(policies, facts(identities));
    t.true(isAdded(before, after), `${newcomer.id}`);
    const whole = compile(policies, facts(identities));
    for (const subject of identities) {
      for (const peer of [...identities.map(({ id }) => id), "198.51.100.7" as never]) {
        for (const direction of ["in", "out"] as const) {
          for (const port of [443, 5432, 8000]) t.deepEqual(lookUp(after, subject.id, peer, direction, 6, port).rule, lookUp(whole, subject.id, peer, direction, 6, port).rule);
        }
      }
    }
    before = after;
  }
});

test("a container that comes back finds its class and rows as they were", (t) => {
  const compiler = createCompiler();
  const first = compiler.compile(policies, facts(services("web", "db")));
  const without = compiler.compile(policies, facts(services("web")));
  t.is(without.classes.size, 1);
  const again = compiler.compile(policies, facts(services("web", "db")));
  t.deepEqual(again.classes, first.classes);
  t.is(again.pairs, first.pairs);
});

test("rows of kinds of containers that are gone do not pile up", (t) => {
  const own = [policy({ kind: "all" }, Array.from({ length: 1000 }, (_, i) => rule("allow", labelled({ job: `${i}` }), entity("host"))))];
  const compiler = createCompiler();
  let largest = 0;
  for (let i = 0; i < 1000; i++) largest = Math.max(largest, compiler.compile(own, facts([identity(i + 1, { own: { job: `${i}` } })], { host: ["192.0.2.1"] })).pairs.size);
  t.true(largest < 600, `${largest} rows for one container`);
});

test("other addresses of the host renew the prefixes and keep every number", (t) => {
  const compiler = createCompiler();
  const guarded = [policy(shop, [rule("deny", entity("any"), entity("host"))])];
  const before = compiler.compile(guarded, facts(services("web"), { host: ["192.0.2.1"] }));
  const after = compiler.compile(guarded, facts(services("web"), { host: ["192.0.2.2"] }));
  t.is(after.prefixes.get("192.0.2.2/32" as never), before.prefixes.get("192.0.2.1/32" as never));
  t.false(after.prefixes.has("192.0.2.1/32" as never));
  t.is(after.pairs, before.pairs);
});

test("other services of the host and other policies are compiled anew", (t) => {
  const compiler = createCompiler();
  const about = facts(services("web"), { host: ["192.0.2.1"], hostServices: [2375] });
  compiler.compile(policies, about);
  const moved = compiler.compile(policies, { ...about, hostServices: [2376] });
  t.deepEqual(moved, compile(policies, { ...about, hostServices: [2376] }));
  t.deepEqual(compiler.compile([], about), compile([], about));
});
