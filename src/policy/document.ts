// One policy as a map of YAML: its keys, each read into its value.
import { nearest, slip } from "../std/nearest.ts";
import { known, settle, single } from "../yaml/keys.ts";
import { readLongForm } from "./long-form.ts";
import type { Node, Page } from "../yaml/page.ts";
import { isName, parseLabels, parseNetwork } from "./peers.ts";
import { attempt, problem } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { parseSentence } from "./sentence.ts";
import type { RuleContext } from "./sentence.ts";
import { readSets } from "./sets.ts";
import { slice, wrong } from "../yaml/text.ts";
import type { Action, Defaults, Policy, PolicyTest, Rule, Scope } from "./types.ts";

const keys = ["policy", "for", "default", "sets", "allow", "deny", "audit", "tests"] as const;
const actions: readonly Action[] = ["allow", "deny", "audit"];

/** What a policy is that does not say so itself. */
export interface Absent {
  readonly name: string | null;
  readonly scope: Scope | null;
  readonly closedNames: readonly string[] | null;
}

/** undefined when it has problems, which then are among `problems`. */
export function readPolicy(page: Page, node: Node, absent: Absent, problems: Problem[]): Policy | undefined {
  const before = problems.length;
  const policy = attempt(problems, () => {
    const values = known(page, node, "a policy", keys, problems);
    const given = values.get("policy");
    const name = given === undefined ? absent.name : attempt(problems, () => readName(page, given));
    if (name === null) throw problem(page.placeOf(node), 'a policy needs a name: policy: NAME. Is this a policy file?');
    const scope = values.has("for") ? attempt(problems, () => readScope(page, values.get("for") ?? node)) : absent.scope;
    if (scope === null) problems.push({ place: page.placeOf(node), message: 'a policy needs "for": all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }' });
    if (values.size - (values.has("policy") ? 1 : 0) - (values.has("for") ? 1 : 0) === 0 && problems.length === before) {
      problems.push({ place: page.placeOf(node), message: `the policy says nothing: it has neither of ${keys.slice(2).join(", ")}; was the file cut off?` });
    }
    const defaults = attempt(problems, () => readDefaults(page, values.get("default")));
    const sets = readSets(page, values.get("sets"), problems);
    const rules = actions.flatMap((action) => readRules(page, values.get(action), { policy: name ?? "", action, sets, network: null }, problems));
    const tests = readTests(page, values.get("tests"), problems);
    if (name === undefined || scope === undefined || scope === null || defaults === undefined) return undefined;
    return { name, place: page.placeOf(given ?? node), scope, defaults, rules, tests, closedNames: absent.closedNames };
  });
  return problems.length > before ? undefined : policy;
}

function readName(page: Page, node: Node): string {
  const text = page.text(node, '"policy"');
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text.text)) {
    throw wrong(text, `${quoted(text.text)} is no name of a policy: 1 to 63 letters, digits, dots, dashes or underscores`);
  }
  return text.text;
}

const scopes: readonly string[] = ["network", "project", "label"];

function readScope(page: Page, node: Node): Scope {
  const forms = 'all, { network: NAME }, { project: NAME } or { label: "KEY=VALUE" }';
  if (!page.isMap(node)) {
    const text = page.text(node, '"for"');
    if (text.text === "all") return { kind: "all" };
    throw wrong(text, `"for" is ${quoted(text.text)}, but must be ${forms}`);
  }
  const { key, value } = single(page, node, '"for"');
  const name = page.text(value, `"${key.text}"`);
  switch (key.text) {
    case "network": return { kind: "network", name: parseNetwork(name) };
    case "project":
      if (!isName(name.text)) throw wrong(name, `${quoted(name.text)} is no project's name`);
      return { kind: "project", name: name.text };
    case "label": {
      const [label, more] = Object.entries(parseLabels(name));
      if (label === undefined || more !== undefined) throw wrong(name, '"for" takes one label');
      return { kind: "label", key: label[0], value: label[1] };
    }
    default: {
      const meant = nearest(key.text, scopes, slip);
      throw wrong(key, `${quoted(key.text)} is no key of "for"; ${meant === undefined ? "" : `did you mean ${quoted(meant)}? `}It must be ${forms}`);
    }
  }
}

function readDefaults(page: Page, node: Node | undefined): Defaults {
  if (node === undefined) return { in: null, out: null };
  const problems: Problem[] = [];
  const values = known(page, node, '"default"', ["in", "out"], problems);
  const read = (key: "in" | "out"): "allow" | "deny" | null => {
    const value = values.get(key);
    if (value === undefined) return null;
    const text = page.text(value, `"${key}"`);
    if (text.text === "allow" || text.text === "deny") return text.text;
    throw wrong(text, `"${key}" is ${quoted(text.text)}, but must be allow or deny; left out: what Docker does`);
  };
  const defaults = { in: attempt(problems, () => read("in")) ?? null, out: attempt(problems, () => read("out")) ?? null };
  settle(problems);
  return defaults;
}

function readRules(page: Page, node: Node | undefined, context: RuleContext, problems: Problem[]): readonly Rule[] {
  if (node === undefined) return [];
  const items = attempt(problems, () => page.list(node, `"${context.action}"`)) ?? [];
  return items.flatMap((item) => attempt(problems, () => {
    if (page.isMap(item)) return [readLongForm(page, item, context)];
    const text = page.text(item, "a rule");
    if (text.text === "") throw problem(page.placeOf(item), "a rule is missing here; was the file cut off?");
    return parseSentence(text, context);
  }) ?? []);
}

function readTests(page: Page, node: Node | undefined, problems: Problem[]): readonly PolicyTest[] {
  if (node === undefined) return [];
  const items = attempt(problems, () => page.list(node, '"tests"')) ?? [];
  return items.flatMap((item) => attempt(problems, () => readTest(page, item)) ?? []);
}

function readTest(page: Page, node: Node): PolicyTest {
  const problems: Problem[] = [];
  const values = known(page, node, "a test", ["from", "to", "expect"], problems);
  const misspelt = problems.length > 0;
  const read = (key: "from" | "to" | "expect"): string => {
    const value = values.get(key);
    if (value === undefined) {
      // Whoever wrote "form" is told that alone.
      if (!misspelt) problems.push({ place: page.placeOf(node), message: `a test needs "${key}": { from: web, to: "db:5432", expect: allow }` });
      return "";
    }
    const text = slice(page.text(value, `"${key}"`), 0);
    if (text.text === "") problems.push({ place: page.placeOf(value), message: `"${key}" is empty` });
    if (key === "expect" && !actions.some((action) => action === text.text)) {
      problems.push({ place: page.placeOf(value), message: `"expect" is ${quoted(text.text)}, but must be allow, deny or audit` });
    }
    return text.text;
  };
  const [from, to, expect] = [read("from"), read("to"), read("expect")];
  settle(problems);
  return { place: page.placeOf(node), from, to, expect: actions.find((action) => action === expect) ?? "deny" };
}
