// Labels of which nobody can tell whether they are the container's own: they count for what closes and never for what opens.
import test from "ava";
import { compile } from "../../../src/policy/compile.ts";
import { evaluate } from "../../../src/policy/evaluate.ts";
import { displayLabels, identityKey, relevantLabels } from "../../../src/policy/identity.ts";
import { policyOfLabels } from "../../../src/policy/own-labels.ts";
import type { End, IdentityLabels, PacketQuestion, Policy } from "../../../src/policy/types.ts";
import { randomFrom } from "../../packet/policy-place.ts";
import { randomCase, randomWorld } from "../../packet/policy-world.ts";
import { db, facts, job, judge, policies, web } from "./shop.ts";

const labels = { "com.docker.compose.project": "bank", "com.docker.compose.service": "vault", tier: "secret" };
const inDoubt = (doubtful: Readonly<Record<string, string>>): IdentityLabels => relevantLabels({ network: "shop", name: "x", own: {}, doubtful }, new Set());
const vault = inDoubt(labels);

/** As the tables have it: the flags of the container's class. */
function flagsOf(written: readonly Policy[], container: IdentityLabels): readonly string[] {
  const row = compile(written, { ...facts, identities: [{ id: 7, labels: container }] }).classes.get(7);
  return [...(row?.denyIn ? ["deny-in"] : []), ...(row?.denyOut ? ["deny-out"] : []), ...(row?.covered ? ["covered"] : [])];
}

for (const scope of ["{ project: bank }", '{ label: "tier=secret" }', "{ label: tier }", '{ label: "service=vault" }']) {
  test(`R88: what for: ${scope} denies by default stays denied to a container that may be meant`, (t) => {
    const written = policies(`policy: p\nfor: ${scope}\ndefault: { in: deny, out: deny }\n`);
    t.is(judge(written, "8.8.8.8", vault, "80"), "deny in default:in");
    t.is(judge(written, vault, "8.8.8.8", "80"), "deny out default:out");
    t.deepEqual(flagsOf(written, vault), ["deny-in", "deny-out"]);
    t.deepEqual(flagsOf(written, job), []);
  });
}

test("R88: a default of allow, and being covered, open nothing to a container that is only perhaps meant", (t) => {
  const written = policies("policy: p\nfor: { project: bank }\ndefault: { in: allow, out: allow }\n");
  t.is(judge(written, "8.8.8.8", vault, "80", { facts: { published: "deny" }, published: true }), "deny in default:published");
  t.deepEqual(flagsOf(written, vault), []);
  const closed = policies("policy: p\nfor: { project: bank }\ndefault: { in: allow }\n", "policy: q\nfor: all\ndefault: { in: deny }\n");
  t.is(judge(closed, web, vault, "80"), "deny in default:in");
});

test("R88: a deny rule means whoever may be meant, at either end; allow and audit rules do not", (t) => {
  for (const peer of ["label(tier=secret)", "label(tier)", "label(project=bank, tier=secret)", "vault"]) {
    const said = (action: string, sentence: string): readonly Policy[] => policies(`policy: p\nfor: all\ndefault: { in: deny, out: deny }\n${action}: ["${sentence}"]\n`);
    t.is(judge(said("deny", `${peer} -> db`), vault, db, "80"), `deny out ${peer} -> db`);
    t.is(judge(said("deny", `web -> ${peer}:80`), web, vault, "80"), `deny out web -> ${peer}:80`);
    for (const action of ["allow", "audit"]) {
      t.is(judge(said(action, `${peer} -> db`), vault, db, "80"), "deny out default:out");
      t.is(judge(said(action, `web -> ${peer}`), web, vault, "80"), "deny out default:out");
    }
  }
});

test("R88: of what the container's doubtful labels say for itself only what closes holds", (t) => {
  const said = (own: Readonly<Record<string, string>>) => {
    const container = inDoubt(own);
    const policy = policyOfLabels(container.doubtful ?? container, identityKey(container.doubtful ?? container));
    return { container, written: [...policies("policy: p\nfor: all\ndefault: { out: deny }\n"), ...(policy === null ? [] : [policy])] };
  };
  const closing = said({ "hawser.default.in": "deny", "hawser.deny.out": "db:5432", "hawser.allow.in": "web:80", "hawser.allow.out": "web:80" });
  t.is(judge(closing.written, "8.8.8.8", closing.container, "80"), "deny in default:in");
  t.is(judge(closing.written, "8.8.8.8", closing.container, "81"), "deny in default:in");
  t.is(judge(closing.written, closing.container, db, "5432"), "deny out hawser.deny.out=db:5432");
  t.is(judge(closing.written, closing.container, web, "80"), "deny out default:out");
  const opening = said({ "hawser.default.out": "allow", "hawser.audit.out": "db" });
  t.is(judge(opening.written, opening.container, db, "5432"), "deny out default:out");
});

test("R88: with doubtful labels a container is another identity than without them, and than with them for its own", (t) => {
  const sure = relevantLabels({ network: "shop", name: "x", own: labels }, new Set());
  const none = relevantLabels({ network: "shop", name: "x", own: {} }, new Set());
  t.is(new Set([vault, sure, none].map(identityKey)).size, 3);
  t.deepEqual(vault, { ...none, doubtful: sure });
  t.deepEqual(displayLabels(vault), { network: "shop", "doubtful:project": "bank", "doubtful:service": "vault", "doubtful:tier": "secret" });
  t.deepEqual(inDoubt({ maintainer: "me", "org.opencontainers.image.title": "x" }), none, "bookkeeping leaves no doubt");
});

test("R88: what is denied to a container as it surely is, or as it may be, is denied to it in doubt, and nothing else", (t) => {
  const random = randomFrom(88);
  let [doubted, passed] = [0, 0];
  for (let i = 0; i < 150; i++) {
    const world = randomWorld(random);
    // Of exactly one identity another reading is none.
    const written = world.policies.filter(({ scope }) => scope.kind !== "identity");
    for (let n = 0; n < 50; n++) {
      const { question } = randomCase(random, world, n);
      const verdict = (asked: PacketQuestion) => evaluate(written, world.facts, asked).verdict;
      const inDoubt = verdict(question);
      const surely = verdict(read(question, ({ network, project, service, name, own }) => ({ network, project, service, name, own })));
      const perhaps = verdict(read(question, (one) => one.doubtful ?? one));
      if (inDoubt !== "deny") passed++;
      else if (surely !== "deny") doubted++;
      if (inDoubt !== "deny" && (inDoubt !== surely || perhaps === "deny")) t.fail(`${inDoubt} where it is ${surely} or ${perhaps}: ${JSON.stringify(question)}`);
      if (inDoubt === "deny" && question.from.identity?.doubtful === undefined && question.to.identity?.doubtful === undefined && surely !== "deny") t.fail("a denial without a doubt");
    }
  }
  t.true(doubted > 20 && passed > 500, `${doubted} closed, ${passed} passed`);
});

function read({ from, to, ...question }: PacketQuestion, as: (labels: IdentityLabels) => IdentityLabels): PacketQuestion {
  const end = (one: End): End => ({ ...one, identity: one.identity && as(one.identity) });
  return { ...question, from: end(from), to: end(to) };
}
