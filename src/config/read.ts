// Values against the shape: fills in defaults and finds every problem, each with the path of its key.
import { nearest, slip } from "../std/nearest.ts";
import type { Group, Key, List, Shape } from "./shape.ts";

export type Path = readonly (string | number)[];

export interface Problem {
  readonly path: Path;
  readonly sentence: string;
}

/** The value with its defaults; what is wrong is added to `problems`, and then the value means nothing. */
export function read(node: Key<unknown> | Group<Shape> | List<Shape>, input: unknown, path: Path, problems: Problem[]): unknown {
  if (node.kind === "group") return readGroup(node.keys, input, path, problems);
  if (node.kind === "list") return readList(node.of, input, path, problems);
  const value = input === undefined ? node.default : input;
  if (!node.accepts(value)) problems.push({ path, sentence: `"${render(path)}" is ${show(value)}, but must be ${node.allowed}` });
  return value;
}

/** An empty group (`docker:`) is all defaults, as is one that is left out. */
function readGroup(keys: Shape, input: unknown, path: Path, problems: Problem[]): unknown {
  const given: unknown = input ?? {};
  if (given === null || typeof given !== "object" || Array.isArray(given)) {
    const what = path.length === 0 ? "the configuration" : `"${render(path)}"`;
    problems.push({ path, sentence: `${what} is ${show(given)}, but must be a group of keys` });
    return undefined;
  }
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(keys, name)) problems.push({ path: [...path, name], sentence: unknownKey([...path, name], name, Object.keys(keys)) });
  }
  const values = given as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.entries(keys).map(([name, node]) => [name, read(node, values[name], [...path, name], problems)]));
}

function readList(of: Shape, input: unknown, path: Path, problems: Problem[]): unknown {
  const given: unknown = input ?? [];
  if (Array.isArray(given)) return given.map((item, index) => readGroup(of, item, [...path, index], problems));
  problems.push({ path, sentence: `"${render(path)}" is ${show(given)}, but must be a list` });
  return undefined;
}

function unknownKey(path: Path, name: string, known: readonly string[]): string {
  const meant = nearest(name, known, slip);
  const offer = meant === undefined ? "the" : `did you mean "${meant}"? The`;
  return `"${render(path)}" is no key; ${offer} keys here are ${known.join(", ")}`;
}

export function render(path: Path): string {
  return path.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("").replace(/^\./, "");
}

function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
