// A failing case as text that a person can read: who is there, what is written, what was sent.
import { displayLabels } from "../../src/policy/identity.ts";
import type { End, Policy, Rule, Scope } from "../../src/policy/types.ts";
import { describe } from "./packets.ts";
import type { Case, Somebody, World } from "./policy-world.ts";

export function describeCase(world: World, { packet, question }: Case, rules: readonly Rule[]): string {
  const { facts, containers, guests, ports, policies } = world;
  return [
    `host: [${facts.host.join(", ")}]`,
    `nodes: [${facts.nodes.join(", ")}]`,
    `pool: [${facts.pool.join(", ")}]${facts.poolByAddress ? " by address" : ""}`,
    `lan: [${facts.lan.join(", ")}]`,
    `networks: { ${[...facts.networks].map(([name, { internal, icc }]) => `${name}: {${internal ? " internal" : ""}${icc ? "" : " no-icc"} }`).join(", ")} }`,
    `betweenNetworks: ${facts.betweenNetworks}, published: ${facts.published}, untilIdentified: ${facts.untilIdentified}`,
    "containers:", ...containers.map(describeSomebody),
    "guests:", ...guests.map(describeSomebody),
    "ports:", ...ports.map(({ port, protocol, to, toPort }) => `  - ${port}/${protocol} -> ${to.device}:${toPort}`),
    "policies:", ...policies.flatMap((policy) => describePolicy(policy, rules)),
    "packet:",
    `  ${packet.program} at ${packet.device}: ${describe(packet.data)}`,
    `  from: ${describeEnd(question.from)}`,
    `  to: ${describeEnd(question.to)}`,
    `  protocol: ${question.protocol}, port: ${question.port}, published: ${question.published}`,
  ].join("\n");
}

function describeSomebody({ device, identity, labels, ipv4, ipv6 }: Somebody): string {
  return `  - ${device}: { identity: ${identity}, ${wordsOf(displayLabels(labels))}, ${ipv4}, ${ipv6} }`;
}

function describePolicy({ name, scope, defaults, rules: own }: Policy, all: readonly Rule[]): readonly string[] {
  return [
    `  - ${name}: { for: ${describeScope(scope)}, default: { in: ${defaults.in}, out: ${defaults.out} } }`,
    ...own.map((rule) => `      ${all.indexOf(rule) + 1}: ${rule.action}${rule.ends === "both" ? "" : ` (${rule.ends} only)`} ${rule.text}`),
  ];
}

function describeScope(scope: Scope): string {
  switch (scope.kind) {
    case "all": return "all";
    case "label": return `label ${scope.key}=${scope.value ?? "*"}`;
    case "identity": return scope.key;
    default: return `${scope.kind} ${scope.name}`;
  }
}

function describeEnd({ identity, address, unidentified, guest }: End): string {
  const what = identity === null ? "no container" : `{ ${wordsOf(displayLabels(identity))} }`;
  return `${address} ${what}${unidentified === true ? " unidentified" : ""}${guest === true ? " guest" : ""}`;
}

function wordsOf(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels).map(([key, value]) => `${key}: ${value}`).join(", ");
}
