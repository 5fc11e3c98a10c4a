// Rules as people read them.
import { placeText } from "../yaml/render.ts";
import type { Rule } from "./types.ts";

/** `allow web -> api:8080 (policy shop, shop.yaml:4:5)`. */
export function ruleText(rule: Rule): string {
  return `${rule.action} ${rule.text} (policy ${rule.policy}, ${placeText(rule.place)})`;
}
