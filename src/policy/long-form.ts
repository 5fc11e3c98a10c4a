// The long form of a rule, `{ from: […], to: […], ports: […] }`, whose peers are texts or maps.
import { looksLikeAddress, parseException, parseRange } from "./addresses.ts";
import { entities, parseEntity } from "./entities.ts";
import { known, settle } from "../yaml/keys.ts";
import type { Node, Page } from "../yaml/page.ts";
import { parseLabels, parseName, parseNetwork, parsePeer } from "./peers.ts";
import { attempt, problem } from "../yaml/problems.ts";
import type { Problem } from "../yaml/problems.ts";
import { quoted } from "../yaml/render.ts";
import { notSupported, parsePortItems, parseSources } from "./sentence.ts";
import type { RuleContext } from "./sentence.ts";
import { slice, words, wrong } from "../yaml/text.ts";
import { nearest } from "../std/nearest.ts";
import type { AddressRange, Peer, Place, Rule } from "./types.ts";

const later = ["http", "grpc", "kafka", "tls", "limit"] as const;
const keys = ["from", "to", "ports"] as const;

export function readLongForm(page: Page, node: Node, context: RuleContext): Rule {
  const problems: Problem[] = [];
  refuseTraps(page, node);
  const values = known(page, node, "a rule", keys, problems);
  const peers = (key: "from" | "to"): readonly Peer[] => {
    const value = values.get(key);
    if (value === undefined) {
      if (problems.length === 0) problems.push({ place: page.placeOf(node), message: `a rule in the long form needs "${key}"` });
      return [];
    }
    const items = page.isList(value) ? page.list(value, key) : [value];
    if (items.length === 0) problems.push({ place: page.placeOf(value), message: `"${key}" is empty: it would match nothing; for everything write any` });
    return items.flatMap((item) => attempt(problems, () => readPeers(page, item, context)) ?? []);
  };
  const [from, to] = [peers("from"), peers("to")];
  const ports = values.get("ports");
  const items = ports === undefined ? [] : page.isList(ports) ? page.list(ports, "ports") : [ports];
  if (ports !== undefined && items.length === 0) problems.push({ place: page.placeOf(ports), message: '"ports" is empty; for every port leave it out' });
  const ranges = items.flatMap((item) => attempt(problems, () => parsePortItems(page.text(item, "a port"))) ?? []);
  settle(problems);
  return { policy: context.policy, action: context.action, place: page.placeOf(node), text: page.flow(node), from, to, ports: ranges, ends: "both" };
}

/** What is not built yet, and the sentence that YAML took for a map because of a space behind its ":". */
function refuseTraps(page: Page, node: Node): void {
  for (const [name, { key }] of page.map(node, "a rule")) {
    const kind = later.find((one) => one === name);
    if (kind !== undefined) throw wrong(key, notSupported(kind));
    if (name.includes("->")) throw wrong(key, 'YAML takes this for a map, because a space follows the ":"; write the port right behind it, or the sentence in quotes');
  }
}

function readPeers(page: Page, node: Node, context: RuleContext): readonly Peer[] {
  return page.isMap(node) ? [readPeer(page, node, context)] : parseSources(page.text(node, "a peer"), context);
}

const peerKeys = ["label", "cidr", "except", "name", "network", "set", "entity"] as const;

/** One of label, cidr with or without except, name with or without network, network, set, entity. */
function readPeer(page: Page, node: Node, context: RuleContext): Peer {
  const problems: Problem[] = [];
  const values = known(page, node, "a peer", peerKeys, problems);
  settle(problems);
  const place = page.placeOf(node);
  const given = [...values.keys()].sort().join(" and ");
  const text = (key: (typeof peerKeys)[number]) => {
    const value = values.get(key);
    if (value === undefined) throw problem(place, `a peer needs "${key}"`);
    return page.text(value, `"${key}"`);
  };
  switch (given) {
    case "label": return { kind: "labels", labels: readLabels(page, values.get("label"), place), place };
    case "cidr": case "cidr and except": {
      return { kind: "addresses", ranges: [rangeOf(page, values.get("cidr"), values.get("except"), place)], set: null, place };
    }
    case "name": return { kind: "name", ...parseName(text("name"), context.network), place };
    case "name and network": return { kind: "name", network: parseNetwork(text("network")), name: parseNetwork(text("name")), place };
    case "network": return { kind: "network", name: parseNetwork(text("network")), place };
    case "set": {
      const set = text("set");
      return { ...parsePeer([{ ...set, text: `@${set.text.replace(/^@/, "")}` }], context), place };
    }
    case "entity": {
      const word = text("entity");
      const entity = parseEntity(word.text);
      if (entity === null) throw wrong(word, `${quoted(word.text)} is no entity; did you mean ${nearest(word.text, entities)}? There are ${entities.join(", ")}`);
      return { kind: "entity", entity, place };
    }
    default: throw problem(place, `a peer is one of label, cidr (with except), name (with network), network, set or entity; this has ${given || "none of them"}`);
  }
}

/** `k=v`, several with commas, or a map. */
function readLabels(page: Page, node: Node | undefined, place: Place): Readonly<Record<string, string | null>> {
  if (node === undefined) throw problem(place, '"label" has no value');
  if (!page.isMap(node)) return parseLabels(page.text(node, '"label"'));
  const labels = [...page.map(node, '"label"')].map(([key, { value }]) => [key, value === null ? "" : page.text(value, "a label's value").text] as const);
  if (labels.length === 0) throw problem(place, '"label" is empty');
  return Object.fromEntries(labels);
}

function rangeOf(page: Page, cidr: Node | undefined, except: Node | undefined, place: Place): AddressRange {
  if (cidr === undefined) throw problem(place, '"cidr" is missing');
  const text = page.text(cidr, '"cidr"');
  if (!looksLikeAddress(text.text)) throw wrong(text, `${quoted(text.text)} is no address and no prefix`);
  const written = parseRange(words(text));
  const items = except === undefined ? [] : page.isList(except) ? page.list(except, '"except"') : [except];
  const more = items.map((item) => parseException(written.include, slice(page.text(item, "an exception"), 0)));
  return { include: written.include, except: [...written.except, ...more] };
}

/** An entry of a set: `{ cidr: A, except: [B, C] }`. */
export function readRange(page: Page, node: Node): AddressRange {
  const problems: Problem[] = [];
  const values = known(page, node, "an entry of a set", ["cidr", "except"], problems);
  settle(problems);
  return rangeOf(page, values.get("cidr"), values.get("except"), page.placeOf(node));
}
