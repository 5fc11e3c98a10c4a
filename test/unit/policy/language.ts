// Policies as short text, so that a test can show what a sentence was understood as.
import { PolicyProblems } from "../../../src/policy/problems.ts";
import { readPolicies } from "../../../src/policy/read.ts";
import type { Peer, Policy, PortRange, Rule } from "../../../src/policy/types.ts";

/** A policy around the lines, which stand below one of its keys from line 4 on. */
export function policyWith(lines: readonly string[], key = "allow"): string {
  return ["policy: shop", "for: { network: shop }", 'sets: { office: [203.0.113.0/24, "2001:db8::/48 except 2001:db8:0:bad::/64"], none: [] }', `${key}:`, ...lines, ""].join("\n");
}

/** One sentence, in double quotes, as the printed rules it means. */
export function understood(sentence: string): readonly string[] {
  const [policy] = readPolicies([{ file: "shop.yaml", text: policyWith([`  - ${JSON.stringify(sentence)}`]) }]);
  return (policy?.rules ?? []).map(printRule);
}

/** `line:column: message` of every problem; throws when there is none. */
export function problemsOf(text: string, file = "shop.yaml"): readonly string[] {
  return problemsIn(() => readPolicies([{ file, text }])).map((line) => line.slice(file.length + 1));
}

export function problemsIn(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (!(error instanceof PolicyProblems)) throw error;
    return error.problems.map(({ place: { file, line, column }, message }) => `${file}:${line}:${column}: ${message}`);
  }
  throw new Error("no problem was found");
}

export function printRule({ from, to, ports }: Rule): string {
  const targets = ports.length === 0 ? "" : ` ${ports.map(printPorts).join(",")}`;
  return `${from.map(printPeer).join(" | ")} -> ${to.map(printPeer).join(" | ")}${targets}`;
}

function printPorts({ protocol, first, last }: PortRange): string {
  return `${protocol}:${first}${first === last ? "" : `-${last}`}`;
}

export function printPeer(peer: Peer): string {
  switch (peer.kind) {
    case "entity": return `entity ${peer.entity}`;
    case "name": return `name ${peer.network ?? "*"}/${peer.name}`;
    case "network": return `network ${peer.name}`;
    case "labels": return `labels ${Object.entries(peer.labels).map(([key, value]) => (value === null ? key : `${key}=${value}`)).join("&")}`;
    case "addresses": return `${peer.set === null ? "" : `set ${peer.set}: `}${peer.ranges.map(({ include, except }) => [include, ...except].join(" minus ")).join(" + ")}`;
  }
}

export function printPolicy({ name, scope, defaults, rules }: Policy): string {
  const who = scope.kind === "all" ? "all" : JSON.stringify(scope);
  return [`${name} for ${who} in:${defaults.in ?? "-"} out:${defaults.out ?? "-"}`, ...rules.map((rule) => `${rule.action} ${printRule(rule)}`)].join("\n");
}
