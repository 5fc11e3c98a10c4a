// The keys that a map may have: the unknown ones are refused with the nearest known one.
import { nearest, slip } from "../std/nearest.ts";
import { Problems, problem } from "./problems.ts";
import type { Problem } from "./problems.ts";
import { quoted } from "./render.ts";
import { wrong } from "./text.ts";
import type { Text } from "./text.ts";
import type { Entry, Page } from "./page.ts";
import type { Node } from "yaml";

/** Whoever has so many problems in one map wrote something else than we read. */
const enough = 1000;

/** The values of a map whose keys are all known; a key without a value is a problem, because a file that was cut off ends so. */
export function known<K extends string>(page: Page, node: Node, what: string, keys: readonly K[], problems: Problem[]): ReadonlyMap<K, Node> {
  const values = new Map<K, Node>();
  for (const [name, { key, value }] of page.map(node, what)) {
    const same = keys.find((one) => one === name);
    if (problems.length > enough) break;
    if (same === undefined) problems.push(place(key, unknownKey(name, what, keys)));
    else if (value === null) problems.push(place(key, `${quoted(name)} has no value; was the file cut off? Write one, or leave the key out`));
    else values.set(same, value);
  }
  return values;
}

function unknownKey(name: string, what: string, keys: readonly string[]): string {
  const meant = nearest(name, keys, slip);
  return `${quoted(name)} is no key of ${what}; ${meant === undefined ? "the" : `did you mean ${quoted(meant)}? The`} keys are ${keys.join(", ")}`;
}

function place(text: Text, message: string): Problem {
  return { place: text.place(text.offset), message };
}

/** The only entry of a map that must have one. */
export function single(page: Page, node: Node, what: string): Entry & { readonly value: Node } {
  const entries = [...page.map(node, what).values()];
  const [first] = entries;
  if (first === undefined || entries.length > 1) throw problem(page.placeOf(node), `${what} must have one key, and has ${entries.length}`);
  if (first.value === null) throw wrong(first.key, `${quoted(first.key.text)} has no value`);
  return { key: first.key, value: first.value };
}

/** @throws what was found, when anything was. */
export function settle(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new Problems(problems);
}
