// The configuration's reference as Markdown, made from the schema so that no key can be missing.
import { schema } from "./schema.ts";
import type { Group, Key, List, Shape } from "./shape.ts";

type Node = Key<unknown> | Group<Shape> | List<Shape>;

export function reference(): string {
  return [head, ...Object.entries(schema.keys).map(([name, node]) => section(name, node))].join("\n");
}

const head = `# Configuration

\`/etc/hawser/hawser.yaml\`, or the file that \`hawser agent --config\` names. Every key has a default, so the file may be empty or
absent. An unknown key or a wrong value stops the agent with an error that names the key, its line and column, and what is allowed.
What this build cannot do yet is refused by name when a key asks for it.

This page is generated from the schema: \`node tools/config-docs.ts\`.
`;

function section(name: string, node: Node): string {
  const rows = leaves(name, node).map(({ path, key }) => `| \`${path}\` | ${key.allowed.replace(/,$/, "")} | ${standard(key)} | ${key.about} |`);
  const about = node.kind === "key" ? [] : [node.about, ""];
  return [`## ${name}`, "", ...about, "| key | must be | default | what it is for |", "|---|---|---|---|", ...rows, ""].join("\n");
}

/** Every key that has a value of its own, with its path. */
export function leaves(path: string, node: Node): readonly { readonly path: string; readonly key: Key<unknown> }[] {
  if (node.kind === "key") return [{ path, key: node }];
  const [keys, prefix] = node.kind === "list" ? [node.of, `${path}[].`] : [node.keys, `${path}.`];
  return Object.entries(keys).flatMap(([name, inner]) => leaves(prefix + name, inner));
}

function standard({ default: value }: Key<unknown>): string {
  return value === undefined ? "none: it must be given" : `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}
