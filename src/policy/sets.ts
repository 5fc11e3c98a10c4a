// `sets:` of a policy: names for groups of addresses, each a text, a list of texts, or of maps with cidr and except.
import { parseRanges } from "./addresses.ts";
import { readRange } from "./long-form.ts";
import type { Node, Page } from "../yaml/page.ts";
import { attempt } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { wrong } from "../yaml/text.ts";
import type { AddressRange } from "./types.ts";

/** A set with problems is there and empty, so that who names it is not told that it is missing. */
export function readSets(page: Page, node: Node | undefined, problems: Problem[]): ReadonlyMap<string, readonly AddressRange[]> {
  const sets = new Map<string, readonly AddressRange[]>();
  if (node === undefined) return sets;
  const entries = attempt(problems, () => page.map(node, '"sets"')) ?? new Map<string, never>();
  for (const [name, { key, value }] of entries) {
    sets.set(name, attempt(problems, () => {
      if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/.test(name)) throw wrong(key, `${quoted(name)} is no name of a set: letters, digits, dots, dashes or underscores`);
      if (value === null) throw wrong(key, `the set ${quoted(name)} has no value; was the file cut off? An empty set is written []`);
      return readSet(page, value, problems);
    }) ?? []);
  }
  return sets;
}

function readSet(page: Page, node: Node, problems: Problem[]): readonly AddressRange[] {
  const items = page.isList(node) ? page.list(node, "a set") : [node];
  return items.flatMap((item) => attempt(problems, () => (page.isMap(item) ? [readRange(page, item)] : parseRanges(page.text(item, "an address")))) ?? []);
}
