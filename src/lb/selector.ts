// `select` of a backend: which containers serve.
import { known } from "../yaml/keys.ts";
import type { Node, Page } from "../yaml/page.ts";
import { problem } from "../yaml/problems.ts";
import { settle } from "../yaml/keys.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { split, wrong } from "../yaml/text.ts";
import type { Text } from "../yaml/text.ts";

export interface Selector {
  readonly network: string | null;
  readonly labels: Readonly<Record<string, string | null>>;
}

export function readSelector(page: Page, node: Node): Selector {
  const problems: Problem[] = [];
  const values = known(page, node, '"select"', ["network", "label"], problems);
  settle(problems);
  const [network, label] = [values.get("network"), values.get("label")];
  if (network === undefined && label === undefined) throw problem(page.placeOf(node), '"select" needs "network", "label" or both: { network: shop, label: "app=web" }');
  return { network: network === undefined ? null : readNetwork(page.text(network, '"network"')), labels: label === undefined ? {} : readLabels(page, label) };
}

function readNetwork(text: Text): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text.text)) throw wrong(text, `${quoted(text.text)} is no network's name`);
  return text.text;
}

/** `k=v`, several with commas, or a map. */
function readLabels(page: Page, node: Node): Readonly<Record<string, string | null>> {
  const labels = page.isMap(node)
    ? [...page.map(node, '"label"')].map(([key, { value }]) => [key, value === null ? "" : page.text(value, "a label's value").text] as const)
    : split(page.text(node, '"label"'), ",").map(parseLabel);
  if (labels.length === 0) throw problem(page.placeOf(node), '"label" is empty');
  const twice = labels.find(([key], i) => labels.findIndex(([other]) => other === key) !== i);
  if (twice !== undefined) throw problem(page.placeOf(node), `the label ${quoted(twice[0])} is here twice`);
  return Object.fromEntries(labels);
}

/** `key=value`, or `key` with whatever value. */
function parseLabel(text: Text): readonly [string, string | null] {
  const equals = text.text.indexOf("=");
  const key = (equals < 0 ? text.text : text.text.slice(0, equals)).trim();
  if (!/^[^\s"(),=]+$/.test(key)) throw wrong(text, `${quoted(text.text)} is no label; labels are written key=value, or key alone for any value`);
  return [key, equals < 0 ? null : text.text.slice(equals + 1).trim()];
}
