// Places and rules as people read them.
import type { Place, Rule } from "./types.ts";

/** `shop.yaml:4:5`, as editors and terminals understand it. */
export function placeText({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}

/** `allow web -> api:8080 (policy shop, shop.yaml:4:5)`. */
export function ruleText(rule: Rule): string {
  return `${rule.action} ${rule.text} (policy ${rule.policy}, ${placeText(rule.place)})`;
}

/** Somebody else's words inside a sentence of ours: quoted, and cut where they would drown it. */
export function quoted(text: string): string {
  const most = 80;
  return JSON.stringify(text.length > most ? `${text.slice(0, most)}…` : text);
}
