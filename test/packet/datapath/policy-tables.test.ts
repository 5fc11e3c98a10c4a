// One write changes all tables of a policy at once; what no packet can ask for yet is added to those in force.
import assert from "node:assert/strict";
import { maps } from "../../../src/abi/generated.ts";
import { after, createPolicy } from "../../../src/datapath/policy.ts";
import type { Policy } from "../../../src/datapath/policy.ts";
import { dumpMap, mapRows } from "../../../src/datapath/inspect.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelMap } from "../../../src/kernel/index.ts";
import type { ClassRow, PolicyTables, PortRow, Rule } from "../../../src/policy/types.ts";
import { parseCidr } from "../../../src/std/ip.ts";
import type { HawserError } from "../../../src/std/errors.ts";
import { isolatedTests, numberOf, u32 } from "../kernel/isolated.ts";

const test = isolatedTests(import.meta.url);
const kernel = createKernel();
const names = ["hw_policy_classes", "hw_policy_prefixes", "hw_policy_pairs", "hw_policy_ports"] as const;

/** The five maps as the objects declare them. */
function emptyMaps(): ReadonlyMap<string, KernelMap> {
  const outer = names.map((name) => {
    const { kind, key, value, flags } = maps[name].inner;
    using like = kernel.createMap(kind, name, key.size, value.size, 1, { flags });
    return [name, kernel.createMap("array_of_maps", name, 4, 4, 2, { inner: like })] as const;
  });
  return new Map([...outer, ["hw_policy_state", kernel.createMap("array", "hw_policy_state", 4, 4, 1)]]);
}

function rule(text: string, line = 1): Rule {
  const place = { file: "shop.yaml", line, column: 5 };
  return { policy: "shop", action: "allow", place, text, from: [], to: [], ports: [], ends: "both" };
}

const web: ClassRow = { class: 1, denyIn: true, denyOut: false, covered: true };
const db: ClassRow = { class: 2, denyIn: true, denyOut: true, covered: true };
const https: PortRow = { ruleset: 1, protocol: 6, port: 443, bits: 16, verdict: "allow", wide: false, rule: 1 };
const everything: PortRow = { ruleset: 2, protocol: null, port: 0, bits: 0, verdict: "audit", wide: true, rule: 2 };

const shop: PolicyTables = {
  classes: new Map([[100, web], [101, web], [200, db]]),
  prefixes: new Map([[parseCidr("192.0.2.0/24"), 3], [parseCidr("2001:db8::/32"), 3]]),
  pairs: new Map([["in 1 3", 1], ["out 2 0", 2]]),
  ports: new Map([["1 6 443/16", https], ["2 * 0/0", everything]]),
  rules: [rule("world to web on 443"), rule("db to any", 2)],
};

function changed(changes: Partial<PolicyTables>): PolicyTables {
  return { ...shop, ...changes };
}

interface Ground {
  readonly open: ReadonlyMap<string, KernelMap>;
  readonly policy: Policy;
  /** Ids of what the slot holds, in the order of `names`. */
  slot(number: number): readonly number[];
  /** Keys in force, as text. */
  keys(name: (typeof names)[number]): readonly string[];
}

function ground(open = emptyMaps()): Ground {
  return {
    open,
    policy: createPolicy(kernel, open),
    slot: (number) => names.map((name) => numberOf(open.get(name)?.get(u32(number)))),
    keys: (name) => dumpMap(kernel, open, name, 1000).map(({ key }) => JSON.stringify(key)).toSorted(),
  };
}

test("the first policy is whole in one slot before the revision says so", async () => {
  const { open, policy, slot } = ground();
  assert.deepEqual([policy.standing().revision, policy.standing().tables], [0, null]);
  policy.install(shop);
  assert.deepEqual([policy.standing().revision, policy.standing().tables], [1, shop]);
  assert.deepEqual(slot(0), [0, 0, 0, 0]);
  assert.ok(slot(1).every((id) => id > 0));
  const rows = (name: string): unknown => dumpMap(kernel, open, name, 10).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  assert.deepEqual(rows("hw_policy_classes"), [
    { key: 100, value: { class: 1, flags: 5 } }, { key: 101, value: { class: 1, flags: 5 } }, { key: 200, value: { class: 2, flags: 7 } },
  ]);
  assert.deepEqual(rows("hw_policy_prefixes"), [
    { key: { length: 120, addr: "192.0.2.0" }, value: 3 }, { key: { length: 32, addr: "2001:db8::" }, value: 3 },
  ]);
  assert.deepEqual(rows("hw_policy_pairs"), [
    { key: { subject: 1, peer: 3, direction: 1 }, value: 1 }, { key: { subject: 2, peer: 0, direction: 0 }, value: 2 },
  ]);
  assert.deepEqual(rows("hw_policy_ports"), [
    { key: { length: 32, ruleset: 2, proto: 0, port: 0 }, value: { rule: 2, verdict: 3, wide: 1 } },
    { key: { length: 64, ruleset: 1, proto: 6, port: 443 }, value: { rule: 1, verdict: 1, wide: 0 } },
  ]);
  const row = (await mapRows(kernel, open, shop)).find(({ name }) => name === "hw_policy_classes");
  assert.deepEqual(row, { name: "hw_policy_classes", type: "array_of_maps", keySize: 4, valueSize: 8, capacity: 64, entries: 3 });
  assert.deepEqual((await mapRows(kernel, open, null)).find(({ name }) => name === "hw_policy_classes"), row);
});

test("the same policy again changes nothing", async () => {
  const { policy, slot } = ground();
  policy.install(shop);
  const before = slot(1);
  policy.install(changed({ classes: new Map(shop.classes), rules: [...shop.rules] }));
  assert.deepEqual([policy.standing().revision, slot(1), slot(0)], [1, before, [0, 0, 0, 0]]);
});

test("a new identity, with a class, rulesets and rules of its own, is added to the tables in force", async () => {
  const { policy, slot, keys } = ground();
  policy.install(shop);
  const before = slot(1);
  const grown = changed({
    classes: new Map([...shop.classes, [300, { ...web, class: 9 }], [102, web]]),
    pairs: new Map([...shop.pairs, ["in 9 1", 7], ["out 1 9", 1]]),
    ports: new Map([...shop.ports, ["7 17 53/16", { ...https, ruleset: 7, protocol: 17, port: 53, rule: 3 }]]),
    rules: [...shop.rules, rule("web to new on 53/udp", 3)],
  });
  policy.install(grown);
  assert.deepEqual([policy.standing().revision, slot(1), slot(0)], [1, before, [0, 0, 0, 0]]);
  assert.equal(policy.standing().tables, grown);
  assert.deepEqual(keys("hw_policy_classes"), ["100", "101", "102", "200", "300"]);
  assert.equal(keys("hw_policy_pairs").length, 4);
  assert.equal(keys("hw_policy_ports").length, 3);
  assert.equal(policy.standing().rulesOf(1)?.[2]?.text, "web to new on 53/udp");
  // And away again, when nobody has it any more.
  policy.install(shop);
  assert.deepEqual([policy.standing().revision, keys("hw_policy_classes").length, keys("hw_policy_pairs").length, keys("hw_policy_ports").length], [1, 3, 2, 2]);
  assert.equal(policy.standing().rulesOf(1)?.length, 3, "an event of before may come late");
});

test("what a packet may ask for already changes with one write, in the other slot, and what did not change is kept", async () => {
  const others: Readonly<Record<string, Partial<PolicyTables>>> = {
    "a class's default": { classes: new Map([...shop.classes, [100, { ...web, denyIn: false }]]) },
    "a pair of classes that are there": { pairs: new Map([...shop.pairs, ["in 2 1", 1]]) },
    "a fallback of a class that is there": { pairs: new Map([...shop.pairs, ["in 2 0", 1]]) },
    "a pair less": { pairs: new Map([["in 1 3", 1]]) },
    "another ruleset": { pairs: new Map([...shop.pairs, ["in 1 3", 2]]) },
    "a port of a ruleset that is there": { ports: new Map([...shop.ports, ["1 6 80/16", { ...https, port: 80 }]]) },
    "another verdict": { ports: new Map([...shop.ports, ["1 6 443/16", { ...https, verdict: "deny" }]]) },
    "another prefix": { prefixes: new Map([...shop.prefixes, [parseCidr("198.51.100.0/24"), 3]]) },
    "rules with other numbers": { rules: [rule("first"), ...shop.rules] },
    "one identity for another": { classes: new Map([[100, web], [101, web], [201, db]]) },
  };
  for (const [what, changes] of Object.entries(others)) {
    const { policy, slot } = ground();
    policy.install(shop);
    const before = slot(1);
    policy.install(changed(changes));
    assert.deepEqual([policy.standing().revision, slot(1)], [2, before], what);
    const parts = ["classes", "prefixes", "pairs", "ports"] as const;
    parts.forEach((part, i) => assert.equal(slot(0)[i] === before[i], !(part in changes), `${what}: ${part}`));
    policy[Symbol.dispose]();
  }
});

test("what is added beyond the room goes into new tables with more", async () => {
  const { policy, slot, keys } = ground();
  policy.install(shop);
  const crowd = (count: number): PolicyTables => changed({ classes: new Map([...shop.classes, ...Array.from({ length: count }, (_, i) => [1000 + i, web] as const)]) });
  policy.install(crowd(61));
  assert.equal(policy.standing().revision, 1);
  policy.install(crowd(62));
  assert.deepEqual([policy.standing().revision, keys("hw_policy_classes").length], [2, 65]);
  assert.deepEqual(slot(0).slice(1), slot(1).slice(1));
  policy.install(crowd(90));
  assert.deepEqual([policy.standing().revision, keys("hw_policy_classes").length], [2, 93]);
});

test("a touch changes the revision and neither the slot nor its tables", async () => {
  const { policy, slot } = ground();
  policy.touch();
  assert.equal(policy.standing().revision, 0);
  policy.install(shop);
  const before = slot(1);
  policy.touch();
  policy.touch();
  assert.deepEqual([policy.standing().revision, slot(1)], [5, before]);
  assert.deepEqual([1, 3, 5, 2, 7].map((revision) => policy.standing().rulesOf(revision)?.length), [2, 2, 2, undefined, undefined]);
  policy.install(changed({ rules: [] }));
  assert.equal(policy.standing().revision, 6);
});

test("a policy that is too large is refused by table and size, and what was in force stays (R32)", async () => {
  const { policy, slot, keys } = ground();
  policy.install(shop);
  const before = slot(1);
  const many = <V>(count: number, key: (i: number) => string, value: V): ReadonlyMap<string, V> => new Map(Array.from({ length: count }, (_, i) => [key(i), value]));
  const tooLarge: Readonly<Record<string, readonly [PolicyTables, number, number]>> = {
    hw_policy_classes: [changed({ classes: new Map(Array.from({ length: 65_537 }, (_, i) => [i + 1, web])) }), 65_537, 65_536],
    hw_policy_prefixes: [changed({ prefixes: many(1_048_577, (i) => `10.${i}`, 3) as unknown as PolicyTables["prefixes"] }), 1_048_577, 1_048_576],
    hw_policy_pairs: [changed({ pairs: many(1_048_577, (i) => `in 1 ${i}`, 1) }), 1_048_577, 1_048_576],
    hw_policy_ports: [changed({ ports: many(1_048_577, (i) => `${i} 6 0/0`, https) }), 1_048_577, 1_048_576],
  };
  for (const [name, [tables, needed, limit]] of Object.entries(tooLarge)) {
    assert.throws(() => policy.install(tables), (error: HawserError) =>
      error.code === "TABLE_FULL" && error.message.includes(`${needed} entries in ${name}, which may have ${limit}`));
  }
  assert.deepEqual([policy.standing().revision, policy.standing().tables, slot(1), slot(0)], [1, shop, before, [0, 0, 0, 0]]);
  assert.deepEqual(keys("hw_policy_classes"), ["100", "101", "200"]);
});

test("tables that cannot be written leave those in force as they were", async () => {
  const { policy, slot, keys } = ground();
  policy.install(shop);
  const before = slot(1);
  for (const bad of [{ classes: new Map([...shop.classes, [400, { ...web, class: -1 }]]) }, { pairs: new Map([["in 1 3", -1]]) }]) {
    assert.throws(() => policy.install(changed(bad)), /-1 is no unsigned 32-bit number/);
    assert.deepEqual([policy.standing().revision, policy.standing().tables, slot(1), slot(0)], [1, shop, before, [0, 0, 0, 0]]);
  }
  policy.install(shop);
  assert.equal(keys("hw_policy_classes").length, 3);
});

test("a new agent leaves the old one's policy in force until it writes its own, all of it anew (R11)", async () => {
  const old = ground();
  old.policy.install(shop);
  old.policy[Symbol.dispose]();
  const { policy, slot, keys } = ground(old.open);
  assert.deepEqual([policy.standing().revision, policy.standing().tables, policy.standing().rulesOf(1)], [1, null, undefined]);
  assert.equal(keys("hw_policy_classes").length, 3);
  const before = slot(1);
  policy.install(shop);
  assert.equal(policy.standing().revision, 2);
  assert.deepEqual(slot(1), before);
  assert.ok(slot(0).every((id, i) => id > 0 && id !== before[i]));
});

test("whoever else wrote a revision, what it stands for is not taken for ours", async () => {
  const { open, policy, slot } = ground();
  policy.install(shop);
  const before = slot(1);
  open.get("hw_policy_state")?.set(u32(0), u32(8));
  policy.install(shop);
  assert.equal(policy.standing().revision, 9);
  assert.ok(slot(1).every((id, i) => id !== before[i]));
});

test("rules are named for the last eight generations", async () => {
  const { policy } = ground();
  for (let i = 1; i <= 10; i++) policy.install(changed({ rules: [rule(`rule ${i}`)] }));
  assert.equal(policy.standing().revision, 10);
  assert.deepEqual([2, 3, 10].map((revision) => policy.standing().rulesOf(revision)?.[0]?.text), [undefined, "rule 3", "rule 10"]);
});

test("revisions go round without a zero and without a wrong slot", async () => {
  assert.deepEqual([after(1, 1), after(1, 2), after(0xffff_ffff, 1), after(0xffff_fffe, 2), after(0xffff_ffff, 2)], [2, 3, 2, 2, 3]);
});

test("replaced tables are let go, and no more than two of each are kept", async () => {
  const { policy, slot } = ground();
  const seen = new Set<number>();
  for (let i = 1; i <= 6; i++) {
    policy.install(changed({ classes: new Map([[100, { ...web, class: i }]]), prefixes: new Map([[parseCidr("192.0.2.0/24"), i]]) }));
    for (const id of [...slot(0), ...slot(1)]) if (id > 0) seen.add(id);
  }
  const held = new Set([...slot(0), ...slot(1)]);
  for (let i = 0; i < 300 && alive(seen).length > held.size; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(alive(seen), [...held].toSorted((a, b) => a - b));
});

test("100 000 prefixes, pairs and ports go in as one generation, and one more container in place", async () => {
  const count = 100_000;
  const { policy } = ground();
  const tables: PolicyTables = {
    classes: shop.classes,
    prefixes: new Map(Array.from({ length: count }, (_, i) => [parseCidr(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`), i + 10])),
    pairs: new Map(Array.from({ length: count }, (_, i) => [`in 1 ${i + 10}`, i + 1])),
    ports: new Map(Array.from({ length: count }, (_, i) => [`${i + 1} 6 443/16`, { ...https, ruleset: i + 1 }])),
    rules: shop.rules,
  };
  policy.install(tables);
  policy.install({ ...tables, classes: new Map([...tables.classes, [500, web]]) });
  assert.equal(policy.standing().revision, 1);
});

function alive(ids: ReadonlySet<number>): number[] {
  return [...ids].toSorted((a, b) => a - b).filter((id) => {
    try {
      kernel.openMapById(id).close();
      return true;
    } catch {
      return false;
    }
  });
}
